//! Who is asked: owners directly, others while there is no connection to an owner.

use super::toy::{Peer, Toy, Watch, granted, key_in, routes, slot_of};
use crate::client::{Check, CheckError, Client, OnUnavailable, ResendLost};
use crate::protocol::client::{Ask, RequestBody, ResponseBody, WireDecision};
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;
use crate::types::{Grant, KeyError, SlotTime};

/// Two nodes that own half of the slots each, and a client whose seed is the first.
pub(super) struct Two {
    pub(super) first: Toy,
    pub(super) second: Toy,
    pub(super) client: Client,
    pub(super) peer: Peer,
    watch: Watch,
    /// Keys of the first and of the second.
    pub(super) keys: [String; 2],
}

impl Two {
    async fn start() -> Self {
        let first = Toy::start();
        let second = first.sibling();
        let (client, peer) = first.connected(first.client()).await;
        let mut watch = peer.watch().await;
        watch.tell(1, &routes(5, &[&first, &second])).await;
        Self {
            first,
            second,
            client,
            peer,
            watch,
            keys: [key_in(0, 0..2048), key_in(0, 2048..4096)],
        }
    }

    /// The same, once the second is connected too.
    pub(super) async fn connected() -> (Self, Peer) {
        let mut two = Self::start().await;
        let Self {
            client,
            second,
            peer,
            keys,
            ..
        } = &mut two;
        let proxied = client.check("api", &keys[1]);
        let script = async {
            let frame = peer.frame().await;
            peer.decide(&frame, |_| Ok(granted(1))).await;
            second.greet().await
        };
        let (decision, mut other) = tokio::join!(async { proxied.await }, script);
        assert_eq!(
            decision.unwrap().remaining,
            1,
            "nobody waits for a new link"
        );
        // Asked by whoever gets it, until the new link is used.
        loop {
            let call = async { client.check("api", &keys[1]).await.unwrap().remaining };
            let script = async {
                tokio::select! {
                    frame = peer.frame() => peer.decide(&frame, |_| Ok(granted(1))).await,
                    frame = other.frame() => other.decide(&frame, |_| Ok(granted(2))).await,
                }
            };
            if tokio::join!(call, script).0 == 2 {
                return (two, other);
            }
        }
    }
}

fn not_owner(owner: &Toy, key: &str, epoch: u64) -> WireError {
    WireError::NotOwner {
        slot: slot_of(key).number(),
        epoch,
        owner: owner.node,
    }
}

#[tokio::test]
async fn owners_are_asked_directly_and_a_list_is_split_and_put_together_in_order() {
    let (two, other) = Two::connected().await;
    let Two { client, peer, .. } = two;
    let by = |node: u64| {
        move |ask: &Ask<'_>| -> Result<WireDecision, WireError> {
            Ok(granted(node * 1_000_000 + ask.cost))
        }
    };
    let nodes = [
        tokio::spawn(peer.decide_all(by(1))),
        tokio::spawn(other.decide_all(by(2))),
    ];
    let keys: Vec<String> = (0..3000).map(|n| format!("key-{n}")).collect();
    let checks = (0..).zip(&keys).map(|(n, key)| match n % 500 {
        9 => Check::new("api", ""),
        _ => Check::new("api", key).cost(n),
    });
    let answers = client.check_many(checks).await;
    assert_eq!(answers.len(), keys.len());
    for ((n, key), answer) in (0..).zip(&keys).zip(answers) {
        let owner = 1 + u64::from(slot_of(key).number() / 2048);
        match answer {
            Ok(decision) => assert_eq!(decision.remaining, owner * 1_000_000 + n),
            Err(CheckError::Key(KeyError::Empty)) => assert_eq!(n % 500, 9),
            Err(error) => panic!("{error:?}"),
        }
        if n < 50 && n != 9 {
            let single = client.check("api", key).await.unwrap();
            assert_eq!(single.remaining / 1_000_000, owner);
            let peeked = client.peek("api", key).await.unwrap();
            assert_eq!(peeked.remaining / 1_000_000, owner);
        }
    }
    drop(client);
    for node in nodes {
        node.await.unwrap();
    }
}

#[tokio::test]
async fn pushed_routes_are_followed_at_once_and_links_to_nobody_are_closed() {
    let (two, mut other) = Two::connected().await;
    let Two {
        first,
        client,
        mut peer,
        mut watch,
        keys,
        ..
    } = two;
    // What is on its way when its node leaves the routes is still answered.
    let on_its_way = tokio::spawn({
        let (client, key) = (client.clone(), keys[1].clone());
        async move { client.check("api", &key).await.unwrap().remaining }
    });
    let late = other.frame().await;
    watch.tell(2, &routes(6, &[&first])).await;
    let (decision, ()) = tokio::join!(async { client.check("api", &keys[1]).await }, async {
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Ok(granted(1))).await;
    });
    assert_eq!(decision.unwrap().remaining, 1);
    other.decide(&late, |_| Ok(granted(2))).await;
    assert_eq!(on_its_way.await.unwrap(), 2);
    assert!(
        other.next().await.is_none(),
        "nothing is asked there any more"
    );
}

#[tokio::test]
async fn who_is_not_the_owner_is_believed_and_the_call_sent_once_more() {
    let (mut two, mut other) = Two::connected().await;
    let (client, key) = (&two.client, two.keys[1].as_str());
    let to_first = not_owner(&two.first, key, 7);
    let to_second = not_owner(&two.second, key, 8);
    let peer = &mut two.peer;

    let script = async {
        let frame = other.frame().await;
        other.decide(&frame, |_| Err(to_first.clone())).await;
        for _ in 0..2 {
            let frame = peer.frame().await;
            peer.decide(&frame, |_| Ok(granted(1))).await;
        }
    };
    let calls = async {
        let moved = client.check("api", key).await.unwrap();
        let next = client.check("api", key).await.unwrap();
        (moved.remaining, next.remaining)
    };
    assert_eq!(tokio::join!(calls, script).0, (1, 1));

    // A second such answer is an error, and is remembered too.
    let script = async {
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Err(to_second.clone())).await;
        let frame = other.frame().await;
        other
            .decide(&frame, |_| Err(not_owner(&two.first, key, 9)))
            .await;
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Ok(granted(1))).await;
    };
    let calls = async {
        let error = client.check("api", key).await.unwrap_err();
        assert!(
            matches!(
                error,
                CheckError::Refused(WireError::NotOwner { epoch: 9, .. })
            ),
            "{error:?}"
        );
        assert!(error.is_unavailable() && !error.maybe_counted());
        client.check("api", key).await.unwrap();
    };
    tokio::join!(calls, script);
}

#[tokio::test]
async fn lists_and_commands_follow_who_is_not_the_owner_too() {
    let (mut two, mut other) = Two::connected().await;
    let client = &two.client;
    let [mine, moved] = &two.keys;
    let next = key_in(1 + moved[4..].parse::<u32>().unwrap(), 2048..4096);
    let peer = &mut two.peer;
    let script = async {
        let frame = other.frame().await;
        assert_eq!(frame.keys(), [moved, &next]);
        let error = not_owner(&two.first, moved, 7);
        other
            .decide(&frame, |ask| {
                let is_moved = ask.target.key == moved;
                if is_moved {
                    Err(error.clone())
                } else {
                    Ok(granted(2))
                }
            })
            .await;
        let frame = peer.frame().await;
        assert_eq!(frame.keys(), [mine]);
        peer.decide(&frame, |_| Ok(granted(1))).await;
        let frame = peer.frame().await;
        assert_eq!(frame.keys(), [moved]);
        peer.decide(&frame, |_| Ok(granted(11))).await;

        let frame = other.frame().await;
        assert!(matches!(frame.request().body, RequestBody::Refund { .. }));
        let error = ResponseBody::Failed(not_owner(&two.first, &next, 7));
        other.answer(frame.request().id, error).await;
        let frame = peer.frame().await;
        let refunded = ResponseBody::Refunded { permits: 3 };
        peer.answer(frame.request().id, refunded).await;
    };
    let calls = async {
        let list = [("api", moved.as_str()), ("api", mine), ("api", &next)];
        let answers = client.check_many(list).await;
        let remaining = answers.into_iter().map(|answer| answer.unwrap().remaining);
        assert_eq!(remaining.collect::<Vec<_>>(), [11, 1, 2]);
        let at = SlotTime::from_ms(1);
        let grant = Grant { at, cost: 3 };
        assert_eq!(client.refund("api", &next, grant).await.unwrap(), 3);
    };
    tokio::join!(calls, script);
}

#[tokio::test]
async fn while_an_owner_is_down_another_node_is_asked() {
    let (mut two, mut other) = Two::connected().await;
    let (client, key) = (&two.client, two.keys[1].as_str());
    let peer = &mut two.peer;
    // One is on its way when the owner dies, one comes after that.
    let script = async {
        other.frame().await;
        other.close();
        two.second.refuse().await;
        for _ in 0..2 {
            let frame = peer.frame().await;
            assert_eq!(frame.keys(), [key]);
            peer.decide(&frame, |_| Ok(granted(1))).await;
        }
    };
    let calls = async {
        let lost = client.check("api", key).await.unwrap();
        let next = client.check("api", key).await.unwrap();
        assert_eq!((lost.remaining, next.remaining), (1, 1));
    };
    tokio::join!(calls, script);
}

#[tokio::test]
async fn when_all_are_down_on_unavailable_answers() {
    let (two, other) = Two::connected().await;
    let client = two
        .client
        .with_resend_lost(ResendLost::Never)
        .with_on_unavailable(OnUnavailable::Allow);
    other.close();
    two.peer.close();
    let down = async {
        loop {
            tokio::select! {
                () = two.first.refuse() => {}
                () = two.second.refuse() => {}
            }
        }
    };
    let calls = async {
        for key in &two.keys {
            let decision = client.check("api", key).await.unwrap();
            assert!(decision.allowed && decision.is_degraded());
        }
        let answers = client.check_many(two.keys.iter().map(|key| ("api", key.as_str())));
        for answer in answers.await {
            assert!(answer.unwrap().is_degraded());
        }
    };
    tokio::select! {
        () = calls => {}
        () = down => {}
    }
}

#[tokio::test]
async fn routes_are_asked_for_again_elsewhere_when_their_node_is_lost() {
    let (two, mut other) = Two::connected().await;
    two.peer.close();
    let mut watch = other.watch().await;
    watch.tell(1, &routes(7, &[&two.second])).await;
    let key = &two.keys[0];
    let (decision, ()) = tokio::join!(async { two.client.check("api", key).await }, async {
        let frame = other.frame().await;
        other.decide(&frame, |_| Ok(granted(2))).await;
    });
    assert_eq!(decision.unwrap().remaining, 2);
}

#[tokio::test]
async fn when_the_seed_is_gone_known_nodes_take_its_place() {
    let mut two = Two::start().await;
    two.peer.close();
    drop((two.watch, two.peer));
    let script = async {
        two.first.refuse().await;
        let mut peer = two.second.greet().await;
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Ok(granted(2))).await;
        peer
    };
    let key = std::mem::take(&mut two.keys[0]);
    let (decision, _peer) = tokio::join!(async { two.client.check("api", &key).await }, script);
    assert_eq!(decision.unwrap().remaining, 2);
}

#[tokio::test]
async fn a_node_that_does_not_know_routes_is_used_as_before_and_asked_again() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let mut watch = peer.watch().await;
    watch.refuse(1).await;
    let mut watch = peer.watch().await;
    let (decision, ()) = tokio::join!(async { client.check("api", "user").await }, async {
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Ok(granted(1))).await;
    });
    decision.unwrap();
    watch.tell(1, &routes(3, &[&toy])).await;
}

#[tokio::test]
async fn a_single_node_needs_no_second_connection() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let mut watch = peer.watch().await;
    watch.tell(1, &routes(3, &[&toy])).await;
    for key in ["a", "b", "c"] {
        let (decision, ()) = tokio::join!(async { client.check("api", key).await }, async {
            tokio::select! {
                frame = peer.frame() => peer.decide(&frame, |_| Ok(granted(1))).await,
                _ = toy.accept() => panic!("a second connection"),
            }
        });
        decision.unwrap();
    }
}

#[tokio::test]
async fn routes_of_another_cluster_are_forgotten() {
    let (two, other) = Two::connected().await;
    drop(other);
    two.peer.close();
    // The seed is found again, with another secret.
    let elsewhere = Welcome {
        node: 9,
        cluster: 2,
        key_secret: [9; 16],
        ..super::toy::welcome()
    };
    let mut peer = two.first.greet_with(Ok(elsewhere)).await;
    for key in &two.keys {
        let call = async { two.client.check("api", key).await.unwrap() };
        let script = async {
            let frame = peer.frame().await;
            peer.decide(&frame, |_| Ok(granted(9))).await;
        };
        assert_eq!(tokio::join!(call, script).0.remaining, 9);
    }
}
