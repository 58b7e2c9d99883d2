//! What there is too much of is turned away, and only that.

use std::sync::Arc;
use std::time::Duration;

use quinn::{TransportConfig, VarInt};

use super::{Caller, Node, check};
use crate::protocol::client::{BATCH_MAX, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::frame::encode;
use crate::protocol::hello::ALPN_CLIENT;
use crate::server::Bounds;
use crate::transport::{CloseCode, Role};

#[tokio::test]
async fn checks_above_the_bound_in_flight_are_told_when_to_come_again() {
    let overloaded = ResponseBody::Failed(WireError::Overloaded { retry_ms: 20 });
    for (in_flight_max, in_flight_total_max) in [(4, 1000), (1000, 4)] {
        let node = Node::start(Bounds {
            in_flight_max,
            in_flight_total_max,
            ..Bounds::default()
        });
        node.toy.keep(|kept| kept.synced = 0);
        let mut caller = node.caller().await;
        // Three wait, then a fourth; whatever comes after it is turned away.
        for (id, checks) in [(1, 3), (2, 1)] {
            caller.say(&[check(id, &["fsync"; 3][..checks])]).await;
            node.toy.decided(checks).await;
        }
        caller.say(&[check(3, &["deny"])]).await;
        let third = caller.answer().await;
        assert_eq!((third.id, third.body), (3, overloaded.clone()));
        assert_eq!(*node.toy.turned_away.lock(), 1);

        node.toy.keep(|kept| kept.synced = 1);
        for id in [1, 2] {
            assert_eq!(caller.answer().await.id, id);
        }
        caller.say(&[check(4, &["fsync"; 4])]).await;
        let fourth = caller.answer().await;
        assert!(
            matches!(fourth.body, ResponseBody::Decisions(_)),
            "{fourth:?}"
        );
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_closed_alone() {
    for bounds in [
        Bounds {
            slow_reader_timeout: Duration::from_millis(100),
            ..Bounds::default()
        },
        Bounds {
            unread_total_max: 1000,
            ..Bounds::default()
        },
    ] {
        let node = Node::start(bounds);
        let mut other = node.caller().await;
        let mut config = node.config(Role::Client, ALPN_CLIENT);
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(2000));
        config.transport_config(Arc::new(transport));
        let connection = node.try_connect(config).await.unwrap();
        let mut deaf = Caller::greet(connection).await;
        let mut frames = Vec::new();
        encode(&check(1, &["deny"; BATCH_MAX]), &mut frames).unwrap();
        let flood = async { while deaf.send.write_all(&frames).await.is_ok() {} };
        flood.await;
        assert_eq!(deaf.closed().await, CloseCode::SlowReader);
        other.say(&[check(9, &["free"])]).await;
        assert_eq!(other.answer().await.id, 9);
    }
}

#[tokio::test]
async fn connections_above_the_bound_are_refused_until_one_ends() {
    let node = Node::start(Bounds {
        connections_max: 2,
        ..Bounds::default()
    });
    let (first, mut second) = (node.caller().await, node.caller().await);
    let config = || node.config(Role::Client, ALPN_CLIENT);
    assert!(node.try_connect(config()).await.is_err());
    assert_eq!(*node.toy.turned_away.lock(), 1);
    second.say(&[check(1, &["free"])]).await;
    assert_eq!(second.answer().await.id, 1);

    let mut open = node.toy.connections.subscribe();
    assert_eq!(*open.borrow_and_update(), 2);
    first.connection.close(VarInt::from_u32(0), b"");
    open.wait_for(|open| *open == 1).await.unwrap();
    assert!(node.try_connect(config()).await.is_ok());
}

/// Of 300 handshakes, or as many as `HANDSHAKES` says: `HANDSHAKES=10000 cargo test --lib storm`.
#[tokio::test]
async fn a_storm_of_handshakes_leaves_nothing_behind() {
    let wanted = std::env::var("HANDSHAKES").map_or(300, |wanted| wanted.parse().unwrap());
    let node = Node::start(Bounds {
        handshakes_before_retry: 4,
        handshakes_max: 8,
        ..Bounds::default()
    });
    let mut other = node.caller().await;
    let config = node.config(Role::Client, ALPN_CLIENT);
    let endpoint = crate::transport::endpoint::client_endpoint(node.address).unwrap();
    let mut refused = 0;
    for _ in 0..wanted / 30 {
        let storm: Vec<_> = (0..30)
            .map(|_| endpoint.connect_with(config.clone(), node.address, "localhost"))
            .map(|connecting| tokio::spawn(connecting.unwrap().into_future()))
            .collect();
        for connecting in storm {
            match connecting.await.unwrap() {
                Ok(connection) => connection.close(VarInt::from_u32(0), b""),
                Err(_) => refused += 1,
            }
        }
        other.say(&[check(1, &["free"])]).await;
        assert_eq!(other.answer().await.id, 1);
    }
    assert!(refused < wanted / 30 * 30, "nobody got in");
    let mut open = node.toy.connections.subscribe();
    open.wait_for(|open| *open == 1).await.unwrap();
}
