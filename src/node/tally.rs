//! How the checks of each policy were answered, for the metrics: counted once a batch, so that a
//! check costs no write of its own to memory that all threads share.

use std::sync::atomic::{AtomicU64, Ordering};

use super::policies::ActivePolicy;
use crate::protocol::client::{WireDecision, WireSource};
use crate::server::{Lack, PolicyFigures, WithoutCounts};

/// What was counted of one policy since the process began; it outlives changes of the policy.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    allowed: AtomicU64,
    denied: AtomicU64,
    shadow_denied: AtomicU64,
    degraded: AtomicU64,
    /// Let through and denied without the counts, in the order of [`Lack::ALL`].
    without_counts: [[AtomicU64; 2]; Lack::ALL.len()],
}

/// Some checks that are not told to their policy yet.
#[derive(Debug, Default)]
pub(super) struct Run<'a> {
    policy: Option<&'a ActivePolicy>,
    allowed: u64,
    denied: u64,
    shadow_denied: u64,
    degraded: u64,
}

impl Tally {
    /// As the metrics tell it.
    pub(super) fn figures(&self, policy: &str) -> PolicyFigures {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PolicyFigures {
            policy: policy.to_owned(),
            allowed: load(&self.allowed),
            denied: load(&self.denied),
            shadow_denied: load(&self.shadow_denied),
            degraded: load(&self.degraded),
            without_counts: self
                .without_counts
                .each_ref()
                .map(|[allowed, denied]| WithoutCounts {
                    allowed: load(allowed),
                    denied: load(denied),
                }),
        }
    }

    /// Counts one answer without the counts, which are not known for the lack of this.
    pub(super) fn without_counts(&self, lack: Lack, allowed: bool) {
        let place = Lack::ALL.iter().position(|it| *it == lack);
        if let Some([let_through, denied]) = place.and_then(|at| self.without_counts.get(at)) {
            let counter = if allowed { let_through } else { denied };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one check that was answered without the counts.
    pub(super) fn degraded(&self) {
        self.degraded.fetch_add(1, Ordering::Relaxed);
    }
}

impl<'a> Run<'a> {
    /// Counts one check of `policy`.
    #[inline]
    pub(super) fn add(&mut self, policy: &'a ActivePolicy, decision: &WireDecision) {
        // Nearly all batches are of one policy.
        if !self.policy.is_some_and(|of| std::ptr::eq(of, policy)) {
            self.tell();
            self.policy = Some(policy);
        }
        let counter = match decision {
            WireDecision {
                source: WireSource::Degraded,
                ..
            } => &mut self.degraded,
            WireDecision {
                shadow_denied: true,
                ..
            } => &mut self.shadow_denied,
            WireDecision { allowed: true, .. } => &mut self.allowed,
            WireDecision { .. } => &mut self.denied,
        };
        *counter = counter.saturating_add(1);
    }

    /// Tells the policy what was counted.
    pub(super) fn tell(&mut self) {
        let Some(policy) = self.policy.take() else {
            return;
        };
        let tally = &policy.tally;
        for (counter, count) in [
            (&tally.allowed, &mut self.allowed),
            (&tally.denied, &mut self.denied),
            (&tally.shadow_denied, &mut self.shadow_denied),
            (&tally.degraded, &mut self.degraded),
        ] {
            let count = std::mem::take(count);
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}
