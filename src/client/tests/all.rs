//! All or nothing: what is asked, kept and undone, also when answers are lost.

use super::toy::{Frame, Peer, Toy, denied, granted, key_in, routes};
use crate::client::{ALL_MAX, AllDecision, CheckError, Client, OnUnavailable};
use crate::protocol::client::{RequestBody, ResponseBody, WireDecision};
use crate::protocol::error::WireError;

/// What came: what is asked of which key, and how much, or of which reservation.
fn told(frame: &Frame) -> (&'static str, String, u64) {
    match frame.request().body {
        RequestBody::Reserve { ask, .. } => ("reserve", ask.target.key.to_owned(), ask.cost),
        RequestBody::Cancel {
            target,
            reservation,
        } => ("cancel", target.key.to_owned(), reservation),
        RequestBody::Settle { target, actual, .. } => ("settle", target.key.to_owned(), actual),
        other => panic!("{other:?}"),
    }
}

/// Waits for this request, and answers it.
async fn expect(peer: &mut Peer, asked: (&str, &str, u64), answer: ResponseBody) {
    let frame = peer.frame().await;
    let (what, key, number) = told(&frame);
    assert_eq!((what, key.as_str(), number), asked);
    peer.answer(frame.request().id, answer).await;
}

fn reserved(decision: WireDecision, reservation: u64) -> ResponseBody {
    ResponseBody::Reserved {
        reservation: decision.allowed.then_some(reservation),
        decision,
    }
}

/// A client of two nodes, and what each may be asked for.
struct Two {
    _toys: [Toy; 2],
    client: Client,
    peers: [Peer; 2],
    keys: [String; 2],
}

impl Two {
    async fn start() -> Self {
        let first = Toy::start();
        let second = first.sibling();
        let (client, mut peer) = first.connected(first.client()).await;
        let mut watch = peer.watch().await;
        watch.tell(1, &routes(5, &[&first, &second])).await;
        let keys = [key_in(0, 0..2048), key_in(0, 2048..4096)];
        // Asks until the link to the second is there.
        let mut other: Option<Peer> = None;
        loop {
            let call = async { client.check("api", &keys[1]).await.unwrap().remaining };
            let script = async {
                if let Some(other) = &mut other {
                    tokio::select! {
                        frame = peer.frame() => peer.decide(&frame, |_| Ok(granted(1))).await,
                        frame = other.frame() => other.decide(&frame, |_| Ok(granted(2))).await,
                    }
                } else {
                    let frame = peer.frame().await;
                    peer.decide(&frame, |_| Ok(granted(1))).await;
                    other = Some(second.greet().await);
                }
            };
            if tokio::join!(call, script).0 == 2 {
                break;
            }
        }
        Self {
            _toys: [first, second],
            client,
            peers: [peer, other.unwrap()],
            keys,
        }
    }
}

#[tokio::test]
async fn what_all_owners_grant_stays_counted_after_one_round_trip() {
    let Two {
        client,
        peers: [mut first, mut second],
        keys: [a, b],
        ..
    } = Two::start().await;
    let call = async {
        // The first twice: asked once, for the sum.
        let parts = [("api", a.as_str(), 2), ("api", &b, 3), ("api", &a, 5)];
        let decision = client.check_all(parts).await.unwrap();
        assert!(decision.allowed && !decision.degraded);
        assert_eq!((decision.denied.len(), decision.left_counted), (0, 0));
    };
    let script = async {
        // Both are asked before either is answered.
        let frames = (first.frame().await, second.frame().await);
        assert_eq!(told(&frames.0), ("reserve", a.clone(), 7));
        assert_eq!(told(&frames.1), ("reserve", b.clone(), 3));
        let (ours, theirs) = (frames.0.request().id, frames.1.request().id);
        first.answer(ours, reserved(granted(1), 21)).await;
        second.answer(theirs, reserved(granted(1), 22)).await;
    };
    tokio::join!(call, script);
    // The caller has gone on; the settlements change nothing and only close the reservations.
    expect(&mut first, ("settle", &a, 7), ResponseBody::Done).await;
    expect(&mut second, ("settle", &b, 3), ResponseBody::Done).await;
}

#[tokio::test]
async fn if_one_denies_what_others_granted_is_cancelled() {
    let Two {
        client,
        peers: [mut first, mut second],
        keys: [a, b],
        ..
    } = Two::start().await;
    let call = async {
        let parts = [("api", a.as_str(), 2), ("api", &b, 3), ("login", &b, 4)];
        client.check_all(parts).await.unwrap()
    };
    let script = async {
        let until_soon = WireDecision {
            retry_after_ms: 7,
            ..denied()
        };
        expect(&mut second, ("reserve", &b, 3), reserved(denied(), 0)).await;
        expect(&mut second, ("reserve", &b, 4), reserved(until_soon, 0)).await;
        expect(&mut first, ("reserve", &a, 2), reserved(granted(1), 21)).await;
        expect(&mut first, ("cancel", &a, 21), ResponseBody::Done).await;
    };
    let (decision, ()) = tokio::join!(call, script);
    assert_eq!(
        decision,
        AllDecision {
            allowed: false,
            denied: vec![1, 2],
            retry_after: std::time::Duration::from_secs(60),
            degraded: false,
            left_counted: 0,
        }
    );
}

#[tokio::test]
async fn after_a_lost_answer_the_rest_is_undone_once_and_the_doubt_is_told() {
    let Two {
        client,
        peers: [mut first, mut second],
        keys: [a, b],
        ..
    } = Two::start().await;
    let call = async {
        let parts = [("api", a.as_str(), 2), ("api", &b, 3)];
        client.check_all(parts).await.unwrap_err()
    };
    let script = async {
        assert_eq!(told(&second.frame().await), ("reserve", b.clone(), 3));
        second.close();
        expect(&mut first, ("reserve", &a, 2), reserved(granted(1), 21)).await;
        expect(&mut first, ("cancel", &a, 21), ResponseBody::Done).await;
    };
    let (error, ()) = tokio::join!(call, script);
    assert!(error.maybe_counted() && error.is_unavailable());
    let CheckError::LeftCounted { permits, source } = error else {
        panic!("{error:?}")
    };
    assert_eq!(permits, 3, "of the one whose answer was lost");
    assert!(matches!(*source, CheckError::ConnectionLost), "{source:?}");
}

#[tokio::test]
async fn a_cancellation_whose_answer_is_lost_is_not_sent_again() {
    let Two {
        client,
        peers: [mut first, mut second],
        keys: [a, b],
        _toys: [toy, _],
    } = Two::start().await;
    let call = async {
        let parts = [("api", a.as_str(), 2), ("api", &b, 3)];
        client.check_all(parts).await.unwrap()
    };
    let script = async {
        expect(&mut second, ("reserve", &b, 3), reserved(denied(), 0)).await;
        expect(&mut first, ("reserve", &a, 2), reserved(granted(1), 21)).await;
        assert_eq!(told(&first.frame().await).0, "cancel");
        first.close();
    };
    let (decision, ()) = tokio::join!(call, script);
    assert_eq!((decision.allowed, decision.left_counted), (false, 2));
    // The first thing on the new connection is what is asked now.
    let mut first = toy.greet().await;
    let next = async {
        loop {
            let decision = client.check("api", &a).await.unwrap();
            if decision.remaining == 8 {
                break;
            }
        }
    };
    let script = async {
        loop {
            tokio::select! {
                frame = first.frame() => {
                    assert_eq!(frame.keys(), [&a]);
                    first.decide(&frame, |_| Ok(granted(8))).await;
                    break;
                }
                // Asked until the first is connected again.
                frame = second.frame() => second.decide(&frame, |_| Ok(granted(2))).await,
            }
        }
    };
    tokio::join!(next, script);
}

#[tokio::test]
async fn a_part_that_fails_undoes_the_others_unless_on_unavailable_answers_for_it() {
    let Two {
        client,
        peers: [mut first, mut second],
        keys: [a, b],
        ..
    } = Two::start().await;
    let parts = [("api", a.as_str(), 2), ("api", &b, 3)];
    for (on_unavailable, closing) in [
        (OnUnavailable::Error, "cancel"),
        (OnUnavailable::Deny, "cancel"),
        (OnUnavailable::Allow, "settle"),
    ] {
        let client = client.with_on_unavailable(on_unavailable);
        let call = async { client.check_all(parts).await };
        let script = async {
            let frame = second.frame().await;
            let failed = ResponseBody::Failed(WireError::Unavailable);
            second.answer(frame.request().id, failed).await;
            expect(&mut first, ("reserve", &a, 2), reserved(granted(1), 2)).await;
            expect(&mut first, (closing, &a, 2), ResponseBody::Done).await;
        };
        let (answer, ()) = tokio::join!(call, script);
        match (on_unavailable, answer) {
            (OnUnavailable::Error, Err(CheckError::Refused(WireError::Unavailable))) => {}
            (OnUnavailable::Deny, Ok(all)) => assert_eq!(all.denied, [1]),
            (OnUnavailable::Allow, Ok(all)) => assert!(all.allowed && all.degraded),
            (_, other) => panic!("{on_unavailable:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn dropped_midway_what_is_known_to_be_counted_is_undone() {
    let Two {
        client,
        peers: [mut first, mut second],
        keys: [a, b],
        ..
    } = Two::start().await;
    let call = tokio::spawn({
        let (client, a, b) = (client.clone(), a.clone(), b.clone());
        async move { client.check_all([("api", a.as_str()), ("api", &b)]).await }
    });
    let asked = second.frame().await;
    expect(&mut first, ("reserve", &a, 1), reserved(granted(1), 21)).await;
    // Answered on the same stream: the reservation's answer has arrived before this one.
    let (decision, ()) = tokio::join!(async { client.check("api", &a).await }, async {
        let frame = first.frame().await;
        first.decide(&frame, |_| Ok(granted(1))).await;
    });
    decision.unwrap();
    tokio::task::yield_now().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(told(&first.frame().await), ("cancel", a, 21));
    drop(asked);
}

#[tokio::test]
async fn too_many_parts_and_bad_ones_are_refused_before_anything_is_asked() {
    let toy = Toy::start();
    let (client, _peer) = toy.connected(toy.client()).await;
    let keys: Vec<String> = (0..=ALL_MAX).map(|n| n.to_string()).collect();
    let parts = keys.iter().map(|key| ("api", key.as_str()));
    let error = client.check_all(parts).await.unwrap_err();
    let refused = WireError::BatchTooLarge { items: 17, max: 16 };
    assert!(matches!(error, CheckError::Refused(error) if error == refused));
    let error = client.check_all([("api", "a"), ("api", "")]).await;
    assert!(matches!(error, Err(CheckError::Key(_))));
    let none: [(&str, &str); 0] = [];
    assert!(client.check_all(none).await.unwrap().allowed);
}
