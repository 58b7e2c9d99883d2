//! A copy of slots for a replica, taken while they are served: the base that the owner's commits are
//! applied to, as of a base backup and its log.
//!
//! The owner notes how far a slot is, and only then begins this copy. Each row holds at least all
//! commits up to there; what it holds beyond comes again with the commits behind, which set absolute
//! counts. So nothing is remembered in the table, any number of such copies may run at once, and none
//! disturbs a hand-off ([`super::SlotExport`]).
//!
//! The invariant: no row is told of a state after a newer one. What is in memory is told from there.
//! What the store alone has is told from the store, unless it was in memory before: such rows may be
//! older than what was told.

use std::collections::{BTreeMap, BTreeSet};

use super::progress::StoredRows;
use super::walk::{first_from, stripe_from};
use crate::limiter::codec::{decode_row, encode_row, expires_at, quarantine_row};
use crate::limiter::reservation::Reservations;
use crate::limiter::table::striped::{Table, slots_of};
use crate::limiter::table::upkeep::ROWS_MAX;
use crate::limiter::transfer::{CHUNK_BYTES_MAX, Row};
use crate::types::{Slot, SlotSet, StateId};

/// A copy of served slots, as far as it has come.
#[derive(Debug)]
pub(crate) struct ServedCopy {
    slots: SlotSet,
    stage: Stage,
    /// States of the stage's stripe, to be told.
    ids: Vec<StateId>,
    /// Slots of which the store alone has some states.
    stored: SlotSet,
    /// Of those, the states that were in memory.
    told: BTreeSet<StateId>,
    /// Rows told of each slot.
    counts: BTreeMap<Slot, u64>,
}

/// In the order in which it goes; numbers are of stripes.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// The next stripe to look at.
    Memory(usize),
    Stored(Slot, Option<StateId>),
    Quarantined(usize),
    Done,
}

impl ServedCopy {
    /// A copy of `slots` that has not begun yet.
    pub(crate) const fn new(slots: SlotSet) -> Self {
        Self {
            slots,
            stage: Stage::Memory(0),
            ids: Vec::new(),
            stored: SlotSet::EMPTY,
            told: BTreeSet::new(),
            counts: BTreeMap::new(),
        }
    }

    /// How many rows of a slot were told so far.
    pub(crate) fn count(&self, slot: Slot) -> u64 {
        self.counts.get(&slot).copied().unwrap_or(0)
    }

    fn tell(&mut self, id: StateId, row: Vec<u8>, rows: &mut Vec<Row>) {
        let count = self.counts.entry(id.slot()).or_default();
        *count = count.saturating_add(1);
        rows.push((id, row));
    }
}

impl Table {
    /// Appends a chunk of what counts in the slots; false, and nothing, at the end.
    ///
    /// # Errors
    /// If stored rows cannot be read; the copy has then failed.
    pub(crate) fn copy_served<S: StoredRows>(
        &self,
        copy: &mut ServedCopy,
        stored: &S,
        rows: &mut Vec<Row>,
    ) -> Result<bool, S::Error> {
        let from = rows.len();
        while rows.len() == from {
            match copy.stage {
                Stage::Memory(n) if copy.ids.is_empty() => {
                    copy.stage = match stripe_from(&copy.slots, n) {
                        Some(n) => self.note_states(copy, n),
                        None => next_stored(copy, 0),
                    };
                }
                Stage::Memory(n) => {
                    self.tell_states(copy, n.saturating_sub(1), stored, rows)?;
                }
                Stage::Stored(slot, after) => {
                    copy.stage = self.tell_stored(copy, stored, (slot, after), rows)?;
                }
                Stage::Quarantined(n) => {
                    let next = stripe_from(&copy.slots, n);
                    copy.stage = next.map_or(Stage::Done, |n| self.tell_quarantined(copy, n, rows));
                }
                Stage::Done => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Notes which states of the slots are in memory in the `n`th stripe, and in which slots the
    /// store alone has some now.
    fn note_states(&self, copy: &mut ServedCopy, n: usize) -> Stage {
        let stripe = self.lock_nth(n);
        for slot in slots_of(n).filter(|slot| copy.slots.contains(*slot)) {
            if self.evicted_until(slot) > stripe.cells.time(slot, stripe.latest) {
                copy.stored.insert(slot);
            }
        }
        let ids = stripe.records.iter().map(|record| record.id);
        copy.ids
            .extend(ids.filter(|id| copy.slots.contains(id.slot())));
        let tracked = copy.ids.iter().filter(|id| copy.stored.contains(id.slot()));
        copy.told.extend(tracked.copied());
        Stage::Memory(n.saturating_add(1))
    }

    /// Tells some of the states that were noted in the `n`th stripe.
    fn tell_states<S: StoredRows>(
        &self,
        copy: &mut ServedCopy,
        n: usize,
        stored: &S,
        rows: &mut Vec<Row>,
    ) -> Result<(), S::Error> {
        let mut evicted = Vec::new();
        let stripe = self.lock_nth(n);
        let none = Reservations::default();
        let mut bytes = 0usize;
        for _ in 0..ROWS_MAX {
            if bytes >= CHUNK_BYTES_MAX {
                break;
            }
            let Some(id) = copy.ids.pop() else { break };
            // That a key is in quarantine is told last.
            if stripe.quarantine.contains_key(&id) {
                continue;
            }
            let Some(state) = stripe.records.get(id) else {
                evicted.push(id);
                continue;
            };
            let reservations = stripe.reservations.get(&id).unwrap_or(&none);
            let row = encode_row(id, state, &self.shapes.get(state.shape), reservations);
            if expires_at(&row).is_some_and(|expiry| expiry > stripe.time_of(id)) {
                bytes = bytes.saturating_add(row.len());
                copy.tell(id, row, rows);
            }
        }
        drop(stripe);
        for id in evicted {
            // It was evicted or forgotten a moment ago, so the store has all of it that counts.
            if let Some(row) = stored.row(id)? {
                self.tell_row(copy, id, row, rows);
            }
        }
        Ok(())
    }

    /// Tells a page of the rows that the store alone has; returns where it goes on.
    fn tell_stored<S: StoredRows>(
        &self,
        copy: &mut ServedCopy,
        stored: &S,
        (slot, after): (Slot, Option<StateId>),
        rows: &mut Vec<Row>,
    ) -> Result<Stage, S::Error> {
        let page = stored.rows(slot, after)?;
        let Some(last) = page.last().map(|(id, _)| *id) else {
            return Ok(next_stored(copy, slot.index().saturating_add(1)));
        };
        for (id, row) in page {
            if !copy.told.contains(&id) {
                self.tell_row(copy, id, row, rows);
            }
        }
        Ok(Stage::Stored(slot, Some(last)))
    }

    /// Tells a row of the store if it counts. One that cannot be used puts its key in quarantine.
    fn tell_row(&self, copy: &mut ServedCopy, id: StateId, row: Vec<u8>, rows: &mut Vec<Row>) {
        let mut stripe = self.lock(id);
        let now = stripe.time_of(id);
        if stripe.quarantine.contains_key(&id) {
            return;
        }
        match decode_row(id, &row) {
            Err(_) => drop(stripe.quarantine.insert(id, now)),
            Ok(decoded) if decoded.quarantined_since.is_some() => {}
            Ok(_) if expires_at(&row).is_some_and(|expiry| expiry > now) => {
                copy.tell(id, row, rows);
            }
            Ok(_) => {}
        }
    }

    /// Tells the quarantines of a stripe; returns where it goes on.
    fn tell_quarantined(&self, copy: &mut ServedCopy, n: usize, rows: &mut Vec<Row>) -> Stage {
        let stripe = self.lock_nth(n);
        for (&id, &since) in &stripe.quarantine {
            if copy.slots.contains(id.slot()) {
                copy.tell(id, quarantine_row(id, since), rows);
            }
        }
        Stage::Quarantined(n.saturating_add(1))
    }
}

/// The first slot from the `n`th on of which the store alone has states, or what comes then.
fn next_stored(copy: &ServedCopy, n: usize) -> Stage {
    let next = first_from(&copy.stored, n);
    next.map_or(Stage::Quarantined(0), |slot| Stage::Stored(slot, None))
}
