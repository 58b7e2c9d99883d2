//! One connection: handshake, role, hello, then its streams until it ends or the node stops.

use std::sync::Arc;

use quinn::{Connection, ConnectionError, Incoming, TransportErrorCode};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::admission::Counted;
use super::hello::Greeted;
use super::peer_door::Stranger;
use super::quic::{Presence, Server};
use super::service::{Service, Via};
use super::stream::{End, Stream};
use super::{admin, hello, peer_door};
use crate::protocol::frame::FrameBuffer;
use crate::transport::CloseCode;
use crate::transport::tls::{Alpn, Peer};

/// Serves a newcomer to the end of its connection.
pub(super) async fn serve<S: Service>(
    presence: Presence<S>,
    incoming: Incoming,
    handshake: Counted,
) {
    let server = &presence.server;
    let address = incoming.remote_address();
    let limit = server.admission().bounds.handshake_timeout;
    let shaken = timeout(limit, async { incoming.accept()?.await });
    let connection = tokio::select! {
        shaken = shaken => match shaken {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                tracing::debug!(peer = %address, %error, "handshake failed");
                if !is_given_up(&error) {
                    server.stranger(address, Stranger::Handshake);
                }
                return;
            }
            Err(_elapsed) => {
                tracing::debug!(peer = %address, "handshake took too long");
                return;
            }
        },
        () = server.stopping().begun() => return,
    };
    drop(handshake);
    let code = match admitted(&connection) {
        Some(Alpn::Peer) => peer_door::serve(server, &connection).await,
        Some(alpn) => serve_client(server, &connection, alpn).await,
        None => {
            server.stranger(address, Stranger::Role);
            Some(CloseCode::RoleRefused)
        }
    };
    match code {
        Some(code @ CloseCode::SlowReader) => {
            tracing::warn!(peer = %address, "connection closed: {code}");
        }
        Some(code) => tracing::debug!(peer = %address, "connection closed: {code}"),
        None => tracing::debug!(peer = %address, "connection ended by its peer"),
    }
    if let Some(code) = code {
        connection.close(code.number(), code.as_str().as_bytes());
    }
}

/// Whether the other side has just thought better of it, or is gone: it has not refused this node's
/// certificate, nor this node its one.
fn is_given_up(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::ConnectionClosed(close) => {
            close.error_code == TransportErrorCode::APPLICATION_ERROR
        }
        ConnectionError::ApplicationClosed(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed => true,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::CidsExhausted => false,
    }
}

/// The protocol, if the peer's certificate has a role that may speak it.
fn admitted(connection: &Connection) -> Option<Alpn> {
    let alpn = Alpn::of(connection)?;
    let peer = Peer::of(connection);
    if alpn.admits(peer) {
        return Some(alpn);
    }
    tracing::debug!(peer = %connection.remote_address(), ?peer, needed = %alpn.needed(), "role refused");
    None
}

/// Serves a client or an admin; the code to close the connection with, unless it is gone already.
async fn serve_client<S: Service>(
    server: &Arc<Server<S>>,
    connection: &Connection,
    alpn: Alpn,
) -> Option<CloseCode> {
    let greeted = tokio::select! {
        greeted = hello::exchange(server, connection) => match greeted {
            Ok(greeted) => greeted,
            Err(code) => return Some(code),
        },
        () = server.stopping().begun() => return Some(CloseCode::ShuttingDown),
    };
    match alpn {
        Alpn::Client | Alpn::Peer => {
            let kind = Kind::Requests(Via::Caller);
            accept_streams(server, connection, kind, Some(greeted)).await
        }
        Alpn::Admin => {
            drop(greeted);
            accept_streams(server, connection, Kind::Admin, None).await
        }
    }
}

/// Serves the streams of a node that passes requests on, and whose hello was answered on `first`;
/// the code to close the connection with, unless it is gone already.
pub(crate) async fn serve_requests<S: Service>(
    server: &Arc<Server<S>>,
    connection: &Connection,
    first: Greeted,
) -> Option<CloseCode> {
    accept_streams(server, connection, Kind::Requests(Via::Proxy), Some(first)).await
}

/// What the streams of a connection carry.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Requests(Via),
    Admin,
}

/// Serves all streams; the code to close the connection with, unless it is gone already.
async fn accept_streams<S: Service>(
    server: &Arc<Server<S>>,
    connection: &Connection,
    kind: Kind,
    first: Option<Greeted>,
) -> Option<CloseCode> {
    let stopping = server.stopping();
    let mut stop = std::pin::pin!(stopping.begun());
    let mut streams = JoinSet::new();
    let start = |(send, receive, buffer), streams: &mut JoinSet<End>| match kind {
        Kind::Requests(via) => {
            let stream = Stream::new(
                Arc::clone(server),
                via,
                (connection.clone(), send, receive),
                buffer,
            );
            streams.spawn(stream.serve(stopping.clone()));
        }
        Kind::Admin => {
            streams.spawn(admin::serve(Arc::clone(server), send, receive));
        }
    };
    if let Some(first) = first {
        start(first, &mut streams);
    }
    loop {
        tokio::select! {
            biased;
            () = stop.as_mut() => break,
            Some(ended) = streams.join_next(), if !streams.is_empty() => {
                if let Some(code) = close_for(&ended) {
                    return Some(code);
                }
            }
            accepted = connection.accept_bi() => {
                let Ok((send, receive)) = accepted else {
                    return None;
                };
                start((send, receive, FrameBuffer::default()), &mut streams);
            }
        }
    }
    // Each stream answers what it has read and ends; the node's drain time bounds this.
    while let Some(ended) = streams.join_next().await {
        if let Some(code) = close_for(&ended) {
            return Some(code);
        }
    }
    Some(CloseCode::ShuttingDown)
}

/// The code to close the connection with because of how a stream ended.
fn close_for(ended: &Result<End, JoinError>) -> Option<CloseCode> {
    match ended {
        Ok(End::Close(code)) => Some(*code),
        Ok(End::Reset(code)) => {
            tracing::debug!(%code, "stream reset");
            None
        }
        Ok(End::Finished | End::Lost) => None,
        Err(error) => {
            tracing::error!(%error, "a stream's task failed; this is a bug");
            Some(CloseCode::Interrupted)
        }
    }
}
