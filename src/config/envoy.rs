//! `[[envoy]]` of `limits.toml`: which policies the descriptors of Envoy's rate limit filter are held
//! to.
//!
//! ```toml
//! [[envoy]]
//! domain = "edge"
//!
//! [[envoy.rule]]                       # (generic_key, login), then an address
//! match = [{ key = "generic_key", value = "login" }, { key = "remote_address" }]
//! policy = "login"
//! key = "{remote_address}"
//! ```
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `domain` | the domain that the filter names; each stands once in the file | must be there |
//! | `headers` | `"none"`, `"ietf"`, `"x-ratelimit"` or `"both"`: what clients are told of their limit | `"none"` |
//! | `[[envoy.rule]]` | a rule: a descriptor of just these entries in this order is held to it | |
//! | `match` | 1 to 32 entries `{ key = "…", value = "…" }`; without `value` any value fits, and one that ends with `*` stands for all that begin so | must be there |
//! | `policy` | the policy that counts it | one of these three |
//! | `unlimited` | `true`: it always passes | |
//! | `blocked` | `true`: it never passes | |
//! | `key` | the key that is counted: `"{remote_address}"`, `"{path}@{user#2}"`; see [`crate::limiter::descriptors`] | all values |

use std::collections::BTreeSet;

use toml::de::DeValue;

use super::keys::Keys;
use super::limits::shortened;
use super::reader::{Found, Reader, Table};
use super::suggest::did_you_mean;
use crate::limiter::descriptors::{
    DescriptorRule, DescriptorRules, DomainRules, ENTRIES_MAX, EntryMatch, HeaderStyle,
    KeyTemplate, Then, ValueMatch,
};

const DOMAIN_KEYS: &[&str] = &["domain", "headers", "rule"];
const RULE_KEYS: &[&str] = &["match", "policy", "key", "unlimited", "blocked"];
const ENTRY_KEYS: &[&str] = &["key", "value"];

/// The rules of the file at `top`, whose policies have these names.
pub(super) fn descriptor_rules(
    reader: &mut Reader<'_>,
    top: &Table<'_>,
    policies: &[&str],
) -> DescriptorRules {
    let mut all = DescriptorRules::default();
    let Some(found) = top.get("envoy") else {
        return all;
    };
    for table in tables(reader, top, &found, "tables written [[envoy]]") {
        let rules = domain(reader, &table, policies);
        let Some(name) = domain_name(reader, &table) else {
            continue;
        };
        if all.domain(name.value).is_some() {
            let message = format!("the domain `{}` is there already", shortened(name.value));
            let hint = "put all its rules under one [[envoy]]";
            reader.error(&name.span, message, Some(hint));
        }
        all.insert(name.value.to_owned(), rules);
    }
    all
}

fn domain_name<'a>(reader: &mut Reader<'_>, table: &Table<'a>) -> Option<Found<'a, &'a str>> {
    let Some(found) = table.get("domain") else {
        missing(reader, table, "`domain`", "add `domain = \"…\"`");
        return None;
    };
    let name = reader.as_text(&found, "a string")?;
    if name.value.is_empty() {
        reader.error(&name.span, "`domain` is empty", None);
        return None;
    }
    Some(name)
}

fn domain(reader: &mut Reader<'_>, table: &Table<'_>, policies: &[&str]) -> DomainRules {
    reader.only(table, DOMAIN_KEYS, &[("envoy.rule", RULE_KEYS)]);
    let headers = HeaderStyle::ALL.map(|it| (it.as_str(), it));
    let headers = reader
        .word(table, "headers", &headers)
        .unwrap_or(HeaderStyle::None);
    let mut rules = Vec::new();
    let mut matched = BTreeSet::new();
    if let Some(found) = table.get("rule") {
        for table in tables(reader, table, &found, "tables written [[envoy.rule]]") {
            let Some(rule) = rule(reader, &table, policies) else {
                continue;
            };
            if !matched.insert(rule.entries.clone())
                && let Some(found) = table.get("match")
            {
                let message = "an earlier rule of this domain matches the same entries";
                reader.error(&found.span, message, Some("keep one of the two"));
            }
            rules.push(rule);
        }
    }
    DomainRules::new(headers, rules)
}

fn rule(reader: &mut Reader<'_>, table: &Table<'_>, policies: &[&str]) -> Option<DescriptorRule> {
    reader.only(table, RULE_KEYS, &[("envoy", DOMAIN_KEYS)]);
    let entries = entries(reader, table);
    let then = then(reader, table, policies);
    let (entries, mut then) = (entries?, then?);
    if let Then::Limit { key, .. } = &mut then {
        *key = template(reader, table, &entries);
    } else if let Some(found) = table.get("key") {
        let message = "`key` means nothing in a rule without `policy`";
        reader.error(&found.span, message, None);
    }
    Some(DescriptorRule { entries, then })
}

/// What the rule says to do, of which exactly one must be there.
fn then(reader: &mut Reader<'_>, table: &Table<'_>, policies: &[&str]) -> Option<Then> {
    let policy = reader.text(table, "policy");
    if let Some(name) = &policy
        && !policies.contains(&name.value)
    {
        let message = format!("no policy is named `{}`", shortened(name.value));
        let hint = did_you_mean(name.value, policies.iter().copied());
        let hint = hint.unwrap_or_else(|| "add [policy.NAME] for it".to_owned());
        reader.error(&name.span, message, Some(&hint));
    }
    let unlimited = reader.flag(table, "unlimited").unwrap_or_default();
    let blocked = reader.flag(table, "blocked").unwrap_or_default();
    match (table.get("policy"), unlimited, blocked) {
        (Some(_), false, false) => policy.map(|name| Then::Limit {
            policy: name.value.to_owned(),
            key: None,
        }),
        (None, true, false) => Some(Then::Unlimited),
        (None, false, true) => Some(Then::Blocked),
        (None, false, false) => {
            missing(reader, table, "`policy`", "add `policy = \"…\"`");
            None
        }
        (Some(_) | None, _, _) => {
            let message = "a rule has one of `policy`, `unlimited` and `blocked`, not several";
            reader.error(&table.span, message, None);
            None
        }
    }
}

fn template(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    entries: &[EntryMatch],
) -> Option<KeyTemplate> {
    let text = reader.text(table, "key")?;
    let template = match KeyTemplate::parse(text.value) {
        Ok(template) => template,
        Err(error) => {
            reader.error(&text.span, error.to_string(), None);
            return None;
        }
    };
    let keys = entries.iter().map(|entry| entry.key.as_str());
    if let Some(lacking) = template.lacking(&keys) {
        let message = format!("`match` has no entry `{}`", shortened(&lacking));
        let span = reader.part(&text.span, &lacking);
        reader.error(&span, message, did_you_mean(&lacking, keys).as_deref());
    }
    Some(template)
}

fn entries(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Vec<EntryMatch>> {
    let Some(found) = table.get("match") else {
        let hint = "add `match = [{ key = \"…\" }]`";
        missing(reader, table, "`match`", hint);
        return None;
    };
    let what = "an array of entries `{ key = \"…\", value = \"…\" }`";
    let tables = tables(reader, table, &found, what);
    let count = match found.value {
        DeValue::Array(items) => items.len(),
        _ => return None,
    };
    if !(1..=ENTRIES_MAX).contains(&count) {
        let message = format!("`match` has {count} entries; it must have 1 to {ENTRIES_MAX}");
        reader.error(&found.span, message, None);
    }
    let entries: Vec<_> = tables.iter().map(|table| entry(reader, table)).collect();
    entries.into_iter().collect()
}

fn entry(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<EntryMatch> {
    reader.only(table, ENTRY_KEYS, &[]);
    let value = match reader.text(table, "value") {
        None => Some(ValueMatch::Any),
        Some(text) => match Keys::parse(text.value) {
            Ok(Keys::Exact(value)) => Some(ValueMatch::Exact(value)),
            Ok(Keys::Prefix(prefix)) => Some(ValueMatch::Prefix(prefix)),
            Err(_) if text.value == "*" => Some(ValueMatch::Any),
            Err(error) => {
                let message = error.to_string().replacen("the key", "the value", 1);
                let hint = "leave it out for any value";
                reader.error(&text.span, message, Some(hint));
                None
            }
        },
    };
    if table.get("key").is_none() {
        missing(reader, table, "`key`", "add `key = \"…\"`");
        return None;
    }
    let key = reader.text(table, "key")?;
    if key.value.is_empty() {
        reader.error(&key.span, "`key` is empty", None);
        return None;
    }
    let key = key.value.to_owned();
    Some(EntryMatch { key, value: value? })
}

/// The tables of an array; `what` says what it should be.
fn tables<'a>(
    reader: &mut Reader<'_>,
    parent: &Table<'_>,
    found: &Found<'a, &'a DeValue<'a>>,
    what: &str,
) -> Vec<Table<'a>> {
    let DeValue::Array(items) = found.value else {
        reader.wrong_type(found, what, None);
        return Vec::new();
    };
    let items = items.iter().map(|item| Found {
        value: item.get_ref(),
        key: found.key,
        span: item.span(),
    });
    items
        .filter_map(|item| reader.as_table(parent, &item))
        .collect()
}

/// Notes that a table lacks something, unless it may be lost in what is no TOML.
fn missing(reader: &mut Reader<'_>, table: &Table<'_>, what: &str, hint: &str) {
    if reader.is_whole() {
        let message = format!("[{}] has no {what}", table.name);
        reader.error(&table.span, message, Some(hint));
    }
}

#[cfg(test)]
#[path = "envoy_tests.rs"]
mod tests;
