//! Denials that are answered without asking, and what ends that.

use std::time::Duration;

use super::toy::{Peer, Toy, Watch, denied, granted, routes};
use crate::client::Client;
use crate::protocol::client::{RequestBody, ResponseBody};
use crate::protocol::routes::Routes;
use crate::types::{Decision, Grant, SlotTime, Source};

struct Denied {
    toy: Toy,
    client: Client,
    peer: Peer,
    watch: Watch,
}

impl Denied {
    /// A client that was denied a cost of 5 for a minute.
    async fn start(denials: usize) -> Self {
        let toy = Toy::start();
        let builder = toy.client().denial_cache(denials);
        let (client, peer) = toy.connected(builder).await;
        let mut watch = peer.watch().await;
        watch.tell(1, &routes(1, &[&toy])).await;
        let mut started = Self {
            toy,
            client,
            peer,
            watch,
        };
        let decision = started.asked(5).await;
        assert!(!decision.allowed && decision.source == Source::Owner);
        started
    }

    /// The decision on a cost that the node is asked about, and denies.
    async fn asked(&mut self, cost: u64) -> Decision {
        let (client, peer) = (&self.client, &mut self.peer);
        let call = async { client.check("api", "user").cost(cost).await.unwrap() };
        let script = async {
            let frame = peer.frame().await;
            assert_eq!(frame.asks()[0].cost, cost);
            peer.decide(&frame, |_| Ok(denied())).await;
        };
        tokio::join!(call, script).0
    }

    /// The decision on a cost that the node is not asked about.
    async fn known(&self, cost: u64) -> Decision {
        let decision = self.client.check("api", "user").cost(cost).await.unwrap();
        assert_eq!((decision.allowed, decision.source), (false, Source::Cached));
        assert!(decision.retry_after <= Duration::from_secs(60));
        assert!(!decision.retry_after.is_zero() && decision.grant.is_none());
        decision
    }
}

#[tokio::test]
async fn a_denial_answers_what_costs_as_much_and_nothing_else() {
    let mut it = Denied::start(100).await;
    it.known(5).await;
    it.known(6).await;
    let list = [("api", "user", 5), ("api", "user", 9)];
    for answer in it.client.check_many(list).await {
        assert_eq!(answer.unwrap().source, Source::Cached);
    }
    let reserved = it.client.reserve("api", "user", 5).await.unwrap();
    assert_eq!(reserved.decision.source, Source::Cached);
    assert!(reserved.reservation.is_none());
    let all = it.client.check_all([("api", "a"), ("api", "b")]);
    drop(all);
    let all = it
        .client
        .check_all([("api", "other", 1), ("api", "user", 7)]);
    let all = all.await.unwrap();
    assert_eq!((all.allowed, all.denied), (false, vec![1]));

    let (peeked, ()) = tokio::join!(async { it.client.peek("api", "user").await }, async {
        let frame = it.peer.frame().await;
        assert!(matches!(frame.request().body, RequestBody::Peek(_)));
        it.peer.decide(&frame, |_| Ok(denied())).await;
    });
    assert_eq!(peeked.unwrap().source, Source::Owner);
    assert_eq!(it.asked(4).await.source, Source::Owner);
    it.known(4).await;
}

#[tokio::test]
async fn another_policy_set_is_felt_at_once() {
    let mut it = Denied::start(100).await;
    let same = Routes {
        tag: 2,
        ..routes(2, &[&it.toy])
    };
    it.watch.tell(2, &same).await;
    it.known(5).await;
    let raised = Routes {
        tag: 3,
        policies: 2,
        ..same
    };
    it.watch.tell(3, &raised).await;
    assert_eq!(it.asked(5).await.source, Source::Owner);
}

#[tokio::test]
async fn what_gives_permits_back_drops_the_denial() {
    let mut it = Denied::start(100).await;
    let grant = Grant {
        at: SlotTime::from_ms(1),
        cost: 1,
    };
    for command in 0..2 {
        it.known(5).await;
        let (client, peer) = (&it.client, &mut it.peer);
        let call = async {
            match command {
                0 => client.reset("api", "user").await.unwrap(),
                _ => drop(client.refund("api", "user", grant).await.unwrap()),
            }
        };
        let script = async {
            let frame = peer.frame().await;
            let answer = match command {
                0 => ResponseBody::Done,
                _ => ResponseBody::Refunded { permits: 1 },
            };
            peer.answer(frame.request().id, answer).await;
        };
        tokio::join!(call, script);
        assert_eq!(it.asked(5).await.source, Source::Owner);
    }
}

#[tokio::test]
async fn without_the_cache_or_without_routes_every_denial_is_asked_for() {
    let mut off = Denied::start(0).await;
    assert_eq!(off.asked(5).await.source, Source::Owner);

    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    for _ in 0..2 {
        let (decision, ()) = tokio::join!(async { client.check("api", "user").await }, async {
            let frame = peer.frame().await;
            peer.decide(&frame, |_| Ok(denied())).await;
        });
        assert_eq!(decision.unwrap().source, Source::Owner);
    }
}

#[tokio::test]
async fn while_routes_are_not_told_every_denial_is_asked_for() {
    let mut it = Denied::start(100).await;
    let client = it.client.clone();
    // The stream of the routes breaks, and the policy set may change unseen.
    let Denied {
        toy, peer, watch, ..
    } = &mut it;
    watch.refuse(2).await;
    let mut again = peer.watch().await;
    let (decision, ()) = tokio::join!(async { client.check("api", "user").cost(5).await }, async {
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Ok(granted(1))).await;
    });
    assert!(decision.unwrap().allowed);
    again.tell(1, &routes(1, &[toy])).await;
    it.known(5).await;
}
