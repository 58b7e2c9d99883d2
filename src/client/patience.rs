//! How long a peek waits before a second node is asked, and how many peeks may be asked twice.
//!
//! Pure. The wait is the 99th percentile of what the last [`WINDOW`] answers took: these are kept as
//! they are and sorted now and then, which for so few is as cheap as a sketch of them and exact. An
//! answer that a hedge brought counts with the time that it took, at least the wait; so if all get
//! slower, the wait grows until it is what is usual.
//!
//! Invariant: of n peeks at most n / [`PEEKS_A_HEDGE`] + [`HEDGES_AT_ONCE`] are asked twice, so that a
//! cluster in trouble has at most that much more to do.

use std::time::Duration;

/// Answers that are looked back at: enough that five of them are above the percentile.
const WINDOW: usize = 512;

/// The percentile is looked for after so many answers.
const LOOK_EVERY: usize = 32;

/// Answers before which the percentile says nothing.
const WINDOW_MIN: usize = 64;

/// Shortest wait: a pause of one of the two processes, as any machine has some, is no reason to ask
/// again.
const WAIT_MIN: Duration = Duration::from_millis(5);

/// Longest wait, and the one of a client that knows nothing yet: a fifth of the default deadline, so
/// that a second node has time to answer.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Peeks by which one more may be asked twice.
const PEEKS_A_HEDGE: usize = 20;

/// Hedges that may be saved up.
const HEDGES_AT_ONCE: usize = 10;

const SAVED_MAX: usize = PEEKS_A_HEDGE * HEDGES_AT_ONCE;

/// See the module.
#[derive(Debug)]
pub(super) struct Patience {
    /// What the last answers took, the oldest at `next` once there are [`WINDOW`].
    took: Vec<Duration>,
    next: usize,
    /// What was usual at the last look.
    usual: Duration,
    /// Peeks that were asked and not yet spent on hedges.
    saved: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            took: Vec::new(),
            next: 0,
            usual: WAIT_MAX,
            saved: SAVED_MAX,
        }
    }
}

impl Patience {
    /// So many peeks are asked, `left` before their deadline: how long to wait for the answer before
    /// somebody else is asked. At most half of what is left.
    pub(super) fn begin(&mut self, peeks: usize, left: Duration) -> Duration {
        self.saved = self.saved.saturating_add(peeks).min(SAVED_MAX);
        self.usual.clamp(WAIT_MIN, WAIT_MAX).min(left / 2)
    }

    /// Whether so many peeks may be asked once more; counts them if so.
    pub(super) fn spend(&mut self, peeks: usize) -> bool {
        let left = self.saved.checked_sub(peeks.saturating_mul(PEEKS_A_HEDGE));
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }

    /// An answer took so long.
    pub(super) fn answered(&mut self, took: Duration) {
        if let Some(oldest) = self.took.get_mut(self.next) {
            *oldest = took;
        } else {
            self.took.push(took);
        }
        self.next = self.next.saturating_add(1) % WINDOW;
        if self.took.len() >= WINDOW_MIN && self.next.is_multiple_of(LOOK_EVERY) {
            self.usual = usual(&self.took);
        }
    }
}

/// The 99th percentile: of a hundred at most one is above it.
fn usual(took: &[Duration]) -> Duration {
    let mut took = took.to_vec();
    let rank = took.len().saturating_mul(99).div_ceil(100);
    match rank.checked_sub(1) {
        Some(place) if place < took.len() => *took.select_nth_unstable(place).1,
        Some(_) | None => WAIT_MAX,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_wait_has_bounds_and_leaves_half_of_the_time() {
        let mut patience = Patience::default();
        assert_eq!(patience.begin(1, LONG), WAIT_MAX, "nothing is known yet");
        for (took, wait) in [(0, WAIT_MIN), (30, ms(30)), (90_000, WAIT_MAX)] {
            for _ in 0..WINDOW {
                patience.answered(ms(took));
            }
            assert_eq!(patience.begin(1, LONG), wait);
            assert_eq!(patience.begin(1, ms(8)), ms(4));
        }
    }

    proptest! {
        /// The model: the percentile of the last answers, at the last look.
        #[test]
        fn the_wait_is_the_percentile_of_the_last_answers(
            took in prop::collection::vec(5..100_u64, 0..2000)
        ) {
            let mut patience = Patience::default();
            for &took in &took {
                patience.answered(ms(took));
            }
            let seen = took.len() / LOOK_EVERY * LOOK_EVERY;
            let mut last = took[seen.saturating_sub(WINDOW)..seen].to_vec();
            last.sort_unstable();
            let above = |wait: u64| last.iter().filter(|it| **it > wait).count();
            if seen >= WINDOW_MIN {
                let model = last.iter().find(|it| above(**it) * 100 <= last.len());
                prop_assert_eq!(patience.begin(1, LONG), ms(*model.unwrap()));
            } else {
                prop_assert_eq!(patience.begin(1, LONG), WAIT_MAX);
            }
        }

        /// In any stretch of time, and however much each request holds.
        #[test]
        fn at_most_one_peek_of_twenty_and_a_burst_is_asked_twice(
            steps in prop::collection::vec((1..40_usize, any::<bool>()), 1..300),
            from in 0..300_usize,
        ) {
            let mut patience = Patience::default();
            let (mut peeks, mut hedges) = (0, 0);
            for (n, (asked, hedge)) in steps.into_iter().enumerate() {
                patience.begin(asked, LONG);
                let spent = hedge && patience.spend(asked);
                if n >= from {
                    peeks += asked;
                    hedges += if spent { asked } else { 0 };
                }
            }
            prop_assert!(hedges * PEEKS_A_HEDGE <= peeks + SAVED_MAX);
        }
    }
}
