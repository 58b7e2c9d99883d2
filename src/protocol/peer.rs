//! What nodes tell each other on `drl-peer/1`: who they are, and what is new.
//!
//! The first stream of a connection carries a [`PeerHello`] one way and a [`PeerAnswer`] the other.
//! What follows depends on the hello's [`Purpose`]:
//!
//! | purpose | what follows |
//! |---|---|
//! | `Control` | [`PeerFrame`]s behind the hello, one way, and gossip in datagrams; the other node talks back on a connection of its own |
//! | `Requests` | [`super::client::Request`]s and responses, as on `drl-client/1` |
//! | `Bulk` | on each further stream one [`super::bulk::BulkRequest`] and its chunks |
//! | `Join` | nothing: the welcome holds all that a node needs to be born into the cluster |
//! | `Replicate` | behind the hello the commits of the node that dials, behind the welcome what the other one acknowledges: a *link* |
//!
//! A refused node is told why, as a [`PeerRefusal`]; then the connection is closed. Frames are at
//! most [`super::frame::FRAME_BYTES_MAX`] long, and every list has a bound.

use serde::{Deserialize, Serialize};

use super::bounded;
use super::ownership::WireMessage;

/// What a connection between nodes is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// To tell what is new: ownership, roster, policies, gossip.
    Control,
    /// To pass checks on to the owner of their keys.
    Requests,
    /// To fetch the state of slots, or other things of size.
    Bulk,
    /// To be born into the cluster, or to learn which node lives at an address.
    Join,
    /// To carry the commits of the node that dials to a replica: a link.
    Replicate,
}

/// What the node that connects says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerHello {
    /// Oldest protocol version that the sender speaks.
    pub(crate) oldest: u16,
    /// Newest protocol version that the sender speaks.
    pub(crate) newest: u16,
    /// Id of its cluster; 0 if it has none yet, which only [`Purpose::Join`] may say.
    pub(crate) cluster: u128,
    /// Number of slots of its cluster; 0 if it has none yet.
    pub(crate) slot_count: u16,
    /// Its id.
    pub(crate) node: u128,
    /// How often it has started.
    pub(crate) boot: u64,
    /// Where it is reached, `host:port`.
    pub(crate) address: String,
    /// Name and version of the software, for logs; at most 64 bytes are kept.
    pub(crate) agent: String,
    /// What the connection is for.
    pub(crate) purpose: Purpose,
}

/// What the other node answers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PeerWelcome {
    /// The version that both will speak from here on: the newest that both know.
    pub(crate) version: u16,
    /// Id of the cluster.
    pub(crate) cluster: u128,
    /// Number of slots of the cluster.
    pub(crate) slot_count: u16,
    /// Id of the node.
    pub(crate) node: u128,
    /// How often it has started.
    pub(crate) boot: u64,
    /// Where it is reached, `host:port`.
    pub(crate) address: String,
    /// The cluster's key-hash secret; only for [`Purpose::Join`].
    pub(crate) key_secret: Option<[u8; 16]>,
    /// Most checks that the node takes in flight on one stream, for [`Purpose::Requests`].
    pub(crate) in_flight_max: u32,
}

impl std::fmt::Debug for PeerWelcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret stays one.
        f.debug_struct("PeerWelcome")
            .field("cluster", &self.cluster)
            .field("node", &self.node)
            .field("boot", &self.boot)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The answer to a [`PeerHello`].
pub(crate) type PeerAnswer = Result<PeerWelcome, PeerRefusal>;

/// Why a node is not let in. Each says what to do at the node that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum PeerRefusal {
    /// No protocol version in common; normal only while a cluster is upgraded by two versions.
    #[error("this node speaks protocol versions {oldest} to {newest}; upgrade the older one")]
    VersionMismatch {
        /// Oldest version that the refusing node speaks.
        oldest: u16,
        /// Newest version that it speaks.
        newest: u16,
    },
    /// The first frame is not a hello, or something in it cannot be.
    #[error("the hello cannot be read: {reason}")]
    Malformed {
        /// What was wrong, in a few words.
        reason: String,
    },
    /// The nodes are of two clusters.
    #[error(
        "this node is of cluster {cluster:032x}; correct the addresses in [cluster] join, or join \
         this cluster with an empty data directory"
    )]
    OtherCluster {
        /// The cluster of the refusing node.
        cluster: u128,
    },
    /// The clusters have as many names but not as many slots; a bug or a forged hello.
    #[error("this cluster has {slot_count} slots")]
    OtherSlotCount {
        /// Slots of the refusing node's cluster.
        slot_count: u16,
    },
    /// The node cannot be let in as what it claims to be: its certificate is another node's.
    #[error("{reason}")]
    NotAdmitted {
        /// Why, and what to do about it.
        reason: String,
    },
    /// The node claims the id of the node that it talks to.
    #[error(
        "node {node:032x} is this one: the data directory was copied, or the address leads back; \
         start one of the two with an empty data directory"
    )]
    SameNode {
        /// The id.
        node: u128,
    },
    /// The node starts or stops; try again.
    #[error("this node does not take part now; try again")]
    Unavailable,
    /// An operator has removed the node that is refused: it must grant nothing any more.
    #[error(
        "node {node:032x} was removed from the cluster; stop it, and start it with an empty data \
         directory to have it join as a new node"
    )]
    Removed {
        /// Its id.
        node: u128,
    },
    /// The data directory of the node that is refused is a copy, or an old one: it must grant
    /// nothing any more, since it does not know what was granted.
    #[error("{reason}")]
    OldCopy {
        /// Why, and what to do about it.
        reason: String,
    },
}

/// What a node tells another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PeerFrame {
    /// About slots and who owns them.
    Ownership(WireMessage),
    /// Nodes of the cluster, as the sender knows them; see [`ROSTER_ENTRIES_MAX`].
    Roster(#[serde(deserialize_with = "roster")] Vec<WireNode>),
    /// A hash of the sender's roster; who has another one sends its own.
    RosterDigest(u64),
    /// The policy set that the sender has in force; who has an older one fetches it
    /// ([`super::bulk::BulkRequest::Policies`]).
    Policies {
        /// Its version.
        version: u64,
        /// Its hash.
        hash: u64,
    },
    /// What the operator wants of the whole cluster, as the sender knows it; the later one wins.
    Settings {
        /// Counts the changes.
        version: u64,
        /// Nodes that hold each slot.
        replicas: u8,
    },
}

/// Most nodes in one [`PeerFrame::Roster`]: so many fit at their longest. More go in several.
pub(crate) const ROSTER_ENTRIES_MAX: usize = 48;

/// Most addresses of a [`WireNode`].
pub(crate) const NODE_ADDRESSES_MAX: usize = 4;

fn roster<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<WireNode>, D::Error> {
    bounded::at_most::<_, _, ROSTER_ENTRIES_MAX>(from)
}

fn addresses<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    bounded::at_most::<_, _, NODE_ADDRESSES_MAX>(from)
}

/// What a node is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WireStanding {
    /// It takes slots.
    Active,
    /// It gives its slots to others.
    Draining,
    /// It has gone and may come back.
    Left,
    /// It has gone for good.
    Removed,
    /// It is about to stop and comes back.
    Stopping,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireNode {
    /// Its id.
    pub(crate) node: u128,
    /// Which start of it.
    pub(crate) boot: u64,
    /// Counts changes within that start.
    pub(crate) revision: u64,
    /// What it is to the cluster.
    pub(crate) standing: WireStanding,
    /// Its share of the slots, relative to the others'.
    pub(crate) weight: u32,
    /// Hash of the policy set that it has in force.
    pub(crate) policies: u64,
    /// Where it is reached, `host:port` each.
    #[serde(deserialize_with = "addresses")]
    pub(crate) addresses: Vec<String>,
    /// The name in its certificate; may be empty.
    pub(crate) certificate: String,
    /// Where it stands; may be empty.
    pub(crate) zone: String,
}

/// The newest version that both sides speak, or `None`.
pub(crate) fn common_version(hello: &PeerHello) -> Option<u16> {
    let (oldest, newest) = super::hello::VERSIONS;
    let newest = hello.newest.min(newest);
    (newest >= hello.oldest.max(oldest)).then_some(newest)
}
