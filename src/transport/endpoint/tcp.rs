//! TCP sockets for the protocols beside QUIC.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::transport::error::TransportError;

/// Connections that wait to be accepted, at most; more are not answered and try again.
const BACKLOG: i32 = 1024;

/// Binds `count` listeners to one address, among which the system shares out the connections. Port 0
/// takes a free one.
pub(crate) fn bind_tcp(
    address: SocketAddr,
    count: usize,
) -> Result<Vec<TcpListener>, TransportError> {
    if count <= 1 {
        return Ok(vec![listener(address, false)?]);
    }
    // As for QUIC: one that does not share its port finds out whether another process has it.
    let probe = listener(address, false)?;
    let address = probe
        .local_addr()
        .map_err(|source| TransportError::Socket { address, source })?;
    drop(probe);
    (0..count).map(|_| listener(address, true)).collect()
}

fn listener(address: SocketAddr, share_port: bool) -> Result<TcpListener, TransportError> {
    open(address, share_port).map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => TransportError::AddressInUse { address },
        _other => TransportError::Socket { address, source },
    })
}

fn open(address: SocketAddr, share_port: bool) -> std::io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A restarted node must not wait for old connections to be forgotten.
    socket.set_reuse_address(true)?;
    if share_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
