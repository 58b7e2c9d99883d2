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
