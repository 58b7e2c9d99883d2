//! How connections behave: time limits, windows, packet sizes; each with its reason.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{AckFrequencyConfig, MtuDiscoveryConfig, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use crate::transport::TransportError;

/// A connection on which nothing arrives for so long is given up. Clients say something every
/// [`KEEP_ALIVE`], so that only a dead or unreachable one gets here.
const IDLE_TIMEOUT_MS: u32 = 30_000;

/// How often a client that has nothing to say shows that it lives: three times an idle timeout.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The same between nodes: who does not answer for so long is gone as far as hand-offs and gossip
/// are concerned, and known to be long before a node may be declared down.
#[cfg(feature = "server")]
const PEER_IDLE_TIMEOUT_MS: u32 = 5_000;

/// How often a node that has nothing to say shows another one that it lives.
#[cfg(feature = "server")]
const PEER_KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Bytes that a node may send ahead to another one which fetches state from it: two seconds of a
/// hand-off at 4 MiB/s, so that a round trip of 50 ms does not hold it up.
#[cfg(feature = "server")]
const PEER_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Bytes of gossip that wait to be read: a few rounds of it. What is above is lost, as gossip may be.
const DATAGRAMS_BYTES: usize = 16 * 1024;

/// Streams that a peer may have open on a connection at once. The client library uses a few for
/// all its requests; an admin connection one a command.
pub(crate) const STREAMS_MAX: u32 = 16;

/// Bytes that a peer may send ahead on one stream: four of the largest frames, so that a large
/// batch never waits for a window update.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// Bytes that a peer may send ahead on all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;

/// Bytes sent and not yet acknowledged that a connection holds in memory. Together with
/// [`CONNECTION_WINDOW_BYTES`] this bounds what one peer can make a node hold. At a round trip of
/// 50 ms it still carries over 100,000 answers a second.
const SEND_WINDOW_BYTES: u64 = 256 * 1024;

/// Size of the first packets: what every path of QUIC must carry. Larger ones are probed for, so
/// that no path silently drops a handshake.
const INITIAL_MTU: u16 = 1200;

/// Largest packet that is probed for: Ethernet less the headers. Loopback would carry 64 KiB, but
/// what is in flight is small: with packets of up to 8900 bytes a trial (50 connections, 16 checks
/// each) showed no difference beyond its noise.
const MTU_MAX: u16 = 1452;

/// What a round trip is taken for before one was seen. A handshake's first packet is sent again after
/// three of these, then after twice as long each time: 0.3, 0.9 and 2.1 s after the first. QUIC's own
/// measure is 333 ms, by which a node that comes back within a second is found up to two seconds later.
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// Packets that may come before they are acknowledged by themselves; QUIC's own measure is 1. An
/// answer acknowledges its request anyhow, so that one by one nothing changes; when several requests
/// come before the first is answered, every second one cost a packet that carried nothing else: up to
/// two packets of five that a node sent. Reordering is still told at once, and the rest after 25 ms.
const PACKETS_UNACKNOWLEDGED: u32 = 10;

/// Buffers that are asked of the system for each socket, enough for some milliseconds of a full
/// load in one runtime's pause. The system may give less (`net.core.rmem_max`).
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The behaviour of connections at either end.
pub(super) fn transport() -> TransportConfig {
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(MTU_MAX);
    let mut acknowledgements = AckFrequencyConfig::default();
    acknowledgements.ack_eliciting_threshold(VarInt::from_u32(PACKETS_UNACKNOWLEDGED));
    let mut config = TransportConfig::default();
    config
        .initial_rtt(INITIAL_RTT)
        .ack_frequency_config(Some(acknowledgements))
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(DATAGRAMS_BYTES))
        .datagram_send_buffer_size(DATAGRAMS_BYTES)
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MS).into()))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .initial_mtu(INITIAL_MTU)
        .mtu_discovery_config(Some(mtu));
    config
}

/// The same for a client, which shows that it lives.
pub(super) fn client_transport() -> TransportConfig {
    let mut config = transport();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE));
    config
}

/// The same for a node that connects to another one. The shorter idle timeout of two ends holds.
#[cfg(feature = "server")]
pub(super) fn peer_transport() -> TransportConfig {
    let mut config = client_transport();
    config
        // Who does not take datagrams may not send any either.
        .datagram_receive_buffer_size(Some(DATAGRAMS_BYTES))
        .max_idle_timeout(Some(VarInt::from_u32(PEER_IDLE_TIMEOUT_MS).into()))
        .stream_receive_window(VarInt::from_u32(PEER_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(PEER_WINDOW_BYTES))
        .send_window(u64::from(PEER_WINDOW_BYTES))
        .keep_alive_interval(Some(PEER_KEEP_ALIVE));
    config
}

/// Has the other end of a connection of [`client_transport`] acknowledge something now, if it lives,
/// whatever its answers wait for: tells it that it may send a byte more ahead. QUIC's own sign of life
/// would be sent on idle connections too.
pub(crate) fn probe(connection: &quinn::Connection) {
    // Only growth is told, so the window shrinks first.
    let window = VarInt::from_u32(CONNECTION_WINDOW_BYTES);
    let more = VarInt::from_u32(CONNECTION_WINDOW_BYTES.saturating_add(1));
    connection.set_receive_window(window);
    connection.set_receive_window(more);
}

/// Lets a node that was connected to send ahead as much as [`peer_transport`] takes.
#[cfg(feature = "server")]
pub(crate) fn widen_for_peer(connection: &quinn::Connection) {
    connection.set_send_window(u64::from(PEER_WINDOW_BYTES));
}

/// A socket that is bound to `address`; `share_port` lets others be bound to it too.
pub(super) fn socket(address: SocketAddr, share_port: bool) -> Result<Socket, TransportError> {
    open(address, share_port).map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => TransportError::AddressInUse { address },
        _other => TransportError::Socket { address, source },
    })
}

fn open(address: SocketAddr, share_port: bool) -> std::io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if share_port {
        socket.set_reuse_port(true)?;
    }
    // Smaller buffers work too, only less smoothly.
    for outcome in [
        socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES),
        socket.set_send_buffer_size(SOCKET_BUFFER_BYTES),
    ] {
        if let Err(error) = outcome {
            tracing::debug!(%error, "socket buffers keep their size");
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
