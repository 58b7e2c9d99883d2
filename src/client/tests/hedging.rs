//! Peeks that take long are asked of a second node, within a budget; nothing else is.

use std::time::Duration;

use futures_util::future::join_all;

use super::toy::{Frame, granted};
use super::trio::{KEY, Trio, grant};
use crate::client::{CheckError, Client, Hedging};
use crate::protocol::client::{RequestBody, ResponseBody, WireDecision, WireSource};
use crate::protocol::error::WireError;

/// Long enough for a hedge, if there were one.
const SHORT: Duration = Duration::from_millis(300);

fn is_peek(frame: &Frame) -> bool {
    matches!(frame.request().body, RequestBody::Peek(_))
}

async fn peeked(client: &Client) -> u64 {
    client.peek("api", KEY).await.unwrap().remaining
}

#[tokio::test]
async fn a_peek_that_takes_long_is_asked_of_the_next_replica_too_and_the_first_answer_is_taken() {
    let mut trio = Trio::start(|builder| builder).await;
    let (owner, next) = (&mut trio.owner, &mut trio.next);
    let script = async {
        let late = owner.frame().await;
        let second = next.frame().await;
        assert!(is_peek(&late) && is_peek(&second));
        assert_eq!(second.keys(), [KEY]);
        next.decide(&second, |_| Ok(granted(2))).await;
        late
    };
    let (remaining, late) = tokio::join!(peeked(&trio.client), script);
    assert_eq!(remaining, 2);
    // Nobody waits for the late answer, and the owner is asked as before.
    owner.decide(&late, |_| Ok(granted(1))).await;
    let script = async {
        let frame = owner.frame().await;
        owner.decide(&frame, |_| Ok(granted(11))).await;
    };
    assert_eq!(tokio::join!(peeked(&trio.client), script).0, 11);
}

#[tokio::test]
async fn what_a_second_node_cannot_decide_is_left_to_the_first() {
    let degraded = WireDecision {
        source: WireSource::Degraded,
        ..granted(2)
    };
    let answers = [
        ResponseBody::Decisions(vec![Ok(degraded)]),
        ResponseBody::Decisions(vec![Err(WireError::Overloaded { retry_ms: 1 })]),
        ResponseBody::Failed(WireError::Unavailable),
        ResponseBody::Decisions(vec![]),
        ResponseBody::Done,
    ];
    let mut trio = Trio::start(|builder| builder).await;
    let (owner, next) = (&mut trio.owner, &mut trio.next);
    for answer in answers {
        let script = async {
            let first = owner.frame().await;
            let second = next.frame().await;
            next.answer(second.request().id, answer).await;
            // Heard by then, as likely as not: the owner has a task of its own to answer by.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            owner.decide(&first, |_| Ok(granted(1))).await;
        };
        assert_eq!(tokio::join!(peeked(&trio.client), script).0, 1);
    }
}

#[tokio::test]
async fn no_more_peeks_are_asked_twice_than_the_budget_allows() {
    let mut trio = Trio::start(|builder| builder).await;
    // Ten that were saved up, then one of twenty.
    for hedges in [10, 3] {
        let peeks = join_all((0..60).map(|_| peeked(&trio.client)));
        let script = async {
            let mut first = Vec::new();
            for _ in 0..60 {
                first.push(trio.owner.frame().await);
            }
            for _ in 0..hedges {
                assert!(is_peek(&trio.next.frame().await));
            }
            for frame in first {
                trio.owner.decide(&frame, |_| Ok(granted(1))).await;
            }
        };
        let (remaining, ()) = tokio::join!(peeks, script);
        assert_eq!(remaining, [1; 60]);
    }
    nothing_more_came_to_the_replica(trio).await;
}

/// The next that the replica hears is a check of another key, once the owner is gone.
async fn nothing_more_came_to_the_replica(mut trio: Trio) {
    trio.owner.close();
    let down = async {
        loop {
            trio.toys[0].refuse().await;
        }
    };
    let marker = async {
        let frame = grant(&mut trio.next).await;
        assert_eq!(frame.keys(), ["marker"]);
    };
    let call = async {
        let core = trio.client.core();
        let aim = core.aim_at("api", "marker").unwrap();
        let owner = core.holders(Some(aim.slot)).owner();
        while core.nearest(aim.slot) == owner {
            tokio::task::yield_now().await;
        }
        trio.client.check("api", "marker").await.unwrap();
    };
    tokio::select! {
        _ = async { tokio::join!(call, marker) } => {}
        () = down => {}
    }
}

#[tokio::test]
async fn a_check_is_never_asked_twice_nor_a_peek_if_that_is_turned_off() {
    let mut trio = Trio::start(|builder| builder.hedging(Hedging::Off)).await;
    let short = trio.client.with_deadline(SHORT);
    let calls = async {
        let check = short.check("api", KEY).await.unwrap_err();
        let cost_nothing = short.check("api", KEY).cost(0).await.unwrap_err();
        let list = short
            .check_many([("api", KEY)])
            .await
            .remove(0)
            .unwrap_err();
        let peek = short.peek("api", KEY).await.unwrap_err();
        [check, cost_nothing, list, peek]
    };
    let script = async {
        // Each is answered when it is too late, lest the owner seems dead.
        let mut late = trio.owner.frame().await;
        for _ in 0..3 {
            let next = trio.owner.frame().await;
            trio.owner.decide(&late, |_| Ok(granted(1))).await;
            late = next;
        }
    };
    let (errors, ()) = tokio::join!(calls, script);
    for error in errors {
        assert!(matches!(error, CheckError::Timeout { .. }), "{error:?}");
        assert!(error.maybe_counted());
    }
    nothing_more_came_to_the_replica(trio).await;
}

#[tokio::test]
async fn a_peek_that_nobody_answers_ends_by_its_deadline() {
    let mut trio = Trio::start(|builder| builder).await;
    let short = trio.client.with_deadline(SHORT);
    let script = async {
        assert!(is_peek(&trio.owner.frame().await));
        assert!(is_peek(&trio.next.frame().await));
    };
    let (answer, ()) = tokio::join!(short.peek("api", KEY), script);
    assert!(matches!(answer, Err(CheckError::Timeout { .. })));
    assert!(trio.client.core().now() >= SHORT, "and not before");
}
