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
use crate::limiter::shape::{Shape, ShapeId};
use crate::types::{Epoch, Position, Slot, SlotTime, StateId};

/// So many states, or bytes of them, a table may always hold beyond its capacity for a while: more than
/// one group brings to a small table.
const EXCESS_MIN: u64 = if cfg!(test) { 16 } else { 4096 };

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

/// So many groups are read before the first of them is taken in, so that their states are on their way
/// from memory meanwhile.
const AHEAD: usize = 64;

/// An entry with the name of its shape.
type Named = (Entry, ShapeId);

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

    /// R1: takes in groups of followed slots, in order, each if it is the next one of its slot, with
    /// `stored` behind the table; tells of each what became of it. Each slot's groups come from one
    /// caller at a time.
    ///
    /// Told with [`LoadError`], a group has changed nothing, and its slot cannot follow any more before
    /// its state is copied anew.
    pub(crate) fn apply_all<'g, 'b: 'g, S: StoredRows>(
        &self,
        groups: &'g [Group<'b>],
        stored: &S,
        mut tell: impl FnMut(&'g Group<'b>, Result<Applied, LoadError>),
    ) {
        let ahead = groups.len().min(AHEAD);
        let (mut named, mut last) = (Vec::with_capacity(ahead), None);
        for some in groups.chunks(AHEAD) {
            let mut read: Vec<(&Group<'b>, Result<usize, LoadError>)> = Vec::with_capacity(ahead);
            for group in some {
                let entries = self.name(group, &mut last, &mut named);
                read.push((group, entries));
            }
            let mut left = &mut named[..];
            for (group, entries) in read {
                let own = *entries.as_ref().unwrap_or(&0);
                let (entries_of, later) = left.split_at_mut(own.min(left.len()));
                left = later;
                let applied = self.apply_named(group, entries.map(|_| entries_of), stored);
                tell(group, applied);
            }
            named.clear();
        }
    }

    /// [`Table::apply_all`] of one group.
    #[cfg(test)]
    pub(super) fn apply<S: StoredRows>(
        &self,
        group: &Group<'_>,
        stored: &S,
    ) -> Result<Applied, LoadError> {
        let mut told = None;
        self.apply_all(std::slice::from_ref(group), stored, |_, applied| {
            told = Some(applied);
        });
        told.unwrap()
    }

    fn apply_named<S: StoredRows>(
        &self,
        group: &Group<'_>,
        entries: Result<&mut [Named], LoadError>,
        stored: &S,
    ) -> Result<Applied, LoadError> {
        let n = stripe_of_slot(group.slot);
        let mut stripe = self.lock_nth(n);
        if let Some(refused) = refusal(&stripe, group) {
            return Ok(refused);
        }
        let entries = entries?;
        let mut fetched = Fetched::new();
        if lacking(&stripe, entries) > 0 {
            self.evict_for(&mut stripe, entries);
            loop {
                let missing = self.missing(&stripe, group.slot, entries, &fetched);
                if missing.is_empty() {
                    break;
                }
                // Nobody but this caller changes a followed slot's states. So a row that is read after
                // its state was seen not to be in memory stays the newest, and each round reads more.
                drop(stripe);
                for id in missing {
                    let row = stored.row(id).map_err(|_| LoadError::Unreadable(id))?;
                    let row = row.map(|row| self.read_row(id, &row)).transpose()?;
                    fetched.insert(id, row);
                }
                stripe = self.lock_nth(n);
                if let Some(refused) = refusal(&stripe, group) {
                    return Ok(refused);
                }
            }
            if self.is_overfull(lacking(&stripe, entries)) {
                return Ok(Applied::Full);
            }
        }
        self.take_group(&mut stripe, group, entries, fetched);
        Ok(Applied::Done)
    }

    fn take_group(
        &self,
        stripe: &mut Stripe,
        group: &Group<'_>,
        entries: &mut [Named],
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
            self.take_entry(stripe, entry, *shape);
        }
    }

    /// Reads all entries of a group, names their shapes and has their states on their way from memory;
    /// how many they are. `last` is the shape that was named last.
    fn name(
        &self,
        group: &Group<'_>,
        last: &mut Option<(Shape, ShapeId)>,
        named: &mut Vec<Named>,
    ) -> Result<usize, LoadError> {
        let before = named.len();
        for entry in group.entries() {
            let named_one = entry.map_err(LoadError::from).and_then(|entry| {
                let shape = match *last {
                    Some((shape, id)) if shape == entry.state.shape => id,
                    Some(_) | None => self.shapes.intern(entry.state.shape)?,
                };
                *last = Some((entry.state.shape, shape));
                Ok((entry, shape))
            });
            match named_one {
                Ok(one) => {
                    self.prefetch(one.0.id);
                    named.push(one);
                }
                Err(error) => {
                    named.truncate(before);
                    return Err(error);
                }
            }
        }
        Ok(named.len().saturating_sub(before))
    }

    /// The states of entries that set some of their buckets only, and whose others the store alone may
    /// have.
    fn missing(
        &self,
        stripe: &Stripe,
        slot: Slot,
        entries: &[Named],
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
    fn evict_for(&self, stripe: &mut Stripe, entries: &[Named]) {
        for (entry, _) in entries {
            let lacks = stripe.records.get(entry.id).is_none() && self.lacks_room(stripe);
            if lacks && !self.evict_one(stripe, entry.id) {
                return;
            }
        }
    }

    /// Whether so many more states would fill the table by more than an eighth above its capacity, or
    /// by [`EXCESS_MIN`], if that is more.
    /// So much it may go above it, since what was taken in cannot be evicted before it is saved.
    fn is_overfull(&self, more: u64) -> bool {
        let keys = self.keys.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let above = |most: u64| most.saturating_add((most / 8).max(EXCESS_MIN));
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

/// How many of the entries' states are not in memory.
fn lacking(stripe: &Stripe, entries: &[Named]) -> u64 {
    let lacking = entries.iter();
    let lacking = lacking.filter(|(entry, _)| stripe.records.find(entry.id).is_none());
    u64::try_from(lacking.count()).unwrap_or(u64::MAX)
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
