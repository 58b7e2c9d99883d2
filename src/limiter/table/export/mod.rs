//! A copy of slots for another node, taken in two steps: while they are served, and what changed
//! meanwhile once they are frozen. See [`crate::limiter::transfer`] for what the receiver does.
//!
//! A state that was handed out is marked, and any change takes the mark off. So when the slots are
//! frozen, what lacks the mark is all that must be handed out again. States that changed and were
//! then removed from memory are remembered by the slot's cell, and looked up in the store. A state
//! that the store alone has is handed out from there; should it be thawed, changed and evicted
//! again, it is among the removed.
//!
//! A replica that takes in what is committed besides needs no second step: see [`served`].

mod progress;
mod served;
mod walk;

pub(crate) use progress::{ExportError, SlotExport, StoredRows};
pub(crate) use served::ServedCopy;
