//! The node's endpoints: several on one port, each driven by a runtime of its own.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, ServerConfig, TokioRuntime,
};

use super::settings::{socket, transport};
use crate::transport::tls::{ClientAuth, Credentials, server_tls};
use crate::transport::{CertError, TransportError};

/// Long enough that no two connections of a node's life share one.
const CONNECTION_ID_BYTES: usize = 8;

/// What the endpoints of a node share: certificates, behaviour, and the keys for stateless resets
/// and retry tokens. A packet that belongs to no connection of an endpoint (it is of an earlier life
/// of the node, or the client's port has changed and the system handed it to another endpoint) is
/// answered by a reset that the client believes, so that it connects again at once.
#[derive(Clone)]
pub(crate) struct ServerSetup {
    server: ServerConfig,
    endpoint: EndpointConfig,
}

impl fmt::Debug for ServerSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSetup").finish_non_exhaustive()
    }
}

impl ServerSetup {
    /// A node's setup, with fresh keys for tokens.
    ///
    /// # Errors
    /// [`CertError`], if `credentials` are not a node's.
    pub(crate) fn new(
        credentials: &Credentials,
        client_auth: ClientAuth,
    ) -> Result<Self, CertError> {
        let tls = QuicServerConfig::try_from(server_tls(credentials, client_auth)?)
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(Arc::new(transport()));
        let mut endpoint = credentials
            .reset_key()
            .map_or_else(EndpointConfig::default, |key| {
                EndpointConfig::new(Arc::new(key))
            });
        endpoint.cid_generator(|| Box::new(RandomIds));
        Ok(Self { server, endpoint })
    }

    /// An endpoint on a socket of [`bind`]. Must be called inside the tokio runtime that is to
    /// drive it and all its connections.
    ///
    /// # Errors
    /// [`TransportError::Socket`].
    pub(crate) fn endpoint(&self, socket: UdpSocket) -> Result<Endpoint, TransportError> {
        let address = socket
            .local_addr()
            .unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        Endpoint::new(
            self.endpoint.clone(),
            Some(self.server.clone()),
            socket,
            Arc::new(TokioRuntime),
        )
        .map_err(|source| TransportError::Socket { address, source })
    }
}

/// Ids of connections that nothing can be told from: quinn's own kind answers no packet of another
/// endpoint's connection. What they cost is a reset for stray packets, of which QUIC sends at most
/// one every 20 ms.
#[derive(Debug)]
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; CONNECTION_ID_BYTES]>())
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Binds `count` sockets to one address; if its port is 0, all get the same free one.
///
/// # Errors
/// [`TransportError::AddressInUse`], [`TransportError::Socket`].
pub(crate) fn bind(address: SocketAddr, count: usize) -> Result<Vec<UdpSocket>, TransportError> {
    if count <= 1 {
        return Ok(vec![socket(address, false)?.into()]);
    }
    // Sockets that share a port also share it with another process of the same user, which would
    // silently get half of the connections. One that does not share finds that out, and finds a
    // port that nobody has if any will do.
    let probe = UdpSocket::from(socket(address, false)?);
    let address = probe
        .local_addr()
        .map_err(|source| TransportError::Socket { address, source })?;
    drop(probe);
    (0..count)
        .map(|_| socket(address, true).map(UdpSocket::from))
        .collect()
}
