//! Replacing and dropping the state of whole slots while checkpoints come and go.
//!
//! A checkpoint takes rows out of the table and writes them a moment later. If a slot were replaced
//! or dropped in that moment, its old rows would come back. So whoever writes rows has the *turn*:
//! a checkpoint for each chunk from taking it to writing it, and an installation from writing the
//! store to changing the table.

use parking_lot::{Mutex, MutexGuard};

use super::fence::{Fence, StorageFailed};
use super::store::{SlotInstall, Store};
use crate::types::{Slot, SlotSet};

/// Whose turn it is to write rows.
#[derive(Debug, Default)]
pub(crate) struct RowTurn(Mutex<()>);

impl RowTurn {
    /// Waits for the turn.
    pub(super) fn take(&self) -> MutexGuard<'_, ()> {
        self.0.lock()
    }
}

/// Writes slots as [`Store::install`] says, then lets `take_in` make the table the same.
///
/// # Errors
/// [`StorageFailed`]; the fence is then closed and the table as before.
pub(crate) fn install<S: Store + ?Sized>(
    (store, turn, fence): (&S, &RowTurn, &Fence),
    slots: &[SlotInstall],
    take_in: impl FnOnce(),
) -> Result<(), StorageFailed> {
    let _turn = turn.take();
    fence.check()?;
    let written = store.install(slots);
    written.map_err(|error| fence.close(error))?;
    take_in();
    Ok(())
}

/// Writes marks as [`Store::put_marks`] says, then lets `take_in` make the table the same. No rows
/// are written, but none may be read for a checkpoint in between either.
///
/// # Errors
/// [`StorageFailed`]; the fence is then closed and the table as before.
pub(crate) fn mark<S: Store + ?Sized>(
    (store, turn, fence): (&S, &RowTurn, &Fence),
    marks: &[(Slot, Vec<u8>)],
    take_in: impl FnOnce(),
) -> Result<(), StorageFailed> {
    let _turn = turn.take();
    fence.check()?;
    let written = store.put_marks(marks);
    written.map_err(|error| fence.close(error))?;
    take_in();
    Ok(())
}

/// Drops slots as [`Store::drop_slots`] says, then lets `forget` make the table the same.
///
/// # Errors
/// [`StorageFailed`]; the fence is then closed and the table as before.
pub(crate) fn drop_slots<S: Store + ?Sized>(
    (store, turn, fence): (&S, &RowTurn, &Fence),
    (slots, mark): (&SlotSet, &[u8]),
    forget: impl FnOnce(),
) -> Result<(), StorageFailed> {
    let _turn = turn.take();
    fence.check()?;
    let written = store.drop_slots(slots, mark);
    written.map_err(|error| fence.close(error))?;
    forget();
    Ok(())
}
