//! A copy of slots that stay served, for a replica that takes in their commits besides.
//!
//! Together with all commits from a moment before the copy began it is all that its slots hold: of each
//! state that there was then, some row of then or later is handed out, whatever came, changed, went to
//! the store or came back meanwhile. A row may be newer than the commits that are applied to it; since
//! counts are absolute, they end up the same.

use super::progress::{ExportError, SlotExport, Stage, StoredRows};
use super::walk::{first_from, stripe_from};
use crate::limiter::codec::{encode_row, expires_at};
use crate::limiter::reservation::Reservations;
use crate::limiter::table::striped::{Table, stripe_of_slot};
use crate::limiter::table::upkeep::ROWS_MAX;
use crate::limiter::transfer::Row;
use crate::types::{Slot, StateId};

type Exported<T, S> = Result<T, ExportError<<S as StoredRows>::Error>>;

impl Table {
    /// Appends a chunk of what a live copy has left; false, and nothing, at the end. An empty row says
    /// that a state that was handed out counts nothing any more.
    ///
    /// # Errors
    /// [`ExportError::Void`], also if more states went to the store meanwhile than are remembered, and
    /// [`ExportError::Store`], also if a single row cannot be read: the copy must begin anew.
    pub(crate) fn export_live<S: StoredRows>(
        &self,
        export: &mut SlotExport,
        stored: &S,
        rows: &mut Vec<Row>,
    ) -> Exported<bool, S> {
        let from = rows.len();
        while rows.len() == from {
            match export.stage {
                Stage::Memory(_) | Stage::Stored(..) => {
                    self.export_copy(export, stored, rows)?;
                }
                // What came back from the store before its page was read.
                Stage::Copied => export.stage = Stage::Changed(0),
                Stage::Changed(n) if export.ids.is_empty() => {
                    let next = self.collect(export, n).map_err(ExportError::Void)?;
                    export.stage = next.map_or(Stage::Removed(0), Stage::Changed);
                }
                Stage::Changed(n) => self
                    .hand_out(export, n.saturating_sub(1), rows)
                    .map_err(ExportError::Void)?,
                // And what went there again before it was handed out.
                Stage::Removed(n) if export.ids.is_empty() => {
                    export.stage = match first_from(&export.slots, n) {
                        Some(slot) => self.collect_gone(export, slot)?,
                        None => Stage::Quarantined(0),
                    };
                }
                Stage::Removed(_) => self.hand_out_gone(export, stored, rows)?,
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

    fn collect_gone<E>(
        &self,
        export: &mut SlotExport,
        slot: Slot,
    ) -> Result<Stage, ExportError<E>> {
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        let is_whole = stripe.cells.is_copied(slot, export.number);
        let removed = stripe.cells.take_removed(slot);
        if !is_whole || removed.overflowed {
            return Err(ExportError::Void(slot));
        }
        export.ids.extend(removed.ids);
        Ok(Stage::Removed(slot.index().saturating_add(1)))
    }

    /// Hands out some of the states that were collected, wherever they are now.
    fn hand_out_gone<S: StoredRows>(
        &self,
        export: &mut SlotExport,
        stored: &S,
        rows: &mut Vec<Row>,
    ) -> Exported<(), S> {
        for _ in 0..ROWS_MAX {
            let Some(id) = export.ids.pop() else { break };
            let row = match self.row_in_memory(id) {
                Some(row) => Some(row),
                // If it comes back right now, the store's row is that of before, and its changes are
                // commits.
                None => stored.row(id).map_err(ExportError::Store)?,
            };
            let stripe = self.lock(id);
            let now = stripe.time_of(id);
            drop(stripe);
            match row {
                Some(row) if expires_at(&row).is_some_and(|expiry| expiry > now) => {
                    export.send(id, row, rows);
                }
                Some(_) | None => export.send_gone(id, rows),
            }
        }
        Ok(())
    }

    fn row_in_memory(&self, id: StateId) -> Option<Vec<u8>> {
        let stripe = self.lock(id);
        let state = stripe.records.get(id)?;
        let none = Reservations::default();
        let reservations = stripe.reservations.get(&id).unwrap_or(&none);
        Some(encode_row(
            id,
            state,
            &self.shapes.get(state.shape),
            reservations,
        ))
    }
}
