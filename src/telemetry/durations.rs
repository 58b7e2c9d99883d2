//! How long things took: a histogram for metrics, of atomics, that many threads add to. Adding costs two
//! additions to memory, so it is for what happens once a commit or a request, not once a check.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds: from a write to the page cache to a disk that hangs.
pub(crate) const BOUNDS_US: [u64; 16] = [
    10, 20, 50, 100, 200, 300, 500, 750, 1000, 2000, 5000, 10_000, 25_000, 100_000, 500_000,
    1_000_000,
];

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    /// One more for what takes longer than the last bound.
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

/// What was added to [`Durations`] until now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DurationCounts {
    /// How many were above the bound before and not above this one; the last are above all.
    pub(crate) counts: [u64; BOUNDS_US.len() + 1],
    /// All together, in nanoseconds.
    pub(crate) sum_ns: u64,
}

impl Durations {
    /// Something took so long.
    pub(crate) fn add(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let us = ns.div_ceil(1000);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// What was added until now.
    pub(crate) fn counted(&self) -> DurationCounts {
        let mut counted = DurationCounts {
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
            ..DurationCounts::default()
        };
        for (told, count) in counted.counts.iter_mut().zip(&self.counts) {
            *told = count.load(Ordering::Relaxed);
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_as_long_as_a_bound_is_below_it_and_all_is_summed() {
        let durations = Durations::default();
        let mut sum_ns = 0;
        for (ns, bucket) in [
            (0, 0),
            (10_000, 0),
            (10_001, 1),
            (1_000_000_000, 15),
            (1_000_000_001, 16),
            (3_000_000_000, 16),
        ] {
            let before = durations.counted();
            durations.add(Duration::from_nanos(ns));
            sum_ns += ns;
            let mut expected = before;
            expected.counts[bucket] += 1;
            expected.sum_ns = sum_ns;
            assert_eq!(durations.counted(), expected, "{ns} ns");
        }
    }
}
