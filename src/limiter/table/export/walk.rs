//! The way of a copy through the stripes and the store, a chunk at a time.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::progress::{ExportError, SlotExport, Stage, StoredRows};
use crate::limiter::codec::{decode_row, encode_row, expires_at, quarantine_row};
use crate::limiter::key_state::Marks;
use crate::limiter::reservation::Reservations;
use crate::limiter::table::striped::{Table, stripe_of_slot};
use crate::limiter::table::upkeep::ROWS_MAX;
use crate::limiter::transfer::{CHUNK_BYTES_MAX, Row};
use crate::types::{Slot, SlotSet, StateId};

type Exported<T, S> = Result<T, ExportError<<S as StoredRows>::Error>>;

impl Table {
    /// Begins a copy of slots; any other copy of one of them is void.
    pub(crate) fn begin_export(&self, slots: SlotSet) -> SlotExport {
        let number = self.copies.fetch_add(1, Ordering::Relaxed);
        for slot in slots.iter() {
            let mut stripe = self.lock_nth(stripe_of_slot(slot));
            stripe.cells.begin_copy(slot, number);
        }
        for n in stripes_of(&slots) {
            let mut stripe = self.lock_nth(n);
            let copied = stripe.records.iter_mut();
            for record in copied.filter(|record| slots.contains(record.id.slot())) {
                record.state.marks.clear(Marks::COPIED);
            }
        }
        SlotExport::new(number, slots)
    }

    /// Appends a chunk of what is to be copied while the slots may be served; false, and nothing,
    /// at the end.
    ///
    /// # Errors
    /// [`ExportError::Void`] and [`ExportError::Store`].
    pub(crate) fn export_copy<S: StoredRows>(
        &self,
        export: &mut SlotExport,
        stored: &S,
        rows: &mut Vec<Row>,
    ) -> Exported<bool, S> {
        let from = rows.len();
        while rows.len() == from {
            match export.stage {
                Stage::Memory(n) if export.ids.is_empty() => {
                    export.stage = match self.collect(export, n).map_err(ExportError::Void)? {
                        Some(n) => Stage::Memory(n),
                        None => first_from(&export.slots, 0).map_or(Stage::Copied, stored_from),
                    };
                }
                Stage::Memory(n) => self
                    .hand_out(export, n.saturating_sub(1), rows)
                    .map_err(ExportError::Void)?,
                Stage::Stored(slot, after) => {
                    export.stage = self.copy_stored(export, stored, (slot, after), rows)?;
                }
                Stage::Copied
                | Stage::Changed(_)
                | Stage::Removed(_)
                | Stage::Quarantined(_)
                | Stage::Done => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Appends a chunk of what is left to copy of the frozen slots, be it that all is left; false,
    /// and nothing, at the end. Then the digests are known.
    ///
    /// # Errors
    /// [`ExportError`].
    pub(crate) fn export_rest<S: StoredRows>(
        &self,
        export: &mut SlotExport,
        stored: &S,
        rows: &mut Vec<Row>,
    ) -> Exported<bool, S> {
        let from = rows.len();
        if export.clocks.is_empty() {
            self.note_frozen(export)?;
        }
        while rows.len() == from {
            match export.stage {
                Stage::Memory(_) | Stage::Stored(..) => {
                    self.export_copy(export, stored, rows)?;
                }
                Stage::Copied => export.stage = Stage::Changed(0),
                Stage::Changed(n) if export.ids.is_empty() => {
                    let next = self.collect(export, n).map_err(ExportError::Void)?;
                    export.stage = next.map_or(Stage::Removed(0), Stage::Changed);
                }
                Stage::Changed(n) => self
                    .hand_out(export, n.saturating_sub(1), rows)
                    .map_err(ExportError::Void)?,
                Stage::Removed(n) if export.ids.is_empty() => {
                    export.stage = match first_from(&export.slots, n) {
                        Some(slot) => self.collect_removed(export, slot),
                        None => Stage::Quarantined(0),
                    };
                }
                Stage::Removed(_) => self.look_again(export, stored, rows),
                Stage::Quarantined(n) => {
                    let next = stripe_from(&export.slots, n);
                    export.stage =
                        next.map_or(Stage::Done, |n| self.hand_out_quarantined(export, n, rows));
                }
                Stage::Done => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Ends a copy, finished or not.
    pub(crate) fn end_export(&self, export: &SlotExport) {
        for slot in export.slots.iter() {
            let mut stripe = self.lock_nth(stripe_of_slot(slot));
            stripe.cells.end_copy(slot, export.number);
        }
    }

    fn note_frozen<E>(&self, export: &mut SlotExport) -> Result<(), ExportError<E>> {
        let mut clocks = BTreeMap::new();
        for slot in export.slots.iter() {
            let stripe = self.lock_nth(stripe_of_slot(slot));
            if !stripe.cells.is_copied(slot, export.number) {
                return Err(ExportError::Void(slot));
            }
            // What follows an owner elsewhere changes too.
            if stripe.cells.is_served(slot) || stripe.cells.is_followed(slot) {
                return Err(ExportError::StillServed(slot));
            }
            clocks.insert(slot, stripe.cells.time(slot, stripe.latest));
        }
        export.clocks = clocks;
        Ok(())
    }

    /// Collects the states of the first stripe from the `n`th on that must be handed out; returns
    /// the number behind it.
    pub(super) fn collect(&self, export: &mut SlotExport, n: usize) -> Result<Option<usize>, Slot> {
        let Some(n) = stripe_from(&export.slots, n) else {
            return Ok(None);
        };
        let stripe = self.lock_nth(n);
        export.check(&stripe, n)?;
        let wanted = stripe.records.iter().filter(|record| {
            !record.state.marks.has(Marks::COPIED) && export.slots.contains(record.id.slot())
        });
        export.ids.extend(wanted.map(|record| record.id));
        Ok(Some(n.saturating_add(1)))
    }

    /// Hands out some of the states that were collected of the `n`th stripe.
    pub(super) fn hand_out(
        &self,
        export: &mut SlotExport,
        n: usize,
        rows: &mut Vec<Row>,
    ) -> Result<(), Slot> {
        let mut stripe = self.lock_nth(n);
        let stripe = &mut *stripe;
        export.check(stripe, n)?;
        let none = Reservations::default();
        let mut bytes = 0usize;
        for _ in 0..ROWS_MAX {
            if bytes >= CHUNK_BYTES_MAX {
                break;
            }
            let Some(id) = export.ids.pop() else { break };
            let now = stripe.time_of(id);
            let Some(state) = stripe.records.get_mut(id) else {
                continue;
            };
            // Nothing that it counts matters; that it is in quarantine is handed out last.
            if stripe.quarantine.contains_key(&id) {
                continue;
            }
            let reservations = stripe.reservations.get(&id).unwrap_or(&none);
            let row = encode_row(id, state, &self.shapes.get(state.shape), reservations);
            // Also if it has expired, so that it need not be looked for once it is forgotten.
            state.marks.set(Marks::COPIED);
            if expires_at(&row).is_some_and(|expiry| expiry > now) {
                bytes = bytes.saturating_add(row.len());
                export.send(id, row, rows);
            } else {
                export.send_gone(id, rows);
            }
        }
        Ok(())
    }

    /// Hands out a page of the rows that the store alone has; returns where it goes on.
    fn copy_stored<S: StoredRows>(
        &self,
        export: &mut SlotExport,
        stored: &S,
        (slot, after): (Slot, Option<StateId>),
        rows: &mut Vec<Row>,
    ) -> Exported<Stage, S> {
        let n = stripe_of_slot(slot);
        let next = || {
            let next = first_from(&export.slots, slot.index().saturating_add(1));
            next.map_or(Stage::Copied, stored_from)
        };
        let stripe = self.lock_nth(n);
        export.check(&stripe, n).map_err(ExportError::Void)?;
        if self.evicted_until(slot) <= stripe.cells.time(slot, stripe.latest) {
            return Ok(next());
        }
        drop(stripe);
        let page = stored.rows(slot, after).map_err(ExportError::Store)?;
        let Some(last) = page.last().map(|(id, _)| *id) else {
            return Ok(next());
        };
        let mut stripe = self.lock_nth(n);
        for (id, row) in page {
            let now = stripe.time_of(id);
            if stripe.records.get(id).is_some()
                || stripe.quarantine.contains_key(&id)
                || export.sent.contains_key(&id)
            {
                continue;
            }
            match decode_row(id, &row) {
                Err(_) => drop(stripe.quarantine.insert(id, now)),
                Ok(decoded) if decoded.quarantined_since.is_some() => {}
                Ok(_) if expires_at(&row).is_some_and(|expiry| expiry > now) => {
                    export.send(id, row, rows);
                }
                Ok(_) => {}
            }
        }
        Ok(Stage::Stored(slot, Some(last)))
    }

    /// Collects the states of a slot that changed and were removed from memory.
    fn collect_removed(&self, export: &mut SlotExport, slot: Slot) -> Stage {
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        let removed = stripe.cells.take_removed(slot);
        if removed.overflowed {
            let of_slot = export.sent.range(StateId::first_of(slot)..);
            let of_slot = of_slot.map(|(id, _)| *id);
            export
                .ids
                .extend(of_slot.take_while(|id| id.slot() == slot));
        }
        export.ids.extend(removed.ids);
        Stage::Removed(slot.index().saturating_add(1))
    }

    /// Hands out what the store has of some of the states that were collected.
    fn look_again<S: StoredRows>(&self, export: &mut SlotExport, stored: &S, rows: &mut Vec<Row>) {
        for _ in 0..ROWS_MAX {
            let Some(id) = export.ids.pop() else { break };
            if self.lock(id).records.get(id).is_some() {
                continue;
            }
            let clock = export.clocks.get(&id.slot()).copied().unwrap_or_default();
            let row = stored.row(id).ok();
            let readable = row.filter(|row| {
                let row = row.as_ref();
                row.is_none_or(|row| decode_row(id, row).is_ok())
            });
            let Some(row) = readable else {
                self.lock(id).quarantine.insert(id, clock);
                continue;
            };
            let counts = |row: &Vec<u8>| expires_at(row).is_some_and(|expiry| expiry > clock);
            match row.filter(counts) {
                Some(row) => export.send(id, row, rows),
                None => export.send_gone(id, rows),
            }
        }
    }

    /// Hands out the quarantines of a stripe; returns where it goes on.
    pub(super) fn hand_out_quarantined(
        &self,
        export: &mut SlotExport,
        n: usize,
        rows: &mut Vec<Row>,
    ) -> Stage {
        let stripe = self.lock_nth(n);
        for (&id, &since) in &stripe.quarantine {
            if export.slots.contains(id.slot()) {
                export.send(id, quarantine_row(id, since), rows);
            }
        }
        Stage::Quarantined(n.saturating_add(1))
    }
}

const fn stored_from(slot: Slot) -> Stage {
    Stage::Stored(slot, None)
}

/// The first of `slots` whose number is `n` or more.
pub(super) fn first_from(slots: &SlotSet, n: usize) -> Option<Slot> {
    slots.iter().find(|slot| slot.index() >= n)
}

/// The first stripe of `slots` from the `n`th on.
pub(super) fn stripe_from(slots: &SlotSet, n: usize) -> Option<usize> {
    stripes_of(slots).find(|at| *at >= n)
}

/// The stripes of `slots`, in order.
fn stripes_of(slots: &SlotSet) -> impl Iterator<Item = usize> + '_ {
    let mut last = None;
    let stripes = slots.iter().map(stripe_of_slot);
    stripes.filter(move |n| last.replace(*n) != Some(*n))
}
