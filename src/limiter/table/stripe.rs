//! One stripe: the records of a sixteenth of a percent of the keys, and what is to be done with
//! them.

use std::collections::BTreeMap;

use super::cells::Cells;
use super::records::{Place, Records};
use crate::limiter::key_state::Marks;
use crate::limiter::reservation::Reservations;
use crate::limiter::shape::{ShapeId, Shapes};
use crate::types::{SlotTime, StateId};

/// A stripe, under its lock.
#[derive(Debug, Default)]
pub(super) struct Stripe {
    pub(super) records: Records,
    /// States that changed since the last commit, each once.
    pub(super) dirty: Vec<Dirty>,
    /// Of the states marked [`Marks::RESERVED`].
    pub(super) reservations: BTreeMap<StateId, Reservations>,
    /// Keys whose counts were damaged, and since when they are denied; a slot's first id stands for
    /// all its keys.
    pub(super) quarantine: BTreeMap<StateId, SlotTime>,
    /// What is known of its slots.
    pub(super) cells: Cells,
    /// The latest time of the node that the stripe was used at; it never goes back.
    pub(super) latest: SlotTime,
    /// How often a state was evicted; a row read from the store before the last eviction may be
    /// older than the one that was evicted.
    pub(super) evictions: u64,
    /// How many states are marked [`Marks::UNSAVED`].
    pub(super) unsaved: u64,
    /// Checks decided here, by outcome.
    pub(super) tally: Tally,
}

/// Checks decided by a stripe since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) grants: u64,
    pub(super) denials: u64,
}

/// An entry of the dirty list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dirty {
    pub(super) id: StateId,
    /// The time of the first change since the last commit: no earlier bucket has changed.
    pub(super) since: SlotTime,
}

/// Marks a state as changed since it was last handed to a checkpoint, and with `more`; `unsaved` counts
/// such states, each once.
#[inline]
pub(super) const fn mark_unsaved(marks: &mut Marks, more: u8, unsaved: &mut u64) {
    if !marks.has(Marks::UNSAVED) {
        *unsaved = unsaved.saturating_add(1);
    }
    marks.set(more | Marks::UNSAVED);
}

impl Stripe {
    /// The later of `now` and the latest time the stripe was used at.
    pub(super) fn advance(&mut self, now: SlotTime) -> SlotTime {
        self.latest = self.latest.max(now);
        self.latest
    }

    /// The time of a state's slot when the node's is `node_now`; `None` if it is not served.
    #[inline]
    pub(super) fn decide_at(&mut self, id: StateId, node_now: SlotTime) -> Option<SlotTime> {
        let node_now = self.advance(node_now);
        self.cells.served_at(id, node_now)
    }

    /// Where the state is, if it is there in that shape and nothing is in quarantine: so it is for
    /// most checks.
    #[inline]
    pub(super) fn find_plain(&self, id: StateId, shape: ShapeId) -> Option<Place> {
        let place = self.records.find(id)?;
        let state = self.records.state(place)?;
        (state.shape == shape && self.quarantine.is_empty()).then_some(place)
    }

    /// The time of a state's slot when the stripe was used last.
    pub(super) fn time_of(&self, id: StateId) -> SlotTime {
        self.cells.time_of(id, self.latest)
    }

    /// Removes a state and what belongs to it; returns the bytes it had on the heap.
    pub(super) fn remove(&mut self, id: StateId) -> usize {
        self.reservations.remove(&id);
        let Some(state) = self.records.remove(id) else {
            return 0;
        };
        if state.marks.has(Marks::UNSAVED) {
            self.unsaved = self.unsaved.saturating_sub(1);
        }
        if !state.marks.has(Marks::COPIED) {
            self.cells.note_removed(id);
        }
        state.heap_bytes()
    }

    /// Removes the state's counts; returns the bytes they had on the heap.
    pub(super) fn clear(&mut self, id: StateId) -> usize {
        let Some(state) = self.records.get_mut(id) else {
            return 0;
        };
        let heap = state.heap_bytes();
        state.reset();
        state.marks.clear(Marks::RESERVED);
        self.reservations.remove(&id);
        heap
    }

    /// When nothing of the state counts any more.
    pub(super) fn expires_at(&self, id: StateId, shapes: &Shapes) -> Option<SlotTime> {
        let state = self.records.get(id)?;
        let reserved = self
            .reservations
            .get(&id)
            .map_or(SlotTime::ZERO, Reservations::expires_at);
        Some(state.expires_at(&shapes.get(state.shape)).max(reserved))
    }

    /// Whether the state may be forgotten now, by its slot's clock, without the store: it counts nothing any more,
    /// the journal has all of it, and no older row would bring more of it back.
    pub(super) fn may_drop(&self, id: StateId, shapes: &Shapes) -> bool {
        let Some(state) = self.records.get(id) else {
            return false;
        };
        !state.marks.has(Marks::DIRTY | Marks::SHRUNK)
            && self
                .expires_at(id, shapes)
                .is_some_and(|expires_at| expires_at <= self.time_of(id))
    }

    /// Whether the state may be evicted: the store has all of it.
    pub(super) fn may_evict(&self, id: StateId) -> bool {
        const NEEDED: u8 = Marks::DIRTY | Marks::UNSAVED | Marks::SAVING | Marks::SHRUNK;
        self.records
            .get(id)
            .is_some_and(|state| !state.marks.has(NEEDED))
    }
}
