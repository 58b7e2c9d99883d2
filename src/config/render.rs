//! Writes a policy set as `limits.toml`.

use std::fmt::{self, Write};

use super::keys::Keys;
use crate::limiter::descriptors::{DescriptorRule, DomainRules, EntryMatch, Then, ValueMatch};
use crate::limiter::policy::{Limits, Policy, PolicySet};

/// The set as a `limits.toml` that reads as the same set, every key shown.
pub fn render_policies(set: &PolicySet) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail; if it did, the text would end early and not be taken for
    // the same set.
    match write_set(&mut out, set) {
        Ok(()) | Err(fmt::Error) => out,
    }
}

fn write_set(out: &mut String, set: &PolicySet) -> fmt::Result {
    writeln!(out, "max_policies = {}", set.max_policies)?;
    writeln!(out, "allow_request_limits = {}", set.allow_request_limits)?;
    for (name, policy) in &set.policies {
        write_policy(out, name, policy)?;
    }
    for (domain, rules) in set.descriptors.domains() {
        write_domain(out, domain, rules)?;
    }
    Ok(())
}

fn write_policy(out: &mut String, name: &str, policy: &Policy) -> fmt::Result {
    let name = key(name);
    writeln!(out, "\n[policy.{name}]")?;
    let word = if policy.limits.as_slice().len() == 1 {
        "limit"
    } else {
        "limits"
    };
    writeln!(out, "{word} = {}", limits_value(&policy.limits))?;
    writeln!(out, "on_failure = \"{}\"", policy.on_failure.as_str())?;
    writeln!(out, "durability = \"{}\"", policy.durability.as_str())?;
    writeln!(out, "shadow = {}", policy.shadow)?;
    if policy.exact.is_empty() && policy.prefixes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n[policy.{name}.override]")?;
    let exact = policy
        .exact
        .iter()
        .map(|(key, limits)| (Keys::Exact(key.clone()), limits));
    let prefixes = policy
        .prefixes
        .iter()
        .map(|(prefix, limits)| (Keys::Prefix(prefix.clone()), limits));
    for (keys, limits) in exact.chain(prefixes) {
        writeln!(
            out,
            "{} = {}",
            quoted(&keys.to_text()),
            limits_value(limits)
        )?;
    }
    Ok(())
}

fn write_domain(out: &mut String, domain: &str, rules: &DomainRules) -> fmt::Result {
    writeln!(out, "\n[[envoy]]")?;
    writeln!(out, "domain = {}", quoted(domain))?;
    writeln!(out, "headers = \"{}\"", rules.headers().as_str())?;
    for rule in rules.rules() {
        write_rule(out, rule)?;
    }
    Ok(())
}

fn write_rule(out: &mut String, rule: &DescriptorRule) -> fmt::Result {
    let entries: Vec<_> = rule.entries.iter().map(entry_value).collect();
    writeln!(out, "\n[[envoy.rule]]")?;
    writeln!(out, "match = [{}]", entries.join(", "))?;
    match &rule.then {
        Then::Limit { policy, key } => {
            writeln!(out, "policy = {}", quoted(policy))?;
            match key {
                Some(key) => writeln!(out, "key = {}", quoted(key.as_str())),
                None => Ok(()),
            }
        }
        Then::Unlimited => writeln!(out, "unlimited = true"),
        Then::Blocked => writeln!(out, "blocked = true"),
    }
}

fn entry_value(entry: &EntryMatch) -> String {
    let key = quoted(&entry.key);
    let value = match &entry.value {
        ValueMatch::Any => return format!("{{ key = {key} }}"),
        ValueMatch::Exact(value) => Keys::Exact(value.clone()),
        ValueMatch::Prefix(prefix) => Keys::Prefix(prefix.clone()),
    };
    format!("{{ key = {key}, value = {} }}", quoted(&value.to_text()))
}

fn limits_value(limits: &Limits) -> String {
    match limits.as_slice() {
        [one] => format!("\"{one}\""),
        several => {
            let texts: Vec<_> = several.iter().map(|limit| format!("\"{limit}\"")).collect();
            format!("[{}]", texts.join(", "))
        }
    }
}

/// A TOML key: bare where it can be.
fn key(text: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !text.is_empty() && text.bytes().all(is_bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A TOML basic string of any text.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let escaped = format!("\\u{:04X}", u32::from(c));
                out.push_str(&escaped);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
