//! A node that stops answers what it has read, and says whether it could.

use std::sync::Arc;
use std::time::Duration;

use super::{Node, check, code_of};
use crate::protocol::client::Response;
use crate::protocol::frame::encode;
use crate::protocol::hello::ALPN_CLIENT;
use crate::server::Bounds;
use crate::transport::{CloseCode, Role};

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_was_read_is_answered_before_the_connection_is_closed() {
    let mut node = Node::start_on(Bounds::default(), 2);
    node.toy.keep(|kept| kept.synced = 0);
    let mut callers = Vec::new();
    for _ in 0..4 {
        let mut caller = node.caller().await;
        caller
            .say(&[check(1, &["fsync"]), check(2, &["deny"])])
            .await;
        assert_eq!(caller.answer().await.id, 2);
        callers.push(caller);
    }
    let idle = node.caller().await;
    node.server.shutdown(LONG);
    assert_eq!(idle.closed().await, CloseCode::ShuttingDown);
    node.toy.keep(|kept| kept.synced = 1);
    for caller in &mut callers {
        assert_eq!(caller.answer().await.id, 1);
        assert_eq!(caller.closed().await, CloseCode::ShuttingDown);
    }
    let config = node.config(Role::Client, ALPN_CLIENT);
    for running in std::mem::take(&mut node.running) {
        running.await.unwrap();
    }
    let endpoint_is_gone = async { node.try_connect(config).await.is_err() };
    let waited = tokio::time::timeout(Duration::from_millis(200), endpoint_is_gone);
    assert!(waited.await.unwrap_or(true));
    assert_eq!(*node.toy.connections.borrow(), 0);
}

#[tokio::test]
async fn a_drain_that_is_too_short_says_that_answers_are_missing() {
    let mut node = Node::start(Bounds::default());
    node.toy.keep(|kept| kept.synced = 0);
    let mut caller = node.caller().await;
    caller
        .say(&[check(1, &["fsync"]), check(2, &["deny"])])
        .await;
    assert_eq!(caller.answer().await.id, 2);
    node.server.shutdown(LONG);
    node.server.shutdown(Duration::ZERO);
    let end = caller.hear::<Response>().await;
    assert!(
        matches!(end, Err(None | Some(CloseCode::Interrupted))),
        "{end:?}"
    );
    assert_eq!(caller.closed().await, CloseCode::Interrupted);
    node.running.remove(0).await.unwrap();
}

#[tokio::test]
async fn who_has_not_said_hello_holds_no_shutdown_up() {
    let mut node = Node::start(Bounds {
        hello_timeout: LONG,
        ..Bounds::default()
    });
    let config = node.config(Role::Client, ALPN_CLIENT);
    let silent = node.try_connect(config).await.unwrap();
    node.server.shutdown(LONG);
    node.running.remove(0).await.unwrap();
    assert!(silent.close_reason().is_some() || silent.closed().await.to_string().len() > 1);
}

#[tokio::test]
async fn a_client_that_never_stops_sending_holds_no_shutdown_up() {
    let mut node = Node::start(Bounds::default());
    let mut caller = node.caller().await;
    let mut receive = caller.receive;
    let reading = tokio::spawn(async move {
        while let Ok(Some(_)) = receive.read_chunk(usize::MAX, true).await {}
    });
    let mut frames = Vec::new();
    for id in 0..1000 {
        encode(&check(id, &["free"]), &mut frames).unwrap();
    }
    let (server, toy) = (Arc::clone(&node.server), Arc::clone(&node.toy));
    let flood = async { while caller.send.write_all(&frames).await.is_ok() {} };
    let stop = async {
        while toy.batches.lock().len() < 5 {
            tokio::task::yield_now().await;
        }
        server.shutdown(LONG);
    };
    tokio::join!(flood, stop);
    assert_eq!(
        code_of(&caller.connection.closed().await),
        CloseCode::ShuttingDown
    );
    reading.await.unwrap();
    node.running.remove(0).await.unwrap();
}
