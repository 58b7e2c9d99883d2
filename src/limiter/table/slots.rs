//! Which slots the table holds and serves, and since which epoch.
//!
//! A slot is held when its state is here, and served from [`Table::serve`] until [`Table::freeze`].
//! It is served once at most after each installation: who was sealed never serves that reign again,
//! and nobody serves from the memory of an earlier life.

use std::sync::atomic::Ordering;

use super::stripe::Stripe;
use super::striped::{STRIPES, Table, stripe_of_slot};
use crate::limiter::installed::Installed;
use crate::limiter::policy::WINDOW_MS_MAX;
use crate::types::{Epoch, Position, Slot, SlotSet, SlotTime, StateId};

/// The slot is not held, not at this epoch, or was frozen since it was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("slot {slot} is at {at:?}, not installed at epoch {epoch} and unserved since")]
pub(crate) struct NotInstalled {
    /// The slot.
    pub(crate) slot: Slot,
    /// What was to be served.
    pub(crate) epoch: Epoch,
    /// What is here.
    pub(crate) at: Position,
}

impl Table {
    /// Takes a slot's state for the node's own as the store says, before rows and commits are read.
    /// It must be installed anew before it is served.
    pub(crate) fn hold(&self, slot: Slot, installed: &Installed) {
        self.note_epoch(installed.at.epoch);
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        stripe.cells.hold(slot, installed);
    }

    /// What marks the state that is here, as it is, as that of `at`. Of its own reign the mark claims
    /// no more than is written, when the commits up to `committed` are appended. See [`Table::mark`]
    /// for the times.
    pub(crate) fn mark_of_own(
        &self,
        (slot, mut at): (Slot, Position),
        committed: u64,
        clock: SlotTime,
        now: SlotTime,
    ) -> Installed {
        let stripe = self.lock_nth(stripe_of_slot(slot));
        let written = stripe.cells.written(slot, committed);
        if let Some(written) = written.filter(|written| written.epoch == at.epoch) {
            at = at.min(written);
        }
        let replay_after = stripe.cells.replay_after(slot).unwrap_or(at);
        drop(stripe);
        self.mark(at, replay_after, clock, now)
    }

    /// What marks a state that is at `at`: in the node's own reigns the clock runs, in those of others
    /// it shows what they tell. See [`Installed::new`] for the times.
    pub(crate) fn mark(
        &self,
        at: Position,
        replay_after: Position,
        clock: SlotTime,
        now: SlotTime,
    ) -> Installed {
        if at.epoch.node == self.node {
            Installed::new(at, replay_after, clock, now)
        } else {
            Installed::followed(at, replay_after, clock)
        }
    }

    /// Makes the state that is here, as it is, that of another epoch: all its commits are part of
    /// it. The store has the mark already.
    pub(crate) fn install_own(&self, slot: Slot, installed: &Installed) {
        self.note_epoch(installed.at.epoch);
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        self.clocks.close(slot);
        stripe.cells.install_own(slot, installed);
    }

    /// Serves a slot whose state was installed at `epoch`.
    ///
    /// # Errors
    /// [`NotInstalled`]; nothing has changed.
    pub(crate) fn serve(&self, slot: Slot, epoch: Epoch) -> Result<(), NotInstalled> {
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        let at = stripe.cells.position(slot);
        let Some(offset_ms) = stripe.cells.serve(slot, epoch) else {
            return Err(NotInstalled { slot, epoch, at });
        };
        self.clocks.open(slot, offset_ms);
        Ok(())
    }

    /// Stops serving these slots: nothing more is granted in them when this returns. Their clocks
    /// stop at what they show when the node's shows `now`.
    pub(crate) fn freeze(&self, slots: &SlotSet, now: SlotTime) {
        for slot in slots.iter() {
            let mut stripe = self.lock_nth(stripe_of_slot(slot));
            let now = stripe.advance(now);
            self.clocks.close(slot);
            stripe.cells.freeze(slot, now);
        }
    }

    /// Whether the slot is served; a decision asks again, under its stripe's lock.
    pub(crate) fn is_served(&self, slot: Slot) -> bool {
        self.clocks.is_served(slot)
    }

    /// Whether the slot's state is here.
    pub(crate) fn holds(&self, slot: Slot) -> bool {
        self.lock_nth(stripe_of_slot(slot)).cells.holds(slot)
    }

    /// The slots that are held.
    pub(crate) fn held(&self) -> SlotSet {
        Slot::all().filter(|slot| self.holds(*slot)).collect()
    }

    /// What the slot's clock shows when the node's shows `now`: the highest time that its state has
    /// seen.
    pub(crate) fn slot_now(&self, slot: Slot, now: SlotTime) -> SlotTime {
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        let now = stripe.advance(now);
        stripe.cells.time(slot, now)
    }

    /// How far the slot's state is, commits that were taken but not written included; at no epoch
    /// if it is not held.
    pub(crate) fn position(&self, slot: Slot) -> Position {
        let stripe = self.lock_nth(stripe_of_slot(slot));
        stripe.cells.position(slot)
    }

    /// Of each slot that is held how far its state is for certain in the journal or in rows, when the
    /// node's commits up to `committed` are appended, and what its clock shows.
    pub(crate) fn positions(&self, committed: u64) -> Vec<(Slot, Position, SlotTime)> {
        let of_slot = |slot| {
            let stripe = self.lock_nth(stripe_of_slot(slot));
            let at = stripe.cells.written(slot, committed)?;
            Some((slot, at, stripe.cells.time(slot, stripe.latest)))
        };
        Slot::all().filter_map(of_slot).collect()
    }

    /// Denies all keys of a slot for one window from `since` on, by the slot's clock.
    pub(crate) fn quarantine_slot(&self, slot: Slot, since: SlotTime) {
        let whole_slot = StateId::first_of(slot);
        self.lock(whole_slot).quarantine.insert(whole_slot, since);
    }

    /// Forgets the quarantines that have ended for every window there can be, when the node's clock
    /// shows `now`. One that another node handed over, or left behind, is of windows that only that
    /// one knew.
    pub(crate) fn end_quarantines(&self, now: SlotTime) {
        for n in 0..STRIPES {
            let mut stripe = self.lock_nth(n);
            if stripe.quarantine.is_empty() {
                continue;
            }
            let now = stripe.advance(now);
            let Stripe {
                quarantine, cells, ..
            } = &mut *stripe;
            quarantine.retain(|id, since| {
                since.plus_ms(WINDOW_MS_MAX).plus_ms(1) > cells.time_of(*id, now)
            });
        }
    }

    /// Keys and whole slots that are in quarantine for a window of `longest_ms`, when the node's clock
    /// shows `now`.
    pub(crate) fn quarantined(&self, now: SlotTime, longest_ms: u64) -> u64 {
        let of_stripe = |n| {
            let stripe = self.lock_nth(n);
            let lasting = stripe.quarantine.iter().filter(|(id, since)| {
                since.plus_ms(longest_ms).plus_ms(1) > stripe.cells.time_of(**id, now)
            });
            u64::try_from(lasting.count()).unwrap_or(u64::MAX)
        };
        (0..STRIPES).map(of_stripe).fold(0, u64::saturating_add)
    }

    /// The highest counter of an epoch that was held, installed or found in the journal.
    pub(crate) fn highest_counter(&self) -> u64 {
        self.highest_counter.load(Ordering::Relaxed)
    }

    pub(super) fn note_epoch(&self, epoch: Epoch) {
        self.highest_counter
            .fetch_max(epoch.counter, Ordering::Relaxed);
    }

    /// Makes the state that is held that of `epoch`, and serves it. Its clock goes on: only a node
    /// whose slots nobody else may own may do so.
    pub(crate) fn serve_own(&self, slot: Slot, epoch: Epoch) {
        self.note_epoch(epoch);
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        if let Some(offset_ms) = stripe.cells.serve_own(slot, epoch) {
            self.clocks.open(slot, offset_ms);
        }
    }

    /// Takes all that the store has of a slot without a mark for the node's own.
    pub(crate) fn hold_since_ever(&self, slot: Slot) {
        let since_ever = Installed {
            at: Position::default(),
            replay_after: Position::default(),
            clock: SlotTime::ZERO,
            offset_ms: 0,
        };
        self.hold(slot, &since_ever);
    }
}
