//! The handshake of TLS at the beginning of a connection. It is part of its connection: it counts as
//! one from its first byte, and if it is slow or fails, it costs that connection and no other.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::edge::Rules;
use crate::server::Stopping;
use crate::transport::tls::web::WebTls;

/// The encrypted stream; `None` if the other end does not agree in time, or the node stops meanwhile.
pub(super) async fn accept(
    (stream, peer): (TcpStream, SocketAddr),
    tls: &WebTls,
    rules: &Rules,
    stopping: &Stopping,
) -> Option<TlsStream<TcpStream>> {
    let agreed = TlsAcceptor::from(tls.current()).accept(stream);
    let ended = tokio::select! {
        biased;
        () = stopping.begun() => return None,
        ended = timeout(rules.bounds.handshake_timeout, agreed) => ended,
    };
    match ended {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS with this connection"),
        Err(_elapsed) => tracing::debug!(%peer, "no TLS with this connection in time"),
    }
    rules.counts.handshake_failed();
    None
}
