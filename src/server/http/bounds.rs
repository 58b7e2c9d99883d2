//! Everything that is bounded in the HTTP edge, each with its default and its reason. Connections and
//! checks in flight are bounded with those of all protocols ([`crate::server::Bounds`]).

use std::time::Duration;

/// The edge's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HttpBounds {
    /// Longest body: 1024 checks with short keys, or 200 with the longest.
    pub(super) body_bytes_max: usize,
    /// Most bytes of bodies of all connections at once: a thousand of the longest.
    pub(super) bodies_bytes_max: usize,
    /// How long a body may take from its beginning to its end.
    pub(super) body_timeout: Duration,
    /// How long the head of a request may take after the last response, and so also how long a
    /// connection may be idle. Longer than the 60 s for which nginx keeps its own ones, and the 90 s
    /// of Go, so that it is they who close first and no request meets a closing connection.
    pub(super) idle_timeout: Duration,
    /// How long a handshake of TLS may take: several round trips to the other end of the world, and
    /// packets lost among them.
    pub(super) handshake_timeout: Duration,
    /// Bytes read ahead of a connection, and so the longest head of a request.
    pub(super) head_bytes_max: usize,
    /// Most headers of a request: browsers send some twenty, proxies add ten.
    pub(super) headers_max: usize,
    /// Requests in flight on one HTTP/2 connection; each waits for one commit, so that a connection
    /// with as many is granted a hundred thousand a second.
    pub(super) streams_max: u32,
    /// How often a silent HTTP/2 connection is asked whether it is still there.
    pub(super) ping_interval: Duration,
    /// How long it may take to answer.
    pub(super) ping_timeout: Duration,
    /// Most requests for metrics or readiness at once; the others wait. Each asks the control loop.
    pub(super) looks_max: usize,
    /// Longest time that a request may ask to wait for.
    pub(super) timeout_max: Duration,
}

impl Default for HttpBounds {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 * 1024,
            bodies_bytes_max: 64 * 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(120),
            handshake_timeout: Duration::from_secs(10),
            head_bytes_max: 16 * 1024,
            headers_max: 64,
            streams_max: 256,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            looks_max: 2,
            timeout_max: Duration::from_secs(60),
        }
    }
}
