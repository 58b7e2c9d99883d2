//! Accepts connections on a node's endpoints, and ends them all when the node stops.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quinn::{Endpoint, Incoming};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::admission::{Admission, Counted, Knock};
use super::bounds::Bounds;
use super::connection;
use super::peer_door::{PeerDoor, Stranger};
use super::service::Service;
use crate::transport::CloseCode;
use crate::types::MonoTime;

/// How long closed connections may take to say so to their peers, after the drain.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// The server of a node: one for all its runtimes, each of which runs it on an endpoint.
#[derive(Debug)]
pub(crate) struct Server<S> {
    service: Arc<S>,
    admission: Admission,
    clock: fn() -> MonoTime,
    /// Where other nodes are shown in; none in a node without a cluster.
    peer_door: OnceLock<Arc<dyn PeerDoor>>,
    /// How long to drain, once the node stops.
    stop: watch::Sender<Option<Duration>>,
}

/// Tells when the node stops.
#[derive(Debug, Clone)]
pub(crate) struct Stopping(watch::Receiver<Option<Duration>>);

impl Stopping {
    /// Whether the node stops.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Resolves when the node stops.
    pub(crate) fn begun(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.0.clone();
        async move {
            // An error says that the server is gone, which is a stop as well.
            drop(stop.wait_for(Option::is_some).await);
        }
    }
}

impl<S: Service> Server<S> {
    /// A server in front of `service`; `clock` is read to know how long requests were held up.
    pub(crate) fn new(service: Arc<S>, bounds: Bounds, clock: fn() -> MonoTime) -> Arc<Self> {
        Arc::new(Self {
            service,
            admission: Admission::new(bounds),
            clock,
            peer_door: OnceLock::new(),
            stop: watch::Sender::new(None),
        })
    }

    /// Lets other nodes in from now on. Only the first call counts.
    pub(crate) fn open_to_peers(&self, door: Arc<dyn PeerDoor>) {
        self.peer_door.get_or_init(|| door);
    }

    /// Accepts connections on `endpoint` until [`Server::shutdown`], then drains and closes them.
    /// Runs on the runtime that drives the endpoint; all its tasks do. Dropping the future ends
    /// them all at once.
    pub(crate) async fn run(self: Arc<Self>, endpoint: Endpoint) {
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(self.stopping().begun());
        loop {
            tokio::select! {
                biased;
                () = stop.as_mut() => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    report(ended);
                }
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => self.knock(incoming, &mut connections),
                    None => break,
                },
            }
        }
        endpoint.set_server_config(None);
        let all = async {
            while let Some(ended) = connections.join_next().await {
                report(ended);
            }
        };
        let drained = tokio::select! {
            () = all => true,
            () = self.drain_is_over() => false,
        };
        if !drained {
            let open = connections.len();
            tracing::warn!(
                open,
                "connections were cut off since they did not drain in time"
            );
        }
        let cut_off = CloseCode::Interrupted;
        endpoint.close(cut_off.number(), cut_off.as_str().as_bytes());
        connections.shutdown().await;
        if timeout(CLOSE_TIME, endpoint.wait_idle()).await.is_err() {
            tracing::debug!("some peers did not take notice of the end of their connections");
        }
    }

    /// Stops accepting: what was read is answered within `drain`, what was not is not counted.
    /// Every [`Server::run`] then ends. A later call can only shorten the drain, from then on.
    pub(crate) fn shutdown(&self, drain: Duration) {
        self.stop.send_if_modified(|stop| {
            let sooner = stop.is_none_or(|earlier| drain < earlier);
            if sooner {
                *stop = Some(drain);
            }
            sooner
        });
    }

    /// Resolves when the node need not wait for its connections any more.
    pub(super) async fn drain_is_over(&self) {
        let mut stop = self.stop.subscribe();
        loop {
            let drain = (*stop.borrow_and_update()).unwrap_or_default();
            match timeout(drain, stop.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    pub(super) fn peer_door(&self) -> Option<&dyn PeerDoor> {
        self.peer_door.get().map(|door| &**door)
    }

    /// Tells that somebody was not let in.
    pub(super) fn stranger(&self, address: SocketAddr, why: Stranger) {
        if let Some(door) = self.peer_door() {
            door.stranger(address, why);
        }
    }

    pub(crate) const fn service(&self) -> &Arc<S> {
        &self.service
    }

    pub(super) const fn admission(&self) -> &Admission {
        &self.admission
    }

    pub(super) fn now(&self) -> MonoTime {
        (self.clock)()
    }

    pub(super) fn stopping(&self) -> Stopping {
        Stopping(self.stop.subscribe())
    }

    /// Decides about a newcomer before anything is spent on it.
    fn knock(self: &Arc<Self>, incoming: Incoming, connections: &mut JoinSet<()>) {
        match self.admission.knock(incoming.remote_address_validated()) {
            Knock::Come {
                handshake,
                connection,
            } => {
                let presence = Presence::new(Arc::clone(self), connection);
                connections.spawn(connection::serve(presence, incoming, handshake));
            }
            Knock::ComeAgain => {
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            Knock::Refuse => {
                tracing::debug!(peer = %incoming.remote_address(), "connection refused: too many");
                self.service.turned_away();
                incoming.refuse();
            }
        }
    }
}

/// A connection that is counted until it is dropped.
#[derive(Debug)]
pub(super) struct Presence<S: Service> {
    pub(super) server: Arc<Server<S>>,
    counted: Option<Counted>,
}

impl<S: Service> Presence<S> {
    fn new(server: Arc<Server<S>>, counted: Counted) -> Self {
        let presence = Self {
            server,
            counted: Some(counted),
        };
        presence.tell();
        presence
    }

    /// Counts a connection that needs no handshake of ours; `None`, and it is counted as turned away,
    /// if there are too many.
    pub(super) fn admit(server: &Arc<Server<S>>) -> Option<Self> {
        match server.admission.knock(true) {
            Knock::Come { connection, .. } => Some(Self::new(Arc::clone(server), connection)),
            Knock::ComeAgain | Knock::Refuse => {
                server.service.turned_away();
                None
            }
        }
    }

    fn tell(&self) {
        let open = self.server.admission.connections();
        self.server.service.connections_changed(open);
    }
}

impl<S: Service> Drop for Presence<S> {
    fn drop(&mut self) {
        self.counted = None;
        self.tell();
    }
}

/// A task that panicked took its connection with it, and nothing else.
pub(super) fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task failed; this is a bug");
    }
}
