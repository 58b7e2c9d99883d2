//! Connections that are lost, nodes that go away, runtimes that end.

use std::time::Duration;

use super::toy::{Toy, granted};
use crate::client::quiet::LOOKS;
use crate::client::{CheckError, Client, OnUnavailable, ResendLost};
use crate::protocol::client::ResponseBody;
use crate::types::{Grant, SlotTime};

const GRANT: Grant = Grant {
    at: SlotTime::from_ms(1),
    cost: 1,
};

#[tokio::test]
async fn a_check_that_was_on_its_way_is_sent_once_more_on_a_new_connection() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let call = async { client.check("api", "user").await.unwrap() };
    let list = async { client.check_many([("api", "list")]).await };
    let script = async {
        assert_eq!(peer.frame().await.keys().len(), 1);
        assert_eq!(peer.frame().await.keys().len(), 1);
        peer.close();
        let mut peer = toy.greet().await;
        for _ in 0..2 {
            let frame = peer.frame().await;
            peer.decide(&frame, |_| Ok(granted(8))).await;
        }
        peer
    };
    let (decision, list, _peer) = tokio::join!(call, list, script);
    assert_eq!(decision.remaining, 8);
    assert_eq!(list[0].as_ref().unwrap().remaining, 8);
}

#[tokio::test]
async fn a_node_that_answers_late_and_acknowledges_meanwhile_is_not_taken_for_dead() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let call = async { client.check("api", "user").await.unwrap() };
    let script = async {
        let frame = peer.frame().await;
        // The client asks for a sign of life more often than it would bear to hear none.
        while peer.connection.stats().frame_rx.max_data < u64::from(2 * LOOKS) {
            let closed = peer.connection.close_reason();
            assert!(closed.is_none(), "{closed:?}");
            tokio::task::yield_now().await;
        }
        peer.decide(&frame, |_| Ok(granted(8))).await;
        peer
    };
    let (decision, _peer) = tokio::join!(call, script);
    assert_eq!(decision.remaining, 8);
}

#[tokio::test]
async fn after_a_restart_the_first_check_is_not_sent_to_the_other_dead_connection() {
    let toy = Toy::start();
    let (client, first) = toy.connected(toy.client().connections(2)).await;
    let second = toy.greet().await;
    let mut peers = [first, second];
    let mut both = [false; 2];
    while both != [true; 2] {
        let call = async { client.check("api", "user").await.unwrap() };
        let script = async {
            let [first, second] = &mut peers;
            let (asked, frame) = tokio::select! {
                frame = first.frame() => (0, frame),
                frame = second.frame() => (1, frame),
            };
            peers[asked].decide(&frame, |_| Ok(granted(8))).await;
            both[asked] = true;
        };
        tokio::join!(call, script);
    }
    // Both are dead, and neither end of the client knows: whoever is asked is found out.
    for _ in 0..4 {
        let call = async { client.check("api", "user").await.unwrap() };
        let script = async {
            let [first, second] = &mut peers;
            let asked = tokio::select! {
                _ = first.frame() => 0,
                _ = second.frame() => 1,
            };
            peers[asked].close();
            let mut again = toy.greet().await;
            let frame = again.frame().await;
            again.decide(&frame, |_| Ok(granted(8))).await;
            peers[asked] = again;
        };
        assert_eq!(tokio::join!(call, script).0.remaining, 8);
    }
}

#[tokio::test]
async fn a_check_that_was_lost_and_then_timed_out_may_have_been_counted() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let soon = Duration::from_millis(50);
    let call = async { client.check("api", "user").deadline(soon).await };
    let script = async {
        peer.frame().await;
        peer.close();
        // Nobody answers: it is queued again and never sent.
        std::future::pending::<()>().await;
    };
    let error = tokio::select! {
        answer = call => answer.unwrap_err(),
        () = script => unreachable!(),
    };
    assert!(
        matches!(
            error,
            CheckError::Timeout {
                maybe_counted: true,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn what_is_lost_twice_ends_as_lost() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let call = async { client.check("api", "user").await.unwrap_err() };
    let script = async {
        peer.frame().await;
        peer.close();
        let mut peer = toy.greet().await;
        peer.frame().await;
        peer.close();
    };
    let (error, ()) = tokio::join!(call, script);
    assert!(matches!(error, CheckError::ConnectionLost), "{error:?}");
    assert!(error.maybe_counted() && error.is_unavailable());
}

#[tokio::test]
async fn what_must_not_be_doubled_is_never_sent_again() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let careful = client.with_resend_lost(ResendLost::Never);
    for n in 0..4 {
        let call = async {
            match n {
                0 => careful.check("api", "user").await.map(drop),
                1 => client.refund("api", "user", GRANT).await.map(drop),
                2 => client.reserve("api", "user", 1).await.map(drop),
                _ => client.reset("api", "user").await,
            }
        };
        let script = async {
            peer.frame().await;
            peer.close();
        };
        let (outcome, ()) = tokio::join!(call, script);
        let error = outcome.unwrap_err();
        assert!(matches!(error, CheckError::ConnectionLost), "{error:?}");

        // The first thing on the new connection is what is asked now.
        let marker = async { client.check("api", "marker").await.unwrap() };
        let script = async {
            let mut peer = toy.greet().await;
            let frame = peer.frame().await;
            assert_eq!(frame.keys(), ["marker"]);
            peer.decide(&frame, |_| Ok(granted(1))).await;
            peer
        };
        (_, peer) = tokio::join!(marker, script);
    }
}

#[tokio::test]
async fn a_call_that_comes_while_the_client_connects_again_waits_for_it() {
    let toy = Toy::start();
    let (client, peer) = toy.connected(toy.client()).await;
    peer.close();
    while client.is_connected() {
        tokio::task::yield_now().await;
    }
    let reset = async { client.reset("api", "user").await };
    let script = async {
        let mut peer = toy.greet().await;
        let frame = peer.frame().await;
        peer.answer(frame.request().id, ResponseBody::Done).await;
        peer
    };
    let (outcome, _peer) = tokio::join!(reset, script);
    outcome.unwrap();
}

#[tokio::test]
async fn rubbish_from_the_node_costs_the_connection_and_no_more() {
    let rubbish: [&[u8]; 3] = [
        &[0xff; 8],
        &[3, 0, 0, 0, 0xff, 0xff, 0xff],
        &[5, 0, 0, 0, 1, 3, 0, 0, 0],
    ];
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    for bytes in rubbish {
        let call = async { client.check("api", "user").await.unwrap() };
        let script = async {
            peer.frame().await;
            peer.say_bytes(bytes).await;
            let mut peer = toy.greet().await;
            let frame = peer.frame().await;
            peer.decide(&frame, |_| Ok(granted(4))).await;
            peer
        };
        let decision;
        (decision, peer) = tokio::join!(call, script);
        assert_eq!(decision.remaining, 4);
    }
}

#[tokio::test]
async fn a_stream_that_the_node_ends_costs_the_connection() {
    let toy = Toy::start();
    let (client, peer) = toy.connected(toy.client()).await;
    let connection = peer.connection.clone();
    drop(peer);
    connection.closed().await;
    let (decision, _peer) = tokio::join!(async { client.check("api", "user").await }, async {
        let mut peer = toy.greet().await;
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Ok(granted(4))).await;
        peer
    });
    assert_eq!(decision.unwrap().remaining, 4);
}

#[tokio::test]
async fn a_node_that_answers_nothing_at_all_is_given_up() {
    let toy = Toy::start();
    let (client, mut silent) = toy.connected(toy.client()).await;
    let short = Duration::from_millis(10);
    // On a busy machine the first may be over before it was sent.
    loop {
        match client.check("api", "user").deadline(short).await {
            Err(CheckError::Timeout { maybe_counted, .. }) if maybe_counted => break,
            Err(CheckError::Timeout { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    silent.frame().await;
    let mut peer = toy.greet().await;
    let (decision, ()) = tokio::join!(async { client.check("api", "user").await }, async {
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Ok(granted(4))).await;
    });
    assert_eq!(decision.unwrap().remaining, 4);
    assert!(silent.next().await.is_none(), "the silent one is closed");
}

#[tokio::test]
async fn when_no_node_can_be_reached_calls_end_at_once_until_one_is() {
    let toy = Toy::start();
    let (client, peer) = toy.connected(toy.client()).await;
    assert!(client.is_connected());
    peer.close();
    // The attempt that is refused ends the wait of whoever came after the loss.
    let lost = async {
        loop {
            match client.check("api", "user").await.unwrap_err() {
                CheckError::ConnectionLost => {}
                other => return other,
            }
        }
    };
    let (error, ()) = tokio::join!(lost, toy.refuse());
    assert!(matches!(error, CheckError::Unreachable(_)), "{error:?}");
    assert!(error.is_unavailable() && !error.maybe_counted());
    assert!(!client.is_connected());

    let error = client.refund("api", "user", GRANT).await.unwrap_err();
    assert!(matches!(error, CheckError::Unreachable(_)), "{error:?}");
    let allowing = client.with_on_unavailable(OnUnavailable::Allow);
    let decision = allowing.check("api", "user").await.unwrap();
    assert!(decision.allowed && decision.is_degraded());
    let reserved = allowing.reserve("api", "user", 5).await.unwrap();
    assert!(reserved.decision.is_degraded() && reserved.reservation.is_none());

    let mut peer = toy.greet().await;
    let asked = async {
        // Refused until the client has noticed that it is connected.
        loop {
            match client.check("api", "user").await {
                Ok(decision) => return decision,
                Err(CheckError::Unreachable(_)) => tokio::task::yield_now().await,
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    let (decision, ()) = tokio::join!(asked, async {
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Ok(granted(6))).await;
    });
    assert_eq!(decision.remaining, 6);
}

#[tokio::test]
async fn the_next_seed_is_used_when_the_first_is_gone() {
    let first = Toy::start();
    let second = first.sibling();
    let seeds = [&first, &second].map(|toy| toy.endpoint.local_addr().unwrap());
    let (client, peer) = first.connected(first.client().seeds(seeds)).await;
    peer.close();
    let call = async { client.check("api", "user").await.unwrap() };
    let script = async {
        first.refuse().await;
        let mut peer = second.greet().await;
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Ok(granted(3))).await;
        peer
    };
    let (decision, _peer) = tokio::join!(call, script);
    assert_eq!(decision.remaining, 3);
}

#[tokio::test]
async fn the_last_clone_closes_the_connection() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let clone = client.clone();
    drop(client);
    let (decision, ()) = tokio::join!(async { clone.check("api", "user").await }, async {
        let frame = peer.frame().await;
        peer.decide(&frame, |_| Ok(granted(4))).await;
    });
    decision.unwrap();
    drop(clone);
    assert!(peer.next().await.is_none());
}

#[test]
fn calls_on_a_client_whose_runtime_has_ended_say_so() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let (nodes, clients) = (runtime(), runtime());
    let toy = nodes.block_on(async { Toy::start() });
    let connecting = clients.spawn(toy.client().connect());
    let _peer = nodes.block_on(toy.greet());
    let client: Client = nodes.block_on(connecting).unwrap().unwrap();
    drop(clients);
    let error = nodes.block_on(async { client.check("api", "user").await });
    assert!(matches!(error, Err(CheckError::Closed)), "{error:?}");
}
