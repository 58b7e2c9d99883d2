//! What is done in the background: forgetting what has expired, handing changed states to the
//! checkpoint, and making room.

use std::sync::atomic::Ordering;

use super::stripe::Stripe;
use super::striped::{STRIPES, Size, Table};
use crate::limiter::codec::encode_row;
use crate::limiter::key_state::Marks;
use crate::limiter::reservation::Reservations;
use crate::types::{SlotTime, StateId};

/// Most rows handed out under one lock; few in tests, so that more comes in between.
pub(super) const ROWS_MAX: usize = if cfg!(test) { 3 } else { 256 };

/// How many places to look at for a state to evict.
const EVICTION_LOOKS: usize = 32;

/// How far a checkpoint has come.
#[derive(Debug, Default)]
pub(crate) struct UnsavedCursor {
    stripe: usize,
    ids: Vec<StateId>,
}

impl Table {
    /// Appends rows of states that changed since they were last handed out, a bounded number;
    /// false when all stripes have been gone through. The rows' states are not evicted until
    /// [`Table::saved`] says that they are written.
    pub(crate) fn unsaved(
        &self,
        cursor: &mut UnsavedCursor,
        rows: &mut Vec<(StateId, Vec<u8>)>,
    ) -> bool {
        while cursor.ids.is_empty() {
            if cursor.stripe >= STRIPES {
                return false;
            }
            let stripe = self.lock_nth(cursor.stripe);
            cursor.stripe = cursor.stripe.saturating_add(1);
            let unsaved = stripe
                .records
                .iter()
                .filter(|r| r.state.marks.has(Marks::UNSAVED));
            cursor.ids.extend(unsaved.map(|record| record.id));
        }
        let from = cursor.ids.len().saturating_sub(ROWS_MAX);
        let mut stripe = self.lock_nth(cursor.stripe.saturating_sub(1));
        let stripe = &mut *stripe;
        let none = Reservations::default();
        for id in cursor.ids.drain(from..) {
            let Some(state) = stripe.records.get_mut(id) else {
                continue;
            };
            let reservations = stripe.reservations.get(&id).unwrap_or(&none);
            rows.push((
                id,
                encode_row(id, state, &self.shapes.get(state.shape), reservations),
            ));
            if state.marks.has(Marks::UNSAVED) {
                stripe.unsaved = stripe.unsaved.saturating_sub(1);
            }
            state.marks.clear(Marks::UNSAVED);
            state.marks.set(Marks::SAVING);
        }
        true
    }

    /// How many states changed since they were last handed to a checkpoint.
    pub(crate) fn unsaved_count(&self) -> u64 {
        let of_stripes = (0..STRIPES).map(|n| self.lock_nth(n).unsaved);
        of_stripes.fold(0, u64::saturating_add)
    }

    /// The same, by looking at all states.
    #[cfg(test)]
    pub(crate) fn unsaved_seen(&self) -> u64 {
        let marked = |stripe: &Stripe| {
            let records = stripe.records.iter();
            records
                .filter(|record| record.state.marks.has(Marks::UNSAVED))
                .count() as u64
        };
        (0..STRIPES).map(|n| marked(&self.lock_nth(n))).sum()
    }

    /// Notes that the rows of these states are in the store.
    pub(crate) fn saved(&self, rows: &[(StateId, Vec<u8>)]) {
        for (id, _) in rows {
            let mut stripe = self.lock(*id);
            if let Some(state) = stripe.records.get_mut(*id) {
                state.marks.clear(Marks::SAVING);
                if !state.marks.has(Marks::UNSAVED) {
                    state.marks.clear(Marks::SHRUNK);
                }
            }
        }
    }

    /// Forgets every state that counts nothing any more by its slot's clock, when the node's shows
    /// `now`; returns how many.
    pub(crate) fn sweep(&self, now: SlotTime) -> u64 {
        let mut swept = 0u64;
        for n in 0..STRIPES {
            let mut stripe = self.lock_nth(n);
            stripe.advance(now);
            let ids = stripe.records.iter().map(|record| record.id);
            let dead: Vec<StateId> = ids
                .filter(|id| stripe.may_drop(*id, &self.shapes))
                .collect();
            let Some(&first) = dead.first() else { continue };
            let before = Size::of(&stripe);
            let mut heap = 0usize;
            for id in &dead {
                heap = heap.saturating_add(stripe.remove(*id));
            }
            stripe.records.shrink();
            self.account(first, &stripe, &before);
            self.account_heap(heap, 0);
            swept = swept.saturating_add(u64::try_from(dead.len()).unwrap_or(u64::MAX));
        }
        swept
    }

    /// Whether another state needs more memory than the table may take.
    pub(super) fn lacks_room(&self, stripe: &Stripe) -> bool {
        let growth = u64::try_from(stripe.records.growth_bytes()).unwrap_or(u64::MAX);
        self.keys.load(Ordering::Relaxed) >= self.capacity.keys_max
            || self.bytes.load(Ordering::Relaxed).saturating_add(growth) > self.capacity.bytes_max
    }

    /// Makes room in all stripes, until a sixteenth of the table is free or nothing is left that
    /// may go: first what has not been used since the last time around.
    pub(crate) fn make_room(&self, now: SlotTime) {
        for spare_recent in [true, false] {
            for n in 0..STRIPES {
                let keys = self.keys.load(Ordering::Relaxed);
                let excess = keys.saturating_sub(most_of(self.capacity.keys_max));
                let bytes = self.bytes.load(Ordering::Relaxed);
                if excess == 0 && bytes <= most_of(self.capacity.bytes_max) {
                    return;
                }
                let share = keys.div_ceil(STRIPES as u64).min(excess.max(keys / 16));
                self.make_room_in(
                    n,
                    usize::try_from(share).unwrap_or(1).max(1),
                    spare_recent,
                    now,
                );
            }
        }
    }

    /// Evicts all that may be; returns how many.
    #[cfg(test)]
    pub(crate) fn evict_all(&self, now: SlotTime) -> u64 {
        let before = self.evictions.load(Ordering::Relaxed);
        for n in 0..STRIPES {
            self.make_room_in(n, usize::MAX, false, now);
        }
        self.evictions
            .load(Ordering::Relaxed)
            .saturating_sub(before)
    }

    fn make_room_in(&self, n: usize, most: usize, spare_recent: bool, now: SlotTime) {
        let mut stripe = self.lock_nth(n);
        stripe.advance(now);
        let spared = |marks: Marks| spare_recent && marks.has(Marks::RECENT);
        let may_go =
            |id| stripe.may_drop(id, &self.shapes) || self.capacity.evicts && stripe.may_evict(id);
        let unspared = stripe
            .records
            .iter()
            .filter(|record| !spared(record.state.marks));
        let victims = unspared.map(|record| record.id).filter(|id| may_go(*id));
        let victims: Vec<StateId> = victims.take(most).collect();
        for victim in victims {
            self.evict(&mut stripe, victim);
        }
        for record in stripe.records.iter_mut() {
            record.state.marks.clear(Marks::RECENT);
        }
    }

    /// Makes room for `id` in its stripe: drops a state nearby that has expired, else evicts one
    /// that the store has, of those the first not used since the last time around (second chance).
    pub(super) fn evict_one(&self, stripe: &mut Stripe, id: StateId) -> bool {
        let near: Vec<(StateId, bool)> = stripe
            .records
            .near(id, EVICTION_LOOKS)
            .map(|record| {
                let recent = record.state.marks.has(Marks::RECENT);
                record.state.marks.clear(Marks::RECENT);
                (record.id, recent)
            })
            .collect();
        let expired = near
            .iter()
            .find(|(id, _)| stripe.may_drop(*id, &self.shapes));
        let may_evict = |(id, _): &&(StateId, bool)| self.capacity.evicts && stripe.may_evict(*id);
        let unused = || near.iter().filter(|(_, recent)| !recent).find(may_evict);
        let victim = match expired
            .or_else(unused)
            .or_else(|| near.iter().find(may_evict))
        {
            Some((victim, _)) => *victim,
            None => return false,
        };
        self.evict(stripe, victim);
        true
    }

    /// Removes a state that may go; if it still counts, notes that the store has it.
    fn evict(&self, stripe: &mut Stripe, victim: StateId) {
        if let Some(expires_at) = stripe.expires_at(victim, &self.shapes)
            && expires_at > stripe.time_of(victim)
        {
            self.note_evicted(victim.slot(), expires_at);
            stripe.evictions = stripe.evictions.wrapping_add(1);
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
        let before = Size::of(stripe);
        let heap = stripe.remove(victim);
        self.account_heap(heap, 0);
        self.account(victim, stripe, &before);
    }
}

/// Fifteen sixteenths: how full the table is left when room was made.
const fn most_of(capacity: u64) -> u64 {
    capacity.saturating_sub(capacity.div_ceil(16))
}
