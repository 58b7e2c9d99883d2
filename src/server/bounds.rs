//! Everything that is bounded in the server, each with its default and its reason.

use std::time::Duration;

use crate::protocol::client::BATCH_MAX;

/// The server's bounds. All but [`Bounds::in_flight_max`] hold for a node's runtimes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most connections; more are refused before their handshake. An idle one costs some 50 KiB over
    /// QUIC and 10 KiB over TCP, so the default of 20,000 is a gigabyte at most. Ten thousand that do
    /// nothing leave room for those that ask.
    pub(crate) connections_max: usize,
    /// Handshakes in progress above which a newcomer must first show that it can receive at its
    /// address, which costs the node nothing: 256 are some 50 ms of one core's work.
    pub(crate) handshakes_before_retry: usize,
    /// Most handshakes in progress; more are refused. Four times the number above, so that those
    /// who came back are let in.
    pub(crate) handshakes_max: usize,
    /// A handshake takes a few round trips; one that takes longer than this is given up.
    pub(crate) handshake_timeout: Duration,
    /// How long a connection may stay without a hello.
    pub(crate) hello_timeout: Duration,
    /// Most checks whose answers wait for a sync, on one stream; more are answered `Overloaded`.
    /// A stream that has 8192 waiting for a sync of 2 ms is granted 4 million a second.
    pub(crate) in_flight_max: usize,
    /// Most checks whose answers wait for a sync, of all streams: about 100 bytes each.
    pub(crate) in_flight_total_max: usize,
    /// Most bytes of answers that slow readers have not taken, of all connections; one more slow
    /// reader is closed at once.
    pub(crate) unread_total_max: usize,
    /// How long a client may leave its answers unread; then its connection is closed.
    pub(crate) slow_reader_timeout: Duration,
    /// How long the end of a frame may take after its beginning; then its stream is reset.
    pub(crate) slow_frame_timeout: Duration,
    /// When to try again after `Overloaded`: a few syncs or commits later.
    pub(crate) overloaded_retry: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            handshakes_before_retry: 256,
            handshakes_max: 1024,
            handshake_timeout: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(5),
            in_flight_max: 8192,
            in_flight_total_max: 1_000_000,
            unread_total_max: 256 * 1024 * 1024,
            slow_reader_timeout: Duration::from_secs(10),
            slow_frame_timeout: Duration::from_secs(10),
            overloaded_retry: Duration::from_millis(20),
        }
    }
}

/// Bytes of requests that are decided as one batch. A batch needs up to fifty times as much memory
/// while it is decided (a check may be four bytes long), so this keeps it at a few megabytes.
pub(super) const ROUND_BYTES_MAX: usize = 64 * 1024;

/// Places for pieces of a stream that one call may take: a full read of packets of 1200 bytes.
pub(super) const PIECES: usize = 32;

/// Longest part of a client's name that is logged.
pub(super) const AGENT_BYTES_MAX: usize = 64;

const _: () = assert!(
    BATCH_MAX <= 8192,
    "the default in_flight_max must hold a batch"
);
