//! Looks into a packet of gossip before `foca` gets it: who sent it, and whom it speaks of.
//!
//! ```text
//! packet = header (sender, its incarnation, receiver, message)
//!          [count of updates (u16, big-endian), updates (identity, incarnation, state)]
//! ```
//!
//! Announcements and notices of death have no updates; nothing else may follow.

use foca::{Header, Member, Message};

use super::identity::Identity;
use crate::types::NodeId;

/// Who speaks in a packet, and of whom.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// The identity that the sender claims.
    pub(super) sender: Identity,
    /// The nodes of which it tells something; some may be there twice.
    pub(super) mentioned: Vec<NodeId>,
}

/// Reads a packet; `None` if it is not exactly one.
pub(super) fn read(bytes: &[u8]) -> Option<Packet> {
    let (header, mut rest) = postcard::take_from_bytes::<Header<Identity>>(bytes).ok()?;
    let mut mentioned = Vec::new();
    let bare = match header.message {
        Message::Announce | Message::TurnUndead => true,
        // We send none.
        Message::Broadcast => return None,
        Message::Ping(_)
        | Message::Ack(_)
        | Message::PingReq { .. }
        | Message::IndirectPing { .. }
        | Message::IndirectAck { .. }
        | Message::ForwardedAck { .. }
        | Message::Feed
        | Message::Gossip => rest.is_empty(),
    };
    if !bare {
        let (count, members) = rest.split_first_chunk::<2>()?;
        rest = members;
        for _ in 0..u16::from_be_bytes(*count) {
            let (member, behind) = postcard::take_from_bytes::<Member<Identity>>(rest).ok()?;
            mentioned.push(member.id().node);
            rest = behind;
        }
    }
    rest.is_empty().then_some(Packet {
        sender: header.src,
        mentioned,
    })
}

/// Whether a packet tells its receiver that it is taken for dead.
pub(super) fn is_notice_of_death(bytes: &[u8]) -> bool {
    let header = postcard::take_from_bytes::<Header<Identity>>(bytes);
    header.is_ok_and(|(header, _)| header.message == Message::TurnUndead)
}
