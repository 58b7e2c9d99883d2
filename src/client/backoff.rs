//! How long to wait before the next attempt to connect: doubling, bounded, with full jitter, so
//! that the clients of a node that comes back do not all arrive at once.

use std::time::Duration;

/// Upper bound of the first wait: a restarted node is found again quickly.
pub(super) const FIRST_WAIT_MAX: Duration = Duration::from_millis(50);

/// Upper bound of every wait: who comes back is found within two seconds.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(2);

/// The waits between failed attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backoff {
    bound: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            bound: FIRST_WAIT_MAX,
        }
    }
}

impl Backoff {
    /// The next wait: `share` (0 to 1, a fresh random number) of a bound that doubles each time,
    /// but at least a tenth of it, so that a wait is never nothing.
    pub(super) fn next_wait(&mut self, share: f64) -> Duration {
        let bound = self.bound;
        self.bound = bound.saturating_mul(2).min(WAIT_MAX);
        bound.mul_f64(share.clamp(0.1, 1.0))
    }

    /// An attempt succeeded: the next wait is a first one again.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_start_over_after_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..8)
            .map(|_| u64::try_from(backoff.next_wait(1.0).as_millis()).unwrap())
            .collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        backoff.reset();
        assert_eq!(backoff.next_wait(1.0), FIRST_WAIT_MAX);
    }

    #[test]
    fn jitter_spreads_a_wait_but_never_makes_it_nothing() {
        for (share, ms) in [(0.0, 5), (0.1, 5), (0.5, 25), (1.0, 50), (7.0, 50)] {
            assert_eq!(
                Backoff::default().next_wait(share),
                Duration::from_millis(ms),
                "share {share}"
            );
        }
    }
}
