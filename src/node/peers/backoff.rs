//! How long to wait before a node is dialled again: doubling, bounded, with jitter, so that the
//! nodes of a cluster that starts do not all dial at once.

use std::time::Duration;

/// Upper bound of the first wait: a node that was just restarted is found again quickly.
const FIRST_WAIT_MAX: Duration = Duration::from_millis(50);

/// Upper bound of every wait: who comes back is found within a second.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The waits between failed attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
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
    /// The next wait: a random part of the bound, at least a fifth of it.
    pub(crate) fn next_wait(&mut self) -> Duration {
        self.wait(rand::random())
    }

    fn wait(&mut self, share: f64) -> Duration {
        let bound = self.bound;
        self.bound = bound.saturating_mul(2).min(WAIT_MAX);
        bound.mul_f64(share.clamp(0.2, 1.0))
    }

    /// A connection has lasted: the next wait is a first one again.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_are_never_nothing() {
        let mut backoff = Backoff::default();
        let waits = [(); 7].map(|()| backoff.wait(1.0).as_millis());
        assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.wait(0.0).as_millis(), 200);
        backoff.reset();
        assert_eq!(backoff.wait(0.5).as_millis(), 25);
    }
}
