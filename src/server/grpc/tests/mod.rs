//! A whole node behind the router, asked over real connections by real clients.

mod bad_input;
mod health;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use super::{EnvoyCounts, GrpcSetup, routes};
use crate::config::PolicyFile;
use crate::testing::Server;

/// What the wall clock shows.
const WALL_MS: u64 = 1_700_000_000_000;

/// A node with this `limits.toml`, and its router behind a port.
pub(super) struct Bed {
    node: Server,
    pub(super) router: Router,
    pub(super) ready: watch::Sender<bool>,
    pub(super) envoy: Arc<EnvoyCounts>,
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Bed {
    pub(super) async fn start(limits: &str) -> Self {
        let set = PolicyFile::parse("limits.toml", limits).unwrap().value;
        let node = Server::start_with(&set, |_| {}).unwrap();
        let ready = watch::Sender::new(true);
        let envoy = Arc::new(EnvoyCounts::default());
        let setup = GrpcSetup {
            ready: ready.subscribe(),
            wall_ms: || WALL_MS,
            envoy: Arc::clone(&envoy),
        };
        let router = routes(node.node().desk(), setup);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let running = tokio::spawn(serve(listener, router.clone()));
        Self {
            node,
            router,
            ready,
            envoy,
            address,
            running,
        }
    }

    /// Puts another `limits.toml` in force.
    fn set(&self, limits: &str) {
        let set = PolicyFile::parse("limits.toml", limits).unwrap().value;
        self.node.node().set_policies(&set).unwrap();
    }

    pub(super) fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        endpoint.unwrap().connect_lazy()
    }
}

/// As the listener does it: HTTP/1.1 and h2c on one port.
async fn serve(listener: TcpListener, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let server = auto::Builder::new(TokioExecutor::new());
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
