//! One rule for descriptors: the entries it matches, and what then holds.

use super::template::KeyTemplate;

/// What the value of an entry must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueMatch {
    /// This.
    Exact(String),
    /// Anything that begins so.
    Prefix(String),
    /// Anything.
    Any,
}

/// What an entry must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryMatch {
    /// Its key, in full.
    pub key: String,
    /// Its value.
    pub value: ValueMatch,
}

/// What holds for a descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// A policy, under a key that is made of the descriptor's values.
    Limit {
        /// Its name.
        policy: String,
        /// How the key is made; `None`: of all values, see [`super::joined`].
        key: Option<KeyTemplate>,
    },
    /// It always passes, and nothing is counted.
    Unlimited,
    /// It never passes, and nothing is counted.
    Blocked,
}

/// A rule: a descriptor of just these entries, in this order, is held to this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorRule {
    /// One for each entry of the descriptor; at least one.
    pub entries: Vec<EntryMatch>,
    /// What then holds.
    pub then: Then,
}

/// Which headers tell clients of their limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LimitHeaders {
    /// None. The default.
    #[default]
    None,
    /// `RateLimit-Policy` and `RateLimit`, by the IETF's draft 10.
    Ietf,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining`, `X-RateLimit-Reset`.
    XRateLimit,
    /// All of these.
    Both,
}

impl LimitHeaders {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Ietf, Self::XRateLimit, Self::Both];

    /// The word used in `limits.toml`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Ietf => "ietf",
            Self::XRateLimit => "x-ratelimit",
            Self::Both => "both",
        }
    }
}
