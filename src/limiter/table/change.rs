//! Changes of a state other than by a check: reservations, refunds, resets; and what an admin sees.

use super::decide::{Asked, Outcome, quarantined};
use super::stripe::Stripe;
use super::striped::Table;
use crate::limiter::key_state::{KeyState, Marks};
use crate::limiter::reservation::{Open, Reservations, TooManyReservations, UnknownReservation};
use crate::limiter::window::{Bucket, counting};
use crate::types::{Grant, ReservationId, SlotTime, StateId};

/// A change of a state other than by a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Give back what a check counted.
    Refund(Grant),
    /// Replace a reservation's estimate by what was used.
    Settle(ReservationId, u64),
    /// Give all of a reservation back.
    Cancel(ReservationId),
    /// Forget all counts and reservations.
    Reset,
}

/// Why a change or a reservation was not made. Nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChangeError {
    /// See [`Outcome::Cold`].
    #[error("the state must be read from the store first")]
    Cold {
        /// Evictions of the stripe so far.
        evictions: u64,
    },
    /// See [`Outcome::NotServed`].
    #[error("the key's slot is not served here")]
    NotServed,
    /// The reservation is not open.
    #[error(transparent)]
    UnknownReservation(#[from] UnknownReservation),
    /// The key has too many open ones.
    #[error(transparent)]
    TooManyReservations(#[from] TooManyReservations),
}

/// What to remember of a cost that is counted now and settled later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reserve {
    /// Its name, unique for the key.
    pub(crate) id: ReservationId,
    /// How long it may be settled.
    pub(crate) ttl_ms: u64,
}

/// What there is of a state at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// That time, on the slot's clock.
    pub(crate) at: SlotTime,
    /// The buckets that count, limit by limit.
    pub(crate) buckets: Vec<Vec<Bucket>>,
    /// The open reservations.
    pub(crate) reservations: Vec<Open>,
    /// Time left in quarantine; 0 if it is in none.
    pub(crate) quarantine_ms: u64,
}

impl Table {
    /// Decides a check and, if it is granted, remembers it as a reservation.
    pub(crate) fn reserve(
        &self,
        now: SlotTime,
        asked: &Asked<'_>,
        reserve: Reserve,
    ) -> Result<Outcome, ChangeError> {
        let mut stripe = self.lock(asked.id);
        let stripe = &mut *stripe;
        let Some(now) = stripe.decide_at(asked.id, now) else {
            return Ok(Outcome::NotServed);
        };
        let place = match self.open(stripe, asked, now) {
            Ok(place) => place,
            Err(outcome) => return Ok(outcome),
        };
        if let Some(reservations) = stripe.reservations.get(&asked.id) {
            reservations.check_room(now)?;
        }
        let Some(state) = stripe.records.at(place) else {
            return Ok(Outcome::Full);
        };
        let heap = state.heap_bytes();
        let verdict = match state.check(asked.limits, asked.cost, now) {
            Ok(verdict) => verdict,
            Err(error) => return Ok(Outcome::CostAboveLimit(error)),
        };
        self.account_heap(heap, state.heap_bytes());
        if !verdict.granted {
            return Ok(Outcome::Decided {
                verdict,
                at: now,
                ticket: None,
            });
        }
        let open = Open {
            id: reserve.id,
            grant: Grant {
                at: now,
                cost: asked.cost,
            },
            expires_at: now.plus_ms(reserve.ttl_ms),
        };
        stripe
            .reservations
            .entry(asked.id)
            .or_default()
            .remember(open, now);
        let ticket = self.changed(stripe, place, asked, now, Marks::WHOLE | Marks::RESERVED);
        Ok(Outcome::Decided {
            verdict,
            at: now,
            ticket,
        })
    }

    /// Makes a change; returns the permits given back and the commit that holds it (`None` if
    /// nothing changed or nothing is journaled).
    pub(crate) fn change(
        &self,
        now: SlotTime,
        asked: &Asked<'_>,
        change: Change,
    ) -> Result<(u64, Option<u64>), ChangeError> {
        let mut stripe = self.lock(asked.id);
        let stripe = &mut *stripe;
        let Some(now) = stripe.decide_at(asked.id, now) else {
            return Err(ChangeError::NotServed);
        };
        let place = self
            .look(stripe, asked, now)
            .map_err(|evictions| ChangeError::Cold { evictions })?;
        if change == Change::Reset {
            stripe.quarantine.remove(&asked.id);
            stripe.reservations.remove(&asked.id);
        }
        let Some(place) = place else {
            return match change {
                Change::Refund(_) | Change::Reset => Ok((0, None)),
                Change::Settle(..) | Change::Cancel(_) => Err(UnknownReservation.into()),
            };
        };
        self.reshaped(stripe, place, asked);
        let Some(state) = stripe.records.at(place) else {
            return Ok((0, None));
        };
        let heap = state.heap_bytes();
        let mut given_back = 0;
        match change {
            Change::Refund(grant) => given_back = state.refund(asked.limits, grant, now),
            Change::Reset => state.reset(),
            Change::Settle(..) | Change::Cancel(_) => {
                let reservations = stripe
                    .reservations
                    .get_mut(&asked.id)
                    .ok_or(UnknownReservation)?;
                let (id, actual) = match change {
                    Change::Settle(id, actual) => (id, actual),
                    Change::Cancel(id) => (id, 0),
                    Change::Refund(_) | Change::Reset => return Err(UnknownReservation.into()),
                };
                reservations.settle(state, asked.limits, id, actual, now)?;
            }
        }
        self.account_heap(heap, state.heap_bytes());
        if matches!(change, Change::Refund(_)) && given_back == 0 {
            return Ok((0, None));
        }
        forget_empty_reservations(stripe, asked.id);
        Ok((
            given_back,
            self.changed(stripe, place, asked, now, Marks::WHOLE | Marks::SHRUNK),
        ))
    }

    /// What there is of a state.
    ///
    /// # Errors
    /// [`ChangeError::Cold`] and [`ChangeError::NotServed`].
    pub(crate) fn inspect(&self, now: SlotTime, asked: &Asked<'_>) -> Result<Seen, ChangeError> {
        let mut stripe = self.lock(asked.id);
        let stripe = &mut *stripe;
        let Some(now) = stripe.decide_at(asked.id, now) else {
            return Err(ChangeError::NotServed);
        };
        let place = self
            .look(stripe, asked, now)
            .map_err(|evictions| ChangeError::Cold { evictions })?;
        let quarantine_ms = match quarantined(stripe, asked, now) {
            Some(Outcome::Quarantined { retry_after_ms }) => retry_after_ms,
            _ => 0,
        };
        let nothing = &mut KeyState::new();
        let state = place.and_then(|place| self.reshaped(stripe, place, asked));
        let state = state.unwrap_or(nothing);
        let buckets = asked.limits.as_slice().iter().enumerate();
        let counted = buckets.map(|(n, &limit)| counting(limit, state.buckets(n), now).collect());
        let buckets = counted.collect();
        let open = stripe.reservations.get(&asked.id);
        Ok(Seen {
            at: now,
            buckets,
            reservations: open
                .map(|open| open.open_at(now).copied().collect())
                .unwrap_or_default(),
            quarantine_ms,
        })
    }
}

fn forget_empty_reservations(stripe: &mut Stripe, id: StateId) {
    if stripe
        .reservations
        .get(&id)
        .is_none_or(Reservations::is_empty)
    {
        stripe.reservations.remove(&id);
        if let Some(state) = stripe.records.get_mut(id) {
            state.marks.clear(Marks::RESERVED);
        }
    }
}
