//! All requests of a log in memory, and the lines that were none.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use super::access_log::{KeyBy, LineError, Request};
use super::bounded_lines::{self, LINE_BYTES_MAX, Line, OpenError};
use crate::outcome::Failure;
use crate::output;

/// Most requests of one log: 2 GB of memory.
const REQUESTS_MAX: usize = 1 << 28;

/// Most keys of one log: about as much again.
const KEYS_MAX: usize = 1 << 24;

/// Skipped lines that are shown.
const SHOWN_LINES: usize = 3;

/// One request, as small as it can be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Seconds since 1970.
    pub(super) second: u32,
    /// Index of its key.
    pub(super) key: u32,
}

/// All requests of a log.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// The requests in order of time; those of one second in the log's.
    pub(super) moments: Vec<Moment>,
    /// The keys in order of appearance.
    pub(super) keys: Vec<Arc<str>>,
    key_numbers: HashMap<Arc<str>, u32>,
    pub(super) skipped: Skipped,
}

/// Why a log is more than this program takes.
#[derive(Debug, thiserror::Error)]
pub(super) enum TooMuch {
    #[error("the log holds more than {REQUESTS_MAX} requests; replay it in parts")]
    Requests,
    #[error("the log holds more than {KEYS_MAX} keys; replay it in parts or choose another --by")]
    Keys,
}

impl Traffic {
    /// Reads the log at `path`, or stdin for `-`.
    pub(super) fn read(path: &Path, by: &KeyBy) -> Result<Self, Failure> {
        let mut lines = bounded_lines::open(path).map_err(unreadable)?;
        let mut traffic = Self::default();
        let mut number = 0;
        loop {
            match lines.next() {
                Ok(None) => break,
                Ok(Some(line)) => {
                    number += 1;
                    traffic.add_line(number, line, by).map_err(Failure::usage)?;
                }
                Err(source) if number == 0 => {
                    let path = path.display().to_string();
                    return Err(unreadable(OpenError::Io { path, source }));
                }
                Err(error) => {
                    let path = path.display();
                    let what = format!("{path} breaks off after line {number}: {error}");
                    output::say(&format!("warning: {what}; only what is before it counts"));
                    break;
                }
            }
        }
        traffic.sort();
        Ok(traffic)
    }

    fn add_line(&mut self, number: u64, line: Line<'_>, by: &KeyBy) -> Result<(), TooMuch> {
        let skipped = &mut self.skipped;
        match line {
            Line::Text(text) => match Request::read(text, by) {
                Ok(request) => return self.add(request),
                Err(why) => skipped.add(number, || describe(text, &why)),
            },
            Line::TooLong => skipped.add(number, || format!("longer than {LINE_BYTES_MAX} bytes")),
        }
        Ok(())
    }

    /// Stable, so that requests of one second keep the log's order.
    pub(super) fn sort(&mut self) {
        self.moments.sort_by_key(|moment| moment.second);
    }

    pub(super) fn add(&mut self, request: Request) -> Result<(), TooMuch> {
        if self.moments.len() == REQUESTS_MAX {
            return Err(TooMuch::Requests);
        }
        let key = match self.key_numbers.entry(request.key.into()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(_) if self.keys.len() == KEYS_MAX => return Err(TooMuch::Keys),
            Entry::Vacant(new) => {
                let number = u32::try_from(self.keys.len()).map_err(|_| TooMuch::Keys)?;
                self.keys.push(Arc::clone(new.key()));
                *new.insert(number)
            }
        };
        let second = request.second;
        self.moments.push(Moment { second, key });
        Ok(())
    }
}

/// Lines that were not counted as requests.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    pub(super) lines: u64,
    first: Vec<String>,
}

impl Skipped {
    fn add(&mut self, number: u64, why: impl FnOnce() -> String) {
        self.lines += 1;
        if self.first.len() < SHOWN_LINES {
            self.first.push(format!("line {number}: {}", why()));
        }
    }

    /// Says on stderr how many, and why the first of them.
    pub(super) fn tell(&self) {
        let shown = match self.lines {
            0 => return,
            1 => "1 line skipped:".to_owned(),
            lines => format!("{} lines skipped, the first:", output::number(lines)),
        };
        output::say(&shown);
        for line in &self.first {
            output::say(&format!("  {line}"));
        }
    }
}

fn describe(line: &[u8], why: &LineError) -> String {
    let line = String::from_utf8_lossy(line);
    format!("{why}: {}", output::printable(&line, 60))
}

fn unreadable(error: OpenError) -> Failure {
    let hint = match &error {
        OpenError::Io { .. } => None,
        OpenError::Compressed { path, program } => {
            Some(format!("{program} -dc {path} | ratelimitctl replay - …"))
        }
    };
    let failure = Failure::usage(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
