//! The protocols that a node speaks beside QUIC: where each listens, shared out over the workers.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::error::StartError;
use crate::server::{Protocol, Server, Service, Task, serve_tcp};
use crate::transport::endpoint::bind_tcp;

/// Serves one protocol on one worker, inside its runtime.
pub(super) type Serve<S> = Box<dyn FnOnce(Arc<Server<S>>) -> Task<()> + Send>;

/// One protocol on one address.
pub(super) struct Edge<S> {
    address: SocketAddr,
    /// One for each worker that has not begun yet.
    workers: Vec<Serve<S>>,
}

impl<S: Service> Edge<S> {
    /// Binds `address` for so many workers, which will serve `protocol` there.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub(super) fn bind<P: Protocol<S>>(
        address: SocketAddr,
        workers: usize,
        protocol: &Arc<P>,
    ) -> Result<Self, StartError> {
        let sockets = bind_tcp(address, workers).map_err(StartError::Listen)?;
        let address = sockets
            .first()
            .and_then(|socket| socket.local_addr().ok())
            .unwrap_or(address);
        let workers = sockets.into_iter().map(|socket| -> Serve<S> {
            let protocol = Arc::clone(protocol);
            Box::new(move |server| {
                Box::pin(async move {
                    match TcpListener::from_std(socket) {
                        Ok(listener) => serve_tcp(server, listener, protocol).await,
                        Err(error) => {
                            tracing::error!(%address, %error, protocol = P::NAME, "cannot listen");
                        }
                    }
                })
            })
        });
        Ok(Self {
            address,
            workers: workers.collect(),
        })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the next worker is to run.
    pub(super) fn next_worker(&mut self) -> Option<Serve<S>> {
        self.workers.pop()
    }
}

impl<S> std::fmt::Debug for Edge<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
