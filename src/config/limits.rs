//! `limits.toml`: the policy set.
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `max_policies` | most policies at once, from 1 to 65536; names that requests bring along count | 1024 |
//! | `allow_request_limits` | whether a request may carry its own limit | `false` |
//! | `[policy.NAME]` | a policy; a name has 1 to 64 ASCII letters, digits, `-`, `_`, `.`, `:` | |
//! | `limit`, or `limits` | `"100/min"`, or one to four such in an array, all of which must pass | must be there |
//! | `on_failure` | `"deny"` or `"allow"`: what to answer when the owner cannot be reached | `"deny"` |
//! | `durability` | `"none"`, `"process"` or `"fsync"`: what a granted permit survives | `"process"` |
//! | `shadow` | count and report, but never deny | `false` |
//! | `[policy.NAME.override]` | `"KEY" = "5000/min"`, or an array: limits of that key instead | |
//! | `[[envoy]]` | a domain of Envoy, and which policies its descriptors are held to: see [`super::envoy`] | |
//!
//! An override's key that ends with `*` stands for all keys that begin so: `"ip:10.*"`. The whole
//! key beats the longest prefix beats the policy's own limits. A plain star at the end is written
//! `\*` (in double quotes `"5\\*"`, in single ones `'5\*'`).

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::diagnostic::{Checked, ConfigError};
use super::envoy::descriptor_rules;
use super::keys::Keys;
use super::reader::{Found, Reader, Table, read};
use super::redundant::redundant;
use super::source::{Source, Span};
use super::suggest::did_you_mean;
use crate::limiter::policy::{
    Durability, LIMITS_MAX, Limit, LimitError, Limits, MAX_POLICIES_DEFAULT, OnFailure,
    POLICY_NAME_BYTES_MAX, Policy, PolicySet, UNITS, is_policy_name,
};

/// Largest `max_policies`: names of policies are kept in memory and in metrics.
const MAX_POLICIES_MAX: u64 = 65_536;

/// The keys at the top of the file.
pub(super) const TOP_KEYS: &[&str] = &["max_policies", "allow_request_limits", "policy", "envoy"];
const POLICY_KEYS: &[&str] = &[
    "limit",
    "limits",
    "on_failure",
    "durability",
    "shadow",
    "override",
];

/// Reads a policy set, or all that is wrong with it.
pub(super) fn parse_policies(source: &Source) -> Result<Checked<PolicySet>, ConfigError> {
    read(source, policy_set)
}

fn policy_set(reader: &mut Reader<'_>, top: &Table<'_>) -> PolicySet {
    reader.only(top, TOP_KEYS, &[("policy.NAME", POLICY_KEYS)]);
    let mut set = PolicySet::default();
    if let Some(max) = reader.whole(top, "max_policies", 1..=MAX_POLICIES_MAX) {
        set.max_policies = usize::try_from(max).unwrap_or(MAX_POLICIES_DEFAULT);
    }
    if let Some(allow) = reader.flag(top, "allow_request_limits") {
        set.allow_request_limits = allow;
    }
    let policies = reader.table(top, "policy");
    if let Some(policies) = &policies {
        named_policies(reader, policies, &mut set);
    }
    let names = policies.iter().flat_map(Table::entries);
    let names: Vec<&str> = names.map(|(name, _)| name.get_ref().as_ref()).collect();
    set.descriptors = descriptor_rules(reader, top, &names);
    set
}

fn named_policies(reader: &mut Reader<'_>, policies: &Table<'_>, set: &mut PolicySet) {
    for (count, (name, found)) in policies.entries().into_iter().enumerate() {
        if count == set.max_policies {
            let max = set.max_policies;
            let message = format!(
                "`{}` is one policy more than max_policies, {max}",
                name.get_ref()
            );
            reader.error(
                &name.span(),
                message,
                Some("raise max_policies at the top of this file"),
            );
        }
        policy_name(reader, name);
        if let Some(table) = reader.as_table(policies, &found)
            && let Some(policy) = policy(reader, &table)
        {
            set.policies.insert(name.get_ref().to_string(), policy);
        }
    }
}

fn policy_name(reader: &mut Reader<'_>, name: &Spanned<DeString<'_>>) {
    let text: &str = name.get_ref();
    if is_policy_name(text) {
        return;
    }
    let message = format!(
        "`{text}` cannot name a policy; use 1 to {POLICY_NAME_BYTES_MAX} ASCII letters, digits, \
         `-`, `_`, `.`, `:`"
    );
    reader.error(&name.span(), message, None);
}

fn policy(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Policy> {
    reader.only(table, POLICY_KEYS, &[("", TOP_KEYS)]);
    let limits = own_limits(reader, table);
    let on_failure = [OnFailure::Deny, OnFailure::Allow].map(|it| (it.as_str(), it));
    let on_failure = reader.word(table, "on_failure", &on_failure);
    let modes = [Durability::None, Durability::Process, Durability::Fsync];
    let durability = reader.word(table, "durability", &modes.map(|it| (it.as_str(), it)));
    let shadow = reader.flag(table, "shadow");
    let overrides = reader
        .table(table, "override")
        .map(|overrides| self::overrides(reader, &overrides))
        .unwrap_or_default();

    let mut policy = Policy::new(limits?);
    policy.on_failure = on_failure.unwrap_or_default();
    policy.durability = durability.unwrap_or_default();
    policy.shadow = shadow.unwrap_or_default();
    for (keys, limits) in overrides {
        match keys {
            Keys::Exact(key) => policy.exact.insert(key, limits),
            Keys::Prefix(prefix) => policy.prefixes.insert(prefix, limits),
        };
    }
    Some(policy)
}

/// The limits by `limit` or `limits`, of which exactly one must be there.
fn own_limits(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Limits> {
    let name = &table.name;
    match (table.get("limit"), table.get("limits")) {
        (Some(one), Some(several)) => {
            let later = if one.span.start > several.span.start {
                &one
            } else {
                &several
            };
            let message = format!("[{name}] has both `limit` and `limits`");
            reader.error(&later.span, message, Some("put all limits into `limits`"));
            // Both are read for their mistakes.
            let limits = limits(reader, &several);
            one_limit(reader, &one)?;
            limits
        }
        (Some(one), None) if matches!(one.value, DeValue::Array(_)) => {
            reader.wrong_type(
                &one,
                "a string",
                Some("several limits are written `limits = […]`"),
            );
            None
        }
        (Some(one), None) => one_limit(reader, &one).map(|(limit, _)| Limits::from(limit)),
        (None, Some(several)) if matches!(several.value, DeValue::String(_)) => {
            reader.wrong_type(
                &several,
                "an array of strings",
                Some("one limit is written `limit = \"…\"`"),
            );
            None
        }
        (None, Some(several)) => limits(reader, &several),
        (None, None) => {
            if reader.is_whole() {
                let message = format!("[{name}] has no limit");
                reader.error(&table.span, message, Some("add `limit = \"100/min\"`"));
            }
            None
        }
    }
}

fn overrides(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<(Keys, Limits)> {
    let mut overrides = Vec::new();
    for (key, found) in table.entries() {
        let keys = Keys::parse(key.get_ref());
        if let Err(error) = &keys {
            let message = format!(
                "`{}` cannot be overridden: {error}",
                shortened(key.get_ref())
            );
            reader.error(&key.span(), message, None);
        }
        let limits = limits(reader, &found);
        if let (Ok(keys), Some(limits)) = (keys, limits) {
            overrides.push((keys, limits));
        }
    }
    overrides
}

/// Limits from a string or an array of strings.
fn limits(reader: &mut Reader<'_>, found: &Found<'_, &DeValue<'_>>) -> Option<Limits> {
    let DeValue::Array(items) = found.value else {
        return one_limit_of(reader, found, "a limit or an array of limits")
            .map(|(limit, _)| Limits::from(limit));
    };
    let given: Vec<_> = items
        .iter()
        .map(|item| {
            let found = Found {
                value: item.get_ref(),
                key: found.key,
                span: item.span(),
            };
            one_limit_of(reader, &found, "an array of strings")
        })
        .collect();
    let count = given.len();
    if !(1..=LIMITS_MAX).contains(&count) {
        let message = format!(
            "`{}` has {count} limits; it must have 1 to {LIMITS_MAX}",
            found.key
        );
        reader.error(&found.span, message, None);
    }
    let (limits, spans): (Vec<Limit>, Vec<Span>) = given
        .into_iter()
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .unzip();
    for (n, stricter) in redundant(&limits) {
        warn_redundant(reader, &spans[n], limits[n], limits[stricter]);
    }
    Limits::new(limits)
}

fn warn_redundant(reader: &mut Reader<'_>, span: &Span, limit: Limit, stricter: Limit) {
    let message = if limit == stricter {
        format!("`{limit}` is there twice")
    } else {
        format!("`{limit}` never denies anything, since `{stricter}` is always reached first")
    };
    reader.warn(span, message, Some("leave it out, or check the numbers"));
}

fn one_limit(reader: &mut Reader<'_>, found: &Found<'_, &DeValue<'_>>) -> Option<(Limit, Span)> {
    one_limit_of(reader, found, "a string")
}

fn one_limit_of(
    reader: &mut Reader<'_>,
    found: &Found<'_, &DeValue<'_>>,
    what: &str,
) -> Option<(Limit, Span)> {
    let text = reader.as_text(found, what)?;
    match text.value.parse::<Limit>() {
        Ok(limit) => Some((limit, text.span)),
        Err(error) => {
            bad_limit(reader, &text, &error);
            None
        }
    }
}

fn bad_limit(reader: &mut Reader<'_>, text: &Found<'_, &str>, error: &LimitError) {
    let (part, hint) = match error {
        LimitError::Form { .. } => ("", None),
        LimitError::Permits { text } | LimitError::Window { text } => (text.as_str(), None),
        LimitError::Unit { text } => {
            let known = UNITS.iter().map(|(word, _)| *word);
            (text.as_str(), did_you_mean(text, known))
        }
    };
    let span = reader.part(&text.span, part);
    let whole = shortened(text.value);
    let message = if part.is_empty() || part == text.value {
        error.to_string()
    } else {
        format!("`{whole}` is not a limit: {error}")
    };
    reader.error(&span, message, hint.as_deref());
}

/// The beginning of a text, for messages.
pub(super) fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    match text.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
