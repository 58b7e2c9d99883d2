//! What single calls and lists of calls get: their own answers, one each.

use std::time::Duration;

use tokio::task::JoinSet;

use super::toy::{Toy, granted, welcome};
use crate::client::{Check, CheckError, Client, Limits, OnUnavailable};
use crate::protocol::client::{BATCH_MAX, PolicyRef, RequestBody, ResponseBody};
use crate::protocol::error::WireError;
use crate::types::{Grant, KeyError, SlotTime, Source};

/// Has the client ask for `key` while the test goes on.
fn ask(client: &Client, key: &'static str) -> tokio::task::JoinHandle<Result<u64, CheckError>> {
    let client = client.clone();
    tokio::spawn(async move { Ok(client.check("api", key).await?.remaining) })
}

#[tokio::test]
async fn a_check_carries_what_was_asked_and_gets_what_was_answered() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let limits: Limits = "20/min".parse::<crate::client::Limit>().unwrap().into();
    let calls = async {
        let named = client.check("api", "user").cost(3).await.unwrap();
        let carried = client.check_with("login", limits, "user").await.unwrap();
        (named, carried)
    };
    let script = async {
        let frame = peer.frame().await;
        assert_eq!(frame.request().deadline_ms.div_ceil(1000), 60);
        assert_eq!(frame.asks()[0].cost, 3);
        assert_eq!(frame.asks()[0].target.policy, PolicyRef::Named("api"));
        peer.decide(&frame, |_| Ok(granted(97))).await;
        let frame = peer.frame().await;
        let name = "login";
        let limits = vec![(20, 60_000)];
        let carried = PolicyRef::Carried { name, limits };
        assert_eq!(frame.asks()[0].target.policy, carried);
        peer.decide(&frame, |_| Ok(granted(19))).await;
    };
    let ((named, carried), ()) = tokio::join!(calls, script);
    assert!(named.allowed);
    assert_eq!((named.limit, named.remaining), (100, 97));
    assert_eq!(named.source, Source::Owner);
    let at = SlotTime::from_ms(5);
    assert_eq!(named.grant, Some(Grant { at, cost: 3 }));
    assert_eq!(carried.remaining, 19);
}

#[tokio::test]
async fn a_thousand_callers_travel_in_a_few_frames_and_each_gets_its_own_answer() {
    let toy = Toy::start();
    let (client, peer) = toy.connected(toy.client()).await;
    let node = tokio::spawn(peer.grant_all());
    let mut callers = JoinSet::new();
    for n in 0..1000_u64 {
        let client = client.clone();
        callers.spawn(async move {
            let decision = client.check("api", "user").cost(n).await.unwrap();
            assert_eq!(decision.remaining, n);
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    drop(client);
    let (frames, checks) = node.await.unwrap();
    assert_eq!(checks, 1000);
    assert!(frames <= 20, "{frames} frames");
}

#[tokio::test]
async fn answers_may_come_in_any_order_and_strange_ones_are_dropped() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let first = ask(&client, "a");
    let first_frame = peer.frame().await;
    let second = ask(&client, "b");
    let second_frame = peer.frame().await;
    peer.answer(1 << 60, ResponseBody::Done).await;
    peer.answer(0, ResponseBody::Decisions(vec![Ok(granted(9))]))
        .await;
    peer.decide(&second_frame, |_| Ok(granted(2))).await;
    assert_eq!(second.await.unwrap().unwrap(), 2);
    peer.decide(&second_frame, |_| Ok(granted(3))).await;
    peer.decide(&first_frame, |_| Ok(granted(1))).await;
    assert_eq!(first.await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_an_error_for_all_who_asked() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let unfitting = [
        ResponseBody::Decisions(vec![]),
        ResponseBody::Decisions(vec![Ok(granted(1)); 3]),
        ResponseBody::Done,
        ResponseBody::Refunded { permits: 1 },
    ];
    for body in unfitting {
        let callers = [ask(&client, "a"), ask(&client, "b")];
        let frame = peer.frame().await;
        assert_eq!(frame.keys(), ["a", "b"]);
        peer.answer(frame.request().id, body).await;
        for caller in callers {
            let error = caller.await.unwrap().unwrap_err();
            assert!(matches!(error, CheckError::UnexpectedAnswer), "{error:?}");
            assert!(error.maybe_counted());
        }
    }
}

#[tokio::test]
async fn errors_of_the_node_reach_their_callers() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let callers = [ask(&client, "a"), ask(&client, "b")];
    let frame = peer.frame().await;
    let above = WireError::CostAboveLimit { cost: 1, limit: 0 };
    peer.decide(&frame, |ask| match ask.target.key {
        "a" => Err(above.clone()),
        _b => Ok(granted(1)),
    })
    .await;
    let [a, b] = callers;
    let error = a.await.unwrap().unwrap_err();
    assert!(matches!(
        error,
        CheckError::Refused(WireError::CostAboveLimit { .. })
    ));
    assert_eq!(b.await.unwrap().unwrap(), 1);

    let caller = ask(&client, "c");
    let frame = peer.frame().await;
    // To come back only after its deadline.
    let busy = WireError::Overloaded { retry_ms: 60_000 };
    peer.answer(frame.request().id, ResponseBody::Failed(busy.clone()))
        .await;
    let error = caller.await.unwrap().unwrap_err();
    assert!(matches!(error, CheckError::Refused(refused) if refused == busy));
}

#[tokio::test]
async fn a_silent_node_means_a_timeout_that_says_it_may_have_counted() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let after = Duration::from_millis(20);
    let call = client.check("api", "user").deadline(after);
    let error = call.await.unwrap_err();
    assert!(
        matches!(error, CheckError::Timeout { after: told, maybe_counted: true } if told == after),
        "{error:?}"
    );
    assert_eq!(peer.frame().await.keys(), ["user"]);

    for (on_unavailable, allowed) in [(OnUnavailable::Allow, true), (OnUnavailable::Deny, false)] {
        let client = client.with_deadline(after);
        let client = client.with_on_unavailable(on_unavailable);
        let decision = client.check("api", "user").await.unwrap();
        assert!(decision.is_degraded());
        assert_eq!((decision.allowed, decision.grant), (allowed, None));
    }
}

#[tokio::test]
async fn a_dropped_call_frees_its_place_and_its_late_answer_reaches_nobody() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client().waiting_max(1)).await;
    let dropped = ask(&client, "dropped");
    let late = peer.frame().await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    let next = ask(&client, "next");
    let frame = peer.frame().await;
    peer.decide(&late, |_| Ok(granted(1))).await;
    peer.decide(&frame, |_| Ok(granted(2))).await;
    assert_eq!(next.await.unwrap().unwrap(), 2);
}

#[tokio::test]
async fn who_comes_when_the_house_is_full_is_turned_away_at_once() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client().waiting_max(2)).await;
    let callers = [ask(&client, "a"), ask(&client, "b")];
    let frame = peer.frame().await;
    let error = client.check("api", "c").await.unwrap_err();
    assert!(matches!(error, CheckError::Overloaded), "{error:?}");
    assert!(error.is_unavailable() && !error.maybe_counted());
    let many = client.check_many([("api", "c"), ("api", "d")]).await;
    assert!(
        many.iter()
            .all(|answer| matches!(answer, Err(CheckError::Overloaded)))
    );
    peer.decide(&frame, |_| Ok(granted(1))).await;
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn no_more_checks_are_in_flight_than_the_node_takes() {
    let toy = Toy::start();
    let narrow = crate::protocol::hello::Welcome {
        in_flight_max: 1,
        ..welcome()
    };
    let (client, mut peer) = tokio::join!(toy.client().connect(), toy.greet_with(Ok(narrow)));
    let client = client.unwrap();
    let first = ask(&client, "a");
    let frame = peer.frame().await;
    let second = ask(&client, "b");
    // Were it sent, it would be here before the answer to what is asked after it.
    let third = ask(&client, "c");
    tokio::task::yield_now().await;
    peer.decide(&frame, |_| Ok(granted(1))).await;
    first.await.unwrap().unwrap();
    let frame = peer.frame().await;
    assert_eq!(frame.keys(), ["b", "c"], "gathered while they waited");
    peer.decide(&frame, |_| Ok(granted(1))).await;
    second.await.unwrap().unwrap();
    third.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_long_list_travels_in_several_frames_and_is_answered_in_order() {
    let toy = Toy::start();
    let (client, peer) = toy.connected(toy.client()).await;
    let node = tokio::spawn(peer.grant_all());
    let long_key = "k".repeat(256);
    let checks: Vec<Check<'_>> = (0..20_000_u64)
        .map(|n| match n % 100 {
            7 => Check::new("api", ""),
            8 => Check::new("no name", "user"),
            _ => Check::new("api", if n % 2 == 0 { "user" } else { &long_key }).cost(n),
        })
        .collect();
    let answers = client.check_many(checks).await;
    assert_eq!(answers.len(), 20_000);
    for (n, answer) in (0..20_000).zip(&answers) {
        match (n % 100, answer) {
            (7, Err(CheckError::Key(KeyError::Empty)))
            | (8, Err(CheckError::Refused(WireError::UnknownPolicy { .. }))) => {}
            (_, Ok(decision)) => assert_eq!(decision.remaining, n),
            (_, Err(error)) => panic!("check {n}: {error:?}"),
        }
    }
    assert!(client.check_many(Vec::<Check<'_>>::new()).await.is_empty());
    let only_bad = client.check_many([("api", "")]).await;
    assert!(matches!(only_bad[..], [Err(CheckError::Key(_))]));
    drop(client);
    let (frames, checks) = node.await.unwrap();
    assert_eq!(checks, 19_600);
    assert!(frames >= 19_600_usize.div_ceil(BATCH_MAX), "{frames}");
    assert!(frames <= 100, "{frames}");
}

#[tokio::test]
async fn commands_say_what_they_mean_and_understand_the_answer() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let at = SlotTime::from_ms(77);
    let calls = async {
        let peeked = client.peek("api", "user").await.unwrap();
        let refunded = client
            .refund("api", "user", Grant { at, cost: 4 })
            .await
            .unwrap();
        client.reset("api", "user").await.unwrap();
        (peeked.remaining, refunded)
    };
    let script = async {
        let frame = peer.frame().await;
        assert!(matches!(frame.request().body, RequestBody::Peek(_)));
        peer.decide(&frame, |_| Ok(granted(50))).await;
        let frame = peer.frame().await;
        assert!(matches!(
            frame.request().body,
            RequestBody::Refund {
                at_ms: 77,
                cost: 4,
                ..
            }
        ));
        peer.answer(frame.request().id, ResponseBody::Refunded { permits: 4 })
            .await;
        let frame = peer.frame().await;
        assert!(matches!(frame.request().body, RequestBody::Reset { .. }));
        peer.answer(frame.request().id, ResponseBody::Done).await;
    };
    let (told, ()) = tokio::join!(calls, script);
    assert_eq!(told, (50, 4));
}

#[tokio::test]
async fn a_reservation_is_settled_or_cancelled_under_its_id() {
    let toy = Toy::start();
    let (client, mut peer) = toy.connected(toy.client()).await;
    let calls = async {
        let ttl = Duration::from_secs(9);
        let settled = client.reserve("api", "user", 10).ttl(ttl).await.unwrap();
        assert!(settled.decision.allowed);
        settled.reservation.unwrap().settle(3).await.unwrap();
        let cancelled = client.reserve("api", "user", 10).await.unwrap();
        let error = cancelled.reservation.unwrap().cancel().await.unwrap_err();
        assert!(matches!(
            error,
            CheckError::Refused(WireError::UnknownReservation)
        ));
        let denied = client.reserve("api", "user", 10).await.unwrap();
        assert!(!denied.decision.allowed && denied.reservation.is_none());
    };
    let reserved = |reservation, allowed| ResponseBody::Reserved {
        decision: crate::protocol::client::WireDecision {
            allowed,
            ..granted(1)
        },
        reservation,
    };
    let script = async {
        let frame = peer.frame().await;
        let RequestBody::Reserve { ask, ttl_ms } = frame.request().body else {
            panic!("no reserve")
        };
        assert_eq!((ask.cost, ttl_ms), (10, 9000));
        peer.answer(frame.request().id, reserved(Some(21), true))
            .await;
        let frame = peer.frame().await;
        assert!(matches!(
            frame.request().body,
            RequestBody::Settle {
                reservation: 21,
                actual: 3,
                ..
            }
        ));
        peer.answer(frame.request().id, ResponseBody::Done).await;
        let frame = peer.frame().await;
        peer.answer(frame.request().id, reserved(Some(22), true))
            .await;
        let frame = peer.frame().await;
        assert!(matches!(
            frame.request().body,
            RequestBody::Cancel {
                reservation: 22,
                ..
            }
        ));
        let gone = ResponseBody::Failed(WireError::UnknownReservation);
        peer.answer(frame.request().id, gone).await;
        let frame = peer.frame().await;
        peer.answer(frame.request().id, reserved(None, false)).await;
    };
    tokio::join!(calls, script);
}
