//! A file of envoyproxy/ratelimit: each document a domain and its tree of descriptors.
//!
//! Each descriptor with a limit becomes a policy and a rule; a descriptor that ends without one
//! becomes a rule that lets all pass, since there it keeps more general ones from matching. Its
//! windows are fixed, and slide here.

use distributed_rate_limiter::limiter::descriptors::{
    DescriptorRule, ENTRIES_MAX, EntryMatch, KeyTemplate, Then, ValueMatch,
};
use distributed_rate_limiter::limiter::policy::{Limit, Policy};

use super::draft::{Draft, entries_name};
use super::yaml::Node;

const DAY_MS: u64 = 86_400_000;

/// Units and their milliseconds, as envoyproxy/ratelimit counts them.
const UNITS: [(&str, u64); 7] = [
    ("second", 1000),
    ("minute", 60_000),
    ("hour", 3_600_000),
    ("day", DAY_MS),
    ("week", 7 * DAY_MS),
    ("month", 30 * DAY_MS),
    ("year", 365 * DAY_MS),
];

/// An entry on the way to a descriptor.
#[derive(Debug, Clone)]
struct Step {
    entry: EntryMatch,
    /// All values that match count as one.
    shared: bool,
}

/// A descriptor as it is written.
#[derive(Debug, Default)]
struct Descriptor<'y> {
    key: String,
    value: Option<String>,
    limit: Option<(usize, Node<'y>)>,
    below: Vec<Node<'y>>,
    shadow: bool,
    shared: bool,
}

/// A limit as it is written.
#[derive(Debug, Default)]
struct Written {
    unit: Option<String>,
    permits: Option<String>,
    multiplier: Option<String>,
    unlimited: bool,
}

/// Carries one document over.
pub(super) fn import(document: &Node<'_>, draft: &mut Draft) {
    if document.is_null() {
        return;
    }
    let Some(fields) = document.fields() else {
        draft.note(
            document.line(),
            "not carried over: a domain and its descriptors are wanted",
        );
        return;
    };
    let (mut domain, mut descriptors) = (None, Vec::new());
    for (name, line, node) in fields {
        match name.as_str() {
            "domain" => domain = node.text().filter(|text| !text.is_empty()),
            "descriptors" => match node.items() {
                Some(items) => descriptors = items,
                None => draft.note(line, "not carried over: `descriptors` must be a list"),
            },
            _ => draft.note(line, format!("not carried over: `{name}` is not known")),
        }
    }
    let Some(domain) = domain else {
        draft.note(
            document.line(),
            "not carried over: the document has no `domain`",
        );
        return;
    };
    draft.domain(&domain);
    for node in descriptors {
        descriptor(node, &domain, &[], draft);
    }
}

fn descriptor(node: Node<'_>, domain: &str, above: &[Step], draft: &mut Draft) {
    let Some(read) = fields(node, draft) else {
        return;
    };
    let value = match read.value.as_deref() {
        None | Some("") => ValueMatch::Any,
        Some(value) => match value.strip_suffix('*') {
            Some("") => ValueMatch::Any,
            Some(prefix) => ValueMatch::Prefix(prefix.to_owned()),
            None => ValueMatch::Exact(value.to_owned()),
        },
    };
    let mut path = above.to_vec();
    path.push(Step {
        entry: EntryMatch {
            key: read.key.clone(),
            value,
        },
        shared: read.shared,
    });
    let then = match read.limit {
        Some((line, limit)) => limit_of((line, limit), &read, draft),
        // Nothing is below it, so nothing else would keep its place.
        None if read.below.is_empty() => Some(Limited::Unlimited),
        None => None,
    };
    if let Some(then) = then {
        put(node.line(), domain, &path, then, draft);
    }
    if path.len() >= ENTRIES_MAX && !read.below.is_empty() {
        let message = format!("what is below is not carried over: more than {ENTRIES_MAX} entries");
        draft.note(node.line(), message);
        return;
    }
    for below in read.below {
        descriptor(below, domain, &path, draft);
    }
}

fn fields<'y>(node: Node<'y>, draft: &mut Draft) -> Option<Descriptor<'y>> {
    let Some(fields) = node.fields() else {
        draft.note(
            node.line(),
            "not carried over: a descriptor with a `key` is wanted",
        );
        return None;
    };
    let mut read = Descriptor::default();
    for (name, line, value) in fields {
        match name.as_str() {
            "key" => read.key = value.text().unwrap_or_default(),
            "value" => read.value = value.text(),
            "rate_limit" if !value.is_null() => read.limit = Some((line, value)),
            "descriptors" => match value.items() {
                Some(items) => read.below = items,
                None => draft.note(line, "not carried over: `descriptors` must be a list"),
            },
            "shadow_mode" => read.shadow = value.flag().unwrap_or_default(),
            "share_threshold" => read.shared = value.flag().unwrap_or_default(),
            "detailed_metric" | "value_to_metric" => draft.note(
                line,
                format!("`{name}` is not carried over: no metric here has a descriptor's values"),
            ),
            "quota_mode" if value.flag() == Some(true) => draft.note(
                line,
                "`quota_mode` is not carried over: the limit denies as any other does",
            ),
            "rate_limit" | "quota_mode" => {}
            _ => draft.note(
                line,
                format!("`{name}` is not carried over: it is not known"),
            ),
        }
    }
    if read.key.is_empty() {
        draft.note(node.line(), "not carried over: the descriptor has no `key`");
        return None;
    }
    if read.key.ends_with('*') && read.value.is_none() {
        let message = "a `*` at the end of a key is not carried over: it is taken as it is";
        draft.note(node.line(), message);
    }
    Some(read)
}

/// What a limit comes to.
enum Limited {
    To(Policy),
    Unlimited,
    Blocked,
}

fn limit_of(
    (line, node): (usize, Node<'_>),
    descriptor: &Descriptor<'_>,
    draft: &mut Draft,
) -> Option<Limited> {
    let written = written(node, line, draft)?;
    if written.unlimited {
        return Some(Limited::Unlimited);
    }
    let permits: Option<u64> = written.permits.as_deref().unwrap_or("0").parse().ok();
    let Some(permits) = permits else {
        draft.note(
            line,
            "not carried over: `requests_per_unit` is not a whole number",
        );
        return None;
    };
    if permits == 0 {
        if descriptor.shadow {
            draft.note(
                line,
                "in shadow mode a limit of 0 is carried over as unlimited",
            );
            return Some(Limited::Unlimited);
        }
        return Some(Limited::Blocked);
    }
    let unit = written.unit.unwrap_or_default();
    let word = unit.to_lowercase();
    let known = UNITS.iter().find(|(name, _)| *name == word);
    let times: Option<u64> = written.multiplier.as_deref().unwrap_or("1").parse().ok();
    let window_ms = known.and_then(|(_, ms)| ms.checked_mul(times?.max(1)));
    let Some(limit) = window_ms.and_then(|window_ms| Limit::new(permits, window_ms)) else {
        let message = format!("not carried over: `{unit}` gives no window of 1 ms to 366 days");
        draft.note(line, message);
        return None;
    };
    let mut policy = Policy::new(limit);
    policy.shadow = descriptor.shadow;
    Some(Limited::To(policy))
}

fn written(node: Node<'_>, line: usize, draft: &mut Draft) -> Option<Written> {
    let Some(fields) = node.fields() else {
        draft.note(line, "not carried over: `rate_limit` has no fields");
        return None;
    };
    let mut read = Written::default();
    for (name, line, value) in fields {
        match name.as_str() {
            "unit" => read.unit = value.text(),
            "requests_per_unit" => read.permits = value.text(),
            "unit_multiplier" => read.multiplier = value.text(),
            "unlimited" => read.unlimited = value.flag().unwrap_or_default(),
            "name" => {}
            "replaces" => draft.note(
                line,
                "`replaces` is not carried over: where both match, both limits hold",
            ),
            _ => draft.note(
                line,
                format!("`{name}` is not carried over: it is not known"),
            ),
        }
    }
    Some(read)
}

fn put(line: usize, domain: &str, path: &[Step], then: Limited, draft: &mut Draft) {
    let entries: Vec<EntryMatch> = path.iter().map(|step| step.entry.clone()).collect();
    if !draft.has_room(domain, &entries, line) {
        return;
    }
    let then = match then {
        Limited::Unlimited => Then::Unlimited,
        Limited::Blocked => Then::Blocked,
        Limited::To(policy) => Then::Limit {
            policy: draft.policy(&entries_name(domain, &entries), policy),
            key: shared_key(path),
        },
    };
    draft.rule(domain, DescriptorRule { entries, then });
}

/// The key where some entries count as one: what they share stands for their values.
fn shared_key(path: &[Step]) -> Option<KeyTemplate> {
    if !path.iter().any(|step| step.shared) {
        return None;
    }
    let piece = |(n, step): (usize, &Step)| {
        let key = &step.entry.key;
        if let (true, ValueMatch::Prefix(prefix)) = (step.shared, &step.entry.value) {
            return format!("{}*", prefix.replace('{', "{{").replace('}', "}}"));
        }
        let before = path.iter().take(n).filter(|it| it.entry.key == *key);
        match before.count() {
            0 => format!("{{{key}}}"),
            earlier => format!("{{{key}#{}}}", earlier.saturating_add(1)),
        }
    };
    let pieces: Vec<String> = path.iter().enumerate().map(piece).collect();
    KeyTemplate::parse(&pieces.join("|")).ok()
}
