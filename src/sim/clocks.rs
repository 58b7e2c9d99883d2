//! A machine's clocks: a monotonic one that drifts and starts anew with each boot, a wall clock
//! that is wrong and steps, and a boot id.
//!
//! The wall clock keeps what `clock.max_error` promises, or the slot clock could not be right: two
//! readings are never further apart than the true time between them plus that error. So it may
//! fall back by any amount at any time, and step forward by no more than it was allowed to be
//! wrong.

use std::time::Duration;

use super::random::Random;
use crate::limiter::StartClocks;
use crate::types::MonoTime;

/// The largest error of two readings of a wall clock together, as nodes are told.
pub(super) const MAX_ERROR: Duration = Duration::from_millis(1500);

/// Most that a monotonic clock is fast or slow, in parts per million.
const DRIFT_PPM: u64 = 200;

/// The clocks of one machine. All times given are true ones, in nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Clocks {
    /// Parts per million, more by [`DRIFT_PPM`] than the drift itself.
    drift_ppm: u64,
    booted_ns: u64,
    boot: u64,
    /// Milliseconds that the wall clock has fallen back, ever.
    behind_ms: u64,
    /// Milliseconds that it is ahead at the moment, at most the error.
    ahead_ms: u64,
}

impl Clocks {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            drift_ppm: random.below(2 * DRIFT_PPM + 1),
            booted_ns: 0,
            boot: random.bits(),
            behind_ms: 0,
            ahead_ms: 0,
        }
    }

    /// What the monotonic clock shows.
    pub(super) fn mono(&self, now_ns: u64) -> MonoTime {
        let since = now_ns.saturating_sub(self.booted_ns);
        let drifted = u128::from(since) * u128::from(1_000_000 - DRIFT_PPM + self.drift_ppm);
        MonoTime::from_ns(u64::try_from(drifted / 1_000_000).unwrap_or(u64::MAX))
    }

    /// How long the machine's monotonic clock must run until it shows `until`, in true time.
    pub(super) fn true_wait_ns(&self, now_ns: u64, until: MonoTime) -> u64 {
        let wait = u64::try_from(until.since(self.mono(now_ns)).as_nanos()).unwrap_or(u64::MAX);
        wait.saturating_add(wait / 4000).saturating_add(1)
    }

    /// What the wall clock shows.
    pub(super) fn wall_ms(&self, now_ns: u64) -> u64 {
        const START_MS: u64 = 1_700_000_000_000;
        (START_MS + self.ahead_ms + now_ns / 1_000_000).saturating_sub(self.behind_ms)
    }

    /// Steps the wall clock; true if it fell far back.
    pub(super) fn step_wall(&mut self, random: &mut Random) -> bool {
        let far = random.permille(300);
        if far {
            self.behind_ms += random.between(2000, 100_000_000);
        }
        self.ahead_ms = random.below(u64::try_from(MAX_ERROR.as_millis()).unwrap_or(0));
        far
    }

    /// The machine starts again.
    pub(super) fn reboot(&mut self, now_ns: u64, random: &mut Random) {
        self.booted_ns = now_ns;
        self.boot = random.bits();
    }

    /// All of them at once.
    pub(super) fn read(&self, now_ns: u64) -> StartClocks {
        StartClocks {
            mono: self.mono(now_ns),
            wall_ms: self.wall_ms(now_ns),
            boot_id: format!("{:016x}", self.boot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_wall_readings_never_differ_by_more_than_the_true_time_and_the_error() {
        let mut random = Random::new(3);
        let mut clocks = Clocks::new(&mut random);
        let mut readings = Vec::new();
        for second in 0..200_u64 {
            clocks.step_wall(&mut random);
            readings.push((second * 1000, clocks.wall_ms(second * 1_000_000_000)));
        }
        for (n, (at, shown)) in readings.iter().enumerate() {
            let max_error = u64::try_from(MAX_ERROR.as_millis()).unwrap();
            for (later, then) in &readings[n..] {
                assert!(then.saturating_sub(*shown) <= later - at + max_error);
            }
        }
    }

    #[test]
    fn the_monotonic_clock_starts_anew_with_each_boot_and_drifts_little() {
        let mut random = Random::new(4);
        let mut clocks = Clocks::new(&mut random);
        let hour = 3_600_000_000_000;
        let shown = clocks.mono(hour).as_ns();
        assert!(shown.abs_diff(hour) <= hour / 1_000_000 * DRIFT_PPM);
        let before = clocks.read(hour).boot_id;
        clocks.reboot(hour, &mut random);
        assert_eq!(clocks.mono(hour).as_ns(), 0);
        assert_ne!(clocks.read(hour).boot_id, before);
        let until = clocks.mono(hour).plus(Duration::from_secs(1));
        let wait = clocks.true_wait_ns(hour, until);
        assert!(clocks.mono(hour + wait) >= until);
    }
}
