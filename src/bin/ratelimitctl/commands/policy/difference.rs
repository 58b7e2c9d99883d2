//! What changes if one policy set takes the place of another, in words.

use std::collections::{BTreeMap, BTreeSet};

use distributed_rate_limiter::limiter::descriptors::DomainRules;
use distributed_rate_limiter::limiter::policy::{Durability, Limits, OnFailure, Policy, PolicySet};
use serde::Serialize;

use crate::output::{number, printable};

/// Most overrides that are listed one by one in a policy; the rest is counted.
const OVERRIDES_MAX: usize = 20;

/// Longest key of an override that is shown whole, in characters.
const KEY_CHARS_MAX: usize = 60;

/// What happens to a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Added,
    Removed,
    Changed,
}

/// What happens to one policy, or to the settings of all.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct PolicyChange {
    /// Null for the settings of all.
    pub(super) policy: Option<String>,
    pub(super) change: Kind,
    pub(super) details: Vec<String>,
}

/// All that changes, by name.
pub(super) fn difference(now: &PolicySet, next: &PolicySet) -> Vec<PolicyChange> {
    let settings = settings(now, next);
    let mut changes = Vec::new();
    if !settings.is_empty() {
        changes.push(PolicyChange {
            policy: None,
            change: Kind::Changed,
            details: settings,
        });
    }
    let names: BTreeSet<&String> = now.policies.keys().chain(next.policies.keys()).collect();
    for name in names {
        let (change, details) = match (now.policies.get(name), next.policies.get(name)) {
            (None, Some(policy)) => (Kind::Added, added(policy)),
            (Some(_), None) => {
                let details = "checks that name it will be refused, and its counts are forgotten";
                (Kind::Removed, vec![details.to_owned()])
            }
            (Some(old), Some(new)) if old != new => (Kind::Changed, changed(old, new)),
            (Some(_) | None, _) => continue,
        };
        changes.push(PolicyChange {
            policy: Some(name.clone()),
            change,
            details,
        });
    }
    changes
}

fn settings(now: &PolicySet, next: &PolicySet) -> Vec<String> {
    let mut details = Vec::new();
    let (from, to) = (now.max_policies, next.max_policies);
    if from != to {
        details.push(format!("max_policies {from} → {to}"));
    }
    let (from, to) = (now.allow_request_limits, next.allow_request_limits);
    if from != to {
        details.push(format!("allow_request_limits {from} → {to}"));
    }
    details.extend(domains(now, next));
    details
}

/// What changes in the rules for Envoy's descriptors.
fn domains(now: &PolicySet, next: &PolicySet) -> Vec<String> {
    let (now, next) = (&now.descriptors, &next.descriptors);
    let names: BTreeSet<&str> = now.domains().chain(next.domains()).map(|it| it.0).collect();
    let change = |name: &str| {
        let count = |rules: &DomainRules| number(u64::try_from(rules.rules().len()).unwrap_or(0));
        let shown = printable(name, KEY_CHARS_MAX);
        match (now.domain(name), next.domain(name)) {
            (None, Some(to)) => Some(format!("envoy \"{shown}\" added: {} rules", count(to))),
            (Some(from), None) => Some(format!("envoy \"{shown}\" removed: {} rules", count(from))),
            (Some(from), Some(to)) if from != to => Some(format!(
                "envoy \"{shown}\" changed: {} → {} rules",
                count(from),
                count(to)
            )),
            (Some(_) | None, _) => None,
        }
    };
    names.into_iter().filter_map(change).collect()
}

fn added(policy: &Policy) -> Vec<String> {
    let mut details = vec![format!("limit {}", policy.limits)];
    if policy.on_failure != OnFailure::default() {
        details.push(format!("on_failure {}", policy.on_failure.as_str()));
    }
    if policy.durability != Durability::default() {
        details.push(format!("durability {}", policy.durability.as_str()));
    }
    if policy.shadow {
        details.push("shadow: it counts and denies nothing".to_owned());
    }
    let overrides = policy.exact.len().saturating_add(policy.prefixes.len());
    match u64::try_from(overrides).unwrap_or(u64::MAX) {
        0 => {}
        1 => details.push("1 override".to_owned()),
        more => details.push(format!("{} overrides", number(more))),
    }
    details
}

fn changed(old: &Policy, new: &Policy) -> Vec<String> {
    let mut details = Vec::new();
    if old.limits != new.limits {
        details.push(format!("limit {} → {}", old.limits, new.limits));
        if new.limits.longest_window_ms() > old.limits.longest_window_ms() {
            details.push("the longer window starts from what the shorter one remembers".to_owned());
        }
    }
    details.extend(modes(old, new));
    let key = |key: &String| printable(key, KEY_CHARS_MAX);
    let mut overrides = overrides(&old.exact, &new.exact, key);
    let prefix = |prefix: &String| format!("{}*", printable(prefix, KEY_CHARS_MAX));
    overrides.extend(self::overrides(&old.prefixes, &new.prefixes, prefix));
    let more = overrides.len().saturating_sub(OVERRIDES_MAX);
    overrides.truncate(OVERRIDES_MAX);
    details.extend(overrides);
    if more > 0 {
        details.push(format!("… and {more} more overrides"));
    }
    details
}

fn modes(old: &Policy, new: &Policy) -> Vec<String> {
    let on_failure = (old.on_failure.as_str(), new.on_failure.as_str());
    let durability = (old.durability.as_str(), new.durability.as_str());
    let shadow = if new.shadow {
        ("false", "true: it counts and denies nothing")
    } else {
        ("true", "false: it denies")
    };
    let modes = [
        ("on_failure", on_failure, old.on_failure != new.on_failure),
        ("durability", durability, old.durability != new.durability),
        ("shadow", shadow, old.shadow != new.shadow),
    ];
    let changed = modes.into_iter().filter(|(_, _, changed)| *changed);
    changed
        .map(|(name, (from, to), _)| format!("{name} {from} → {to}"))
        .collect()
}

fn overrides(
    old: &BTreeMap<String, Limits>,
    new: &BTreeMap<String, Limits>,
    shown: impl Fn(&String) -> String,
) -> Vec<String> {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let line = |key: &String| match (old.get(key), new.get(key)) {
        (None, Some(limits)) => Some(format!("override \"{}\" added: {limits}", shown(key))),
        (Some(limits), None) => Some(format!("override \"{}\" removed: was {limits}", shown(key))),
        (Some(from), Some(to)) if from != to => {
            Some(format!("override \"{}\" {from} → {to}", shown(key)))
        }
        (Some(_) | None, _) => None,
    };
    keys.into_iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use distributed_rate_limiter::config::PolicyFile;

    use super::*;

    fn set(text: &str) -> PolicySet {
        PolicyFile::parse("f", text).unwrap().value
    }

    /// Each change as `kind name: detail; detail`.
    fn told(now: &str, next: &str) -> Vec<String> {
        let line = |it: PolicyChange| {
            let policy = it.policy.unwrap_or_else(|| "-".to_owned());
            format!("{:?} {policy}: {}", it.change, it.details.join("; "))
        };
        difference(&set(now), &set(next))
            .into_iter()
            .map(line)
            .collect()
    }

    #[test]
    fn what_changes_is_said_policy_by_policy() {
        let api = "[policy.api]\nlimit = \"100/min\"\n";
        for (now, next, expected) in [
            (
                api,
                "# now with a comment\npolicy.api.limits = [\"100/60s\"]",
                &[][..],
            ),
            ("", api, &["Added api: limit 100/min"]),
            (
                "",
                "[policy.b]\nlimit = \"1/s\"\ndurability = \"fsync\"\nshadow = true\n[policy.b.override]\nx = \"2/s\"",
                &[
                    "Added b: limit 1/s; durability fsync; shadow: it counts and denies nothing; 1 override",
                ],
            ),
            (
                api,
                "",
                &["Removed api: checks that name it will be refused, and its counts are forgotten"],
            ),
            (
                api,
                "[policy.api]\nlimits = [\"50/min\", \"900/hour\"]\non_failure = \"allow\"",
                &[
                    "Changed api: limit 100/min → 50/min, 900/hour; the longer window starts from what the shorter one remembers; on_failure deny → allow",
                ],
            ),
            (
                "max_policies = 5\n[policy.a]\nlimit = \"1/s\"\n[policy.a.override]\nx = \"2/s\"\ny = \"3/s\"\n\"ip:*\" = \"4/s\"",
                "allow_request_limits = true\n[policy.a]\nlimit = \"1/s\"\n[policy.a.override]\nx = \"5/s\"\nz = \"6/s\"",
                &[
                    "Changed -: max_policies 5 → 1024; allow_request_limits false → true",
                    "Changed a: override \"x\" 2/s → 5/s; override \"y\" removed: was 3/s; override \"z\" added: 6/s; override \"ip:*\" removed: was 4/s",
                ],
            ),
        ] {
            assert_eq!(told(now, next), expected, "{next}");
        }
    }

    #[test]
    fn many_overrides_are_counted() {
        use std::fmt::Write as _;
        let mut next = "[policy.a]\nlimit = \"1/s\"\n[policy.a.override]\n".to_owned();
        for n in 0..30 {
            writeln!(next, "k{n} = \"2/s\"").unwrap();
        }
        let changes = difference(&set("policy.a.limit = \"1/s\""), &set(&next));
        assert_eq!(changes[0].details.len(), OVERRIDES_MAX + 1);
        assert_eq!(
            changes[0].details.last().unwrap(),
            "… and 10 more overrides"
        );
    }
}
