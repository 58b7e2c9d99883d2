//! The answer to a check, as callers, the wire and the command line all see it.

use std::fmt;
use std::time::Duration;

use super::SlotTime;

/// What a check was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether the request may pass.
    pub allowed: bool,
    /// The limit that decided: of the policy's limits, the one with the least left.
    pub limit: u64,
    /// Permits of that limit that are left after this decision.
    pub remaining: u64,
    /// Time until that limit's window is empty again if nothing more is granted.
    pub reset_after: Duration,
    /// Zero if allowed; else the time after which the same request, alone, is granted.
    pub retry_after: Duration,
    /// Who answered, and on what knowledge.
    pub source: Source,
    /// The policy is in shadow mode and would have denied: `allowed` is true all the same.
    pub shadow_denied: bool,
    /// What was counted, for a later refund; absent for denials, peeks and degraded answers.
    pub grant: Option<Grant>,
}

impl Decision {
    /// A decision from its parts; `grant` and `shadow_denied` start out empty.
    pub fn new(allowed: bool, limit: u64, remaining: u64, source: Source) -> Self {
        Self {
            allowed,
            limit,
            remaining,
            reset_after: Duration::ZERO,
            retry_after: Duration::ZERO,
            source,
            shadow_denied: false,
            grant: None,
        }
    }

    /// Whether the answer was given without the key's counts (see [`Source::Degraded`]).
    pub fn is_degraded(&self) -> bool {
        self.source == Source::Degraded
    }
}

/// Who answered a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The key's owner, asked directly.
    Owner,
    /// The key's owner, asked through another node.
    Proxied,
    /// The client library, from an earlier denial that is still true.
    Cached,
    /// Nobody who knows the counts: the policy's `on_failure` answered.
    Degraded,
}

impl Source {
    /// The word used in output and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Proxied => "proxied",
            Self::Cached => "cached",
            Self::Degraded => "degraded",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a granted cost was counted: enough to give it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Slot time of the grant, which names its bucket.
    pub at: SlotTime,
    /// Permits counted.
    pub cost: u64,
}

/// Names one open reservation of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReservationId(pub u64);
