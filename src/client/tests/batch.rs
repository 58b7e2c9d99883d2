//! What is queued arrives in the frames, once, in order, byte for byte as the protocol writes it.

use std::time::Duration;

use proptest::prelude::*;

use crate::client::batch::{
    ASK_BYTES_MAX, CHECK_VARIANT, MERGED_CHECKS_MAX, PEEK_VARIANT, Queue, Whole, encode_ask,
    encode_checks, remaining_ms,
};
use crate::client::pending::{Expecting, Sent};
use crate::client::waiters::{WaiterId, Waiters};
use crate::protocol::client::{Ask, PolicyRef, Request, RequestBody, Target};
use crate::protocol::frame::{self, FrameBuffer};

const NOW: Duration = Duration::from_millis(100);
const DEADLINE: Duration = Duration::from_millis(600);

fn ask(key: &str, cost: u64) -> Ask<'_> {
    Ask {
        target: Target {
            policy: PolicyRef::Named("api"),
            key,
        },
        cost,
    }
}

fn push(queue: &mut Queue, waiters: &mut Waiters, ask: &Ask<'_>) -> WaiterId {
    let waiter = waiters.enter(DEADLINE, None).unwrap();
    let mut room = [0; ASK_BYTES_MAX];
    queue.push_check(encode_ask(ask, &mut room).unwrap(), waiter, DEADLINE);
    waiter
}

fn pop_all(queue: &mut Queue, still_waits: impl Fn(WaiterId) -> bool) -> (FrameBuffer, Vec<Sent>) {
    let (mut out, mut sent) = (Vec::new(), Vec::new());
    let mut id = 0;
    while queue.next_checks().is_some() {
        id += 1;
        sent.extend(queue.pop_frame(NOW, id, &mut out, &still_waits));
    }
    let mut frames = FrameBuffer::default();
    frames.push(&out);
    (frames, sent)
}

#[test]
fn the_longest_check_fits_its_room() {
    let (name, key) = ("n".repeat(64), "k".repeat(256));
    let longest = Ask {
        target: Target {
            policy: PolicyRef::Carried {
                name: &name,
                limits: vec![(u64::MAX, u64::MAX); 4],
            },
            key: &key,
        },
        cost: u64::MAX,
    };
    assert!(encode_ask(&longest, &mut [0; ASK_BYTES_MAX]).is_some());
}

#[test]
fn a_merged_frame_is_byte_for_byte_what_the_protocol_writes() {
    let (mut queue, mut waiters) = (Queue::default(), Waiters::new(8));
    let asks = [ask("a", 1), ask("b", 300), ask("c", 0)];
    for ask in &asks {
        push(&mut queue, &mut waiters, ask);
    }
    let mut expected = Vec::new();
    let request = Request {
        id: 77_000,
        deadline_ms: 500,
        body: RequestBody::Check(asks.to_vec()),
    };
    frame::encode(&request, &mut expected).unwrap();
    let mut out = Vec::new();
    let sent = queue.pop_frame(NOW, 77_000, &mut out, |_| true).unwrap();
    assert_eq!(out, expected);
    assert_eq!((sent.checks, sent.deadline), (3, DEADLINE));
}

#[test]
fn a_whole_request_is_byte_for_byte_what_the_protocol_writes() {
    let (mut queue, mut waiters) = (Queue::default(), Waiters::new(8));
    let body = RequestBody::Reset {
        target: ask("a", 1).target,
    };
    queue.push_whole(Whole {
        body: postcard::to_stdvec(&body).unwrap().into(),
        checks: 1,
        waiter: waiters.enter(DEADLINE, None).unwrap(),
        deadline: DEADLINE,
    });
    let mut expected = Vec::new();
    let request = Request {
        id: 3,
        deadline_ms: 500,
        body,
    };
    frame::encode(&request, &mut expected).unwrap();
    let mut out = Vec::new();
    queue.pop_frame(NOW, 3, &mut out, |_| true).unwrap();
    assert_eq!(out, expected);
}

#[test]
fn a_list_of_checks_is_byte_for_byte_what_the_protocol_writes() {
    let asks = vec![ask("a", 1), ask("b", 300)];
    let mut encoded = Vec::new();
    for ask in &asks {
        encoded.extend_from_slice(encode_ask(ask, &mut [0; ASK_BYTES_MAX]).unwrap());
    }
    for (variant, body) in [
        (CHECK_VARIANT, RequestBody::Check(asks.clone())),
        (PEEK_VARIANT, RequestBody::Peek(asks)),
    ] {
        let expected = postcard::to_stdvec(&body).unwrap();
        assert_eq!(encode_checks(variant, 2, &encoded), expected);
    }
}

#[test]
fn requests_keep_the_order_in_which_they_were_pushed() {
    let (mut queue, mut waiters) = (Queue::default(), Waiters::new(8));
    push(&mut queue, &mut waiters, &ask("a", 1));
    queue.push_whole(Whole {
        body: vec![0; 3].into(),
        checks: 9,
        waiter: waiters.enter(DEADLINE, None).unwrap(),
        deadline: DEADLINE,
    });
    push(&mut queue, &mut waiters, &ask("b", 1));
    let (_, sent) = pop_all(&mut queue, |_| true);
    assert_eq!(
        sent.iter().map(|sent| sent.checks).collect::<Vec<_>>(),
        [1, 9, 1]
    );
}

#[test]
fn a_frame_holds_no_more_checks_than_it_may() {
    let (mut queue, mut waiters) = (Queue::default(), Waiters::new(2000));
    for _ in 0..=MERGED_CHECKS_MAX {
        push(&mut queue, &mut waiters, &ask("k", 1));
    }
    let (_, sent) = pop_all(&mut queue, |_| true);
    let checks: Vec<_> = sent.iter().map(|sent| sent.checks).collect();
    assert_eq!(checks, [MERGED_CHECKS_MAX, 1]);
}

#[test]
fn what_is_left_of_a_deadline_is_rounded_up_and_never_nothing() {
    let ms = Duration::from_millis;
    for (deadline, now, expected) in [
        (ms(600), ms(100), 500),
        (Duration::from_nanos(1_000_001), ms(0), 2),
        (ms(5), ms(5), 1),
        (ms(5), ms(9), 1),
        (Duration::MAX, ms(0), u32::MAX),
    ] {
        assert_eq!(remaining_ms(deadline, now), expected);
    }
}

proptest! {
    /// The model is the list of checks whose callers still wait, in order.
    #[test]
    fn frames_hold_exactly_the_checks_that_somebody_waits_for(
        checks in prop::collection::vec(("[a-z]{1,256}", any::<u64>(), any::<bool>()), 0..600),
    ) {
        let (mut queue, mut waiters) = (Queue::default(), Waiters::new(1000));
        let mut gone = Vec::new();
        let mut expected = Vec::new();
        for (key, cost, waits) in &checks {
            let waiter = push(&mut queue, &mut waiters, &ask(key, *cost));
            if *waits {
                expected.push((waiter, key.clone(), *cost));
            } else {
                gone.push(waiter);
            }
        }
        let (mut frames, sent) = pop_all(&mut queue, |waiter| !gone.contains(&waiter));
        let mut found = Vec::new();
        for sent in sent {
            let body = frames.take().unwrap().unwrap().to_vec();
            let request: Request<'_> = frame::decode(&body).unwrap();
            let RequestBody::Check(asks) = request.body else { panic!("{request:?}") };
            let Expecting::Each(waiters) = sent.expecting else { panic!("{sent:?}") };
            prop_assert_eq!(asks.len(), sent.checks);
            prop_assert_eq!(asks.len(), waiters.len());
            for (ask, waiter) in asks.into_iter().zip(waiters) {
                found.push((waiter, ask.target.key.to_owned(), ask.cost));
            }
        }
        prop_assert_eq!(found, expected);
        prop_assert!(frames.take().unwrap().is_none());
    }
}
