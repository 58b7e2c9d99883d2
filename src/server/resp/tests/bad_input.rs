//! What is no command, what never ends, and who never reads.

use super::*;
use crate::server::resp::parse::INLINE_BYTES_MAX;

#[tokio::test]
async fn a_broken_command_is_told_after_the_answers_before_it_and_closes() {
    let edge = Edge::start(Bounds::default(), None).await;
    let long = vec![b'x'; 300 * 1024];
    let cases: [(&[u8], &str); 5] = [
        (
            b"*1\r\n:1\r\n",
            "expected '$'; a command is an array of bulk strings",
        ),
        (
            b"*65\r\n",
            "invalid multibulk length; a command has at most 64 words",
        ),
        (b"ECHO \"a\n", "unbalanced quotes in request"),
        (&long, "too big inline request; it has at most 65536 bytes"),
        (
            b"POST / HTTP/1.1\r\n\r\nRATELIMIT free k\r\n",
            "this is not HTTP",
        ),
    ];
    for (said, why) in cases {
        let said = [b"PING\r\n", said].concat();
        let expected = format!("+PONG\r\n-ERR Protocol error: {why}\r\nclosed");
        assert_eq!(edge.answers(&said).await, expected);
    }
    assert!(edge.toy.batches.lock().is_empty());
}

#[tokio::test]
async fn a_broken_command_does_not_take_back_what_was_asked_before_it() {
    let edge = Edge::start(Bounds::default(), None).await;
    let answered = edge.answers(b"RATELIMIT free k\r\n*x\r\n").await;
    assert!(answered.starts_with("*5\r\n:0\r\n:1\r\n:0\r\n:-1\r\n:0\r\n-ERR Protocol error"));
}

#[tokio::test]
async fn half_a_command_and_a_silent_stranger_are_not_waited_for() {
    let bounds = Bounds {
        slow_frame_timeout: Duration::from_millis(20),
        hello_timeout: Duration::from_millis(20),
        ..Bounds::default()
    };
    let edge = Edge::start(bounds, None).await;
    let mut slow = edge.connect().await;
    let mut idle = edge.connect().await;
    slow.write_all(b"PING\r\n*1\r\n$4\r\nPI").await.unwrap();
    let mut heard = String::new();
    slow.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "+PONG\r\n");
    assert_eq!(
        talk(&mut idle, b"PING\r\n").await,
        "+PONG\r\n",
        "idle is not slow"
    );

    let locked = Edge::start(bounds, Some("p")).await;
    let mut stranger = locked.connect().await;
    let mut known = locked.connect().await;
    assert_eq!(talk(&mut known, b"AUTH p\r\n").await, "+OK\r\n");
    assert_eq!(stranger.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(talk(&mut known, b"PING\r\n").await, "+PONG\r\n");
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let bounds = Bounds {
        slow_reader_timeout: Duration::from_millis(20),
        ..Bounds::default()
    };
    let edge = Edge::start(bounds, None).await;
    let mut stream = edge.connect().await;
    let word = "x".repeat(INLINE_BYTES_MAX - 100);
    let said = format!("ECHO {word}\r\n");
    let mut sent = 0_usize;
    while stream.write_all(said.as_bytes()).await.is_ok() {
        sent += said.len();
        assert!(sent < 1 << 30, "it is never cut off");
    }
    assert_eq!(edge.answers(b"PING\r\n").await, "+PONG\r\n", "others go on");
}
