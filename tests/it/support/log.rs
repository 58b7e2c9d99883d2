//! What a node says on stderr, kept as it comes.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use super::PATIENCE;

/// The lines so far. Cheap to clone; all clones are one log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<String>,
    ended: bool,
}

impl Log {
    /// Keeps what `stderr` says until it ends.
    pub(crate) fn of(stderr: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let kept = log.clone();
        let mut copy = copy();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if let Some(copy) = &mut copy {
                    writeln!(copy, "{line}").unwrap();
                }
                kept.0.lines.lock().all.push(line);
                kept.0.more.notify_all();
            }
            kept.0.lines.lock().ended = true;
            kept.0.more.notify_all();
        });
        log
    }

    /// The first line with `words`, waited for; `None` if the log ends without it.
    pub(crate) fn line(&self, words: &str) -> Option<String> {
        self.line_after(0, words)
    }

    /// As [`Log::line`], looking at lines from number `from` on only.
    pub(crate) fn line_after(&self, from: usize, words: &str) -> Option<String> {
        let mut lines = self.0.lines.lock();
        let mut seen = from;
        loop {
            if let Some(found) = lines.all[seen..].iter().find(|line| line.contains(words)) {
                return Some(found.clone());
            }
            seen = lines.all.len();
            if lines.ended {
                return None;
            }
            let waited = self.0.more.wait_for(&mut lines, PATIENCE);
            assert!(
                !waited.timed_out(),
                "no line of the log says `{words}`:\n{}",
                show(&lines)
            );
        }
    }

    /// Whether a line so far has `words`.
    pub(crate) fn says(&self, words: &str) -> bool {
        let lines = self.0.lines.lock();
        lines.all.iter().any(|line| line.contains(words))
    }

    /// Lines so far.
    pub(crate) fn len(&self) -> usize {
        self.0.lines.lock().all.len()
    }

    /// All of it, once it has ended.
    pub(crate) fn whole(&self) -> String {
        let mut lines = self.0.lines.lock();
        while !lines.ended {
            let waited = self.0.more.wait_for(&mut lines, PATIENCE);
            assert!(!waited.timed_out(), "the log never ends:\n{}", show(&lines));
        }
        lines.all.join("\n")
    }

    /// All of it so far.
    pub(crate) fn so_far(&self) -> String {
        show(&self.0.lines.lock())
    }
}

/// Where lines go too, if `RATELIMIT_TEST_LOGS` names a directory: a file for each process.
fn copy() -> Option<File> {
    static LOGS: AtomicU32 = AtomicU32::new(0);
    let dir = std::env::var_os("RATELIMIT_TEST_LOGS")?;
    let number = LOGS.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number:03}.log", std::process::id());
    Some(File::create(Path::new(&dir).join(name)).unwrap())
}

fn show(lines: &Lines) -> String {
    lines.all.join("\n")
}

/// A field of a JSON line.
pub(crate) fn field(line: &str, name: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    let field = &line[name];
    field
        .as_str()
        .map_or_else(|| field.to_string(), str::to_owned)
}
