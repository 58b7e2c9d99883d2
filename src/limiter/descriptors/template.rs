//! The key under which a descriptor is counted, made of its values.
//!
//! A template is text with names of entries in braces: `"{remote_address}"`, `"{path}|{user#2}"`.
//! `{name}` stands for the value of the first entry of this key, `{name#2}` for that of the second.
//! A brace that is meant as such is written twice. Values are put in as they are: a separator that
//! values can hold lets two descriptors have one key. Without a template that cannot be, see
//! [`joined`].

use std::fmt;

/// What separates values in [`joined`].
const SEPARATOR: char = '|';

/// What an empty key is written as, since no key is empty.
const EMPTY: &str = "\"\"";

/// How a key is made of a descriptor's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The value of the `nth` entry, from 0, with this key.
    Value {
        key: String,
        nth: usize,
    },
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// It is empty.
    #[error("the key is empty; leave it out to count by all values")]
    Empty,
    /// A brace stands alone.
    #[error("a brace stands alone; write {{entry}} for a value, and a brace itself twice")]
    Brace,
}

impl KeyTemplate {
    /// The template that `text` says.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = after.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = after.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else {
                let inner = after.strip_prefix('{').ok_or(TemplateError::Brace)?;
                let (name, after) = inner.split_once('}').ok_or(TemplateError::Brace)?;
                if name.is_empty() || name.contains('{') {
                    return Err(TemplateError::Brace);
                }
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::named(name));
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        let text = text.to_owned();
        Ok(Self { text, pieces })
    }

    /// The text that reads as this template.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first value that it asks for and a descriptor of entries with these keys does not have;
    /// as it is written in braces.
    pub fn lacking<'k>(&self, keys: &(impl Iterator<Item = &'k str> + Clone)) -> Option<String> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value { key, nth } => {
                let found = keys.clone().filter(|it| it == key).nth(*nth).is_some();
                (!found).then(|| piece.to_string())
            }
        })
    }

    /// The key of a descriptor. Never empty; it may be longer than a key may be.
    pub fn key(&self, entries: &[(&str, &str)]) -> String {
        let mut out = String::new();
        for piece in &self.pieces {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Value { key, nth } => entries
                    .iter()
                    .filter(|(name, _)| name == key)
                    .nth(*nth)
                    .map_or("", |(_, value)| value),
            });
        }
        filled(out)
    }
}

impl Piece {
    fn named(name: &str) -> Self {
        let numbered = name.rsplit_once('#').and_then(|(key, number)| {
            let nth = number.parse::<usize>().ok()?.checked_sub(1)?;
            (!key.is_empty()).then(|| Self::Value {
                key: key.to_owned(),
                nth,
            })
        });
        numbered.unwrap_or_else(|| Self::Value {
            key: name.to_owned(),
            nth: 0,
        })
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Value { key, nth: 0 } => f.write_str(key),
            Self::Value { key, nth } => write!(f, "{key}#{}", nth.saturating_add(1)),
        }
    }
}

/// The key of a descriptor without a template: its values with `|` between them, where a `|` or `\`
/// of a value has a `\` before it, so that different values make different keys.
pub fn joined<'v>(values: impl Iterator<Item = &'v str>) -> String {
    let mut out = String::new();
    for (n, value) in values.enumerate() {
        if n > 0 {
            out.push(SEPARATOR);
        }
        for c in value.chars() {
            if c == SEPARATOR || c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    filled(out)
}

fn filled(key: String) -> String {
    if key.is_empty() {
        EMPTY.to_owned()
    } else {
        key
    }
}
