//! Policies: named sets of limits, and which limits hold for a key.
//!
//! A [`Policy`] is what `limits.toml` says, already valid; [`crate::config`] reads the file and
//! reports its mistakes. A [`PolicySet`] is the whole file.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::limiter::descriptors::DescriptorRules;

/// Most limits that one policy may hold.
pub const LIMITS_MAX: usize = 4;

/// Parts that the window of a limit above 64 permits is cut into. The oldest counts in full, which
/// costs at most 1 in 120; with the odd permit, 98 of 100 are still granted of any limit. A key's
/// buckets take 8 bytes each, so a kilobyte.
pub const BUCKETS_PER_WINDOW: u64 = 120;

/// Default of `max_policies`: enough for any hand-written file, and about a megabyte at most.
pub const MAX_POLICIES_DEFAULT: usize = 1024;

/// Longest name of a policy, in bytes.
pub const POLICY_NAME_BYTES_MAX: usize = 64;

/// Longest window: 366 days.
pub const WINDOW_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// `permits` in any interval of `window_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limit {
    permits: NonZeroU64,
    window_ms: NonZeroU64,
    /// Follows from the others.
    bucket_ms: NonZeroU64,
}

/// Why a text is not a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// Not of the form `PERMITS/WINDOW`.
    #[error("`{text}` is not a limit; write permits/window, such as \"100/min\" or \"5/30s\"")]
    Form {
        /// The text as given.
        text: String,
    },
    /// The part before the slash is not a whole number from 1 to 2^64-1.
    #[error("`{text}` is not a number of permits; write a whole number from 1 up")]
    Permits {
        /// The part before the slash.
        text: String,
    },
    /// The unit is not known.
    #[error("`{text}` is not a unit of time; known are ms, s, min, hour, day")]
    Unit {
        /// The unit as given.
        text: String,
    },
    /// The window is zero or longer than [`WINDOW_MS_MAX`].
    #[error("the window `{text}` is out of bounds; it must be from 1 ms to 366 days")]
    Window {
        /// The part after the slash.
        text: String,
    },
}

/// Words for units of time and their milliseconds; the first of each length is used in output.
pub const UNITS: &[(&str, u64)] = &[
    ("day", 86_400_000),
    ("hour", 3_600_000),
    ("min", 60_000),
    ("s", 1000),
    ("ms", 1),
    ("d", 86_400_000),
    ("days", 86_400_000),
    ("h", 3_600_000),
    ("hr", 3_600_000),
    ("hours", 3_600_000),
    ("m", 60_000),
    ("minute", 60_000),
    ("minutes", 60_000),
    ("sec", 1000),
    ("second", 1000),
    ("seconds", 1000),
];

impl Limit {
    /// A limit of `permits` in any `window_ms` milliseconds, or `None` if either is zero or the
    /// window is longer than [`WINDOW_MS_MAX`].
    pub const fn new(permits: u64, window_ms: u64) -> Option<Self> {
        let bucket_ms = if permits <= 64 {
            1
        } else {
            window_ms.div_ceil(BUCKETS_PER_WINDOW)
        };
        match (
            NonZeroU64::new(permits),
            NonZeroU64::new(window_ms),
            NonZeroU64::new(bucket_ms),
        ) {
            (Some(permits), Some(window_ms), Some(bucket_ms))
                if window_ms.get() <= WINDOW_MS_MAX =>
            {
                Some(Self {
                    permits,
                    window_ms,
                    bucket_ms,
                })
            }
            _ => None,
        }
    }

    /// Permits that may be granted in any window; at least 1.
    pub const fn permits(self) -> u64 {
        self.permits.get()
    }

    /// The window's length in milliseconds; at least 1.
    pub const fn window_ms(self) -> u64 {
        self.window_ms.get()
    }

    /// Width of this limit's buckets in milliseconds: 1 for a limit of at most 64 permits, else one
    /// of [`BUCKETS_PER_WINDOW`] parts of the window, rounded up.
    pub const fn bucket_ms(self) -> u64 {
        self.bucket_ms.get()
    }
}

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let form = || LimitError::Form {
            text: text.to_owned(),
        };
        let (permits, window) = text.split_once('/').ok_or_else(form)?;
        let (permits, window) = (permits.trim(), window.trim());
        let permits: u64 = permits
            .replace('_', "")
            .parse()
            .ok()
            .filter(|&permits| permits > 0)
            .ok_or_else(|| LimitError::Permits {
                text: permits.to_owned(),
            })?;
        let digits = window.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = window.split_at(digits);
        let bounds = || LimitError::Window {
            text: window.to_owned(),
        };
        let count: u64 = if digits == 0 {
            1
        } else {
            count.parse().map_err(|_| bounds())?
        };
        let unit = unit.trim();
        let (_, unit_ms) = UNITS
            .iter()
            .find(|(word, _)| *word == unit)
            .ok_or_else(|| LimitError::Unit {
                text: unit.to_owned(),
            })?;
        let window_ms = count.checked_mul(*unit_ms).ok_or_else(bounds)?;
        Self::new(permits, window_ms).ok_or_else(bounds)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, unit_ms) = UNITS
            .iter()
            .find(|(_, ms)| self.window_ms().is_multiple_of(*ms))
            .unwrap_or(&("ms", 1));
        match self.window_ms().checked_div(*unit_ms).unwrap_or(0) {
            1 => write!(f, "{}/{unit}", self.permits()),
            count => write!(f, "{}/{count}{unit}", self.permits()),
        }
    }
}

/// One to four limits, all of which a request must pass.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The first again behind the last.
    all: [Limit; LIMITS_MAX],
    len: usize,
    /// Follows from the others.
    least_permits: u64,
}

impl Limits {
    /// A set of the given limits, or `None` if there are none or more than [`LIMITS_MAX`].
    pub fn new(limits: Vec<Limit>) -> Option<Self> {
        if limits.len() > LIMITS_MAX {
            return None;
        }
        let mut set = Self::from(*limits.first()?);
        set.len = limits.len();
        for (place, limit) in set.all.iter_mut().zip(limits) {
            *place = limit;
            set.least_permits = set.least_permits.min(limit.permits());
        }
        Some(set)
    }

    /// The limits, in the order in which they were written.
    pub fn as_slice(&self) -> &[Limit] {
        self.all.get(..self.len).unwrap_or(&self.all)
    }

    /// The permits of the smallest limit: a higher cost can never pass.
    pub fn least_permits(&self) -> u64 {
        self.least_permits
    }

    /// The longest of the windows, in milliseconds.
    pub fn longest_window_ms(&self) -> u64 {
        let windows = self.as_slice().iter().map(|limit| limit.window_ms());
        windows.max().unwrap_or(1)
    }
}

impl From<Limit> for Limits {
    fn from(limit: Limit) -> Self {
        Self {
            all: [limit; LIMITS_MAX],
            len: 1,
            least_permits: limit.permits(),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, limit) in self.as_slice().iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            limit.fmt(f)?;
        }
        Ok(())
    }
}

/// What to answer when nobody who knows the counts can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnFailure {
    /// Deny, or give the error: nothing passes uncounted. The default.
    #[default]
    Deny,
    /// Let it pass, marked degraded and not counted.
    Allow,
}

/// What a granted permit survives, before its answer leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Durability {
    /// Nothing: the counts are in memory only. Where a key is kept on several nodes it is as
    /// [`Durability::Process`], since it is what is written that the others get.
    None,
    /// `kill -9` of the process; a power loss costs at most the last second's grants. The default.
    #[default]
    Process,
    /// Power loss.
    Fsync,
}

impl Durability {
    /// The word used in `limits.toml` and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Process => "process",
            Self::Fsync => "fsync",
        }
    }
}

impl OnFailure {
    /// The word used in `limits.toml` and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

/// Whether `name` can name a policy: 1 to [`POLICY_NAME_BYTES_MAX`] ASCII letters, digits, and
/// `-`, `_`, `.`, `:`.
pub fn is_policy_name(name: &str) -> bool {
    (1..=POLICY_NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
}

/// A named set of limits and how they are kept. The fields are valid together by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The limits of every key that no override names.
    pub limits: Limits,
    /// What to answer when nobody who knows the counts can be asked.
    pub on_failure: OnFailure,
    /// What a granted permit survives.
    pub durability: Durability,
    /// Count and report, but never deny.
    pub shadow: bool,
    /// Limits of single keys, by the whole key.
    pub exact: BTreeMap<String, Limits>,
    /// Limits of the keys that begin so; the longest matching prefix holds, after `exact`.
    pub prefixes: BTreeMap<String, Limits>,
}

impl Policy {
    /// A policy of these limits with every other setting at its default.
    pub fn new(limits: impl Into<Limits>) -> Self {
        Self {
            limits: limits.into(),
            on_failure: OnFailure::default(),
            durability: Durability::default(),
            shadow: false,
            exact: BTreeMap::new(),
            prefixes: BTreeMap::new(),
        }
    }

    /// The limits that hold for `key`: its own, else those of the longest prefix, else the
    /// policy's.
    pub fn limits_for(&self, key: &str) -> &Limits {
        if let Some(limits) = self.exact.get(key) {
            return limits;
        }
        let by_prefix = self
            .prefixes
            .iter()
            .filter(|(prefix, _)| key.starts_with(prefix.as_str()))
            .max_by_key(|(prefix, _)| prefix.len());
        by_prefix.map_or(&self.limits, |(_, limits)| limits)
    }
}

/// Everything that `limits.toml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySet {
    /// The policies by name; at most `max_policies`.
    pub policies: BTreeMap<String, Policy>,
    /// Most policies at once, those that requests bring along included.
    pub max_policies: usize,
    /// Whether a request may carry its own limit under a name of its own.
    pub allow_request_limits: bool,
    /// Which policies Envoy's descriptors are held to.
    pub descriptors: DescriptorRules,
}

impl Default for PolicySet {
    fn default() -> Self {
        Self {
            policies: BTreeMap::new(),
            max_policies: MAX_POLICIES_DEFAULT,
            allow_request_limits: false,
            descriptors: DescriptorRules::default(),
        }
    }
}

#[cfg(test)]
mod tests;
