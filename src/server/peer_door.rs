//! Where other nodes are shown in. Who they are and what becomes of them is decided behind the door.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use quinn::Connection;

use super::connection::serve_requests;
use super::hello::Greeted;
use super::quic::Server;
use super::service::Service;
use crate::transport::CloseCode;
use crate::types::NodeId;

/// A visit under way. Dropped when the node stops.
pub(crate) type Visit<'a> = Pin<Box<dyn Future<Output = Visited> + Send + 'a>>;

/// What has become of a connection of another node.
#[derive(Debug)]
pub(crate) enum Visited {
    /// It asks for decisions: serve its streams.
    Requests(Visitor),
    /// It is over; the code to close it with, unless it is gone already.
    Over(Option<CloseCode>),
}

/// A node that was let in to ask.
#[derive(Debug)]
pub(crate) struct Visitor {
    /// Which one, as its certificate and the roster say.
    pub(crate) from: NodeId,
    /// The stream of its hello, which goes on as the first one for requests.
    pub(crate) greeted: Greeted,
}

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// The handshake failed: no certificate, or another authority's.
    Handshake,
    /// The certificate's role may not speak the protocol that was asked for.
    Role,
}

/// Takes the connections of other nodes.
pub(crate) trait PeerDoor: fmt::Debug + Send + Sync + 'static {
    /// Takes a connection of `drl-peer/1`, whose certificate is a node's, to its end or until it
    /// turns out to be for requests.
    fn visit<'a>(&'a self, connection: &'a Connection) -> Visit<'a>;

    /// Is told of everybody who was not let in, whatever they wanted to speak.
    fn stranger(&self, address: SocketAddr, why: Stranger);
}

/// Has another node shown in, and serves its requests if that is what it came for; the code to
/// close the connection with, unless it is gone already.
pub(super) async fn serve<S: Service>(
    server: &Arc<Server<S>>,
    connection: &Connection,
) -> Option<CloseCode> {
    let Some(door) = server.peer_door() else {
        return Some(CloseCode::RoleRefused);
    };
    let visited = tokio::select! {
        visited = door.visit(connection) => visited,
        () = server.stopping().begun() => return Some(CloseCode::ShuttingDown),
    };
    match visited {
        Visited::Requests(visitor) => {
            tracing::debug!(node = %visitor.from, "another node passes requests on");
            serve_requests(server, connection, visitor.greeted).await
        }
        Visited::Over(code) => code,
    }
}
