//! How requests are batched, answered, parked and turned away.

use super::toy::decision;
use super::{Caller, Node, ask, check, pass_ms, request};
use crate::protocol::client::{
    Ask, BATCH_MAX, PolicyRef, Request, RequestBody, Response, ResponseBody, Target,
};
use crate::protocol::error::WireError;
use crate::protocol::frame::decode;
use crate::server::Bounds;

fn decisions(id: u64, allowed: &[bool]) -> Response {
    let each = allowed.iter().map(|allowed| Ok(decision(*allowed, 1)));
    Response {
        id,
        body: ResponseBody::Decisions(each.collect()),
    }
}

fn failed(id: u64, error: WireError) -> Response {
    Response {
        id,
        body: ResponseBody::Failed(error),
    }
}

#[tokio::test]
async fn frames_that_arrive_together_are_one_batch_and_one_write() {
    let node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    let requests: Vec<_> = (0..20)
        .map(|id| check(id, &["process", "deny", "free"]))
        .collect();
    caller.say(&requests).await;
    let piece = caller.receive.read_chunk(usize::MAX, true).await;
    caller.buffer.push(&piece.unwrap().unwrap().bytes);
    for id in 0..20 {
        let frame = caller.buffer.take().unwrap().expect("all in one piece");
        assert_eq!(
            decode::<Response>(frame),
            Ok(decisions(id, &[true, false, true]))
        );
    }
    assert_eq!(*node.toy.batches.lock(), [60]);
}

#[tokio::test]
async fn checks_peeks_and_commands_of_one_read_get_their_own_answers() {
    let node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    let target = Target {
        key: "k",
        ..ask("free", "k").target
    };
    caller
        .say(&[
            check(1, &["free"]),
            request(
                2,
                RequestBody::Peek(vec![ask("deny", "k"), ask("fsync", "k")]),
            ),
            request(3, RequestBody::Reset { target }),
            check(4, &["deny"]),
            request(5, RequestBody::Check(vec![])),
        ])
        .await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(caller.answer().await);
    }
    answers.sort_by_key(|answer| answer.id);
    let done = Response {
        id: 3,
        body: ResponseBody::Done,
    };
    let expected = [
        decisions(1, &[true]),
        decisions(2, &[false, true]),
        done,
        decisions(4, &[false]),
        decisions(5, &[]),
    ];
    assert_eq!(answers, expected);
    assert_eq!(*node.toy.batches.lock(), [2]);
}

#[tokio::test]
async fn answers_that_wait_for_a_sync_hold_up_no_others() {
    let node = Node::start(Bounds::default());
    node.toy.keep(|kept| kept.synced = 0);
    let mut caller = node.caller().await;
    caller
        .say(&[check(1, &["fsync", "deny"]), check(2, &["free"])])
        .await;
    assert_eq!(caller.answer().await, decisions(2, &[true]));
    caller.say(&[check(3, &["process"])]).await;
    assert_eq!(caller.answer().await, decisions(3, &[true]));
    caller
        .say(&[check(4, &["fsync"]), check(5, &["deny"])])
        .await;
    assert_eq!(caller.answer().await, decisions(5, &[false]));
    node.toy.keep(|kept| kept.synced = 1);
    assert_eq!(caller.answer().await, decisions(1, &[true, false]));
    assert_eq!(caller.answer().await, decisions(4, &[true]));
}

#[tokio::test]
async fn what_may_be_lost_is_not_granted_and_denials_stay() {
    for policy in ["process", "fsync"] {
        let node = Node::start(Bounds::default());
        node.toy.keep(|kept| (kept.committed, kept.synced) = (0, 0));
        let mut caller = node.caller().await;
        caller
            .say(&[check(1, &[policy, "deny", "free"]), check(2, &["deny"])])
            .await;
        if policy == "fsync" {
            assert_eq!(caller.answer().await, decisions(2, &[false]));
        }
        node.toy.keep(|kept| kept.failed = true);
        let expected = Response {
            id: 1,
            body: ResponseBody::Decisions(vec![
                Err(WireError::StorageFailed),
                Ok(decision(false, 1)),
                Ok(decision(true, 1)),
            ]),
        };
        assert_eq!(caller.answer().await, expected, "{policy}");
        if policy == "process" {
            assert_eq!(caller.answer().await, decisions(2, &[false]));
        }
    }
}

#[tokio::test]
async fn of_what_too_few_replicas_have_just_the_grants_are_lost() {
    for policy in ["process", "fsync"] {
        let node = Node::start(Bounds::default());
        node.toy.lost.lock().insert(1);
        let mut caller = node.caller().await;
        let asks = [
            (policy, "k"),
            ("deny", "k"),
            (policy, "kk"),
            ("late", "late"),
        ];
        let asks = asks.map(|(policy, key)| ask(policy, key)).to_vec();
        let parts = [asks[..3].to_vec(), asks];
        for (id, asks) in (1..).zip(parts) {
            node.toy.open("late");
            caller.say(&[request(id, RequestBody::Check(asks))]).await;
            let answer = caller.answer().await;
            let ResponseBody::Decisions(decided) = answer.body else {
                panic!("{answer:?}");
            };
            let expected = [
                Err(WireError::AnswerLost),
                Ok(decision(false, 1)),
                Ok(decision(true, 2)),
            ];
            assert_eq!((answer.id, &decided[..3]), (id, &expected[..]), "{policy}");
        }
        // A command of slot 0, which is kept, and then is not.
        for expected in [
            ResponseBody::Done,
            ResponseBody::Failed(WireError::AnswerLost),
        ] {
            let target = ask("free", "k").target;
            caller
                .say(&[request(9, RequestBody::Reset { target })])
                .await;
            assert_eq!(caller.answer().await.body, expected);
            node.toy.lost.lock().insert(0);
        }
    }
}

#[tokio::test]
async fn a_request_whose_time_has_passed_is_not_counted() {
    let node = Node::start(Bounds::default());
    node.toy.keep(|kept| kept.committed = 0);
    let mut caller = node.caller().await;
    let late = |id, deadline_ms| Request {
        deadline_ms,
        ..check(id, &["free"])
    };
    caller
        .say(&[late(1, 0), late(2, 1), check(3, &["process"])])
        .await;
    // The stream waits for the commit of 3 while these arrive and 50 ms pass.
    node.toy.decided(2).await;
    caller.say(&[late(4, 49), late(5, 50), late(6, 51)]).await;
    caller.finish().await;
    pass_ms(50);
    node.toy.keep(|kept| kept.committed = 1);
    let expected = [
        failed(1, WireError::DeadlineExceeded),
        decisions(2, &[true]),
        decisions(3, &[true]),
        failed(4, WireError::DeadlineExceeded),
        failed(5, WireError::DeadlineExceeded),
        decisions(6, &[true]),
    ];
    for expected in expected {
        assert_eq!(caller.answer().await, expected);
    }
    assert_eq!(*node.toy.batches.lock(), [2, 1]);
}

#[tokio::test]
async fn a_batch_of_the_largest_size_is_taken_and_a_larger_one_is_not() {
    let node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    caller.say(&[check(1, &["free"; BATCH_MAX])]).await;
    assert_eq!(caller.answer().await, decisions(1, &[true; BATCH_MAX]));
    caller
        .say(&[check(2, &vec!["free"; BATCH_MAX + 1]), check(3, &["deny"])])
        .await;
    let too_large = WireError::BatchTooLarge {
        items: 1025,
        max: 1024,
    };
    assert_eq!(caller.answer().await, failed(2, too_large));
    assert_eq!(caller.answer().await, decisions(3, &[false]));
}

#[tokio::test]
async fn errors_with_long_texts_still_fit_in_an_answer() {
    let node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    let refused = |name| Ask {
        target: Target {
            policy: PolicyRef::Carried {
                name,
                limits: vec![],
            },
            key: "",
        },
        cost: 1,
    };
    for (asks, told) in [(2, true), (1000, false)] {
        let mut asks = vec![refused("a-name-of-its-own-choice"); asks];
        asks.push(ask("process", "k"));
        caller.say(&[request(1, RequestBody::Check(asks))]).await;
        let ResponseBody::Decisions(answers) = caller.answer().await.body else {
            panic!("not decisions");
        };
        let Some((last, errors)) = answers.split_last() else {
            panic!("no answers");
        };
        assert_eq!(last, &Ok(decision(true, 1)));
        for error in errors {
            let Err(WireError::BadRequestLimit { name, reason }) = error else {
                panic!("{error:?}");
            };
            assert_eq!((name.is_empty(), reason.is_empty()), (!told, !told));
        }
    }
}

#[tokio::test]
async fn requests_behind_the_hello_and_on_other_streams_are_served() {
    let node = Node::start_on(Bounds::default(), 3);
    for _ in 0..12 {
        let mut first = node.caller().await;
        let mut second = Caller::open(first.connection.clone()).await;
        second.say(&[check(1, &["free"])]).await;
        first.say(&[check(1, &["deny"])]).await;
        assert_eq!(second.answer().await, decisions(1, &[true]));
        assert_eq!(first.answer().await, decisions(1, &[false]));
    }
}
