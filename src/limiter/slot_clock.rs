//! The slot clock: milliseconds that never run faster than real time, and never backwards.
//!
//! It advances with the machine's monotonic clock, slowed by 500 ppm so that a monotonic clock
//! that drifts fast still never outruns real time. Two grants are then never further apart on the
//! slot clock than in real time, and a window enforced on it is enforced in real time. Across a
//! restart it resumes from the highest stamp on disk plus what the time away is known to have been
//! at least.

use std::time::Duration;

use crate::types::{MonoTime, SlotTime};

/// One part in this many is taken off the monotonic clock: 500 ppm.
const SLOWED_BY: u64 = 2000;

/// A running slot clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotClock {
    start: SlotTime,
    started: MonoTime,
}

impl SlotClock {
    /// A clock that shows `start` at the monotonic time `now`.
    pub const fn new(start: SlotTime, now: MonoTime) -> Self {
        Self {
            start,
            started: now,
        }
    }

    /// What the clock shows at the monotonic time `now`.
    pub fn read(&self, now: MonoTime) -> SlotTime {
        self.start.plus_ms(slowed_ms(now.since(self.started)))
    }
}

/// A reading of all clocks at once, stored about once a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockStamp {
    /// What the slot clock showed.
    pub slot: SlotTime,
    /// What the monotonic clock showed.
    pub mono: MonoTime,
    /// What the wall clock showed, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The machine's boot id, within which monotonic times compare.
    pub boot_id: String,
}

/// The clocks at a start: a [`ClockStamp`] without a slot time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartClocks {
    /// What the monotonic clock shows.
    pub mono: MonoTime,
    /// What the wall clock shows, in milliseconds since 1970.
    pub wall_ms: u64,
    /// The machine's boot id.
    pub boot_id: String,
}

/// The slot clock of a node that starts: from the stored `stamp` plus the time away, never below
/// `highest_seen` (the newest stamp of a commit record).
///
/// Within one boot the monotonic clock tells the time away. After a reboot it is the wall clocks'
/// difference less `max_error`, which bounds by how much they may be wrong together; `None` credits
/// nothing. A negative time is never credited.
pub fn resume(
    stamp: Option<&ClockStamp>,
    highest_seen: SlotTime,
    now: &StartClocks,
    max_error: Option<Duration>,
) -> SlotClock {
    let resumed = stamp.map_or(SlotTime::ZERO, |stamp| {
        stamp.slot.plus_ms(time_away_ms(stamp, now, max_error))
    });
    SlotClock::new(resumed.max(highest_seen), now.mono)
}

fn time_away_ms(stamp: &ClockStamp, now: &StartClocks, max_error: Option<Duration>) -> u64 {
    if stamp.boot_id == now.boot_id && !now.boot_id.is_empty() {
        return slowed_ms(now.mono.since(stamp.mono));
    }
    let Some(max_error) = max_error else { return 0 };
    let away = Duration::from_millis(now.wall_ms.saturating_sub(stamp.wall_ms));
    slowed_ms(away.saturating_sub(max_error))
}

/// The real time within which a slot clock surely advances by `slot_ms`, in milliseconds: what a
/// caller must wait.
pub(crate) const fn real_ms(slot_ms: u64) -> u64 {
    if slot_ms == 0 {
        return 0;
    }
    let extra = slot_ms.div_ceil(SLOWED_BY.saturating_sub(1));
    slot_ms.saturating_add(extra)
}

fn slowed_ms(real: Duration) -> u64 {
    let ns = u64::try_from(real.as_nanos()).unwrap_or(u64::MAX);
    ns.saturating_sub(ns.div_ceil(SLOWED_BY)) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn stamp() -> ClockStamp {
        ClockStamp {
            slot: SlotTime::from_ms(10_000),
            mono: MonoTime::from_ns(50 * SECOND),
            wall_ms: 1_000_000,
            boot_id: "a".into(),
        }
    }

    fn start(mono_s: u64, wall_ms: u64, boot_id: &str) -> StartClocks {
        StartClocks {
            mono: MonoTime::from_ns(mono_s * SECOND),
            wall_ms,
            boot_id: boot_id.into(),
        }
    }

    fn resumed_ms(now: &StartClocks, max_error: Option<u64>) -> u64 {
        let max_error = max_error.map(Duration::from_millis);
        let clock = resume(Some(&stamp()), SlotTime::ZERO, now, max_error);
        clock.read(now.mono).as_ms()
    }

    #[test]
    fn a_restart_credits_what_is_known_to_have_passed_and_no_more() {
        let error = Some(5000);
        let cases = [
            (
                "same boot: the monotonic clock, slowed",
                start(60, 0, "a"),
                error,
                19_995,
            ),
            (
                "same boot, monotonic clock behind: nothing",
                start(40, 0, "a"),
                error,
                10_000,
            ),
            (
                "reboot: the wall clock less its error",
                start(1, 1_020_000, "b"),
                error,
                24_992,
            ),
            (
                "reboot, within the error: nothing",
                start(1, 1_004_000, "b"),
                error,
                10_000,
            ),
            (
                "reboot, wall clock stepped back: nothing",
                start(1, 900_000, "b"),
                error,
                10_000,
            ),
            (
                "reboot, error unbounded: nothing",
                start(1, 1_020_000, "b"),
                None,
                10_000,
            ),
            (
                "boot id unreadable: as after a reboot",
                start(60, 1_020_000, ""),
                error,
                24_992,
            ),
        ];
        for (what, now, error, expected) in cases {
            assert_eq!(resumed_ms(&now, error), expected, "{what}");
        }
    }

    #[test]
    fn it_resumes_above_the_newest_commit() {
        let now = start(60, 0, "b");
        let clock = resume(Some(&stamp()), SlotTime::from_ms(99_000), &now, None);
        assert_eq!(clock.read(now.mono).as_ms(), 99_000);
        let fresh = resume(None, SlotTime::ZERO, &now, None);
        assert_eq!(fresh.read(now.mono), SlotTime::ZERO);
    }

    proptest! {
        #[test]
        fn a_caller_who_waits_the_real_time_has_waited_long_enough(
            start in 0..10_000_000_000_000u64, slot_ms in 0..40_000_000_000u64,
        ) {
            let clock = SlotClock::new(SlotTime::from_ms(7), MonoTime::from_ns(0));
            let (now, wait) = (MonoTime::from_ns(start), Duration::from_millis(real_ms(slot_ms)));
            let waited = clock.read(now.plus(wait)).ms_since(clock.read(now));
            prop_assert!(waited >= slot_ms);
            prop_assert!(waited <= slot_ms + slot_ms / 100_000 + 2);
        }

        #[test]
        fn it_never_outruns_a_clock_that_drifts_by_500_ppm(
            readings in prop::collection::vec(0..10_000_000_000_000u64, 2..20)
        ) {
            let clock = SlotClock::new(SlotTime::from_ms(7), MonoTime::from_ns(0));
            let mut readings = readings;
            readings.sort_unstable();
            for pair in readings.windows(2) {
                let [a, b] = [pair[0], pair[1]].map(|ns| clock.read(MonoTime::from_ns(ns)).as_ms());
                prop_assert!(a <= b);
                // a monotonic clock 500 ppm fast shows `mono` when `mono / 1.0005` has passed
                let real_ms = (u128::from(pair[1] - pair[0]) * 10_000 / 10_005).div_ceil(1_000_000);
                prop_assert!(u128::from(b - a) <= real_ms + 1);
            }
        }
    }
}
