//! The text of a configuration file, and the places in it.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::diagnostic::{ConfigError, Diagnostic, Place, Severity, conclude};

/// Largest file that is read: a hundred thousand overrides fit, and `/dev/zero` does not hurt.
pub(super) const FILE_BYTES_MAX: usize = 16 << 20;

/// Most characters of a line that an excerpt shows.
const EXCERPT_CHARS_MAX: usize = 100;

/// Characters that an excerpt of a long line shows before the column.
const EXCERPT_CHARS_BEFORE: usize = 30;

/// Byte range in a source.
pub(super) type Span = Range<usize>;

/// A file's name and text.
#[derive(Debug)]
pub(super) struct Source {
    /// The name as it was given, for messages.
    pub(super) file: String,
    /// What it holds.
    pub(super) text: String,
}

impl Source {
    /// A source of a text that is at hand.
    pub(super) fn new(file: &str, text: &str) -> Self {
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = read_bounded(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(&path.display().to_string(), bytes)
    }

    /// A source of bytes that should be UTF-8.
    pub(super) fn from_bytes(file: &str, bytes: Vec<u8>) -> Result<Self, ConfigError> {
        let file = file.to_owned();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { file, text }),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let bytes = error.into_bytes();
                let byte = bytes.get(at).copied().unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let place = Self { file, text };
                let diagnostic = place.diagnostic(
                    Severity::Error,
                    &(at..at),
                    &format!("the byte 0x{byte:02x} is not UTF-8"),
                    Some("save the file as UTF-8"),
                );
                conclude(place, vec![diagnostic], 0).map(|checked| checked.value)
            }
        }
    }

    /// A diagnostic at a place of this source.
    pub(super) fn diagnostic(
        &self,
        severity: Severity,
        span: &Span,
        message: &str,
        hint: Option<&str>,
    ) -> Diagnostic {
        Diagnostic::new(severity, &self.file, Some(self.place(span)), message, hint)
    }

    /// The text of a span; empty if it is not one of this source.
    pub(super) fn slice(&self, span: &Span) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// Line and column of a span's start, its line, and what to underline.
    pub(super) fn place(&self, span: &Span) -> Place {
        let start = self.boundary(span.start);
        let (before, after) = self.text.split_at(start);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = after.find('\n').map_or(self.text.len(), |at| start + at);
        let line = self.text[line_start..line_end].trim_end_matches('\r');
        let column = self.text[line_start..start].chars().count();
        let marked_end = self.boundary(span.end).clamp(start, line_end);
        let marked = self.text[start..marked_end].chars().count().max(1);
        let (excerpt, underline) = excerpt(line, column, marked);
        Place {
            line: before.matches('\n').count() + 1,
            column: column + 1,
            excerpt,
            underline,
        }
    }

    /// The start of the line that holds this offset.
    pub(super) fn line_start(&self, offset: usize) -> usize {
        self.text[..self.boundary(offset)]
            .rfind('\n')
            .map_or(0, |at| at + 1)
    }

    /// The last boundary of a character at or before `offset`.
    fn boundary(&self, offset: usize) -> usize {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// The part of a line around `column` (from 0), and blanks and carets to stand under it.
fn excerpt(line: &str, column: usize, marked: usize) -> (String, String) {
    let clipped = line.chars().nth(EXCERPT_CHARS_MAX).is_some();
    let skipped = if clipped {
        column.saturating_sub(EXCERPT_CHARS_BEFORE)
    } else {
        0
    };
    let mut shown: String = line
        .chars()
        .skip(skipped)
        .take(EXCERPT_CHARS_MAX)
        // Tabs become one blank so that the carets stand right; the rest could drive a terminal.
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect();
    let mut blanks = column - skipped;
    if skipped > 0 {
        shown.insert(0, '…');
        blanks += 1;
    }
    let shown_count = shown.chars().count();
    let carets = marked.min(shown_count.saturating_sub(blanks)).max(1);
    if line.chars().nth(skipped + EXCERPT_CHARS_MAX).is_some() {
        shown.push('…');
    }
    let underline = format!("{}{}", " ".repeat(blanks), "^".repeat(carets));
    (shown.trim_end().to_owned(), underline)
}

/// The file's bytes, if there are at most [`FILE_BYTES_MAX`].
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = FILE_BYTES_MAX as u64 + 1;
    File::open(path)?.take(bound).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("the file is larger than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let cases = [
            ("abc", 0..1, (1, 1), "abc", "^"),
            ("ab\ncd\r\nef", 4..5, (2, 2), "cd", " ^"),
            ("äöü = x", 9..10, (1, 7), "äöü = x", "      ^"),
            ("a\n", 2..2, (2, 1), "", "^"),
            ("", 0..0, (1, 1), "", "^"),
            ("\tkey\n", 1..4, (1, 2), " key", " ^^^"),
            ("two\nlines", 0..9, (1, 1), "two", "^^^"),
            ("esc \u{1b}[31m", 0..3, (1, 1), "esc \u{fffd}[31m", "^^^"),
            ("x", 900..901, (1, 2), "x", " ^"),
        ];
        for (text, span, (line, column), excerpt, underline) in cases {
            let expected = Place {
                line,
                column,
                excerpt: excerpt.into(),
                underline: underline.into(),
            };
            assert_eq!(Source::new("f", text).place(&span), expected, "{text:?}");
        }
    }

    #[test]
    fn an_excerpt_of_a_long_line_shows_the_marked_part() {
        let text = format!("{}HERE{}", "a".repeat(500), "b".repeat(500));
        let place = Source::new("f", &text).place(&(500..504));
        assert_eq!((place.line, place.column), (1, 501));
        assert!(place.excerpt.chars().count() <= EXCERPT_CHARS_MAX + 2);
        let under: String = place
            .excerpt
            .chars()
            .zip(place.underline.chars())
            .filter_map(|(c, mark)| (mark == '^').then_some(c))
            .collect();
        assert_eq!(under, "HERE");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_found_in_their_line() {
        let error = Source::from_bytes("f", b"a = 1\nb\xff = 2\n".to_vec()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "f:2:2: error: the byte 0xff is not UTF-8\n  2 | b\u{fffd} = 2\n    |  ^\n  \
             hint: save the file as UTF-8"
        );
    }
}
