//! What nodes tell each other about slots. Each belongs to one connection between one life of the
//! sender and one of the receiver (R6); the edge never carries one over to another connection.
//!
//! A message holds many slots. A refused slot never fails its neighbours, and one synced write
//! covers all that a message asks for.

use crate::types::{Configuration, Epoch, NodeId, Position, Slot, SlotRecord, SlotSet, SlotTime};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "few at a time, each consumed at once"
)]
pub(crate) enum Message {
    /// T1: promise this ballot for these slots, and tell what you hold.
    Seal {
        /// The sender's ballot; its node is the sender.
        ballot: Epoch,
        /// Which slots.
        slots: SlotSet,
    },
    /// R3: promised; or, for a slot that was promised to a higher ballot, what was.
    Sealed {
        /// The ballot of the `Seal`.
        ballot: Epoch,
        /// Each slot that the ballot was promised.
        slots: Vec<SealedSlot>,
        /// Each that it was not.
        refused: Vec<Refused>,
    },
    /// T7, or T4 for a configuration that was found: accept these.
    Accept {
        /// The sender's ballot.
        ballot: Epoch,
        /// What to accept.
        slots: Vec<Proposal>,
    },
    /// R4: accepted and synced.
    Accepted {
        /// The ballot of the `Accept`.
        ballot: Epoch,
        /// The slots that were accepted.
        slots: SlotSet,
        /// Those that were not.
        refused: Vec<Refused>,
    },
    /// Hashes of the sender's newest records, 64 slots to a group: what differs is told in answer.
    Digest {
        /// One hash a group, in order.
        groups: Vec<u64>,
    },
    /// Configurations that are chosen: sent when a slot has a new owner, and where a digest differed.
    Chosen {
        /// At most a few hundred at once.
        records: Vec<SlotRecord>,
    },
    /// T6, for replicas that hold exactly what the candidate has installed: it becomes `(ballot, 0)`.
    Become {
        /// The sender's ballot.
        ballot: Epoch,
        /// Which slots, and as what.
        slots: Vec<Becoming>,
    },
    /// R2: these are at `(ballot, 0)`, synced.
    Became {
        /// The ballot of the `Become`.
        ballot: Epoch,
        /// The slots that are.
        slots: SlotSet,
        /// Those that are not: something higher was promised, or the state is another.
        refused: SlotSet,
    },
    /// Has this owner spoken to you lately?
    AskHeard {
        /// The owner that the sender does not hear any more.
        owner: NodeId,
    },
    /// It has, or has not.
    Heard {
        /// The owner that was asked about.
        owner: NodeId,
        /// Whether it has.
        lately: bool,
    },
}

/// One slot's part of [`Message::Become`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Becoming {
    /// Which slot.
    pub(crate) slot: Slot,
    /// What the candidate's state was made of.
    pub(crate) at: Position,
    /// The highest slot time that it has seen.
    pub(crate) clock: SlotTime,
}

/// What a replica that has promised holds of a slot. Below the promised ballot none of it can change
/// any more, so that the state itself may be fetched later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedSlot {
    /// Which slot.
    pub(crate) slot: Slot,
    /// The newest configuration known to be chosen.
    pub(crate) chosen: Option<Configuration>,
    /// What it has accepted but does not know to be chosen.
    pub(crate) accepted: Option<(Epoch, Configuration)>,
    /// How far its state is.
    pub(crate) at: Position,
    /// The highest slot time that its state has seen.
    pub(crate) clock: SlotTime,
    /// Whether the state is all there.
    pub(crate) complete: bool,
}

/// Why a slot was refused: both are above what the sender of the request knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Which slot.
    pub(crate) slot: Slot,
    /// What was promised.
    pub(crate) promised: Epoch,
    /// The newest configuration known to be chosen.
    pub(crate) chosen: Option<Configuration>,
}

/// A configuration to accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// Which slot.
    pub(crate) slot: Slot,
    /// What the proposer knows to be chosen.
    pub(crate) base: Configuration,
    /// Of the version behind it.
    pub(crate) proposed: Configuration,
}
