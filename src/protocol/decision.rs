//! Decisions to their wire form and back.

use std::time::Duration;

use super::client::{WireDecision, WireSource};
use crate::types::{Decision, Grant, SlotTime, Source};

impl From<&Decision> for WireDecision {
    /// The cost of a grant does not travel: whoever asked knows it.
    fn from(decision: &Decision) -> Self {
        Self {
            allowed: decision.allowed,
            shadow_denied: decision.shadow_denied,
            limit: decision.limit,
            remaining: decision.remaining,
            reset_after_ms: ms_up(decision.reset_after),
            retry_after_ms: ms_up(decision.retry_after),
            source: decision.source.into(),
            granted_at_ms: decision.grant.map(|grant| grant.at.as_ms()),
        }
    }
}

impl WireDecision {
    /// The decision on a check of `cost`.
    pub(crate) fn decision(self, cost: u64) -> Decision {
        Decision {
            reset_after: Duration::from_millis(self.reset_after_ms),
            retry_after: Duration::from_millis(self.retry_after_ms),
            shadow_denied: self.shadow_denied,
            grant: self.granted_at_ms.map(|at_ms| Grant {
                at: SlotTime::from_ms(at_ms),
                cost,
            }),
            ..Decision::new(self.allowed, self.limit, self.remaining, self.source.into())
        }
    }
}

impl From<Source> for WireSource {
    fn from(source: Source) -> Self {
        match source {
            Source::Owner => Self::Owner,
            Source::Proxied => Self::Proxied,
            Source::Cached => Self::Cached,
            Source::Degraded => Self::Degraded,
        }
    }
}

impl From<WireSource> for Source {
    fn from(source: WireSource) -> Self {
        match source {
            WireSource::Owner => Self::Owner,
            WireSource::Proxied => Self::Proxied,
            WireSource::Cached => Self::Cached,
            WireSource::Degraded => Self::Degraded,
        }
    }
}

/// Whole milliseconds, rounded up: who waits that long has waited long enough.
fn ms_up(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
