//! What a load has counted: live for the progress line, and in full at its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

use super::history::Outcome;

/// Latencies above are counted as this: a minute.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// What one thread of the load counts; another may look at any time.
#[derive(Debug, Default)]
pub(super) struct Counters {
    allowed: AtomicU64,
    denied: AtomicU64,
    errors: AtomicU64,
}

/// A look at the counters of all threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    pub(super) errors: u64,
}

impl Counters {
    fn count(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Decided { allowed: true, .. } => &self.allowed,
            Outcome::Decided { allowed: false, .. } => &self.denied,
            Outcome::Error(_) => &self.errors,
        };
        // One thread alone writes, so that a plain store does.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl Counts {
    /// The sum over all threads.
    pub(super) fn of(threads: &[Arc<Counters>]) -> Self {
        let mut sum = Self::default();
        for counters in threads {
            sum.allowed += counters.allowed.load(Ordering::Relaxed);
            sum.denied += counters.denied.load(Ordering::Relaxed);
            sum.errors += counters.errors.load(Ordering::Relaxed);
        }
        sum
    }

    /// Checks that were answered.
    pub(super) const fn checks(self) -> u64 {
        self.allowed + self.denied
    }
}

/// What one thread of the load, or all, have measured.
#[derive(Debug)]
pub(super) struct Tally {
    /// Time from sending to the answer, of the calls that were answered.
    pub(super) latency_ns: Histogram<u64>,
    /// Checks without a decision, by the word for what went wrong.
    pub(super) errors: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Nothing yet.
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            latency_ns: Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?,
            errors: BTreeMap::new(),
        })
    }

    /// Counts the outcome of one check.
    pub(super) fn count(&mut self, outcome: Outcome, counters: &Counters) {
        counters.count(outcome);
        if let Outcome::Error(word) = outcome {
            *self.errors.entry(word).or_default() += 1;
        }
    }

    /// Counts the time of one call that was answered.
    pub(super) fn time(&mut self, ns: u64) {
        self.latency_ns.saturating_record(ns.max(1));
    }

    /// Adds what another thread has measured.
    pub(super) fn add(&mut self, other: &Self) -> Result<(), hdrhistogram::AdditionError> {
        self.latency_ns.add(&other.latency_ns)?;
        for (word, count) in &other.errors {
            *self.errors.entry(word).or_default() += count;
        }
        Ok(())
    }
}
