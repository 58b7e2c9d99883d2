//! `wal`: what a data directory holds, and whether it is in order.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use distributed_rate_limiter::node::{DataReport, read_data_dir};
use serde::Serialize;

use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, Tone, View, bytes, number};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl wal status /var/lib/ratelimit
  ratelimitctl wal verify /var/lib/ratelimit
  ratelimitctl wal verify backup -o json | jq '.damage'

Nothing in the directory is changed, and a node may use it meanwhile. Of a damaged log it reads a
copy. Both read every record; `verify` ends with 1 if anything that was acknowledged cannot be read.";

/// Arguments of `wal`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what a data directory holds
    #[command(after_help = EXAMPLES)]
    Status {
        /// Data directory
        dir: PathBuf,
    },
    /// Check every record of a data directory
    #[command(after_help = EXAMPLES)]
    Verify {
        /// Data directory
        dir: PathBuf,
    },
}

/// Runs `wal`.
pub(crate) fn run(args: &Args, output: Output) -> Result<Exit, Failure> {
    let (dir, verify) = match &args.action {
        Action::Status { dir } => (dir, false),
        Action::Verify { dir } => (dir, true),
    };
    let shown = Shown::new(dir, read_data_dir(dir).map_err(Failure::usage)?);
    output.show(&shown)?;
    Ok(if shown.whole || !verify {
        Exit::Ok
    } else {
        Exit::Denied
    })
}

/// What was found.
#[derive(Debug, Serialize)]
struct Shown {
    dir: String,
    /// Whether all that was acknowledged can be read.
    whole: bool,
    damage: Vec<String>,
    files: u64,
    bytes: u64,
    format: Option<u32>,
    node: Option<String>,
    boot_counter: Option<u64>,
    closed: bool,
    rows: u64,
    records: u64,
    changes: u64,
    newest_stamp_ms: Option<u64>,
    last_commit: Option<u64>,
    synced: Option<u64>,
}

impl Shown {
    fn new(dir: &Path, report: DataReport) -> Self {
        Self {
            dir: dir.display().to_string(),
            whole: report.damage.is_empty(),
            damage: report.damage,
            files: report.files,
            bytes: report.bytes,
            format: report.format,
            node: report.node,
            boot_counter: report.boot_counter,
            closed: report.closed,
            rows: report.rows,
            records: report.records,
            changes: report.changes,
            newest_stamp_ms: report.newest_stamp_ms,
            last_commit: report.last_commit,
            synced: report.synced,
        }
    }
}

impl View for Shown {
    fn page(&self, page: &mut Page) {
        let known = |value: Option<u64>| value.map_or_else(|| "unknown".to_owned(), number);
        let closed = if self.closed {
            "in order"
        } else {
            "no: in use, or the last node was killed"
        };
        let (tone, state) = if self.whole {
            (Tone::Good, "in order")
        } else {
            (Tone::Bad, "damaged")
        };
        page.fields(&[
            ("directory", self.dir.clone()),
            ("state", page.tone(tone, state)),
            (
                "node",
                self.node.clone().unwrap_or_else(|| "unknown".to_owned()),
            ),
            ("format", known(self.format.map(u64::from))),
            ("starts", known(self.boot_counter)),
            ("closed", closed.to_owned()),
            (
                "files",
                format!("{} of {}", number(self.files), bytes(self.bytes)),
            ),
            ("state rows", number(self.rows)),
            (
                "commit records",
                format!(
                    "{} of {} changes",
                    number(self.records),
                    number(self.changes)
                ),
            ),
            ("last commit", known(self.last_commit)),
            ("last synced", known(self.synced)),
        ]);
        if self.damage.is_empty() {
            return;
        }
        page.heading("damage");
        for sentence in &self.damage {
            page.line(sentence);
        }
    }
}
