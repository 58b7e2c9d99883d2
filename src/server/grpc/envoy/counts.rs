//! What Envoy asks that no rule is there for, for logs and metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted since the process began.
#[derive(Debug, Default)]
pub(crate) struct EnvoyCounts {
    unknown_domains: AtomicU64,
    unmatched: AtomicU64,
}

impl EnvoyCounts {
    /// A request of a domain that is not known; whether to log it.
    pub(super) fn add_unknown_domain(&self) -> bool {
        is_told(&self.unknown_domains)
    }

    /// A descriptor that no rule of its domain is there for; whether to log it.
    pub(super) fn add_unmatched(&self) -> bool {
        is_told(&self.unmatched)
    }

    /// Requests of domains that are not known.
    pub(crate) fn unknown_domains(&self) -> u64 {
        self.unknown_domains.load(Ordering::Relaxed)
    }

    /// Descriptors that no rule of their domain is there for.
    pub(crate) fn unmatched(&self) -> u64 {
        self.unmatched.load(Ordering::Relaxed)
    }
}

/// Counts one more, and says whether to log it: the first, the second, the fourth, and so on.
fn is_told(count: &AtomicU64) -> bool {
    let before = count.fetch_add(1, Ordering::Relaxed);
    before.wrapping_add(1).is_power_of_two()
}
