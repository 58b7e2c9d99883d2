//! `config`: whether a configuration file is in order.

use std::path::PathBuf;

use clap::Subcommand;
use distributed_rate_limiter::config::{self, ConfigError, Diagnostic, FileKind, Severity};
use serde::Serialize;

use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, Tone, View};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl config validate limits.toml
  ratelimitctl config validate /etc/ratelimit/node.toml && systemctl reload ratelimitd

It reads a file as ratelimitd does, tells every mistake at once, and changes nothing. Whether it is
limits.toml or node.toml shows in its keys. The exit code is 1 if the file would be refused;
warnings alone leave it 0.";

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Tell every mistake of a limits.toml or node.toml
    #[command(after_help = EXAMPLES)]
    Validate {
        /// File to read
        file: PathBuf,
    },
}

/// Runs `config`.
pub(crate) fn run(args: &Args, output: Output) -> Result<Exit, Failure> {
    let Action::Validate { file } = &args.action;
    let shown = match config::validate(file) {
        Ok(checked) => Shown::new(file, Some(checked.value), &checked.warnings, 0),
        Err(ConfigError::Invalid {
            diagnostics,
            left_out,
        }) => Shown::new(file, None, &diagnostics, left_out),
        Err(error) => return Err(Failure::usage(error)),
    };
    output.show(&shown)?;
    Ok(if shown.valid { Exit::Ok } else { Exit::Denied })
}

/// What was found.
#[derive(Debug, Serialize)]
struct Shown {
    file: String,
    /// `limits` or `node`; null if the file is not valid.
    kind: Option<&'static str>,
    valid: bool,
    diagnostics: Vec<ShownDiagnostic>,
    /// How many diagnostics more there are.
    left_out: usize,
}

#[derive(Debug, Serialize)]
struct ShownDiagnostic {
    severity: &'static str,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    hint: Option<String>,
    /// With the place and its line, for people.
    #[serde(skip)]
    text: String,
}

impl Shown {
    fn new(
        file: &std::path::Path,
        kind: Option<FileKind>,
        diagnostics: &[Diagnostic],
        left_out: usize,
    ) -> Self {
        Self {
            file: file.display().to_string(),
            kind: kind.map(|kind| match kind {
                FileKind::Limits => "limits",
                FileKind::Node => "node",
                _ => "other",
            }),
            valid: kind.is_some(),
            diagnostics: diagnostics.iter().map(ShownDiagnostic::from).collect(),
            left_out,
        }
    }
}

impl From<&Diagnostic> for ShownDiagnostic {
    fn from(diagnostic: &Diagnostic) -> Self {
        Self {
            severity: Severity::as_str(diagnostic.severity),
            line: diagnostic.place.as_ref().map(|place| place.line),
            column: diagnostic.place.as_ref().map(|place| place.column),
            message: diagnostic.message.clone(),
            hint: diagnostic.hint.clone(),
            text: diagnostic.to_string(),
        }
    }
}

impl View for Shown {
    fn page(&self, page: &mut Page) {
        for diagnostic in &self.diagnostics {
            page.line(&diagnostic.text);
        }
        if self.left_out > 0 {
            page.line(&format!("… and {} more", self.left_out));
        }
        let verdict = match self.kind {
            Some(kind) => page.tone(Tone::Good, &format!("valid as {kind}.toml")),
            None => page.tone(Tone::Bad, "not valid"),
        };
        page.line(&format!("{}: {verdict}", self.file));
    }
}
