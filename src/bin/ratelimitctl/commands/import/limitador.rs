//! A limits file of Limitador: a list of limits, each for a namespace, with conditions and variables.
//!
//! There a limit holds for every request that has what its conditions and variables name, whatever
//! else the request says. Here a rule holds for a descriptor of just these entries, in the order of
//! the limit's conditions and then its variables; so Envoy must send such a descriptor, which is
//! noted. A limit whose conditions cannot be said so is left out, as it would hold for more.

use std::collections::BTreeMap;

use distributed_rate_limiter::limiter::descriptors::{
    DescriptorRule, EntryMatch, Then, ValueMatch,
};
use distributed_rate_limiter::limiter::policy::{Limit, Limits, Policy};

use super::condition::{condition, variable};
use super::draft::{Draft, entries_name};
use super::yaml::Node;

/// Policies by the namespace and entries that they were made for.
type Made = BTreeMap<(String, Vec<EntryMatch>), String>;

/// A limit as it is written.
#[derive(Debug, Default)]
struct Written {
    namespace: Option<String>,
    name: Option<String>,
    permits: Option<String>,
    seconds: Option<String>,
    /// `None` if one of them cannot be said here.
    entries: Option<Vec<EntryMatch>>,
}

/// Carries one document over.
pub(super) fn import(document: &Node<'_>, draft: &mut Draft) {
    let Some(items) = document.items() else {
        draft.note(
            document.line(),
            "not carried over: a list of limits is wanted",
        );
        return;
    };
    let mut made = Made::new();
    for item in items {
        limit(item, &mut made, draft);
    }
}

fn limit(node: Node<'_>, made: &mut Made, draft: &mut Draft) {
    let line = node.line();
    let Some(written) = written(node, draft) else {
        return;
    };
    let Some(namespace) = written.namespace.filter(|text| !text.is_empty()) else {
        draft.note(line, "not carried over: the limit has no `namespace`");
        return;
    };
    let Some(entries) = written.entries else {
        draft.note(
            line,
            "not carried over: without that condition it would hold for more",
        );
        return;
    };
    if entries.is_empty() {
        let message = "not carried over: it holds for all requests of the namespace; have Envoy send \
                       an entry for it, and write a rule for that";
        draft.note(line, message);
        return;
    }
    let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
    let (Some(permits), Some(seconds)) = (number(written.permits), number(written.seconds)) else {
        let message = "not carried over: `max_value` and `seconds` must be whole numbers";
        draft.note(line, message);
        return;
    };
    let limit = seconds
        .checked_mul(1000)
        .and_then(|ms| Limit::new(permits.max(1), ms));
    let Some(limit) = limit else {
        draft.note(
            line,
            "not carried over: its window must be 1 second to 366 days",
        );
        return;
    };
    let entries_text = told(&entries);
    let place = (namespace, entries);
    if let Some(name) = made.get(&place)
        && permits > 0
    {
        join(name, limit, line, draft);
        return;
    }
    let (namespace, entries) = place.clone();
    if !draft.has_room(&namespace, &entries, line) {
        return;
    }
    let then = if permits == 0 {
        Then::Blocked
    } else {
        let wanted = written
            .name
            .unwrap_or_else(|| entries_name(&namespace, &entries));
        let policy = draft.policy(&wanted, Policy::new(limit));
        made.insert(place, policy.clone());
        Then::Limit { policy, key: None }
    };
    draft.note(
        line,
        format!("holds for descriptors of just these entries: {entries_text}"),
    );
    draft.rule(&namespace, DescriptorRule { entries, then });
}

/// One limit more for entries that have a policy.
fn join(name: &str, limit: Limit, line: usize, draft: &mut Draft) {
    let joined = draft.policy_mut(name).and_then(|policy| {
        let mut limits = policy.limits.as_slice().to_vec();
        limits.push(limit);
        policy.limits = Limits::new(limits)?;
        Some(())
    });
    if joined.is_none() {
        draft.note(
            line,
            "not carried over: at most 4 limits hold for the same entries",
        );
    }
}

fn written(node: Node<'_>, draft: &mut Draft) -> Option<Written> {
    let Some(fields) = node.fields() else {
        draft.note(
            node.line(),
            "not carried over: a limit with its fields is wanted",
        );
        return None;
    };
    let mut read = Written::default();
    let (mut conditions, mut variables) = (Some(Vec::new()), Some(Vec::new()));
    for (name, line, value) in fields {
        match name.as_str() {
            "namespace" => read.namespace = value.text(),
            "max_value" => read.permits = value.text(),
            "seconds" => read.seconds = value.text(),
            "name" | "id" => read.name = read.name.or_else(|| value.text()),
            "conditions" => conditions = entries((line, value), condition, draft),
            "variables" => {
                let any = |text: &str| {
                    let value = ValueMatch::Any;
                    variable(text).map(|key| EntryMatch { key, value })
                };
                variables = entries((line, value), any, draft);
            }
            _ => draft.note(
                line,
                format!("`{name}` is not carried over: it is not known"),
            ),
        }
    }
    read.entries = conditions.zip(variables).map(|(conditions, variables)| {
        let mut entries: Vec<EntryMatch> = conditions;
        for variable in variables {
            // One of a condition has its value already.
            if !entries.iter().any(|entry| entry.key == variable.key) {
                entries.push(variable);
            }
        }
        entries
    });
    Some(read)
}

fn entries(
    (line, node): (usize, Node<'_>),
    read: impl Fn(&str) -> Option<EntryMatch>,
    draft: &mut Draft,
) -> Option<Vec<EntryMatch>> {
    let Some(items) = node.items() else {
        draft.note(line, "a list is wanted");
        return None;
    };
    let mut entries = Some(Vec::new());
    for item in items {
        let text = item.text().unwrap_or_default();
        let Some(entry) = read(&text) else {
            let shown: String = text.chars().take(80).collect();
            draft.note(item.line(), format!("cannot be said in a rule: {shown}"));
            entries = None;
            continue;
        };
        if let Some(entries) = &mut entries {
            entries.push(entry);
        }
    }
    entries
}

fn told(entries: &[EntryMatch]) -> String {
    let one = |entry: &EntryMatch| match &entry.value {
        ValueMatch::Exact(value) => format!("{}={value}", entry.key),
        ValueMatch::Prefix(prefix) => format!("{}={prefix}*", entry.key),
        ValueMatch::Any => entry.key.clone(),
    };
    let entries: Vec<String> = entries.iter().map(one).collect();
    entries.join(", ")
}
