//! Conditions and variables of Limitador that say something of one entry of a descriptor.
//!
//! `descriptors[0].method == 'GET'`, `descriptors[0]['req.method'] == "GET"`, `method == GET`, and
//! `descriptors[0].path.startsWith('/api')`. Anything else is CEL that a rule cannot say.

use distributed_rate_limiter::limiter::descriptors::{EntryMatch, ValueMatch};

/// The one descriptor that rules can be made of: of requests with several it is not known which.
const FIRST: &str = "descriptors[0]";

/// The entry that a condition wants; `None` if it is not one of these forms.
pub(super) fn condition(text: &str) -> Option<EntryMatch> {
    let text = text.trim();
    if let Some((left, right)) = text.split_once("==") {
        let value = literal(right.trim())?;
        return Some(EntryMatch {
            key: variable(left)?,
            value: ValueMatch::Exact(value.to_owned()),
        });
    }
    let (left, right) = text.split_once(".startsWith(")?;
    let value = quoted(right.strip_suffix(')')?.trim())?;
    let prefix = Some(value).filter(|value| !value.is_empty())?;
    Some(EntryMatch {
        key: variable(left)?,
        value: ValueMatch::Prefix(prefix.to_owned()),
    })
}

/// The key of the entry that a variable names.
pub(super) fn variable(text: &str) -> Option<String> {
    let text = text.trim();
    let key = match text.strip_prefix(FIRST) {
        Some(rest) => match rest.strip_prefix('.') {
            Some(name) => word(name)?,
            None => quoted(rest.strip_prefix('[')?.strip_suffix(']')?.trim())?,
        },
        None => word(text)?,
    };
    Some(key.to_owned()).filter(|key| !key.is_empty())
}

fn word(text: &str) -> Option<&str> {
    let fits = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    text.chars().all(fits).then_some(text)
}

/// Text in quotes, or a word.
fn literal(text: &str) -> Option<&str> {
    quoted(text).or_else(|| word(text).filter(|word| !word.is_empty()))
}

/// Text in quotes of either kind, without any escape or such a quote in it.
fn quoted(text: &str) -> Option<&str> {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let inner = inside('\'').or_else(|| inside('"'))?;
    (!inner.contains(['\'', '"', '\\'])).then_some(inner)
}
