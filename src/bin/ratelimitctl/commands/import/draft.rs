//! The policies and rules so far, and what could not be carried over.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use distributed_rate_limiter::limiter::descriptors::{
    DescriptorRule, DomainRules, ENTRIES_MAX, EntryMatch, HeaderStyle, ValueMatch,
};
use distributed_rate_limiter::limiter::policy::{
    POLICY_NAME_BYTES_MAX, Policy, PolicySet, is_policy_name,
};
use serde::Serialize;

/// Most policies that a set may have.
const POLICIES_MAX: usize = 65_536;

/// Bytes of a policy's name that are left for a number that tells it from others.
const NUMBER_BYTES: usize = 6;

/// What could not be carried over, or means something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Note {
    pub(super) line: usize,
    pub(super) message: String,
}

/// What was made of a file so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    policies: BTreeMap<String, Policy>,
    domains: BTreeMap<String, Vec<DescriptorRule>>,
    matched: BTreeSet<(String, Vec<EntryMatch>)>,
    notes: Vec<Note>,
}

impl Draft {
    /// Notes what could not be carried over.
    pub(super) fn note(&mut self, line: usize, message: impl Into<String>) {
        let message = message.into();
        self.notes.push(Note { line, message });
    }

    /// Puts a policy in under a name like `wanted`, and returns its name.
    pub(super) fn policy(&mut self, wanted: &str, policy: Policy) -> String {
        let base = policy_name(wanted);
        let mut name = base.clone();
        let mut number: u32 = 1;
        while self.policies.contains_key(&name) {
            number = number.saturating_add(1);
            let mut short = base.clone();
            short.truncate(POLICY_NAME_BYTES_MAX.saturating_sub(NUMBER_BYTES));
            name = format!("{short}-{number}");
        }
        self.policies.insert(name.clone(), policy);
        name
    }

    /// A policy that was put in.
    pub(super) fn policy_mut(&mut self, name: &str) -> Option<&mut Policy> {
        self.policies.get_mut(name)
    }

    /// Makes a domain known, if only without rules.
    pub(super) fn domain(&mut self, domain: &str) {
        self.domains.entry(domain.to_owned()).or_default();
    }

    /// Whether a rule for these entries may be put in; notes why not.
    pub(super) fn has_room(&mut self, domain: &str, entries: &[EntryMatch], line: usize) -> bool {
        if entries.len() > ENTRIES_MAX {
            self.note(
                line,
                format!("not carried over: more than {ENTRIES_MAX} entries"),
            );
            return false;
        }
        if self.matched.insert((domain.to_owned(), entries.to_vec())) {
            return true;
        }
        self.note(
            line,
            "not carried over: an earlier limit has the same entries",
        );
        false
    }

    /// Puts a rule in; see [`Draft::has_room`].
    pub(super) fn rule(&mut self, domain: &str, rule: DescriptorRule) {
        self.domains
            .entry(domain.to_owned())
            .or_default()
            .push(rule);
    }

    /// The set, and the notes in the order of their lines.
    pub(super) fn finish(mut self) -> anyhow::Result<(PolicySet, Vec<Note>)> {
        let count = self.policies.len();
        ensure!(
            count <= POLICIES_MAX,
            "it has {count} limits, at most {POLICIES_MAX} are allowed"
        );
        let mut set = PolicySet::default();
        set.max_policies = set.max_policies.max(count);
        set.policies = self.policies;
        for (domain, rules) in self.domains {
            let rules = DomainRules::new(HeaderStyle::None, rules);
            set.descriptors.insert(domain, rules);
        }
        self.notes.sort_by_key(|note| note.line);
        Ok((set, self.notes))
    }
}

/// A name for entries, to read: `path:/api.remote_address`.
pub(super) fn entries_name(domain: &str, entries: &[EntryMatch]) -> String {
    let mut name = domain.to_owned();
    for entry in entries {
        name.push('.');
        name.push_str(&entry.key);
        if let ValueMatch::Exact(value) | ValueMatch::Prefix(value) = &entry.value {
            name.push(':');
            name.push_str(value);
        }
    }
    name
}

/// A name that can name a policy, as much like `wanted` as may be.
fn policy_name(wanted: &str) -> String {
    let mut name = String::new();
    for c in wanted.chars() {
        if name.len() == POLICY_NAME_BYTES_MAX {
            break;
        }
        let fits = c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if fits {
            name.push(c);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    if is_policy_name(&name) {
        name
    } else {
        "limit".to_owned()
    }
}
