//! What the control thread gets to know from other nodes.

use super::bulk::BulkSender;
use crate::membership::identity::Identity;
use crate::protocol::bulk::BulkRequest;
use crate::protocol::peer::{PeerFrame, PeerRefusal};
use crate::types::NodeId;

/// What the control thread gets to know.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// A session with a peer has begun: both can talk, and nothing is on its way.
    Connected {
        /// Who, as it has said itself.
        peer: Identity,
    },
    /// The session with a peer has ended; what was on its way is lost, in both directions.
    Lost {
        /// Who.
        peer: NodeId,
    },
    /// A peer says something, in the session that was begun last.
    Frame {
        /// Who.
        from: NodeId,
        /// What.
        frame: PeerFrame,
    },
    /// Gossip, session or not.
    Datagram {
        /// Whose connection it came on.
        from: NodeId,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// A peer asks for bulk. Hand both to a task: dropped, the transfer is cut off.
    Bulk {
        /// Who.
        from: NodeId,
        /// What it asks for.
        request: BulkRequest,
        /// Where the chunks go.
        chunks: BulkSender,
    },
    /// A peer does not let this node in, or is not let in by it; said when the reason changes. The
    /// node goes on trying.
    Refused {
        /// Who.
        peer: NodeId,
        /// Why, and what to do about it.
        refusal: PeerRefusal,
        /// Whether this node was refused by the peer.
        by_peer: bool,
    },
}
