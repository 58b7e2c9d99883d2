//! Whatever a client sends, it gets a typed answer or end, and the others go on being served.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::{Caller, Node, check, hello};
use crate::protocol::client::{Response, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::hello::{ALPN_ADMIN, ALPN_CLIENT, Hello, HelloAnswer, VERSIONS};
use crate::server::Bounds;
use crate::transport::{CloseCode, Role};

async fn is_served(caller: &mut Caller) -> bool {
    caller.say(&[check(77, &["free"])]).await;
    let answer: Result<Response, _> = caller.hear().await;
    answer.is_ok_and(|answer| answer.id == 77)
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_answered_by_its_id() {
    let node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    // Id 9, a deadline, then: nothing, an unknown request, a check that is cut off, one too many.
    let cases: &[&[u8]] = &[
        &[9],
        &[9, 50],
        &[9, 50, 99],
        &[9, 50, 0, 1, 0],
        &[9, 50, 0, 0, 0],
    ];
    for body in cases {
        let mut frame = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        frame.extend_from_slice(body);
        caller.send.write_all(&frame).await.unwrap();
        let answer = caller.answer().await;
        assert_eq!(answer.id, 9);
        let malformed = matches!(
            answer.body,
            ResponseBody::Failed(WireError::Malformed { .. })
        );
        assert!(malformed, "{body:?}: {answer:?}");
    }
    assert!(is_served(&mut caller).await);
}

#[tokio::test]
async fn bytes_that_are_no_frame_end_their_stream_alone() {
    let node = Node::start(Bounds::default());
    let mut other = node.caller().await;
    let cases: &[(&str, &[u8])] = &[
        ("an empty frame", &[0, 0, 0, 0]),
        ("a length above the cap", &[1, 0, 1, 0]),
        ("an endless id", &[3, 0, 0, 0, 0xff, 0xff, 0xff]),
    ];
    for (what, bytes) in cases {
        let mut first = node.caller().await;
        let mut bad = Caller::open(first.connection.clone()).await;
        bad.send.write_all(bytes).await.unwrap();
        let end = bad.hear::<Response>().await;
        assert_eq!(end, Err(Some(CloseCode::BadFrame)), "{what}");
        assert!(is_served(&mut first).await);
    }
    let mut cut_off = Caller::open(other.connection.clone()).await;
    cut_off.send.write_all(&[5, 0, 0, 0, 1]).await.unwrap();
    cut_off.send.finish().unwrap();
    assert_eq!(
        cut_off.hear::<Response>().await,
        Err(Some(CloseCode::BadFrame))
    );
    assert!(is_served(&mut other).await);
}

#[tokio::test]
async fn random_bytes_never_disturb_other_connections() {
    let node = Node::start(Bounds {
        hello_timeout: Duration::from_millis(200),
        ..Bounds::default()
    });
    let mut other = node.caller().await;
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..60 {
        let greeted = node.caller().await;
        let mut bad = if round % 2 == 0 {
            Caller::open(greeted.connection).await
        } else {
            let config = node.config(Role::Client, ALPN_CLIENT);
            Caller::open(node.try_connect(config).await.unwrap()).await
        };
        let mut bytes = vec![0; random.random_range(1..3000)];
        random.fill_bytes(&mut bytes);
        if round % 3 == 0 {
            // A frame of a plausible length, so that its body is looked at.
            bytes.splice(..0, u32::try_from(bytes.len() / 2).unwrap().to_le_bytes());
        }
        // The node may end the stream before all is written.
        drop(bad.send.write_all(&bytes).await);
        assert!(is_served(&mut other).await, "round {round}");
    }
}

#[tokio::test]
async fn a_frame_whose_end_does_not_come_ends_its_stream_alone() {
    let node = Node::start(Bounds {
        slow_frame_timeout: Duration::from_millis(50),
        ..Bounds::default()
    });
    let mut first = node.caller().await;
    let mut slow = Caller::open(first.connection.clone()).await;
    slow.send.write_all(&[200, 0, 0, 0]).await.unwrap();
    // A byte now and then gives no more time.
    let dripping = async {
        while slow.send.write_all(&[1]).await.is_ok() {
            assert!(is_served(&mut first).await);
        }
    };
    dripping.await;
    let mut idle = Caller::open(first.connection.clone()).await;
    idle.send.write_all(&[200]).await.unwrap();
    assert_eq!(
        idle.hear::<Response>().await,
        Err(Some(CloseCode::SlowFrame))
    );
    assert!(is_served(&mut first).await);
}

#[tokio::test]
async fn who_does_not_say_hello_is_sent_away_with_the_reason() {
    let node = Node::start(Bounds {
        hello_timeout: Duration::from_millis(50),
        ..Bounds::default()
    });
    let connect = || node.try_connect(node.config(Role::Client, ALPN_CLIENT));

    let silent = connect().await.unwrap();
    let silent = Caller::open(silent).await;
    assert_eq!(silent.closed().await, CloseCode::NoHello);

    let mut half = Caller::open(connect().await.unwrap()).await;
    half.send.write_all(&[20, 0, 0, 0, 1]).await.unwrap();
    assert_eq!(half.closed().await, CloseCode::NoHello);

    let mut other = Caller::open(connect().await.unwrap()).await;
    other.say(&["not a hello"]).await;
    let answer: HelloAnswer = other.hear().await.unwrap();
    assert!(
        matches!(answer, Err(WireError::Malformed { .. })),
        "{answer:?}"
    );
    assert_eq!(other.closed().await, CloseCode::NoHello);

    let mut newer = Caller::open(connect().await.unwrap()).await;
    let versions = Hello {
        oldest: VERSIONS.1 + 1,
        newest: VERSIONS.1 + 8,
        ..hello()
    };
    newer.say(&[versions]).await;
    let answer: HelloAnswer = newer.hear().await.unwrap();
    let (oldest, newest) = VERSIONS;
    let expected = WireError::VersionMismatch { oldest, newest };
    assert_eq!(answer, Err(expected));
    assert_eq!(newer.closed().await, CloseCode::VersionMismatch);
    assert!(node.toy.batches.lock().is_empty());
}

#[tokio::test]
async fn a_role_that_may_not_speak_the_protocol_is_sent_away() {
    let node = Node::start(Bounds::default());
    for role in [Role::Client, Role::Node] {
        let config = node.config(role, ALPN_ADMIN);
        let connection = node.try_connect(config).await.unwrap();
        let caller = Caller::open(connection).await;
        assert_eq!(caller.closed().await, CloseCode::RoleRefused, "{role}");
    }
}
