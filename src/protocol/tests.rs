//! What frames promise, whatever bytes arrive in whatever pieces.
#![cfg(feature = "server")]

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::admin::{AdminRequest, AdminResponse};
use super::batch::{BadRequest, BatchedBody, read_request};
use super::client::{
    Ask, BATCH_MAX, PolicyRef, Request, RequestBody, Response, ResponseBody, Target, WireDecision,
    WireSource,
};
use super::error::WireError;
use super::frame::{FRAME_BYTES_MAX, FrameBuffer, FrameError, decode, encode, encode_within};
use super::hello::{Hello, HelloAnswer};
use crate::types::{Decision, Grant, SlotTime, Source};

fn ask(key: &str) -> Ask<'_> {
    Ask {
        target: Target {
            policy: PolicyRef::Named("api"),
            key,
        },
        cost: 1,
    }
}

fn check(id: u64, keys: &[&'static str]) -> Request<'static> {
    Request {
        id,
        deadline_ms: 100,
        body: RequestBody::Check(keys.iter().map(|key| ask(key)).collect()),
    }
}

fn body_of(message: &impl serde::Serialize) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(message, &mut frame).unwrap();
    frame.split_off(4)
}

#[test]
fn a_frame_above_the_cap_leaves_the_output_as_it_was() {
    let mut out = b"before".to_vec();
    let text = "x".repeat(FRAME_BYTES_MAX);
    let too_large = Err(FrameError::TooLarge {
        max: FRAME_BYTES_MAX,
    });
    assert_eq!(encode(&text, &mut out), too_large);
    assert_eq!(out, b"before");
    assert_eq!(
        encode_within(2, &"ab", &mut out),
        Err(FrameError::TooLarge { max: 2 })
    );
    assert_eq!(encode_within(3, &"ab", &mut out), Ok(()));
    assert_eq!(out, b"before\x03\0\0\0\x02ab");
}

#[test]
fn an_announced_length_above_the_cap_is_refused_before_its_bytes_arrive() {
    let mut buffer = FrameBuffer::default();
    let above = u32::try_from(FRAME_BYTES_MAX).unwrap() + 1;
    buffer.push(&above.to_le_bytes());
    for _ in 0..2 {
        assert_eq!(
            buffer.take().unwrap_err(),
            FrameError::TooLarge {
                max: FRAME_BYTES_MAX
            }
        );
    }
    assert!(buffer.capacity() < 64);
}

#[test]
fn bytes_behind_a_message_are_refused() {
    let mut body = body_of(&7_u64);
    body.extend_from_slice(b"ab");
    assert_eq!(decode::<u64>(&body), Err(FrameError::Trailing { bytes: 2 }));
}

#[test]
fn a_buffer_gives_a_big_frames_memory_back() {
    let mut frame = Vec::new();
    encode(&"x".repeat(60_000), &mut frame).unwrap();
    let mut buffer = FrameBuffer::default();
    buffer.push(&frame);
    assert!(buffer.take().unwrap().is_some());
    assert_eq!(buffer.take().unwrap(), None);
    assert!(buffer.is_empty());
    assert!(buffer.capacity() <= 32 * 1024, "{}", buffer.capacity());
}

#[test]
fn the_largest_batch_of_the_largest_decisions_fits_in_a_frame() {
    let decision = WireDecision {
        allowed: true,
        shadow_denied: true,
        limit: u64::MAX,
        remaining: u64::MAX,
        reset_after_ms: u64::MAX,
        retry_after_ms: u64::MAX,
        source: WireSource::Degraded,
        granted_at_ms: Some(u64::MAX),
    };
    let response = Response {
        id: u64::MAX,
        body: ResponseBody::Decisions(vec![Ok(decision); BATCH_MAX]),
    };
    assert_eq!(encode(&response, &mut Vec::new()), Ok(()));
}

#[test]
fn a_batch_above_the_bound_is_told_before_its_checks_are_read() {
    for (variant, count) in [(0_u32, 1025_u32), (1, u32::MAX)] {
        let body = postcard::to_stdvec(&(9_u64, 100_u32, variant, count)).unwrap();
        let expected = BadRequest {
            id: Some(9),
            error: WireError::BatchTooLarge {
                items: count,
                max: 1024,
            },
        };
        let (mut checks, mut peeks) = (Vec::new(), Vec::new());
        assert_eq!(read_request(&body, &mut checks, &mut peeks), Err(expected));
        assert_eq!((checks.capacity(), peeks.capacity()), (0, 0));
        assert!(decode::<Request<'_>>(&body).is_err());
    }
}

#[test]
fn a_cut_off_batch_leaves_no_checks_behind() {
    let body = body_of(&check(3, &["one", "two", "three"]));
    for end in 0..body.len() {
        let mut checks = vec![ask("earlier")];
        let error = read_request(&body[..end], &mut checks, &mut Vec::new()).unwrap_err();
        assert_eq!(error.id, (end > 0).then_some(3), "cut to {end} bytes");
        assert_eq!(checks, [ask("earlier")]);
    }
}

#[test]
fn a_decision_comes_back_as_it_was_sent() {
    let sent = Decision {
        reset_after: Duration::from_micros(1500),
        retry_after: Duration::from_nanos(1),
        shadow_denied: true,
        grant: Some(Grant {
            at: SlotTime::from_ms(77),
            cost: 5,
        }),
        ..Decision::new(true, 10, 4, Source::Proxied)
    };
    // Waits are whole milliseconds on the wire, rounded up.
    let expected = Decision {
        reset_after: Duration::from_millis(2),
        retry_after: Duration::from_millis(1),
        ..sent
    };
    assert_eq!(WireDecision::from(&sent).decision(5), expected);
}

prop_compose! {
    fn any_target()(
        policy in "[a-z]{0,8}",
        key in ".{0,20}",
        limits in proptest::option::of(vec(any::<(u64, u64)>(), 0..5)),
    ) -> (String, String, Option<Vec<(u64, u64)>>) {
        (policy, key, limits)
    }
}

type AnyTarget = (String, String, Option<Vec<(u64, u64)>>);

fn target((policy, key, limits): &AnyTarget) -> Target<'_> {
    let policy = match limits {
        None => PolicyRef::Named(policy),
        Some(limits) => PolicyRef::Carried {
            name: policy,
            limits: limits.clone(),
        },
    };
    Target { policy, key }
}

fn body(which: u8, numbers: (u64, u64), targets: &[AnyTarget]) -> RequestBody<'_> {
    let asks = || {
        let ask = |given| Ask {
            target: target(given),
            cost: numbers.0,
        };
        targets.iter().map(ask).collect()
    };
    let target = target(&targets[0]);
    let (reservation, actual) = numbers;
    match which {
        0 => RequestBody::Check(asks()),
        1 => RequestBody::Peek(asks()),
        2 => RequestBody::Refund {
            target,
            at_ms: numbers.0,
            cost: numbers.1,
        },
        3 => RequestBody::Reserve {
            ask: Ask {
                target,
                cost: numbers.0,
            },
            ttl_ms: numbers.1,
        },
        4 => RequestBody::Settle {
            target,
            reservation,
            actual,
        },
        5 => RequestBody::Cancel {
            target,
            reservation,
        },
        _reset => RequestBody::Reset { target },
    }
}

proptest! {
    #[test]
    fn requests_are_read_alike_singly_and_in_a_batch(
        id: u64,
        deadline_ms: u32,
        which in 0_u8..7,
        numbers: (u64, u64),
        targets in vec(any_target(), 1..6),
    ) {
        let request = Request { id, deadline_ms, body: body(which, numbers, &targets) };
        let bytes = body_of(&request);
        let single = decode::<Request<'_>>(&bytes);
        prop_assert_eq!(single.as_ref(), Ok(&request));

        let (mut checks, mut peeks) = (Vec::new(), Vec::new());
        let batched = read_request(&bytes, &mut checks, &mut peeks).unwrap();
        prop_assert_eq!((batched.id, batched.deadline_ms), (id, deadline_ms));
        let read = match batched.body {
            BatchedBody::Check(range) => RequestBody::Check(checks.drain(range).collect()),
            BatchedBody::Peek(range) => RequestBody::Peek(peeks.drain(range).collect()),
            BatchedBody::Command(command) => command,
        };
        prop_assert_eq!(read, request.body);
        prop_assert!(checks.is_empty() && peeks.is_empty());
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_take_memory_only_in_proportion(
        bytes in vec(any::<u8>(), 0..2000),
    ) {
        let (mut checks, mut peeks) = (Vec::new(), Vec::new());
        let single = decode::<Request<'_>>(&bytes).is_ok();
        let batched = read_request(&bytes, &mut checks, &mut peeks);
        prop_assert_eq!(single, batched.is_ok());
        prop_assert!(checks.capacity().max(peeks.capacity()) <= bytes.len().max(4));
        for outcome in [
            decode::<Response>(&bytes).err(),
            decode::<HelloAnswer>(&bytes).err(),
            decode::<Hello>(&bytes).err(),
            decode::<AdminRequest<'_>>(&bytes).err(),
            decode::<AdminResponse>(&bytes).err(),
        ] {
            let too_large = matches!(outcome, Some(FrameError::TooLarge { .. }));
            prop_assert!(!too_large);
        }

        let mut buffer = FrameBuffer::with_max(500);
        for piece in bytes.chunks(7) {
            buffer.push(piece);
            while let Ok(Some(body)) = buffer.take() {
                prop_assert!(body.len() <= 500);
            }
        }
    }

    #[test]
    fn frames_come_out_whole_wherever_they_are_split(
        bodies in vec(vec(any::<u8>(), 0..300), 0..20),
        cuts in vec(1_usize..200, 1..50),
        one_by_one: bool,
    ) {
        let mut stream = Vec::new();
        for body in &bodies {
            stream.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
            stream.extend_from_slice(body);
        }
        let mut buffer = FrameBuffer::default();
        let mut seen = Vec::new();
        let mut rest = stream.as_slice();
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            buffer.push(piece);
            if one_by_one {
                while let Some(body) = buffer.take().unwrap() {
                    seen.push(body.to_vec());
                }
            } else {
                let mut frames = buffer.frames();
                seen.extend(frames.by_ref().map(|frame| frame.unwrap().to_vec()));
                let done = frames.seen();
                buffer.consume(done);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(seen, bodies);
        prop_assert!(buffer.is_empty());
    }
}
