//! States that come from the store: at the start, by replay of the journal, and one by one when a
//! key is asked for that was evicted.

use super::records::Place;
use super::stripe::{Stripe, mark_unsaved};
use super::striped::{Size, Table, stripe_of_slot};
use crate::limiter::codec::{CodecError, Decoded, decode_row};
use crate::limiter::commit_record::{self, Entry, Group, RecordHead};
use crate::limiter::key_state::{KeyState, Marks};
use crate::limiter::shape::{ShapeId, TooManyShapes};
use crate::types::{Position, Slot, SlotTime, StateId};

/// What became of a state that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thawed {
    /// Ask again.
    Here,
    /// The store has nothing that counts: ask again with [`super::Asked::absent_at`] set.
    Absent,
    /// It counts, but the table has no room for it now.
    NoRoom,
}

/// Why stored bytes were not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    /// The bytes are damaged.
    #[error(transparent)]
    Damaged(#[from] CodecError),
    /// See [`TooManyShapes`].
    #[error(transparent)]
    Shapes(#[from] TooManyShapes),
    /// The store cannot read what it has of a state.
    #[error("the stored row of state {0} cannot be read")]
    Unreadable(StateId),
}

impl Table {
    /// Takes a stored row in, at the start, if its slot is held. What no longer counts by its slot's
    /// clock when the node's shows `now` is left out; what finds no room stays in the store and is
    /// fetched when it is asked for.
    pub(crate) fn load_row(&self, id: StateId, row: &[u8], now: SlotTime) -> Result<(), LoadError> {
        if !self.lock(id).cells.holds(id.slot()) {
            return Ok(());
        }
        let (state, decoded, expires_at) = match self.read_row(id, row)? {
            ReadRow::Nothing => return Ok(()),
            ReadRow::Quarantine(since) => {
                self.lock(id).quarantine.insert(id, since);
                return Ok(());
            }
            ReadRow::State(state, decoded, expires_at) => (state, decoded, expires_at),
        };
        let mut stripe = self.lock(id);
        if expires_at <= stripe.cells.time_of(id, now) {
            return Ok(());
        }
        if self.lacks_room(&stripe) {
            self.note_evicted(id.slot(), expires_at);
        } else {
            self.put(&mut stripe, id, state, Some(decoded));
        }
        Ok(())
    }

    /// Applies a commit record, at the start, after the rows. `fetch` reads a state's row where it
    /// found no room.
    pub(crate) fn replay(
        &self,
        record: &[u8],
        fetch: impl Fn(StateId) -> Option<Vec<u8>>,
    ) -> Result<RecordHead, LoadError> {
        let (head, groups) = commit_record::groups(record)?;
        let mut failed = None;
        for group in groups {
            if let Err(error) = self.replay_group(&group?, &fetch) {
                failed = Some(error);
            }
        }
        failed.map_or(Ok(head), Err)
    }

    fn replay_group(
        &self,
        group: &Group<'_>,
        fetch: impl Fn(StateId) -> Option<Vec<u8>>,
    ) -> Result<(), LoadError> {
        self.note_epoch(group.at.epoch);
        let mut stripe = self.lock_nth(stripe_of_slot(group.slot));
        let stripe = &mut *stripe;
        let is_part = |after: Position| group.at > after;
        if !stripe.cells.replay_after(group.slot).is_some_and(is_part) {
            return Ok(());
        }
        stripe.cells.replayed(group.slot, group.at, group.clock);
        let evicted = self.evicted_until(group.slot) > SlotTime::ZERO;
        let mut failed = None;
        for entry in group.entries() {
            let mut entry = entry?;
            let shape = match self.shapes.intern(entry.state.shape) {
                Ok(shape) => shape,
                Err(error) => {
                    failed = Some(error.into());
                    continue;
                }
            };
            if evicted
                && stripe.records.get(entry.id).is_none()
                && let Some(row) = fetch(entry.id)
                && let ReadRow::State(state, decoded, _) = self.read_row(entry.id, &row)?
            {
                self.put(stripe, entry.id, state, Some(decoded));
            }
            self.take_entry(stripe, &mut entry, shape);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Makes a state what a commit says that it is; if the entry is not whole, what the state had
    /// before is here. The store's row of it is older.
    pub(super) fn take_entry(&self, stripe: &mut Stripe, entry: &mut Entry, shape: ShapeId) {
        let now = stripe.time_of(entry.id);
        if entry.whole {
            let before = stripe.clear(entry.id);
            self.account_heap(before, 0);
        }
        let place = stripe.records.find(entry.id).unwrap_or_else(|| {
            let mut state = KeyState::new();
            state.shape = shape;
            self.put(stripe, entry.id, state, None)
        });
        let Some(state) = stripe.records.at(place) else {
            return;
        };
        let heap = state.heap_bytes();
        if state.shape != shape {
            state.reshape(&self.shapes.get(state.shape), &entry.state.shape);
            state.shape = shape;
        }
        // Nobody counts here, which is what drops old buckets elsewhere: first, so that the state takes
        // no more room than it does there.
        state.forget_before(&entry.state.shape, now);
        for (n, list) in entry.state.buckets.lists().into_iter().enumerate() {
            for bucket in list {
                state.set(n, *bucket);
            }
        }
        // What the commit tells of may be old as well.
        state.forget_before(&entry.state.shape, now);
        mark_unsaved(&mut state.marks, Marks::SHRUNK, &mut stripe.unsaved);
        state.marks.clear(Marks::COPIED);
        if !entry.state.reservations.is_empty() {
            state.marks.set(Marks::RESERVED);
            let reservations = std::mem::take(&mut entry.state.reservations);
            stripe.reservations.insert(entry.id, reservations);
        }
        self.account_heap(heap, state.heap_bytes());
    }

    /// Takes for a held slot's position what was stored of it, at the start, before commits are read.
    pub(crate) fn restore(&self, slot: Slot, at: Position, clock: SlotTime) {
        self.note_epoch(at.epoch);
        let mut stripe = self.lock_nth(stripe_of_slot(slot));
        stripe.cells.replayed(slot, at, Some(clock));
    }

    /// Takes in the row of a state that was asked for ([`super::Outcome::Cold`]), or that there is
    /// none. Does nothing if the state is there by now, or if something was evicted from its
    /// stripe since, so that the row may be too old: then the question, asked again, is answered
    /// `Cold` again.
    pub(crate) fn thaw(
        &self,
        id: StateId,
        row: Option<&[u8]>,
        evictions: u64,
        now: SlotTime,
    ) -> Result<Thawed, LoadError> {
        let read = row.map(|row| self.read_row(id, row)).transpose()?;
        let mut stripe = self.lock(id);
        let stripe = &mut *stripe;
        let Some(now) = stripe.decide_at(id, now) else {
            return Ok(Thawed::Here);
        };
        if stripe.evictions != evictions || stripe.records.get(id).is_some() {
            return Ok(Thawed::Here);
        }
        // A key in quarantine is not asked for here; one that was in it has no counts.
        if let Some(ReadRow::State(state, decoded, expires_at)) = read
            && expires_at > now
        {
            if self.lacks_room(stripe) && !self.evict_one(stripe, id) {
                return Ok(Thawed::NoRoom);
            }
            self.put(stripe, id, state, Some(decoded));
            return Ok(Thawed::Here);
        }
        Ok(Thawed::Absent)
    }

    /// Denies a key for one window from when the node's clock shows `now`: its counts were damaged.
    pub(crate) fn quarantine(&self, id: StateId, now: SlotTime) {
        let mut stripe = self.lock(id);
        let since = stripe.cells.time_of(id, now);
        stripe.quarantine.insert(id, since);
        // What is known of it is not all, and must not be written over the row that says so.
        let before = Size::of(&stripe);
        let heap = stripe.remove(id);
        self.account_heap(heap, 0);
        self.account(id, &stripe, &before);
    }

    pub(super) fn read_row(&self, id: StateId, row: &[u8]) -> Result<ReadRow, LoadError> {
        let decoded = decode_row(id, row)?;
        if let Some(since) = decoded.quarantined_since {
            return Ok(ReadRow::Quarantine(since));
        }
        let mut state = KeyState::new();
        state.shape = self.shapes.intern(decoded.shape)?;
        state.set_all(decoded.buckets.lists());
        let expires_at = state
            .expires_at(&decoded.shape)
            .max(decoded.reservations.expires_at());
        Ok(if expires_at > SlotTime::ZERO {
            ReadRow::State(state, decoded, expires_at)
        } else {
            ReadRow::Nothing
        })
    }

    /// Adds a state that is not there yet, and what belongs to it; where it is.
    pub(super) fn put(
        &self,
        stripe: &mut Stripe,
        id: StateId,
        mut state: KeyState,
        decoded: Option<Decoded>,
    ) -> Place {
        if let Some(decoded) = decoded
            && !decoded.reservations.is_empty()
        {
            state.marks.set(Marks::RESERVED);
            stripe.reservations.insert(id, decoded.reservations);
        }
        let before = Size::of(stripe);
        self.account_heap(0, state.heap_bytes());
        let place = stripe.records.insert(id, state);
        self.account(id, stripe, &before);
        place
    }
}

/// What a row says.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment, on the stack"
)]
pub(super) enum ReadRow {
    /// The state counts nothing.
    Nothing,
    /// The state, what belongs to it, and when it stops to count.
    State(KeyState, Decoded, SlotTime),
    /// The counts were lost at this time.
    Quarantine(SlotTime),
}
