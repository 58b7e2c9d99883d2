//! Clients that were idle while their whole cluster restarted: all connections are dead, and neither
//! end of the client knows.

use super::routing::Two;
use super::toy::{Peer, granted};
use crate::client::{CheckError, ResendLost};

/// The nodes' new connections, once the client has found both old ones dead.
async fn restart(two: &mut Two, other: &mut Peer) -> [Peer; 2] {
    // The owner of the second key first, then who is asked in its stead.
    other.frame().await;
    other.close();
    two.peer.frame().await;
    two.peer.close();
    let (first, second) = tokio::join!(two.first.greet(), two.second.greet());
    [first, second]
}

#[tokio::test]
async fn the_first_check_after_a_restart_of_all_nodes_is_decided() {
    let (mut two, mut other) = Two::connected().await;
    let (client, key) = (two.client.clone(), two.keys[1].clone());
    let call = async { client.check("api", &key).await };
    let script = async {
        let [mut first, mut second] = restart(&mut two, &mut other).await;
        let (asked, frame) = tokio::select! {
            frame = first.frame() => (&mut first, frame),
            frame = second.frame() => (&mut second, frame),
        };
        asked.decide(&frame, |_| Ok(granted(8))).await;
        [first, second]
    };
    let (decision, _peers) = tokio::join!(call, script);
    assert_eq!(decision.unwrap().remaining, 8);
}

#[tokio::test]
async fn what_is_lost_on_a_connection_that_lived_is_not_sent_again_for_ever() {
    let (mut two, mut other) = Two::connected().await;
    let (client, key) = (two.client.clone(), two.keys[1].clone());
    let call = async { client.check("api", &key).await };
    let script = async {
        let [mut first, mut second] = restart(&mut two, &mut other).await;
        tokio::select! {
            _ = first.frame() => first.close(),
            _ = second.frame() => second.close(),
        }
    };
    let (error, ()) = tokio::join!(call, script);
    assert!(
        matches!(error, Err(CheckError::ConnectionLost)),
        "{error:?}"
    );
}

#[tokio::test]
async fn who_wants_nothing_sent_twice_is_told_of_the_first_dead_connection() {
    let (two, mut other) = Two::connected().await;
    let client = two.client.with_resend_lost(ResendLost::Never);
    let call = async { client.check("api", &two.keys[1]).await };
    let script = async {
        other.frame().await;
        other.close();
    };
    let (error, ()) = tokio::join!(call, script);
    assert!(
        matches!(error, Err(CheckError::ConnectionLost)),
        "{error:?}"
    );
}
