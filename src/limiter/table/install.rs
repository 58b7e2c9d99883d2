//! A slot's state taken in from another node, or forgotten.
//!
//! The rows are decoded and their shapes named first, which may fail; what follows cannot. The store
//! has the rows, synced, before the table takes them in, so none of the states has anything to be
//! committed or saved.

use super::load::{LoadError, ReadRow};
use super::striped::{Size, Table, stripe_of_slot};
use super::upkeep::ROWS_MAX;
use crate::limiter::codec::Decoded;
use crate::limiter::installed::Installed;
use crate::limiter::key_state::KeyState;
use crate::limiter::transfer::Row;
use crate::types::{Slot, SlotTime, StateId};

/// A slot's states, ready to be taken in.
#[derive(Debug)]
pub(crate) struct Prepared {
    slot: Slot,
    states: Vec<(StateId, KeyState, Decoded, SlotTime)>,
    quarantine: Vec<(StateId, SlotTime)>,
}

impl Prepared {
    /// The longest window that any of the states was counted in.
    pub(crate) fn longest_window_ms(&self) -> u64 {
        let shapes = self.states.iter().map(|(_, _, decoded, _)| decoded.shape);
        shapes
            .map(|shape| shape.longest_window_ms())
            .max()
            .unwrap_or(0)
    }
}

impl Table {
    /// Reads the rows of a slot; those of other slots are left out.
    ///
    /// # Errors
    /// [`LoadError`] if one is damaged, or has a shape beyond those that can be named.
    pub(crate) fn prepare(&self, slot: Slot, rows: &[Row]) -> Result<Prepared, LoadError> {
        let mut prepared = Prepared {
            slot,
            states: Vec::with_capacity(rows.len()),
            quarantine: Vec::new(),
        };
        for (id, row) in rows.iter().filter(|(id, _)| id.slot() == slot) {
            match self.read_row(*id, row)? {
                ReadRow::Nothing => {}
                ReadRow::Quarantine(since) => prepared.quarantine.push((*id, since)),
                ReadRow::State(state, decoded, expires_at) => {
                    prepared.states.push((*id, state, decoded, expires_at));
                }
            }
        }
        Ok(prepared)
    }

    /// Replaces all that there is of a slot; the store has done so already, and no checkpoint runs
    /// meanwhile.
    pub(crate) fn install(&self, prepared: Prepared, installed: &Installed) {
        let slot = prepared.slot;
        self.drop_slot(slot);
        self.note_epoch(installed.at.epoch);
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        stripe.cells.install(slot, installed);
        stripe.quarantine.extend(prepared.quarantine);
        drop(stripe);
        let mut states = prepared.states.into_iter();
        while !states.as_slice().is_empty() {
            let mut stripe = self.lock_nth(stripe_of_slot(slot));
            for (id, state, decoded, expires_at) in states.by_ref().take(ROWS_MAX) {
                // Without a store behind it, the table must hold them all.
                if self.capacity.evicts && self.lacks_room(&stripe) {
                    self.note_evicted(slot, expires_at);
                } else {
                    self.put(&mut stripe, id, state, Some(decoded));
                }
            }
        }
    }

    /// Forgets all that there is of a slot; the store has done so already, and no checkpoint runs
    /// meanwhile.
    pub(crate) fn drop_slot(&self, slot: Slot) {
        let n = stripe_of_slot(slot);
        let mut stripe = self.lock_nth(n);
        self.clocks.close(slot);
        stripe.cells.forget(slot);
        stripe.dirty.retain(|dirty| dirty.id.slot() != slot);
        stripe.quarantine.retain(|id, _| id.slot() != slot);
        // A row that was read from the store before this is not taken in any more.
        stripe.evictions = stripe.evictions.wrapping_add(1);
        self.clear_evicted(slot);
        let of_slot = stripe.records.iter().map(|record| record.id);
        let ids: Vec<StateId> = of_slot.filter(|id| id.slot() == slot).collect();
        drop(stripe);
        for ids in ids.chunks(ROWS_MAX) {
            let mut stripe = self.lock_nth(n);
            let before = Size::of(&stripe);
            let heap = ids.iter().map(|id| stripe.remove(*id));
            let heap = heap.fold(0, usize::saturating_add);
            self.account_heap(heap, 0);
            self.account(StateId::first_of(slot), &stripe, &before);
        }
        let mut stripe = self.lock_nth(n);
        let before = Size::of(&stripe);
        stripe.records.shrink();
        self.account(StateId::first_of(slot), &stripe, &before);
    }
}
