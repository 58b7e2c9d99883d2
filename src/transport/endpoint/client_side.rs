//! The client's endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime, TransportConfig};

#[cfg(feature = "server")]
use super::settings::peer_transport;
use super::settings::{client_transport, socket};
#[cfg(feature = "server")]
use crate::protocol::hello::ALPN_PEER;
use crate::transport::tls::{Credentials, client_tls};
use crate::transport::{CertError, TransportError};

/// How a client connects with `credentials` and speaks `alpn`.
///
/// # Errors
/// [`CertError::Tls`], if the TLS library refuses the credentials.
pub(crate) fn client_config(
    credentials: &Credentials,
    alpn: &[u8],
) -> Result<ClientConfig, CertError> {
    config(credentials, alpn, client_transport())
}

/// How a node connects to another one.
///
/// # Errors
/// [`CertError::Tls`], if the TLS library refuses the credentials.
#[cfg(feature = "server")]
pub(crate) fn peer_config(credentials: &Credentials) -> Result<ClientConfig, CertError> {
    config(credentials, ALPN_PEER, peer_transport())
}

fn config(
    credentials: &Credentials,
    alpn: &[u8],
    transport: TransportConfig,
) -> Result<ClientConfig, CertError> {
    let tls = QuicClientConfig::try_from(client_tls(credentials, alpn)?)
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// An endpoint on a free port from which `remote`, and others of its address family, can be
/// reached; packets come from the address `from`, if it is of that family. A node spreads
/// connections over its runtimes by the client's port, so a client that wants to keep several of
/// them busy needs several endpoints.
///
/// Must be called inside a tokio runtime, which drives it.
///
/// # Errors
/// [`TransportError::Socket`].
pub(crate) fn client_endpoint_from(
    from: Option<IpAddr>,
    remote: SocketAddr,
) -> Result<Endpoint, TransportError> {
    let unspecified: IpAddr = if remote.is_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let from = from.filter(|from| from.is_ipv6() == remote.is_ipv6());
    let address = SocketAddr::new(from.unwrap_or(unspecified), 0);
    let socket = socket(address, false)?;
    Endpoint::new(
        EndpointConfig::default(),
        None,
        socket.into(),
        Arc::new(TokioRuntime),
    )
    .map_err(|source| TransportError::Socket { address, source })
}

/// An endpoint that reaches `remote` from any address, for tests.
#[cfg(test)]
pub(crate) fn client_endpoint(remote: SocketAddr) -> Result<Endpoint, TransportError> {
    client_endpoint_from(None, remote)
}
