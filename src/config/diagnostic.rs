//! What is wrong with a file, and where.

use std::fmt;
use std::path::PathBuf;

/// Most diagnostics that one file is given; the rest are counted. Nobody reads more at once, and a
/// file of another kind altogether would fill the log.
pub(super) const DIAGNOSTICS_MAX: usize = 100;

/// Longest message or hint, in characters; what is longer is cut.
const MESSAGE_CHARS_MAX: usize = 400;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file is used, but probably does not do what was meant.
    Warning,
}

impl Severity {
    /// The word used in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line, or the part of a long line that matters; control characters are replaced.
    pub excerpt: String,
    /// Blanks and carets to stand under the excerpt.
    pub underline: String,
}

/// One mistake, or one likely mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file's name as it was given, or where else the setting came from.
    pub file: String,
    /// Where in the file; absent when the mistake has no one place.
    pub place: Option<Place>,
    /// What is wrong, with the offending text.
    pub message: String,
    /// What was probably meant, or what to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A diagnostic; control characters in the texts are escaped and over-long texts cut, since
    /// both end up in logs and on terminals.
    pub(super) fn new(
        severity: Severity,
        file: &str,
        place: Option<Place>,
        message: &str,
        hint: Option<&str>,
    ) -> Self {
        Self {
            severity,
            file: file.to_owned(),
            place,
            message: printable(message),
            hint: hint.map(printable),
        }
    }
}

/// `text` on one line, without control characters, at most [`MESSAGE_CHARS_MAX`] characters long.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MESSAGE_CHARS_MAX));
    for (n, c) in text.chars().enumerate() {
        if n >= MESSAGE_CHARS_MAX {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(place) = &self.place {
            write!(f, "{}:{}:", place.line, place.column)?;
        }
        write!(f, " {}: {}", self.severity, self.message)?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let blank = " ".repeat(number.len());
            write!(f, "\n  {number} | {}", place.excerpt)?;
            write!(f, "\n  {blank} | {}", place.underline)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Something read from a file that has no errors, and what looks odd about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked<T> {
    /// What the file says.
    pub value: T,
    /// Warnings, in the file's order; to be logged.
    pub warnings: Vec<Diagnostic>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read at all.
    #[error("cannot read {}; does it exist, and may this process read it?", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file, or the settings together, have mistakes: all of them, warnings included.
    #[error("{}", Listing { diagnostics, left_out: *left_out })]
    Invalid {
        /// At most a hundred, in the file's order.
        diagnostics: Vec<Diagnostic>,
        /// How many more there are.
        left_out: usize,
    },
}

impl ConfigError {
    /// The mistakes; empty if the file could not be read.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Read { .. } => &[],
            Self::Invalid { diagnostics, .. } => diagnostics,
        }
    }
}

/// All diagnostics of a file, one below the other.
struct Listing<'a> {
    diagnostics: &'a [Diagnostic],
    left_out: usize,
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, diagnostic) in self.diagnostics.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        match self.left_out {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

/// The value if none of the diagnostics is an error, else all of them. Errors must not be among
/// those `left_out` unless one is there.
pub(super) fn conclude<T>(
    value: T,
    diagnostics: Vec<Diagnostic>,
    left_out: usize,
) -> Result<Checked<T>, ConfigError> {
    let is_error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
    if diagnostics.iter().any(is_error) {
        Err(ConfigError::Invalid {
            diagnostics,
            left_out,
        })
    } else {
        Ok(Checked {
            value,
            warnings: diagnostics,
        })
    }
}
