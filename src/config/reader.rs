//! Reads TOML into values and notes every mistake on the way, instead of stopping at the first.
//!
//! A conversion always runs to its end: where a value is wrong the mistake is noted and `None`
//! returned, and what the conversion makes of it is thrown away if anything was noted.

use std::collections::BTreeSet;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Checked, ConfigError, DIAGNOSTICS_MAX, Diagnostic, Severity, conclude};
use super::source::{Source, Span};
use super::suggest::did_you_mean;

/// Reads all of `source` by `convert`.
pub(super) fn read<T>(
    source: &Source,
    convert: impl FnOnce(&mut Reader<'_>, &Table<'_>) -> T,
) -> Result<Checked<T>, ConfigError> {
    let (root, errors) = DeTable::parse_recoverable(&source.text);
    let mut reader = Reader {
        source,
        found: Vec::new(),
        broken_lines: BTreeSet::new(),
    };
    for error in errors {
        reader.syntax(&error.span().unwrap_or(0..0), error.message());
    }
    let top = Table {
        name: String::new(),
        span: 0..0,
        entries: root.get_ref(),
    };
    let value = convert(&mut reader, &top);
    let (diagnostics, left_out) = reader.finish();
    conclude(value, diagnostics, left_out)
}

/// A table of the file.
#[derive(Debug, Clone)]
pub(super) struct Table<'a> {
    /// Its name as it stands in brackets; empty for the file itself.
    pub(super) name: String,
    /// Its heading.
    pub(super) span: Span,
    entries: &'a DeTable<'a>,
}

/// A value of the file, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found<'a, T> {
    /// The value.
    pub(super) value: T,
    /// The name of its key.
    pub(super) key: &'a str,
    /// Where the value stands.
    pub(super) span: Span,
}

impl<'a> Table<'a> {
    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Found<'a, &'a DeValue<'a>>> {
        self.entries.get(key).map(|value| Found {
            value: value.get_ref(),
            key,
            span: value.span(),
        })
    }

    /// All keys with their places and values, in the file's order.
    pub(super) fn entries(
        &self,
    ) -> Vec<(
        &'a Spanned<toml::de::DeString<'a>>,
        Found<'a, &'a DeValue<'a>>,
    )> {
        let mut entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, value)| {
                let found = Found {
                    value: value.get_ref(),
                    key: key.get_ref().as_ref(),
                    span: value.span(),
                };
                (key, found)
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
    }
}

/// Collects the mistakes of one file.
#[derive(Debug)]
pub(super) struct Reader<'s> {
    pub(super) source: &'s Source,
    found: Vec<Note>,
    /// Starts of the lines that are not TOML: what their values seem to be means nothing.
    broken_lines: BTreeSet<usize>,
}

impl Reader<'_> {
    /// Notes an error.
    pub(super) fn error(&mut self, span: &Span, message: impl fmt::Display, hint: Option<&str>) {
        self.note(Severity::Error, span, &message, hint);
    }

    /// Notes what is probably not meant so.
    pub(super) fn warn(&mut self, span: &Span, message: impl fmt::Display, hint: Option<&str>) {
        self.note(Severity::Warning, span, &message, hint);
    }

    /// Whether all of the file is TOML; if not, nothing should be called missing.
    pub(super) fn is_whole(&self) -> bool {
        self.broken_lines.is_empty()
    }

    /// Where the last `part` of the text at `span` stands, or all of `span` if it is not there as
    /// such (because of escapes, say).
    pub(super) fn part(&self, span: &Span, part: &str) -> Span {
        let text = self.source.slice(span);
        match text.rfind(part) {
            Some(at) if !part.is_empty() => span.start + at..span.start + at + part.len(),
            _ => span.clone(),
        }
    }

    fn note(
        &mut self,
        severity: Severity,
        span: &Span,
        message: &dyn fmt::Display,
        hint: Option<&str>,
    ) {
        if self
            .broken_lines
            .contains(&self.source.line_start(span.start))
        {
            return;
        }
        self.found.push(Note {
            severity,
            span: span.clone(),
            message: message.to_string(),
            hint: hint.map(str::to_owned),
        });
    }

    fn syntax(&mut self, span: &Span, message: &str) {
        if !self.broken_lines.insert(self.source.line_start(span.start)) {
            return;
        }
        let text = self.source.slice(span);
        let (message, hint) = if message == "duplicate key" {
            let hint = "keep one of the two";
            (format!("`{text}` is there already"), Some(hint))
        } else {
            (message.to_owned(), None)
        };
        self.found.push(Note {
            severity: Severity::Error,
            span: span.clone(),
            message,
            hint: hint.map(str::to_owned),
        });
    }

    /// What was noted in the file's order, and how much more there is. Errors come first where
    /// not all fits, so that warnings do not crowd them out.
    fn finish(self) -> (Vec<Diagnostic>, usize) {
        let mut notes = self.found;
        let left_out = notes.len().saturating_sub(DIAGNOSTICS_MAX);
        if left_out > 0 {
            notes.sort_by_key(|note| (note.severity, note.span.start));
            notes.truncate(DIAGNOSTICS_MAX);
        }
        notes.sort_by_key(|note| note.span.start);
        let told = |note: Note| {
            let hint = note.hint.as_deref();
            self.source
                .diagnostic(note.severity, &note.span, &note.message, hint)
        };
        (notes.into_iter().map(told).collect(), left_out)
    }
}

/// A mistake whose place is not looked up yet.
#[derive(Debug)]
struct Note {
    severity: Severity,
    span: Span,
    message: String,
    hint: Option<String>,
}

/// Reading single values.
impl Reader<'_> {
    /// Notes every key of `table` that is not in `known`. `elsewhere` are the keys of other
    /// tables: one that stands in the wrong table is told where it belongs.
    pub(super) fn only(
        &mut self,
        table: &Table<'_>,
        known: &[&str],
        elsewhere: &[(&str, &[&str])],
    ) {
        for (key, _) in table.entries() {
            let word: &str = key.get_ref();
            if known.contains(&word) {
                continue;
            }
            let belongs = elsewhere
                .iter()
                .find(|(name, keys)| *name != table.name.as_str() && keys.contains(&word));
            let hint = match belongs {
                Some((name, _)) => Some(format!("`{word}` belongs {}", within(name))),
                None => did_you_mean(word, known.iter().copied())
                    .or_else(|| Some(format!("known are {}", known.join(", ")))),
            };
            let message = format!("`{word}` is not a key {}", within(&table.name));
            self.error(&key.span(), message, hint.as_deref());
        }
    }

    /// The table of this name.
    pub(super) fn table<'a>(&mut self, parent: &Table<'a>, key: &'static str) -> Option<Table<'a>> {
        let found = parent.get(key)?;
        self.as_table(parent, &found)
    }

    /// A value of `parent` as a table.
    pub(super) fn as_table<'a>(
        &mut self,
        parent: &Table<'_>,
        found: &Found<'a, &'a DeValue<'a>>,
    ) -> Option<Table<'a>> {
        if let DeValue::Table(entries) = found.value {
            let name = if parent.name.is_empty() {
                found.key.to_owned()
            } else {
                format!("{}.{}", parent.name, found.key)
            };
            return Some(Table {
                name,
                span: found.span.clone(),
                entries,
            });
        }
        self.wrong_type(found, "a table", None);
        None
    }

    /// The string at `key`.
    pub(super) fn text<'a>(
        &mut self,
        table: &Table<'a>,
        key: &'static str,
    ) -> Option<Found<'a, &'a str>> {
        let found = table.get(key)?;
        self.as_text(&found, "a string")
    }

    /// The value as a string; `what` says what it should be.
    pub(super) fn as_text<'a>(
        &mut self,
        found: &Found<'a, &'a DeValue<'a>>,
        what: &str,
    ) -> Option<Found<'a, &'a str>> {
        if let DeValue::String(value) = found.value {
            return Some(Found {
                value,
                key: found.key,
                span: found.span.clone(),
            });
        }
        let bare = matches!(
            found.value,
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_)
        );
        self.wrong_type(found, what, bare.then_some("write it in quotes"));
        None
    }

    /// The path at `key`: a string that is not empty.
    pub(super) fn path<'a>(&mut self, table: &Table<'a>, key: &'static str) -> Option<&'a str> {
        let found = self.text(table, key)?;
        if found.value.is_empty() {
            self.error(&found.span, format!("`{key}` is empty"), None);
            return None;
        }
        Some(found.value)
    }

    /// The boolean at `key`.
    pub(super) fn flag(&mut self, table: &Table<'_>, key: &'static str) -> Option<bool> {
        let found = table.get(key)?;
        if let DeValue::Boolean(value) = found.value {
            return Some(*value);
        }
        let quoted = matches!(found.value, DeValue::String(text) if matches!(text.as_ref(), "true" | "false"));
        let hint = quoted.then_some("write it without quotes");
        self.wrong_type(&found, "true or false", hint);
        None
    }

    /// One of the given words at `key`, as what it stands for.
    pub(super) fn word<T: Copy>(
        &mut self,
        table: &Table<'_>,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let known = || words.iter().map(|(word, _)| *word);
        let listed = known()
            .map(|word| format!("\"{word}\""))
            .collect::<Vec<_>>();
        let listed = listed.join(" or ");
        let found = table.get(key)?;
        let text = self.as_text(&found, &listed)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(*value);
        }
        let message = format!("`{key}` cannot be \"{}\"; it must be {listed}", text.value);
        let hint = did_you_mean(text.value, known());
        self.error(&text.span, message, hint.as_deref());
        None
    }

    /// Notes a value of the wrong type.
    pub(super) fn wrong_type(
        &mut self,
        found: &Found<'_, &DeValue<'_>>,
        what: &str,
        hint: Option<&str>,
    ) {
        let given = type_name(found.value);
        let message = format!("`{}` must be {what}, not {given}", found.key);
        self.error(&found.span, message, hint);
    }
}

/// `in [table]`, or "of this file" for the top level.
fn within(table: &str) -> String {
    if table.is_empty() {
        "at the top of this file".to_owned()
    } else {
        format!("in [{table}]")
    }
}

/// The type of a value, with its article.
fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
