//! The first words on a connection: which versions are spoken, and with whom.
//!
//! | version | what is new |
//! |---|---|
//! | 1 | |
//! | 2 | a client may ask for [`ReplicaRoutes`](super::client::RequestBody::ReplicaRoutes) |

use serde::{Deserialize, Serialize};

use super::error::WireError;

/// ALPN of clients of the limiter.
pub(crate) const ALPN_CLIENT: &[u8] = b"drl-client/1";
/// ALPN of nodes among each other.
#[cfg(feature = "server")]
pub(crate) const ALPN_PEER: &[u8] = b"drl-peer/1";
/// ALPN of the admin command line.
pub(crate) const ALPN_ADMIN: &[u8] = b"drl-admin/1";

/// Oldest and newest protocol version that this build speaks.
pub(crate) const VERSIONS: (u16, u16) = (1, 2);
/// The first version in which a client may ask who else holds each slot.
pub(crate) const REPLICA_ROUTES_SINCE: u16 = 2;

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Oldest protocol version that the sender speaks.
    pub(crate) oldest: u16,
    /// Newest protocol version that the sender speaks.
    pub(crate) newest: u16,
    /// Name and version of the software, for logs; at most 64 bytes are kept.
    pub(crate) agent: String,
}

/// What the node answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The version that both will speak from here on: the newest that both know.
    pub(crate) version: u16,
    /// Id of the node.
    pub(crate) node: u128,
    /// Id of the cluster, born with it.
    pub(crate) cluster: u128,
    /// Number of slots of the cluster.
    pub(crate) slot_count: u16,
    /// The cluster's key-hash secret, so that a client can route to owners itself.
    pub(crate) key_secret: [u8; 16],
    /// Most checks that the node takes in flight on one stream; more are answered `Overloaded`.
    pub(crate) in_flight_max: u32,
}

/// The answer to a [`Hello`].
pub(crate) type HelloAnswer = Result<Welcome, WireError>;

/// The newest version that both sides speak, or `None`.
#[cfg(feature = "server")]
pub(crate) fn common_version(hello: &Hello) -> Option<u16> {
    let newest = hello.newest.min(VERSIONS.1);
    (newest >= hello.oldest.max(VERSIONS.0)).then_some(newest)
}
