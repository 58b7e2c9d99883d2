//! Accepts TCP connections for the protocols beside QUIC, under the same bounds, and ends them when
//! the node stops.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::desk::Desk;
use super::quic::{Presence, Server, Stopping, report};
use super::service::Service;

/// How long to wait after a connection could not be accepted, as when no file descriptor is left:
/// some may be closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A protocol over TCP.
pub(crate) trait Protocol<S: Service>: Send + Sync + 'static {
    /// Its name, for logs.
    const NAME: &'static str;

    /// Serves one connection to its end. Once `stopping` has begun it answers what it has read, and
    /// ends; the caller drops it when the drain is over.
    fn serve(
        self: Arc<Self>,
        stream: TcpStream,
        desk: Desk<S>,
        stopping: Stopping,
    ) -> impl Future<Output = ()> + Send;
}

/// Accepts connections on `listener` until the server stops, then drains and ends them. Runs on the
/// runtime that drives the listener. Dropping the future ends them all at once.
pub(crate) async fn serve<S: Service, P: Protocol<S>>(
    server: Arc<Server<S>>,
    listener: TcpListener,
    protocol: Arc<P>,
) {
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(server.stopping().begun());
    loop {
        tokio::select! {
            biased;
            () = stop.as_mut() => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let Some(presence) = Presence::admit(&server) else {
                        tracing::debug!(%peer, protocol = P::NAME, "connection refused: too many");
                        continue;
                    };
                    // Answers are small and somebody waits for each.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%peer, %error, "connection lost");
                        continue;
                    }
                    let desk = Desk::new(Arc::clone(&server));
                    let work = Arc::clone(&protocol).serve(stream, desk, server.stopping());
                    connections.spawn(async move {
                        work.await;
                        drop(presence);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, protocol = P::NAME, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    let drained = tokio::select! {
        () = all => true,
        () = server.drain_is_over() => false,
    };
    if !drained {
        let open = connections.len();
        tracing::warn!(
            open,
            protocol = P::NAME,
            "connections were cut off since they did not drain in time"
        );
    }
    connections.shutdown().await;
}
