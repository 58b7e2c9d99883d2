//! What a node says of itself to other nodes.

use std::fmt;
use std::net::IpAddr;

use crate::membership::identity::Identity;
use crate::protocol::error::WireError;
use crate::protocol::frame::{decode, encode};
use crate::protocol::hello::{HelloAnswer, VERSIONS, Welcome};
use crate::protocol::peer::{PeerAnswer, PeerHello, PeerRefusal, PeerWelcome, Purpose};

/// What is born with a cluster, the same for all its nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClusterIdentity {
    /// Its id; never 0.
    pub(crate) cluster: u128,
    /// Its number of slots.
    pub(crate) slot_count: u16,
    /// Under which it hashes keys.
    pub(crate) key_secret: [u8; 16],
}

impl fmt::Debug for ClusterIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret stays one.
        f.debug_struct("ClusterIdentity")
            .field("cluster", &self.cluster)
            .field("slot_count", &self.slot_count)
            .finish_non_exhaustive()
    }
}

/// This node in this life.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    /// Its cluster.
    pub(crate) cluster: ClusterIdentity,
    /// Its id, advertised address and boot counter.
    pub(crate) identity: Identity,
    /// The address that it connects to others from; any if it has no address of its own.
    pub(crate) from: Option<IpAddr>,
    /// Most checks that it takes in flight on one stream.
    pub(crate) in_flight_max: u32,
}

impl Own {
    /// What it says first on a connection.
    pub(crate) fn hello(&self, purpose: Purpose) -> PeerHello {
        hello(
            &self.identity,
            purpose,
            self.cluster.cluster,
            self.cluster.slot_count,
        )
    }

    /// The bytes of its hello on connections for requests; see [`requests_answer`].
    pub(crate) fn requests_hello(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Err(error) = encode(&self.hello(Purpose::Requests), &mut bytes) {
            tracing::error!(%error, "a hello cannot be written; please report this");
        }
        bytes
    }

    /// What it answers a node that it lets in.
    pub(super) fn welcome(&self, version: u16, purpose: Purpose) -> PeerWelcome {
        PeerWelcome {
            version,
            cluster: self.cluster.cluster,
            slot_count: self.cluster.slot_count,
            node: self.identity.node.0,
            boot: self.identity.boot.0,
            address: self.identity.address.as_str().to_owned(),
            key_secret: (purpose == Purpose::Join).then_some(self.cluster.key_secret),
            in_flight_max: self.in_flight_max,
        }
    }
}

/// The hello of a node that may have no cluster yet (`cluster` and `slot_count` are 0 then).
pub(super) fn hello(
    identity: &Identity,
    purpose: Purpose,
    cluster: u128,
    slot_count: u16,
) -> PeerHello {
    PeerHello {
        oldest: VERSIONS.0,
        newest: VERSIONS.1,
        cluster,
        slot_count,
        node: identity.node.0,
        boot: identity.boot.0,
        address: identity.address.as_str().to_owned(),
        agent: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned(),
        purpose,
    }
}

/// Reads the answer to [`Own::requests_hello`] in the words of an answer to a client; `None` if it is
/// none. The cluster's secret is not in it.
pub(crate) fn requests_answer(body: &[u8]) -> Option<HelloAnswer> {
    let answer: PeerAnswer = decode(body).ok()?;
    Some(match answer {
        Ok(welcome) => Ok(Welcome {
            version: welcome.version,
            node: welcome.node,
            cluster: welcome.cluster,
            slot_count: welcome.slot_count,
            key_secret: welcome.key_secret.unwrap_or_default(),
            in_flight_max: welcome.in_flight_max,
        }),
        Err(PeerRefusal::VersionMismatch { oldest, newest }) => {
            Err(WireError::VersionMismatch { oldest, newest })
        }
        Err(PeerRefusal::Unavailable) => Err(WireError::Unavailable),
        Err(
            refusal @ (PeerRefusal::Malformed { .. }
            | PeerRefusal::OtherCluster { .. }
            | PeerRefusal::OtherSlotCount { .. }
            | PeerRefusal::NotAdmitted { .. }
            | PeerRefusal::SameNode { .. }
            | PeerRefusal::Removed { .. }
            | PeerRefusal::OldCopy { .. }),
        ) => Err(WireError::Malformed {
            reason: refusal.to_string(),
        }),
    })
}
