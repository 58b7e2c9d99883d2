//! Calls that were turned away come again a little later: how long they rest, and who wakes them.
//!
//! A node that answers [`WireError::Overloaded`] has counted nothing and says when to come back; a
//! slot that moves has a new owner by then. One that answers [`WireError::AnswerLost`] may have counted,
//! so that only a check is sent again, as often as after a lost connection. So the call is sent again after that time, a little more
//! at random so that all who were turned away do not come back at once, twice as long at each
//! further time, and only if its deadline leaves the time. Invariant: a call rests at most
//! [`RESTS_MAX`] times.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use super::core::Core;
use crate::protocol::error::WireError;

/// How often a call comes again. By 100 ms at first these take a second and a half, longer than any
/// slot moves; and under true overload a node has at most five times the work, all of it refusals.
const RESTS_MAX: u8 = 4;

/// Most calls of a client that rest at the same time; more end as they were answered.
const RESTING_MAX: usize = 65_536;

/// When a call comes again whose answer was lost: a slot whose replicas have just changed is served
/// again by then.
const LOST_RETRY_MS: u32 = 50;

/// How often a call has rested.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rests {
    rested: u8,
    /// How often it may still be sent although it may have been counted.
    resends: u8,
}

impl Rests {
    /// Of a call that does not rest by itself.
    pub(super) const SPENT: Self = Self {
        rested: RESTS_MAX,
        resends: 0,
    };

    /// Of a call that may be sent so often.
    pub(super) const fn of(sends: u8) -> Self {
        Self {
            rested: 0,
            resends: sends.saturating_sub(1),
        }
    }

    /// Whether the call may be sent again after this error.
    pub(super) const fn is_for(self, error: &WireError) -> bool {
        let may = match error {
            WireError::Overloaded { .. } => true,
            WireError::AnswerLost => self.resends > 0,
            _ => false,
        };
        may && self.rested < RESTS_MAX
    }

    /// How long to rest before the call is sent again after this error, `left` before its deadline;
    /// `None` if it is not to be. `share` is a fresh random number from 0 to 1.
    pub(super) fn next(
        &mut self,
        error: &WireError,
        left: Duration,
        share: f64,
    ) -> Option<Duration> {
        if !self.is_for(error) {
            return None;
        }
        let retry_ms = if let WireError::Overloaded { retry_ms } = error {
            *retry_ms
        } else {
            self.resends = self.resends.saturating_sub(1);
            LOST_RETRY_MS
        };
        let least = Duration::from_millis(u64::from(retry_ms).max(1)) * (1 << self.rested);
        let rest = least.mul_f64(1.0 + share.clamp(0.0, 1.0) / 2.0);
        self.rested = self.rested.saturating_add(1);
        (rest < left).then_some(rest)
    }
}

/// Who rests, until when. The client's timekeeper wakes them, so that a call may be awaited on any
/// executor.
#[derive(Debug, Default)]
pub(super) struct Resting {
    wakers: Mutex<BTreeMap<(Duration, u64), Waker>>,
    last: AtomicU64,
}

impl Resting {
    /// Wakes those who have rested; says when the next will have.
    pub(super) fn wake(&self, now: Duration) -> Option<Duration> {
        let mut wakers = self.wakers.lock();
        let later = wakers.split_off(&(now.saturating_add(Duration::from_nanos(1)), 0));
        let due = std::mem::replace(&mut *wakers, later);
        let next = wakers.first_key_value().map(|(key, _)| key.0);
        drop(wakers);
        due.into_values().for_each(Waker::wake);
        next
    }

    /// Wakes all: the client ends.
    pub(super) fn wake_all(&self) {
        let all = std::mem::take(&mut *self.wakers.lock());
        all.into_values().for_each(Waker::wake);
    }
}

/// A rest; over when its time has come, or the client ends. Cancel safe.
#[derive(Debug)]
pub(super) struct Rest<'a> {
    core: &'a Core,
    key: (Duration, u64),
}

impl<'a> Rest<'a> {
    /// Rests for so long from now on.
    pub(super) fn new(core: &'a Core, rest: Duration) -> Self {
        let number = core.resting.last.fetch_add(1, Ordering::Relaxed);
        let key = (core.now().saturating_add(rest), number);
        Self { core, key }
    }
}

impl Future for Rest<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (core, until) = (self.core, self.key.0);
        if core.now() >= until {
            return Poll::Ready(());
        }
        let mut wakers = core.resting.wakers.lock();
        if core.closed.load(Ordering::SeqCst) || wakers.len() >= RESTING_MAX {
            return Poll::Ready(());
        }
        wakers.insert(self.key, cx.waker().clone());
        drop(wakers);
        core.watch(until);
        Poll::Pending
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.core.resting.wakers.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn rests_double_spread_and_end() {
        let overloaded = WireError::Overloaded { retry_ms: 100 };
        for (share, expected) in [(0.0, [100, 200, 400, 800]), (1.0, [150, 300, 600, 1200])] {
            let mut rests = Rests::of(1);
            for ms in expected {
                let rest = rests.next(&overloaded, LONG, share);
                assert_eq!(rest, Some(Duration::from_millis(ms)));
            }
            assert_eq!(rests.next(&overloaded, LONG, share), None);
        }
    }

    #[test]
    fn nobody_rests_beyond_the_deadline_or_for_another_reason() {
        let mut rests = Rests::of(1);
        let overloaded = WireError::Overloaded { retry_ms: 0 };
        let left = Duration::from_millis(1);
        assert_eq!(rests.next(&overloaded, left, 0.0), None);
        let rest = rests.next(&overloaded, LONG, 0.0);
        assert_eq!(rest, Some(Duration::from_millis(2)), "never nothing");
        for error in [WireError::Unavailable, WireError::DeadlineExceeded] {
            assert_eq!(rests.next(&error, LONG, 0.0), None);
        }
    }

    #[test]
    fn what_may_have_been_counted_is_sent_again_as_often_as_is_allowed() {
        let left = Duration::from_secs(5);
        let mut once = Rests::of(2);
        let lost = Duration::from_millis(u64::from(LOST_RETRY_MS));
        assert_eq!(once.next(&WireError::AnswerLost, left, 0.0), Some(lost));
        assert_eq!(once.next(&WireError::AnswerLost, left, 0.0), None);
        assert_eq!(Rests::of(1).next(&WireError::AnswerLost, left, 0.0), None);
    }
}
