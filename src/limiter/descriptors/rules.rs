//! All rules of a domain, found as envoyproxy/ratelimit finds them.
//!
//! The rules make a tree, a level for each entry. Of the children of a level the one with the
//! entry's value is taken, else the one with the longest prefix of it, else the one that takes any
//! value; and there is no way back: what is decided at one level is not tried otherwise because a
//! later one does not fit. A descriptor is held to the rule of the place where its entries end, if
//! there is one; one that is shorter or longer than a rule is not held to it.

use std::collections::BTreeMap;

use super::rule::{DescriptorRule, EntryMatch, Then, ValueMatch};
use super::template::joined;
use crate::types::HeaderStyle;

/// Most entries of a rule, so also most that a descriptor can have and be held to one.
pub const ENTRIES_MAX: usize = 32;

/// The rules of all domains: what `[[envoy]]` of `limits.toml` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DescriptorRules {
    domains: BTreeMap<String, DomainRules>,
}

/// The rules of one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainRules {
    headers: HeaderStyle,
    rules: Vec<DescriptorRule>,
    /// Follows from the rules.
    tree: Node,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Node {
    /// Which rule ends here.
    rule: Option<usize>,
    /// By the next entry's key.
    next: BTreeMap<String, Children>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Children {
    exact: BTreeMap<String, Node>,
    /// The longest first.
    prefixes: Vec<(String, Node)>,
    any: Option<Box<Node>>,
}

impl DescriptorRules {
    /// Puts in the rules of a domain, in place of those that it had.
    pub fn insert(&mut self, domain: String, rules: DomainRules) {
        self.domains.insert(domain, rules);
    }

    /// The rules of a domain.
    pub fn domain(&self, name: &str) -> Option<&DomainRules> {
        self.domains.get(name)
    }

    /// All domains, by name.
    pub fn domains(&self) -> impl ExactSizeIterator<Item = (&str, &DomainRules)> {
        self.domains
            .iter()
            .map(|(name, rules)| (name.as_str(), rules))
    }
}

impl DomainRules {
    /// Rules; of two that match the same entries the later one holds.
    pub fn new(headers: HeaderStyle, rules: Vec<DescriptorRule>) -> Self {
        let mut tree = Node::default();
        for (n, rule) in rules.iter().enumerate() {
            let mut node = &mut tree;
            for entry in &rule.entries {
                node = node.child(entry);
            }
            node.rule = Some(n);
        }
        Self {
            headers,
            rules,
            tree,
        }
    }

    /// Which headers tell clients of their limit.
    pub const fn headers(&self) -> HeaderStyle {
        self.headers
    }

    /// The rules, as they were written.
    pub fn rules(&self) -> &[DescriptorRule] {
        &self.rules
    }

    /// The rule that a descriptor is held to.
    pub fn find(&self, entries: &[(&str, &str)]) -> Option<&DescriptorRule> {
        let mut node = &self.tree;
        for (key, value) in entries {
            node = node.next.get(*key)?.matching(value)?;
        }
        self.rules.get(node.rule?)
    }
}

impl DescriptorRule {
    /// The key under which its policy counts a descriptor that it matches; `None` if it has none.
    pub fn key(&self, entries: &[(&str, &str)]) -> Option<String> {
        match &self.then {
            Then::Limit { key: Some(key), .. } => Some(key.key(entries)),
            Then::Limit { key: None, .. } => Some(joined(entries.iter().map(|(_, value)| *value))),
            Then::Unlimited | Then::Blocked => None,
        }
    }
}

impl Node {
    /// The node behind an entry, made if it is not there.
    fn child(&mut self, entry: &EntryMatch) -> &mut Self {
        let children = self.next.entry(entry.key.clone()).or_default();
        match &entry.value {
            ValueMatch::Any => children.any.get_or_insert_default(),
            ValueMatch::Exact(value) => children.exact.entry(value.clone()).or_default(),
            ValueMatch::Prefix(prefix) => children.prefixed(prefix),
        }
    }
}

impl Children {
    fn matching(&self, value: &str) -> Option<&Node> {
        let by_prefix = || {
            let mut prefixes = self.prefixes.iter();
            prefixes.find(|(prefix, _)| value.starts_with(prefix.as_str()))
        };
        self.exact
            .get(value)
            .or_else(|| by_prefix().map(|(_, node)| node))
            .or(self.any.as_deref())
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the place was found or made just before"
    )]
    fn prefixed(&mut self, prefix: &str) -> &mut Node {
        let found = self.prefixes.iter().position(|(it, _)| it == prefix);
        let at = found.unwrap_or_else(|| {
            let longer = |(it, _): &(String, Node)| it.len() >= prefix.len();
            let at = self.prefixes.partition_point(longer);
            self.prefixes
                .insert(at, (prefix.to_owned(), Node::default()));
            at
        });
        &mut self.prefixes[at].1
    }
}
