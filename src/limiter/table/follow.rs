//! A slot that another node owns: its commits are taken in here as they come, group by group (R1).
//!
//! A group is taken in whole under its stripe's lock, and only if it is the very next one of the reign
//! that the slot is held at. What is taken in is to be saved by the next checkpoint, but is not dirty:
//! the group is journaled as it is. It must be taken in *first* and journaled *then*: a checkpoint
//! notes the last commit that is appended, then reads the states, and drops the journal up to the
//! commit it noted. Were a group appended before it is taken in, a checkpoint in between would drop
//! it unseen.
//!
//! A followed slot's clock stands at the highest time that was told of it. What has expired by it goes
//! as in a slot that is served.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::export::StoredRows;
use super::load::{LoadError, ReadRow};
use super::slots::NotInstalled;
use super::stripe::Stripe;
use super::striped::{Table, stripe_of_slot};
use crate::limiter::commit_record::{Entry, Group};
use crate::limiter::installed::Installed;
use crate::limiter::shape::ShapeId;
use crate::types::{Epoch, Position, Slot, SlotTime, StateId};

/// What became of a group. Unless it is [`Applied::Done`], nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is part of the state now.
    Done,
    /// It was already.
    Known,
    /// Some before it are missing.
    Gap {
        /// How far the state is.
        at: Position,
    },
    /// The slot is not held, or does not follow this reign.
    Closed {
        /// How far the state is.
        at: Position,
    },
    /// There is no room for its states before some are saved and evicted. Normal when the table is
    /// full; the group may be told again later.
    Full,
}

/// A group's entries with the names of their shapes.
type Entries = Vec<(Entry, ShapeId)>;

/// Rows that the store was found to have of states that are not in memory.
type Fetched = BTreeMap<StateId, Option<ReadRow>>;

impl Table {
    /// Has a slot that is held at `epoch`, another node's reign, take in that node's commits. It is
    /// not served before it is installed anew.
    ///
    /// # Errors
    /// [`NotInstalled`] if it is not held at that epoch, or is served; nothing has changed.
    pub(crate) fn follow(&self, slot: Slot, epoch: Epoch) -> Result<(), NotInstalled> {
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        let at = stripe.cells.position(slot);
        let is_own = epoch.node == self.node;
        let Some(reached) = (!is_own)
            .then(|| stripe.cells.follow(slot, epoch))
            .flatten()
        else {
            return Err(NotInstalled { slot, epoch, at });
        };
        self.clocks.stand(slot, reached);
        Ok(())
    }

    /// Whether the slot takes in what another node commits.
    pub(crate) fn is_followed(&self, slot: Slot) -> bool {
        let stripe = self.lock_nth(stripe_of_slot(slot));
        stripe.cells.is_followed(slot)
    }

    /// Stops to take in commits of a slot, if it did: its state is about to be replaced.
    pub(crate) fn unfollow(&self, slot: Slot) {
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        self.unfollow_in(&mut stripe, slot);
    }

    fn unfollow_in(&self, stripe: &mut Stripe, slot: Slot) {
        if stripe.cells.is_followed(slot) {
            self.clocks.close(slot);
            let now = stripe.latest;
            stripe.cells.freeze(slot, now);
        }
    }

    /// R1: takes in a group of a followed slot if it is the next one, with `stored` behind the table.
    /// Each slot's groups come from one caller at a time.
    ///
    /// # Errors
    /// [`LoadError`]; nothing has changed, and the slot cannot follow any more before its state is
    /// copied anew.
    pub(crate) fn apply<S: StoredRows>(
        &self,
        group: &Group<'_>,
        stored: &S,
    ) -> Result<Applied, LoadError> {
        let n = stripe_of_slot(group.slot);
        if let Some(refused) = refusal(&self.lock_nth(n), group) {
            return Ok(refused);
        }
        let entries = self.named(group)?;
        let mut fetched = Fetched::new();
        let mut stripe = self.lock_nth(n);
        self.evict_for(&mut stripe, &entries);
        loop {
            if let Some(refused) = refusal(&stripe, group) {
                return Ok(refused);
            }
            let missing = self.missing(&stripe, group.slot, &entries, &fetched);
            if missing.is_empty() {
                break;
            }
            // Nobody but this caller changes a followed slot's states. So a row that is read after its
            // state was seen not to be in memory stays the newest, and each round reads some more.
            drop(stripe);
            for id in missing {
                let row = stored.row(id).map_err(|_| LoadError::Unreadable(id))?;
                let row = row.map(|row| self.read_row(id, &row)).transpose()?;
                fetched.insert(id, row);
            }
            stripe = self.lock_nth(n);
        }
        if self.is_overfull(&stripe, &entries) {
            return Ok(Applied::Full);
        }
        self.take_group(&mut stripe, group, entries, fetched);
        Ok(Applied::Done)
    }

    fn take_group(
        &self,
        stripe: &mut Stripe,
        group: &Group<'_>,
        entries: Entries,
        fetched: Fetched,
    ) {
        let clock = group.clock.unwrap_or_default();
        let reached = stripe.cells.applied(group.slot, group.at, clock);
        self.clocks.stand(group.slot, reached);
        for (id, row) in fetched {
            match row {
                // It may have been named once with its buckets and once whole.
                Some(ReadRow::State(state, decoded, _)) if stripe.records.get(id).is_none() => {
                    self.put(stripe, id, state, Some(decoded));
                }
                Some(ReadRow::Quarantine(since)) => {
                    stripe.quarantine.entry(id).or_insert(since);
                }
                Some(ReadRow::State(..) | ReadRow::Nothing) | None => {}
            }
        }
        for (entry, shape) in entries {
            self.take_entry(stripe, entry, shape);
        }
    }

    /// Reads all entries of a group and names their shapes.
    fn named(&self, group: &Group<'_>) -> Result<Entries, LoadError> {
        let named = group.entries().map(|entry| {
            let entry = entry?;
            let shape = self.shapes.intern(entry.state.shape)?;
            Ok((entry, shape))
        });
        named.collect()
    }

    /// The states of entries that set some of their buckets only, and whose others the store alone may
    /// have.
    fn missing(
        &self,
        stripe: &Stripe,
        slot: Slot,
        entries: &Entries,
        fetched: &Fetched,
    ) -> Vec<StateId> {
        if self.evicted_until(slot) <= stripe.cells.time(slot, stripe.latest) {
            return Vec::new();
        }
        let ids = entries.iter().filter(|(entry, _)| !entry.whole);
        let ids = ids.map(|(entry, _)| entry.id);
        ids.filter(|id| stripe.records.get(*id).is_none() && !fetched.contains_key(id))
            .collect()
    }

    /// Makes room for the states of entries, as far as some may be evicted now.
    fn evict_for(&self, stripe: &mut Stripe, entries: &Entries) {
        for (entry, _) in entries {
            let lacks = stripe.records.get(entry.id).is_none() && self.lacks_room(stripe);
            if lacks && !self.evict_one(stripe, entry.id) {
                return;
            }
        }
    }

    /// Whether the states of entries would fill the table by more than an eighth above its capacity.
    /// So much it may go above it, since what was taken in cannot be evicted before it is saved.
    fn is_overfull(&self, stripe: &Stripe, entries: &Entries) -> bool {
        let keys = self.keys.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let more = entries.iter();
        let more = more.filter(|(entry, _)| stripe.records.get(entry.id).is_none());
        let more = u64::try_from(more.count()).unwrap_or(u64::MAX);
        let above = |most: u64| most.saturating_add(most / 8);
        more > 0
            && (keys.saturating_add(more) > above(self.capacity.keys_max)
                || bytes > above(self.capacity.bytes_max))
    }

    /// A followed slot's clock has reached `clock` at its owner, in this reign of the owner's.
    pub(crate) fn note_clock(&self, slot: Slot, epoch: Epoch, clock: SlotTime) {
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        if stripe.cells.is_followed(slot) && stripe.cells.position(slot).epoch == epoch {
            let reached = stripe.cells.raise(slot, clock);
            self.clocks.stand(slot, reached);
        }
    }

    /// The groups of a followed slot up to `at` are appended to the journal.
    pub(crate) fn journaled(&self, slot: Slot, at: Position) {
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        stripe.cells.journaled(slot, at);
    }

    /// R2 where nothing need be copied: if the state is exactly at `at`, all of it in the journal, and
    /// not served, it takes in nothing any more, and this is the mark that makes it the state of
    /// `epoch` with no commits. `committed` is the last commit that is appended. See [`Table::mark`]
    /// for the times.
    pub(crate) fn mark_if_at(
        &self,
        (slot, at, clock): (Slot, Position, SlotTime),
        epoch: Epoch,
        now: SlotTime,
        committed: u64,
    ) -> Option<Installed> {
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        let is_at = stripe.cells.position(slot) == at
            && stripe.cells.written(slot, committed) == Some(at)
            && !stripe.cells.is_served(slot)
            && at.epoch <= epoch;
        let replay_after = stripe.cells.replay_after(slot).filter(|_| is_at)?;
        self.unfollow_in(&mut stripe, slot);
        drop(stripe);
        let becomes = Position { epoch, n: 0 };
        Some(self.mark(becomes, replay_after, clock, now))
    }
}

/// Why a group cannot be the next one.
fn refusal(stripe: &Stripe, group: &Group<'_>) -> Option<Applied> {
    let at = stripe.cells.position(group.slot);
    if !stripe.cells.is_followed(group.slot) || at.epoch != group.at.epoch {
        return Some(Applied::Closed { at });
    }
    if group.at.n <= at.n {
        return Some(Applied::Known);
    }
    (at.n.checked_add(1) != Some(group.at.n)).then_some(Applied::Gap { at })
}
