//! Decisions on the states of the table: checks in batches, and peeks.

use super::stripe::{Dirty, Stripe};
use super::striped::{Size, Table, stripe_of};
use crate::limiter::key_state::{CostAboveLimit, KeyState, Marks, Verdict};
use crate::limiter::policy::Limits;
use crate::limiter::shape::ShapeId;
use crate::types::{SlotTime, StateId};

/// One question to the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Whose state.
    pub(crate) id: StateId,
    /// The limits that hold for the key, and
    pub(crate) limits: &'a Limits,
    /// their shape.
    pub(crate) shape: ShapeId,
    /// Permits asked for.
    pub(crate) cost: u64,
    /// Whether what is granted goes into the journal.
    pub(crate) journaled: bool,
    /// The store was found to have nothing of the state when its stripe had had so many evictions.
    pub(crate) absent_at: Option<u64>,
}

/// What the table answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The limits decided.
    Decided {
        /// How.
        verdict: Verdict,
        /// Slot time of the decision.
        at: SlotTime,
        /// The commit that holds the grant; `None` if nothing was counted or nothing is journaled.
        ticket: Option<u64>,
    },
    /// It can never pass.
    CostAboveLimit(CostAboveLimit),
    /// The key's counts were damaged; it is denied until a window has passed.
    Quarantined {
        /// Time until then.
        retry_after_ms: u64,
    },
    /// The state is not in memory and may be in the store: read its row and ask again.
    Cold {
        /// Evictions of the stripe so far; see [`Table::thaw`].
        evictions: u64,
    },
    /// The key is new, the table is full and nothing can be evicted now.
    Full,
    /// The key's slot is not served here. Nothing was counted.
    NotServed,
}

impl Table {
    /// Decides a batch and appends one outcome for each, in order.
    pub(crate) fn check(&self, now: SlotTime, batch: &[Asked<'_>], out: &mut Vec<Outcome>) {
        for asked in batch {
            self.prefetch(asked.id);
        }
        // The records are on their way; now the buckets that do not fit into them.
        if batch.len() > 1 {
            for asked in batch {
                self.prefetch_buckets(asked.id);
            }
        }
        out.extend(batch.iter().map(|asked| self.check_one(now, asked)));
    }

    /// Decides one check.
    pub(crate) fn check_one(&self, now: SlotTime, asked: &Asked<'_>) -> Outcome {
        let mut stripe = self.lock(asked.id);
        let stripe = &mut *stripe;
        let Some(now) = stripe.decide_at(asked.id, now) else {
            return Outcome::NotServed;
        };
        if let Err(outcome) = self.open(stripe, asked, now) {
            return outcome;
        }
        let Some(state) = stripe.records.get_mut(asked.id) else {
            return Outcome::Full;
        };
        let heap = state.heap_bytes();
        let verdict = match state.check(asked.limits, asked.cost, now) {
            Ok(verdict) => verdict,
            Err(error) => return Outcome::CostAboveLimit(error),
        };
        let heap = (heap, state.heap_bytes());
        state.marks.set(Marks::RECENT);
        let mut ticket = None;
        if verdict.granted {
            stripe.tally.grants = stripe.tally.grants.wrapping_add(1);
            if asked.cost > 0 {
                ticket = self.changed(stripe, asked, now, 0);
            }
        } else {
            stripe.tally.denials = stripe.tally.denials.wrapping_add(1);
        }
        self.account_heap(heap.0, heap.1);
        Outcome::Decided {
            verdict,
            at: now,
            ticket,
        }
    }

    /// What a check would be answered, counting nothing and keeping nothing.
    pub(crate) fn peek(&self, now: SlotTime, asked: &Asked<'_>) -> Outcome {
        let mut stripe = self.lock(asked.id);
        let stripe = &mut *stripe;
        let Some(now) = stripe.decide_at(asked.id, now) else {
            return Outcome::NotServed;
        };
        if let Some(outcome) = quarantined(stripe, asked, now) {
            return outcome;
        }
        if let Err(evictions) = self.look(stripe, asked, now) {
            return Outcome::Cold { evictions };
        }
        self.reshape(stripe, asked);
        let nothing = KeyState::new();
        let state = stripe.records.get(asked.id).unwrap_or(&nothing);
        match state.peek(asked.limits, asked.cost, now) {
            Ok(verdict) => Outcome::Decided {
                verdict,
                at: now,
                ticket: None,
            },
            Err(error) => Outcome::CostAboveLimit(error),
        }
    }

    /// Makes sure that the state of `asked` is there, in the shape of its limits, and not in
    /// quarantine.
    pub(super) fn open(
        &self,
        stripe: &mut Stripe,
        asked: &Asked<'_>,
        now: SlotTime,
    ) -> Result<(), Outcome> {
        if let Some(outcome) = quarantined(stripe, asked, now) {
            return Err(outcome);
        }
        match self.look(stripe, asked, now) {
            Err(evictions) => return Err(Outcome::Cold { evictions }),
            Ok(true) => self.reshape(stripe, asked),
            Ok(false) => {
                if let Some(limit) = asked
                    .limits
                    .as_slice()
                    .iter()
                    .find(|l| asked.cost > l.permits())
                {
                    let error = CostAboveLimit {
                        cost: asked.cost,
                        limit: limit.permits(),
                    };
                    return Err(Outcome::CostAboveLimit(error));
                }
                let mut state = KeyState::new();
                state.shape = asked.shape;
                if !self.insert(stripe, asked.id, state) {
                    return Err(Outcome::Full);
                }
            }
        }
        Ok(())
    }

    /// Whether the state is in memory; the stripe's evictions if only the store can tell.
    pub(super) fn look(
        &self,
        stripe: &Stripe,
        asked: &Asked<'_>,
        now: SlotTime,
    ) -> Result<bool, u64> {
        if stripe.records.get(asked.id).is_some() {
            return Ok(true);
        }
        let evicted = self.evicted_until(asked.id.slot()) > now;
        if evicted && asked.absent_at != Some(stripe.evictions) {
            return Err(stripe.evictions);
        }
        Ok(false)
    }

    /// Adds a state, making room for it if need be; false if there is none.
    fn insert(&self, stripe: &mut Stripe, id: StateId, state: KeyState) -> bool {
        if self.lacks_room(stripe) && !self.evict_one(stripe, id) {
            return false;
        }
        let before = Size::of(stripe);
        self.account_heap(0, state.heap_bytes());
        stripe.records.insert(id, state);
        self.account(id, stripe, &before);
        true
    }

    /// Gives the state the shape of the limits that hold now.
    pub(super) fn reshape(&self, stripe: &mut Stripe, asked: &Asked<'_>) {
        let Some(state) = stripe.records.get_mut(asked.id) else {
            return;
        };
        if state.shape == asked.shape {
            return;
        }
        let heap = state.heap_bytes();
        state.reshape(&self.shapes.get(state.shape), &self.shapes.get(asked.shape));
        state.shape = asked.shape;
        // The journal must hold it whole before it holds buckets of the new width.
        state.marks.set(Marks::WHOLE | Marks::UNSAVED);
        state.marks.clear(Marks::COPIED);
        self.account_heap(heap, state.heap_bytes());
    }

    /// Marks a state as changed and returns the ticket of the change.
    pub(super) fn changed(
        &self,
        stripe: &mut Stripe,
        asked: &Asked<'_>,
        now: SlotTime,
        marks: u8,
    ) -> Option<u64> {
        let state = stripe.records.get_mut(asked.id)?;
        state.marks.set(marks | Marks::UNSAVED);
        state.marks.clear(Marks::COPIED);
        if !asked.journaled {
            return None;
        }
        if !state.marks.has(Marks::DIRTY) {
            state.marks.set(Marks::DIRTY);
            stripe.dirty.push(Dirty {
                id: asked.id,
                since: now,
            });
        }
        Some(self.ticket(stripe_of(asked.id)))
    }
}

pub(super) fn quarantined(
    stripe: &mut Stripe,
    asked: &Asked<'_>,
    now: SlotTime,
) -> Option<Outcome> {
    if stripe.quarantine.is_empty() {
        return None;
    }
    let whole_slot = stripe.quarantine.get(&StateId::first_of(asked.id.slot()));
    let of_slot_ms = whole_slot.map_or(0, |&since| quarantine_left_ms(since, asked.limits, now));
    let own = stripe.quarantine.get(&asked.id);
    let own_ms = own.map(|&since| quarantine_left_ms(since, asked.limits, now));
    if own_ms == Some(0) {
        stripe.quarantine.remove(&asked.id);
    }
    let retry_after_ms = own_ms.unwrap_or(0).max(of_slot_ms);
    (retry_after_ms > 0).then_some(Outcome::Quarantined { retry_after_ms })
}

/// Time left of a quarantine that began at `since`: one window, the longest, of a key's limits.
pub(crate) fn quarantine_left_ms(since: SlotTime, limits: &Limits, now: SlotTime) -> u64 {
    since
        .plus_ms(limits.longest_window_ms())
        .plus_ms(1)
        .ms_since(now)
}
