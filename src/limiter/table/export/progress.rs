//! How far a copy of slots has come, and what was handed out.
//!
//! The last row of each state that was handed out is remembered by its hash, so that the digest is
//! that of what the receiver has, whatever was handed out twice.

use std::collections::BTreeMap;

use crate::limiter::codec::expires_at;
use crate::limiter::table::stripe::Stripe;
use crate::limiter::table::striped::slots_of;
use crate::limiter::transfer::{Row, SlotDigest, row_hash};
use crate::types::{Slot, SlotSet, SlotTime, StateId};

/// The rows behind the table, for a copy.
pub(crate) trait StoredRows {
    /// Why rows cannot be read.
    type Error;

    /// The row of a state.
    ///
    /// # Errors
    /// If it may be there but cannot be read; its key is then sent as one in quarantine.
    fn row(&self, id: StateId) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Rows of a slot in order of their ids, behind `after`; few enough for one chunk, none at the
    /// end.
    ///
    /// # Errors
    /// If some cannot be read; the copy has then failed.
    fn rows(&self, slot: Slot, after: Option<StateId>) -> Result<Vec<Row>, Self::Error>;
}

/// Why a copy cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExportError<E> {
    /// The rest can be had only once the slot is frozen.
    #[error("slot {0} is still served")]
    StillServed(Slot),
    /// The slot was dropped, installed anew, or is copied by somebody else.
    #[error("the copy of slot {0} is void: the slot has changed hands")]
    Void(Slot),
    /// Rows cannot be read.
    #[error("stored rows cannot be read")]
    Store(#[source] E),
}

/// A copy of slots, as far as it has come.
#[derive(Debug)]
pub(crate) struct SlotExport {
    pub(super) number: u64,
    pub(super) slots: SlotSet,
    pub(super) stage: Stage,
    /// States of the stripe or slot of the stage, to be handed out.
    pub(super) ids: Vec<StateId>,
    /// The last row of each state that was handed out.
    pub(super) sent: BTreeMap<StateId, Sent>,
    /// What the frozen slots' clocks show.
    pub(super) clocks: BTreeMap<Slot, SlotTime>,
}

/// In the order in which it goes; numbers are of stripes, or of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// All that is in memory.
    Memory(usize),
    /// All that the store alone has.
    Stored(Slot, Option<StateId>),
    /// Until the slots are frozen.
    Copied,
    /// What has changed.
    Changed(usize),
    /// What has changed and is not in memory any more.
    Removed(usize),
    /// Keys in quarantine.
    Quarantined(usize),
    Done,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    hash: u128,
    expires_at: SlotTime,
}

impl SlotExport {
    /// A copy of `slots` that has not begun yet.
    pub(super) const fn new(number: u64, slots: SlotSet) -> Self {
        Self {
            number,
            slots,
            stage: Stage::Memory(0),
            ids: Vec::new(),
            sent: BTreeMap::new(),
            clocks: BTreeMap::new(),
        }
    }

    /// The slots that are copied.
    pub(crate) const fn slots(&self) -> &SlotSet {
        &self.slots
    }

    /// Of each slot the digest of all that was handed out, and what its clock shows; `None` before
    /// the end.
    pub(crate) fn digests(&self) -> Option<Vec<(Slot, SlotDigest, SlotTime)>> {
        if self.stage != Stage::Done {
            return None;
        }
        let of_slot = |(&slot, &clock): (&Slot, &SlotTime)| {
            let mut digest = SlotDigest::default();
            let sent = self.sent.range(StateId::first_of(slot)..);
            sent.take_while(|(id, _)| id.slot() == slot)
                .filter(|(_, sent)| sent.expires_at > clock)
                .for_each(|(_, sent)| digest.add(sent.hash));
            (slot, digest, clock)
        };
        Some(self.clocks.iter().map(of_slot).collect())
    }

    /// Whether the copy still is the one that runs, of all its slots in the `n`th stripe.
    pub(super) fn check(&self, stripe: &Stripe, n: usize) -> Result<(), Slot> {
        let here = slots_of(n).filter(|slot| self.slots.contains(*slot));
        let mut void = here.filter(|slot| !stripe.cells.is_copied(*slot, self.number));
        void.next().map_or(Ok(()), Err)
    }

    /// Hands out a row, unless it was the state's last one already.
    pub(super) fn send(&mut self, id: StateId, row: Vec<u8>, rows: &mut Vec<Row>) {
        let sent = Sent {
            hash: row_hash(id, &row),
            expires_at: expires_at(&row).unwrap_or_default(),
        };
        let before = self.sent.insert(id, sent);
        if before.is_none_or(|before| before.hash != sent.hash) {
            rows.push((id, row));
        }
    }

    /// Says that a state counts nothing any more, if something was said of it.
    pub(super) fn send_gone(&mut self, id: StateId, rows: &mut Vec<Row>) {
        if self.sent.remove(&id).is_some() {
            rows.push((id, Vec::new()));
        }
    }
}
