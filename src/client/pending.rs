//! Requests that were sent and not yet answered, by request id.
//!
//! Pure. Ids only rise, so that an answer that comes late, twice or out of nowhere finds nothing.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

use super::waiters::{Outcome, WaiterId, Waiters};
use crate::protocol::client::ResponseBody;

/// How long a node may answer nothing at all, though asked and past the deadline, before its
/// connection is given up. An honest one answers at once, if only that the deadline passed; QUIC
/// itself takes half a minute to notice that a peer was killed.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(1);

/// Who waits for the answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expecting {
    /// One caller a check, in the order of the frame.
    Each(Vec<WaiterId>),
    /// One caller for the whole answer.
    One(WaiterId),
}

/// A request that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// Who waits.
    pub(super) expecting: Expecting,
    /// Checks in it, at least 1: what the node counts as in flight.
    pub(super) checks: usize,
    /// When it was sent.
    pub(super) at: Duration,
    /// When nobody waits for it any more.
    pub(super) deadline: Duration,
}

impl Sent {
    /// After this, no answer is expected any more: the deadline, but at least [`SILENCE_MAX`], so
    /// that a short deadline does not make a node seem silent.
    fn forgotten_after(&self) -> Duration {
        self.deadline.max(self.at.saturating_add(SILENCE_MAX))
    }

    /// Gives the answer to those who wait for it; they are to be woken.
    pub(super) fn hand_out(
        self,
        body: ResponseBody,
        waiters: &mut Waiters,
        wakers: &mut Vec<Waker>,
    ) {
        match (self.expecting, body) {
            (Expecting::One(waiter), body) => {
                wakers.extend(waiters.end(waiter, Outcome::Answered(body)));
            }
            (Expecting::Each(each), ResponseBody::Decisions(list)) if each.len() == list.len() => {
                for (waiter, decided) in each.into_iter().zip(list) {
                    wakers.extend(waiters.end(waiter, Outcome::Decided(decided)));
                }
            }
            (Expecting::Each(each), ResponseBody::Failed(error)) => {
                for waiter in each {
                    let outcome = Outcome::Decided(Err(error.clone()));
                    wakers.extend(waiters.end(waiter, outcome));
                }
            }
            (
                Expecting::Each(each),
                ResponseBody::Decisions(_)
                | ResponseBody::Refunded { .. }
                | ResponseBody::Reserved { .. }
                | ResponseBody::Done
                | ResponseBody::Routes(_)
                | ResponseBody::ReplicaRoutes(_),
            ) => {
                for waiter in each {
                    wakers.extend(waiters.end(waiter, Outcome::Misfit));
                }
            }
        }
    }
}

/// The requests in flight on one stream.
#[derive(Debug, Default)]
pub(super) struct Pending {
    requests: BTreeMap<u64, Sent>,
    checks: usize,
    last_id: u64,
}

impl Pending {
    /// The id for the next request.
    pub(super) const fn next_id(&self) -> u64 {
        self.last_id.wrapping_add(1)
    }

    /// Notes that the request of [`Pending::next_id`] is sent.
    pub(super) fn add(&mut self, sent: Sent) {
        self.last_id = self.next_id();
        self.checks = self.checks.saturating_add(sent.checks);
        self.requests.insert(self.last_id, sent);
    }

    /// The request that an answer belongs to, or `None` if there is none (any more).
    pub(super) fn take(&mut self, id: u64) -> Option<Sent> {
        let sent = self.requests.remove(&id)?;
        self.checks = self.checks.saturating_sub(sent.checks);
        Some(sent)
    }

    /// Checks in flight.
    pub(super) const fn checks(&self) -> usize {
        self.checks
    }

    /// Whether nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// When [`Pending::forget`] has something to forget, unless it is answered before.
    pub(super) fn next_to_forget(&self) -> Option<Duration> {
        let first = self.requests.values().map(Sent::forgotten_after).min()?;
        Some(first.saturating_add(Duration::from_millis(1)))
    }

    /// Forgets the requests to which no answer is expected any more. Returns when the latest of
    /// them was sent.
    pub(super) fn forget(&mut self, now: Duration) -> Option<Duration> {
        let mut latest = None;
        let checks = &mut self.checks;
        self.requests.retain(|_, sent| {
            let keep = sent.forgotten_after() >= now;
            if !keep {
                *checks = checks.saturating_sub(sent.checks);
                latest = latest.max(Some(sent.at));
            }
            keep
        });
        latest
    }

    /// Forgets everything: the connection is gone.
    pub(super) fn clear(&mut self) {
        self.requests.clear();
        self.checks = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::waiters::Waiters;

    const MS: Duration = Duration::from_millis(1);

    fn sent(checks: usize, at_ms: u32, deadline_ms: u32) -> Sent {
        let mut waiters = Waiters::new(1);
        Sent {
            expecting: Expecting::One(waiters.enter(Duration::ZERO, None).unwrap()),
            checks,
            at: MS * at_ms,
            deadline: MS * deadline_ms,
        }
    }

    #[test]
    fn answers_find_their_requests_in_any_order_and_once() {
        let mut pending = Pending::default();
        let ids: Vec<u64> = [3, 5, 7]
            .map(|checks| {
                let id = pending.next_id();
                pending.add(sent(checks, 0, 1));
                id
            })
            .to_vec();
        assert_eq!(pending.checks(), 15);
        for (n, checks) in [(2, 7), (0, 3), (1, 5)] {
            assert_eq!(pending.take(ids[n]).unwrap().checks, checks);
            assert_eq!(pending.take(ids[n]), None, "answered already");
        }
        assert_eq!(pending.take(99), None, "never asked");
        assert_eq!((pending.checks(), pending.is_empty()), (0, true));
    }

    #[test]
    fn what_is_never_answered_is_forgotten_after_its_deadline_and_a_second() {
        let mut pending = Pending::default();
        pending.add(sent(1, 5, 10));
        pending.add(sent(2, 6, 20));
        pending.add(sent(4, 7, 9_000));
        for (now_ms, forgotten, next_ms, checks) in [
            (1005, None, Some(1006), 7),
            (1006, Some(5), Some(1007), 6),
            (1007, Some(6), Some(9001), 4),
            (9000, None, Some(9001), 4),
            (9001, Some(7), None, 0),
        ] {
            assert_eq!(pending.forget(MS * now_ms), forgotten.map(|ms| MS * ms));
            assert_eq!(pending.next_to_forget(), next_ms.map(|ms| MS * ms));
            assert_eq!(pending.checks(), checks);
        }
    }

    #[test]
    fn a_lost_connection_leaves_nothing_pending_and_no_id_is_used_twice() {
        let mut pending = Pending::default();
        let id = pending.next_id();
        pending.add(sent(2, 0, 1));
        pending.clear();
        assert_eq!((pending.checks(), pending.is_empty()), (0, true));
        assert_ne!(pending.next_id(), id);
    }
}
