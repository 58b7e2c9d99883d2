//! Decisions on the states of the table: checks in batches, and peeks.

use super::prefetch::prefetch;
use super::records::Place;
use super::stripe::{Dirty, Stripe, mark_unsaved};
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

/// What a check may touch.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// Only the state's record.
    Record,
    /// Whatever it takes.
    All,
}

impl Table {
    /// Decides one check.
    pub(crate) fn check(&self, now: SlotTime, asked: &Asked<'_>) -> Outcome {
        self.check_within(Reach::All, now, asked)
            .unwrap_or(Outcome::NotServed)
    }

    /// Decides one check if no more than its record is needed; if not, starts to load the rest and
    /// leaves it to [`Table::check`]. A batch is decided in three goes: [`Table::prefetch`] for
    /// all, this for all, and what is left.
    pub(crate) fn check_near(&self, now: SlotTime, asked: &Asked<'_>) -> Option<Outcome> {
        self.check_within(Reach::Record, now, asked)
    }

    /// `None` if the slot is not served, or more is needed than may be reached.
    fn check_within(&self, reach: Reach, now: SlotTime, asked: &Asked<'_>) -> Option<Outcome> {
        let mut stripe = self.lock(asked.id);
        let stripe = &mut *stripe;
        let now = stripe.decide_at(asked.id, now)?;
        let place = match stripe.find_plain(asked.id, asked.shape) {
            Some(place) => place,
            None => match self.open(stripe, asked, now) {
                Ok(place) => place,
                Err(outcome) => return Some(outcome),
            },
        };
        let state = stripe.records.at(place)?;
        if let Reach::Record = reach
            && let Some(far) = state.far(asked.limits, now)
        {
            far.into_iter().for_each(prefetch);
            return None;
        }
        let heap = state.heap_bytes();
        let verdict = match state.check(asked.limits, asked.cost, now) {
            Ok(verdict) => verdict,
            Err(error) => return Some(Outcome::CostAboveLimit(error)),
        };
        self.account_heap(heap, state.heap_bytes());
        state.marks.set(Marks::RECENT);
        let mut ticket = None;
        if verdict.granted {
            stripe.tally.grants = stripe.tally.grants.wrapping_add(1);
            if asked.cost > 0 {
                ticket = self.changed(stripe, place, asked, now, 0);
            }
        } else {
            stripe.tally.denials = stripe.tally.denials.wrapping_add(1);
        }
        Some(Outcome::Decided {
            verdict,
            at: now,
            ticket,
        })
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
        let place = match self.look(stripe, asked, now) {
            Ok(place) => place,
            Err(evictions) => return Outcome::Cold { evictions },
        };
        let nothing = &mut KeyState::new();
        let state = place.and_then(|place| self.reshaped(stripe, place, asked));
        let state = state.unwrap_or(nothing);
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
    /// quarantine; where it is.
    #[inline(never)]
    pub(super) fn open(
        &self,
        stripe: &mut Stripe,
        asked: &Asked<'_>,
        now: SlotTime,
    ) -> Result<Place, Outcome> {
        if let Some(outcome) = quarantined(stripe, asked, now) {
            return Err(outcome);
        }
        match self.look(stripe, asked, now) {
            Err(evictions) => Err(Outcome::Cold { evictions }),
            Ok(Some(place)) => {
                self.reshaped(stripe, place, asked);
                Ok(place)
            }
            Ok(None) => self.open_new(stripe, asked, now),
        }
    }

    /// Adds the state of `asked`, unless its cost can never pass.
    #[cold]
    fn open_new(
        &self,
        stripe: &mut Stripe,
        asked: &Asked<'_>,
        now: SlotTime,
    ) -> Result<Place, Outcome> {
        let mut state = KeyState::new();
        state
            .peek(asked.limits, asked.cost, now)
            .map_err(Outcome::CostAboveLimit)?;
        state.shape = asked.shape;
        if self.lacks_room(stripe) && !self.evict_one(stripe, asked.id) {
            return Err(Outcome::Full);
        }
        let before = Size::of(stripe);
        let place = stripe.records.insert(asked.id, state);
        self.account(asked.id, stripe, &before);
        Ok(place)
    }

    /// Where the state is in memory, if it counts anything; the stripe's evictions if only the
    /// store can tell.
    #[inline]
    pub(super) fn look(
        &self,
        stripe: &Stripe,
        asked: &Asked<'_>,
        now: SlotTime,
    ) -> Result<Option<Place>, u64> {
        let place = stripe.records.find(asked.id);
        if place.is_some() {
            return Ok(place);
        }
        let evicted = self.evicted_until(asked.id.slot()) > now;
        if evicted && asked.absent_at != Some(stripe.evictions) {
            return Err(stripe.evictions);
        }
        Ok(None)
    }

    /// The state at `place`, in the shape of the limits that hold now.
    #[inline]
    pub(super) fn reshaped<'s>(
        &self,
        stripe: &'s mut Stripe,
        place: Place,
        asked: &Asked<'_>,
    ) -> Option<&'s mut KeyState> {
        let state = stripe.records.at(place)?;
        if state.shape != asked.shape {
            let heap = state.heap_bytes();
            state.reshape(&self.shapes.get(state.shape), &self.shapes.get(asked.shape));
            state.shape = asked.shape;
            // The journal must hold it whole before it holds buckets of the new width.
            mark_unsaved(&mut state.marks, Marks::WHOLE, &mut stripe.unsaved);
            state.marks.clear(Marks::COPIED);
            self.account_heap(heap, state.heap_bytes());
        }
        Some(state)
    }

    /// Marks the state at `place` as changed and returns the ticket of the change.
    #[inline]
    pub(super) fn changed(
        &self,
        stripe: &mut Stripe,
        place: Place,
        asked: &Asked<'_>,
        now: SlotTime,
        marks: u8,
    ) -> Option<u64> {
        let state = stripe.records.at(place)?;
        mark_unsaved(&mut state.marks, marks, &mut stripe.unsaved);
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
