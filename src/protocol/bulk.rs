//! What is fetched from a node, on a stream of its own: one [`BulkRequest`], then [`BulkChunk`]s to
//! [`BulkChunk::End`] or [`BulkChunk::Refused`]. A stream that ends otherwise was cut off, and what
//! came on it counts for nothing.
//!
//! Frames are at most [`BULK_FRAME_BYTES_MAX`] long.

use serde::{Deserialize, Serialize};

use super::bounded;
use super::ownership::{WireEpoch, WirePosition, WireSlots};
use crate::types::SLOT_COUNT;

/// Longest body of a frame on a bulk stream.
pub(crate) const BULK_FRAME_BYTES_MAX: usize = 1024 * 1024;

/// Most rows in a chunk. A row is 60 bytes or more, so a full chunk has fewer anyway.
pub(crate) const ROWS_MAX: usize = 16 * 1024;

/// Bytes that an empty row takes besides its content, at most: its id and its length.
pub(crate) const ROW_OVERHEAD_BYTES: usize = 19 + 3;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BulkRequest {
    /// The state of these slots, which the owner goes on serving.
    PreCopy {
        /// Which slots.
        slots: WireSlots,
    },
    /// The state of sealed slots, as far as a pre-copy on this peer's behalf has not told it.
    Rest {
        /// Under which ballot they were sealed.
        ballot: WireEpoch,
        /// Each slot and the position that its state must have.
        #[serde(deserialize_with = "slots")]
        slots: Vec<(u16, WirePosition)>,
        /// Whether the pre-copy of just these slots is here; if not, all is told.
        copied: bool,
    },
    /// The policy set in force.
    Policies,
    /// The state of slots that the owner goes on serving, for a replica that then follows its
    /// commits: from now on it is fed those of these slots.
    CatchUp {
        /// Each slot, the reign it is to be served in, and how far the replica's own state is, if
        /// it counts for anything.
        #[serde(deserialize_with = "catching_up")]
        slots: Vec<(u16, WireEpoch, Option<WirePosition>)>,
    },
}

type CatchingUp = (u16, WireEpoch, Option<WirePosition>);

fn catching_up<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<CatchingUp>, D::Error> {
    bounded::at_most::<_, _, { SLOT_COUNT as usize }>(from)
}

fn slots<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<(u16, WirePosition)>, D::Error> {
    bounded::at_most::<_, _, { SLOT_COUNT as usize }>(from)
}

fn rows<'de: 'a, 'a, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<WireRow<'a>>, D::Error> {
    bounded::at_most::<_, _, ROWS_MAX>(from)
}

/// A stored row: the whole encoded state of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireRow<'a> {
    /// The state's id.
    pub(crate) id: u128,
    /// Its bytes, as they are stored; they carry a checksum of their own.
    #[serde(borrow, serialize_with = "raw")]
    pub(crate) bytes: &'a [u8],
}

/// Writes bytes as one piece. `serde` would take them one by one; what is written is the same.
fn raw<S: serde::Serializer>(bytes: &&[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// A piece of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BulkChunk<'a> {
    /// Rows of one slot.
    Rows {
        /// Which slot.
        slot: u16,
        /// The rows.
        #[serde(borrow, deserialize_with = "rows")]
        rows: Vec<WireRow<'a>>,
    },
    /// A slot is told whole, by all chunks on this stream and those of the pre-copy before.
    SlotEnd {
        /// Which slot.
        slot: u16,
        /// How many states it has.
        count: u64,
        /// The exclusive or of a hash of each.
        digest: u128,
        /// How far the state is.
        at: WirePosition,
        /// The highest slot time that it has seen.
        clock_ms: u64,
    },
    /// Nothing more comes.
    End,
    /// It will not be told.
    Refused(BulkRefusal),
    /// The policy set, as its room writes it.
    Policies(#[serde(borrow, serialize_with = "raw")] &'a [u8]),
    /// A slot that is still served is told: what its rows lack is in its commits behind `at`, which
    /// the replica is fed. Rows may hold some of those already, which does no harm: counts are
    /// absolute.
    CopyEnd {
        /// Which slot.
        slot: u16,
        /// All commits up to here are in the rows.
        at: WirePosition,
        /// The highest slot time that it has seen.
        clock_ms: u64,
        /// How many rows were told of it.
        count: u64,
    },
    /// The replica's own state of a slot is all that the owner has.
    Same {
        /// Which slot.
        slot: u16,
        /// How far it is.
        at: WirePosition,
        /// The highest slot time that it has seen.
        clock_ms: u64,
    },
    /// The node does not serve a slot in that reign; nothing is told of it.
    NotServed {
        /// Which slot.
        slot: u16,
    },
}

/// Why nothing is told. None of it changes anything at the node that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum BulkRefusal {
    /// The node is not the owner of one of the slots, or has not sealed it under this ballot.
    #[error("slot {slot} is not the node's to tell; the hand-off starts anew by itself")]
    NotHeld {
        /// Which slot.
        slot: u16,
    },
    /// As many transfers run as the node carries; try again.
    #[error("the node has too many transfers under way; try again")]
    Busy,
    /// The node could not read its own state; see its log.
    #[error("the node could not read its state; see its log")]
    StorageFailed,
    /// The request cannot be.
    #[error("the request cannot be: {reason}")]
    Malformed {
        /// What is wrong with it, in a few words.
        reason: String,
    },
}
