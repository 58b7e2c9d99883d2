//! The table of all key states of a node: striped by the top bits of their names.
//!
//! A stripe is a lock, a flat table of one-line records, and the list of those that changed since
//! the last commit. One stripe is locked at a time and nothing waits under its lock, so there is
//! no lock order to keep but one: a stripe's lock comes before that of [`super::shape::Shapes`].
//!
//! **The ticket.** A change is made under its stripe's lock, which then marks the stripe in a
//! bitmap and only then reads the number of the open commit. A commit first raises that number
//! and only then reads the bitmap. So a change that read the number of a commit is swept by it or
//! by an earlier one. `storage/tests/schedules.rs` runs this very code under `shuttle`.
//!
//! **Time.** Each stripe remembers the latest time it was used at and never decides at an earlier
//! one. So time may be read before the lock is taken, once for a whole batch. Callers tell the
//! node's time; a state is judged by its slot's, which is the node's moved by the slot's offset.
//!
//! **The gate.** Whether a slot is served is decided under its stripe's lock. So once
//! [`Table::freeze`] has had that lock, nothing more is granted in the slot.

mod cells;
mod change;
mod commit;
mod decide;
mod export;
mod follow;
mod install;
mod load;
mod pages;
mod prefetch;
mod records;
mod slots;
mod stripe;
mod striped;
mod sync;
#[cfg(test)]
mod tests;
mod upkeep;

pub(crate) use change::{Change, ChangeError, Reserve, Seen};
pub(crate) use decide::{Asked, Outcome, quarantine_left_ms};
pub(crate) use export::{ExportError, ServedCopy, SlotExport, StoredRows};
pub(crate) use follow::Applied;
pub(crate) use install::Prepared;
pub(crate) use load::{LoadError, Thawed};
pub(crate) use slots::NotInstalled;
pub(crate) use striped::{Capacity, Table};
pub(crate) use upkeep::UnsavedCursor;
