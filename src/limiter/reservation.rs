//! Reserve and settle: permits counted at once for work whose cost is known only afterwards.
//!
//! A reservation is an entry beside the key's buckets: its id, where it was counted, and how long
//! it stays open. It is settled or cancelled at most once, whoever repeats it, since its entry is
//! then gone. One that is never settled stays counted in full.

use super::key_state::KeyState;
use super::policy::Limits;
use crate::types::{Grant, ReservationId, SlotTime};

/// Most open reservations of one key: two kilobytes.
pub(crate) const RESERVATIONS_MAX: usize = 64;

/// One open reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// Its name.
    pub(crate) id: ReservationId,
    /// Where its estimate was counted.
    pub(crate) grant: Grant,
    /// From this time on it can no longer be settled.
    pub(crate) expires_at: SlotTime,
}

/// The open reservations of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reservations {
    open: Vec<Open>,
}

/// No open reservation has this id: it was settled, cancelled or has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no open reservation has this id; it was settled, cancelled or has expired")]
pub(crate) struct UnknownReservation;

/// The key has [`RESERVATIONS_MAX`] open ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key has {RESERVATIONS_MAX} open reservations; settle or cancel some first")]
pub(crate) struct TooManyReservations;

impl Reservations {
    /// Those that are open at `now`.
    pub(crate) fn open_at(&self, now: SlotTime) -> impl Iterator<Item = &Open> {
        self.open.iter().filter(move |open| open.expires_at > now)
    }

    /// All entries, expired ones included.
    pub(crate) fn entries(&self) -> &[Open] {
        &self.open
    }

    /// Whether there is no entry at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The latest time at which an entry expires.
    pub(crate) fn expires_at(&self) -> SlotTime {
        self.open
            .iter()
            .map(|open| open.expires_at)
            .max()
            .unwrap_or_default()
    }

    /// Whether another one may be opened at `now`.
    pub(crate) fn check_room(&self, now: SlotTime) -> Result<(), TooManyReservations> {
        if self.open_at(now).count() < RESERVATIONS_MAX {
            Ok(())
        } else {
            Err(TooManyReservations)
        }
    }

    /// Remembers a reservation whose estimate was just counted.
    pub(crate) fn remember(&mut self, open: Open, now: SlotTime) {
        self.open.retain(|old| old.expires_at > now);
        self.open.push(open);
    }

    /// Replaces the estimate by `actual`: gives the rest back where it was counted, or counts the
    /// excess at `now`, beyond the limit if need be: it has been used already.
    pub(crate) fn settle(
        &mut self,
        state: &mut KeyState,
        limits: &Limits,
        id: ReservationId,
        actual: u64,
        now: SlotTime,
    ) -> Result<(), UnknownReservation> {
        let at = self
            .open
            .iter()
            .position(|open| open.id == id && open.expires_at > now);
        let open = self.open.swap_remove(at.ok_or(UnknownReservation)?);
        let (rest, excess) = (
            open.grant.cost.saturating_sub(actual),
            actual.saturating_sub(open.grant.cost),
        );
        if rest > 0 {
            state.refund(
                limits,
                Grant {
                    cost: rest,
                    ..open.grant
                },
                now,
            );
        }
        if excess > 0 {
            state.count(limits, excess, now);
        }
        Ok(())
    }
}

impl FromIterator<Open> for Reservations {
    fn from_iter<I: IntoIterator<Item = Open>>(entries: I) -> Self {
        Self {
            open: entries.into_iter().take(RESERVATIONS_MAX).collect(),
        }
    }
}
