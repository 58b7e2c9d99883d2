//! What is to be done later: the timers of `foca` and our own, in the order of their time.
//!
//! Time in which the process did not run (it was stopped, or its machine was) does not count: when
//! the first alarm is found far too late, all are put off by as much. Else a node that wakes up
//! would at once declare down whomever it was about to hear from.

use std::collections::BTreeMap;
use std::time::Duration;

use foca::{Incarnation, Timer};

use super::identity::Identity;
use crate::types::MonoTime;

/// How late an alarm may be before its lateness is taken for a pause: half a probe period.
const LATE_MAX: Duration = Duration::from_millis(500);

/// What happens at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The library asked for it.
    Probing(Timer<Identity>),
    /// Announce again to those who did not answer.
    AnnounceAgain,
    /// The member was doubted at this incarnation; if it still is, it is down.
    Judge(Identity, Incarnation),
}

/// All alarms that are set.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// By time, then rank, then the order in which they were set.
    queue: BTreeMap<(MonoTime, u8, u64), Alarm>,
    set: u64,
}

impl Alarms {
    pub(super) fn set(&mut self, at: MonoTime, alarm: Alarm) {
        self.set = self.set.wrapping_add(1);
        self.queue.insert((at, rank(&alarm), self.set), alarm);
    }

    /// When the next one is due.
    pub(super) fn next_at(&self) -> Option<MonoTime> {
        self.queue.keys().next().map(|&(at, ..)| at)
    }

    /// Takes the next one that is due.
    pub(super) fn take_due(&mut self, now: MonoTime) -> Option<Alarm> {
        let first = self.queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Puts all off if the process has been paused.
    pub(super) fn forgive_pause(&mut self, now: MonoTime) {
        let Some(first) = self.next_at() else {
            return;
        };
        let late = now.since(first);
        if late > LATE_MAX {
            let queue = std::mem::take(&mut self.queue);
            let put_off = |((at, rank, n), alarm): ((MonoTime, u8, u64), Alarm)| {
                ((at.plus(late), rank, n), alarm)
            };
            self.queue = queue.into_iter().map(put_off).collect();
        }
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
    }
}

/// The order among alarms of one time that the library wants: a probe's second stage comes before
/// the next probe.
const fn rank(alarm: &Alarm) -> u8 {
    match alarm {
        Alarm::Probing(Timer::SendIndirectProbe { .. }) => 0,
        Alarm::Probing(Timer::ProbeRandomMember(_)) => 1,
        Alarm::Probing(Timer::ChangeSuspectToDown { .. }) | Alarm::Judge(..) => 2,
        Alarm::Probing(Timer::PeriodicAnnounce(_)) | Alarm::AnnounceAgain => 3,
        Alarm::Probing(Timer::PeriodicGossip(_)) => 4,
        Alarm::Probing(Timer::RemoveDown(_)) => 5,
        Alarm::Probing(Timer::PeriodicAnnounceDown(_)) => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> MonoTime {
        MonoTime::from_ns(ms * 1_000_000)
    }

    #[test]
    fn alarms_come_in_the_order_of_their_time_and_rank() {
        let mut alarms = Alarms::default();
        let gossip = Alarm::Probing(Timer::PeriodicGossip(1));
        let probe = Alarm::Probing(Timer::ProbeRandomMember(1));
        alarms.set(at(20), gossip.clone());
        alarms.set(at(20), probe.clone());
        alarms.set(at(10), Alarm::AnnounceAgain);
        assert_eq!(alarms.take_due(at(9)), None);
        assert_eq!(alarms.take_due(at(20)), Some(Alarm::AnnounceAgain));
        assert_eq!(alarms.take_due(at(20)), Some(probe));
        assert_eq!(alarms.take_due(at(20)), Some(gossip));
        assert_eq!(alarms.next_at(), None);
    }

    #[test]
    fn a_pause_puts_all_off_and_lateness_does_not() {
        let mut alarms = Alarms::default();
        alarms.set(at(1000), Alarm::AnnounceAgain);
        alarms.set(at(3000), Alarm::AnnounceAgain);
        alarms.forgive_pause(at(1500));
        assert_eq!(alarms.next_at(), Some(at(1000)));
        alarms.forgive_pause(at(21_000));
        assert!(alarms.take_due(at(21_000)).is_some());
        assert_eq!(alarms.next_at(), Some(at(23_000)));
    }
}
