//! What a commit takes: every state that changed since the last one, packed into one record.

use std::sync::atomic::Ordering;

use super::stripe::Dirty;
use super::striped::{STRIPES, Table};
use crate::limiter::commit_record::RecordWriter;
use crate::limiter::key_state::Marks;
use crate::limiter::reservation::Reservations;
use crate::limiter::shape::Shape;
use crate::types::SlotTime;

/// What only the committing task touches.
#[derive(Debug, Default)]
pub(super) struct CommitSide {
    /// A dirty list to swap for a stripe's.
    dirty: Vec<Dirty>,
}

/// A commit that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Its number.
    pub(crate) number: u64,
    /// Nothing had changed: there is no record to write.
    pub(crate) empty: bool,
}

impl Table {
    /// Marks the `n`th stripe as having changes, and returns the ticket of a change just made
    /// under its lock. The order matters; see [`super`].
    pub(super) fn ticket(&self, n: usize) -> u64 {
        if let Some(word) = self.dirty_stripes.get(n / 64) {
            let bit = 1 << (n % 64);
            if word.load(Ordering::SeqCst) & bit == 0 {
                word.fetch_or(bit, Ordering::SeqCst);
            }
        }
        self.open_commit.load(Ordering::SeqCst)
    }

    /// Closes the open commit, opens the next, and packs what changed into `record`.
    pub(crate) fn take_commit(&self, stamp: SlotTime, record: &mut Vec<u8>) -> Taken {
        let mut side = self.commit_side.lock();
        let number = self.open_commit.fetch_add(1, Ordering::SeqCst);
        let mut writer = RecordWriter::new(record, number, stamp, self.node);
        for (word_no, word) in self.dirty_stripes.iter().enumerate() {
            let mut marked = word.swap(0, Ordering::SeqCst);
            while marked != 0 {
                let bit = marked.trailing_zeros();
                marked &= marked.wrapping_sub(1);
                let n = word_no.saturating_mul(64).saturating_add(bit as usize);
                self.take_stripe(&mut side, (n, number), &mut writer);
            }
        }
        let empty = writer.is_empty();
        writer.finish();
        Taken { number, empty }
    }

    /// The number of a record that is no commit of the table's own. Whoever takes it takes the open
    /// commit next, before either is told to be there: a change may hold it as its ticket.
    pub(crate) fn take_number(&self) -> u64 {
        self.open_commit.fetch_add(1, Ordering::SeqCst)
    }

    /// Packs what changed in the `n`th stripe as a part of the commit `number`.
    fn take_stripe(
        &self,
        side: &mut CommitSide,
        (n, number): (usize, u64),
        writer: &mut RecordWriter<'_>,
    ) {
        debug_assert!(n < STRIPES);
        let mut stripe = self.lock_nth(n);
        let stripe = &mut *stripe;
        std::mem::swap(&mut stripe.dirty, &mut side.dirty);
        // In order of id, the states of a slot follow each other.
        side.dirty.sort_unstable_by_key(|dirty| dirty.id);
        let mut shape_of = (None, Shape::default());
        for dirty in side.dirty.drain(..) {
            let Some(state) = stripe.records.get_mut(dirty.id) else {
                continue;
            };
            let slot = dirty.id.slot();
            if writer.open_slot() != Some(slot) {
                let clock = stripe.cells.time(slot, stripe.latest);
                writer.begin_slot(slot, stripe.cells.next_commit(slot, number), clock);
            }
            if shape_of.0 != Some(state.shape) {
                shape_of = (Some(state.shape), self.shapes.get(state.shape));
            }
            if state.marks.has(Marks::WHOLE) {
                let none = Reservations::default();
                let reservations = stripe.reservations.get(&dirty.id).unwrap_or(&none);
                writer.whole(dirty.id, state, &shape_of.1, reservations);
            } else {
                writer.changed(dirty.id, state, &shape_of.1, dirty.since);
            }
            state.marks.clear(Marks::DIRTY | Marks::WHOLE);
        }
    }
}
