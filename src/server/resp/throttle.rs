//! `CL.THROTTLE`: the parameters of redis-cell as a sliding window.
//!
//! redis-cell allows `max_burst + 1` at once and gives one back every `period / count`. Here that is
//! the limit `max_burst + 1` in each window as long as it takes to give all of them back:
//! `(max_burst + 1) * period / count`, rounded up to a millisecond. So as many pass at once, as many
//! pass in the long run, and whatever passes here would have passed there:
//! of any time `t` at most `limit * (floor(t / window) + 1)` are granted, which is at most the
//! `limit + floor(t * count / period)` that redis-cell may grant.
//!
//! It answers otherwise in one way: redis-cell gives a burst back one by one, a sliding window gives
//! each permit back when it is a whole window old.

use crate::protocol::client::PolicyRef;

/// Bound of each parameter, which keeps the policy's name within its 64 bytes.
const PARAMETER_MAX: u64 = 1_000_000_000_000_000;

/// What a caller says of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parameters {
    /// How many may pass at once beyond the first.
    pub(super) max_burst: u64,
    /// How many may pass in a period in the long run.
    pub(super) count: u64,
    /// In seconds.
    pub(super) period_s: u64,
}

/// A limit that callers bring along, with the name under which it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Throttle {
    pub(super) parameters: Parameters,
    permits: u64,
    window_ms: u64,
    name: String,
}

/// A parameter that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadParameter {
    /// None can be that large.
    #[error("a number is too large; at most {PARAMETER_MAX}")]
    TooLarge,
    /// Nothing would ever pass, or everything.
    #[error("count_per_period and period must be at least 1")]
    Zero,
}

impl Throttle {
    /// The limit that the parameters stand for.
    pub(super) fn new(parameters: Parameters) -> Result<Self, BadParameter> {
        let Parameters {
            max_burst,
            count,
            period_s,
        } = parameters;
        if max_burst.max(count).max(period_s) > PARAMETER_MAX {
            return Err(BadParameter::TooLarge);
        }
        if count == 0 || period_s == 0 {
            return Err(BadParameter::Zero);
        }
        let permits = max_burst.saturating_add(1);
        let whole_ms = u128::from(permits)
            .saturating_mul(u128::from(period_s))
            .saturating_mul(1000)
            .div_ceil(u128::from(count));
        Ok(Self {
            parameters,
            permits,
            // The limiter refuses what is longer than its longest window.
            window_ms: u64::try_from(whole_ms).unwrap_or(u64::MAX),
            name: format!("throttle:{max_burst}:{count}:{period_s}"),
        })
    }

    /// Permits in any window.
    pub(super) const fn permits(&self) -> u64 {
        self.permits
    }

    /// The policy that a check brings along.
    pub(super) fn policy(&self) -> PolicyRef<'_> {
        PolicyRef::Carried {
            name: &self.name,
            limits: vec![(self.permits, self.window_ms)],
        }
    }
}
