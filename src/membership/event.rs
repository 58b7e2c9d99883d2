//! What can happen to a node among members, what it wants done, and what becomes known.

use super::identity::Identity;
#[cfg(doc)]
use super::swim::{MEMBERS_MAX, PACKET_BYTES_MAX};
use crate::types::{MonoTime, NodeId};

/// What can happen.
#[derive(Debug, Clone)]
pub(crate) enum SwimEvent {
    /// Time has passed; sent when [`SwimEffect::WakeAt`] asked for it.
    Tick,
    /// A datagram came over a connection that belongs to `from`.
    Datagram {
        /// The node whose certificate and id the connection has shown.
        from: NodeId,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// There is a new connection to this node: it lives; tell it that we are here, until it answers.
    Announce {
        /// Whom; as it has introduced itself on the connection.
        to: Identity,
    },
    /// The connection to a node was lost: suspect it now instead of at the next probe. If it lives,
    /// others reach it, or a new connection does.
    Doubt {
        /// Whom.
        node: NodeId,
    },
    /// The node stops: tell the others that it leaves.
    Leave,
}

/// What is to be done, or has become known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SwimEffect {
    /// Send a datagram if there is a connection to the node; else drop it.
    Send {
        /// To whom.
        to: Identity,
        /// At most [`PACKET_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// A member answers: it is new, or back, or no longer suspected.
    MemberUp {
        /// Who.
        member: Identity,
    },
    /// A member may be down. Until it is said to be, it counts as up.
    MemberSuspect {
        /// Who.
        member: Identity,
    },
    /// A member is down, or has left.
    MemberDown {
        /// Who.
        member: Identity,
    },
    /// Another member answers: the node is not alone (any more).
    Joined,
    /// No other member answers.
    Alone,
    /// The others took the node for dead; it lives on under this identity.
    Renewed {
        /// The new one.
        identity: Identity,
    },
    /// Send [`SwimEvent::Tick`] at this time, if nothing happens before.
    WakeAt(MonoTime),
}

/// What is thought of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Liveness {
    /// It answers.
    Up,
    /// It did not answer, and has not been given up.
    Suspect,
    /// It is given up, or has left.
    Down,
}

/// How many datagrams were refused, and why. None of them changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SwimRefusals {
    /// The packet names another sender than the node that it came from.
    pub(crate) forged: u64,
    /// Not a packet, or a longer one than there are.
    pub(crate) unreadable: u64,
    /// It would have made the node remember more than [`MEMBERS_MAX`] nodes.
    pub(crate) crowded: u64,
    /// The library made nothing of it: it claims our own id, or makes no sense.
    pub(crate) senseless: u64,
}
