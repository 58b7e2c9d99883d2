//! Descriptors: which policy and key a list of `(key, value)` entries stands for, as Envoy sends
//! them.
//!
//! - [`rule`]: one rule: what it matches, and what then holds.
//! - [`template`]: the key under which a descriptor is counted.
//! - [`rules`]: all rules of a domain, found as envoyproxy/ratelimit finds them.
//!
//! Pure: nothing is decided here but names.

mod rule;
mod rules;
mod template;
#[cfg(test)]
mod tests;

pub use rule::{DescriptorRule, EntryMatch, Then, ValueMatch};
pub use rules::{DescriptorRules, DomainRules, ENTRIES_MAX};
pub use template::{KeyTemplate, TemplateError, joined};

pub use crate::types::HeaderStyle;
