//! What a data directory holds, for the command line: storage reads it without changing anything,
//! the limiter checks each row and commit record.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::limiter::{codec, commit_record};
use crate::storage::inspect::{self, Inside};
use crate::storage::layout::is_new;
use crate::storage::recovery::{BadRecord, Recovery, RecoverySink};
use crate::types::{SlotTime, StateId};

/// Damaged records that are told one by one.
const SHOWN_MAX: usize = 20;

/// A data directory, as far as it can be read. What cannot be read is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataReport {
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Version of its format.
    pub format: Option<u32>,
    /// Id of the node whose it is.
    pub node: Option<String>,
    /// How often a node was started on it.
    pub boot_counter: Option<u64>,
    /// Whether the last process closed it in order; false also while a node uses it.
    pub closed: bool,
    /// State rows that were read and are in order.
    pub rows: u64,
    /// Commit records behind the rows that were read and are in order.
    pub records: u64,
    /// Changed states in those records.
    pub changes: u64,
    /// What the slot clock showed at the newest of those records, in milliseconds.
    pub newest_stamp_ms: Option<u64>,
    /// Number of the last commit.
    pub last_commit: Option<u64>,
    /// Number of the last commit that is known to be synced.
    pub synced: Option<u64>,
    /// What is damaged or missing, in sentences; empty if all is in order.
    pub damage: Vec<String>,
}

/// Why nothing can be told of a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// It is not there, or may not be read.
    #[error("cannot read data directory {}", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds neither a database that opens nor a watermark.
    #[error("{} is not a data directory, or nothing of it is left", path.display())]
    NotADataDirectory {
        /// The directory.
        path: PathBuf,
        /// What RocksDB says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Whether a node has begun to keep anything in a directory.
pub fn holds_counts(dir: &Path) -> bool {
    !is_new(dir)
}

/// Reads and checks all that the data directory `dir` holds, without changing anything in it. A
/// node may use it meanwhile.
///
/// # Errors
/// [`DirectoryError`] if it is no data directory at all; all else is told in the report.
pub fn read_data_dir(dir: &Path) -> Result<DataReport, DirectoryError> {
    let path = || dir.to_owned();
    let unreadable = |source| DirectoryError::Unreadable {
        path: path(),
        source,
    };
    fs::read_dir(dir).map_err(unreadable)?;
    let mut checked = Checked::default();
    let found =
        inspect::verify(dir, &mut checked).map_err(|error| unreadable(io::Error::other(error)))?;
    let mut report = DataReport {
        files: found.files,
        bytes: found.bytes,
        closed: found.mark.is_some_and(|mark| mark.clean),
        rows: checked.rows,
        records: checked.records,
        changes: checked.changes,
        newest_stamp_ms: checked.newest_stamp.map(SlotTime::as_ms),
        synced: found.mark.map(|mark| mark.synced),
        ..DataReport::default()
    };
    let whole = found.is_whole();
    match found.database {
        Ok(inside) => report.add(inside),
        Err(source) if found.mark.is_none() => {
            return Err(DirectoryError::NotADataDirectory {
                path: path(),
                source,
            });
        }
        Err(cause) => report
            .damage
            .push(format!("the database cannot be opened: {cause}")),
    }
    report.damage.extend(checked.shown());
    if !whole && report.damage.is_empty() {
        report
            .damage
            .push("something that was acknowledged cannot be read".to_owned());
    }
    Ok(report)
}

impl DataReport {
    fn add(&mut self, inside: Inside) {
        self.format = inside.format;
        self.node = inside
            .identity
            .as_ref()
            .map(|identity| identity.node.to_string());
        self.boot_counter = inside.boots;
        if let Some(cause) = inside.damage {
            self.damage
                .push(format!("the database opens only in part: {cause}"));
        }
        let bad_meta = inside.bad_meta.iter();
        self.damage
            .extend(bad_meta.map(|name| format!("the meta value `{name}` is damaged")));
        if inside.meta_is_broken {
            self.damage
                .push("not all meta values can be listed".to_owned());
        }
        if inside.identity.is_none() {
            self.damage
                .push("it cannot be read whose it is: a node will not start".to_owned());
        }
        match inside.recovery {
            Ok(recovery) => self.judge(&recovery),
            Err(cause) => self
                .damage
                .push(format!("its rows cannot be read: {cause}")),
        }
    }

    fn judge(&mut self, recovery: &Recovery) {
        self.last_commit = recovery.next_commit.checked_sub(1);
        if let Some((from, to)) = recovery.unreadable {
            let end = |id: Option<StateId>, open: &str| {
                id.map_or_else(|| open.to_owned(), |id| format!("{:032x}", id.0))
            };
            let (from, to) = (end(from, "the first"), end(to, "the last"));
            self.damage
                .push(format!("rows between {from} and {to} cannot be read"));
        }
        if let Some(lost) = &recovery.lost_commits {
            self.damage.push(lost.to_string());
        }
    }
}

/// Checks rows and records, and counts them.
#[derive(Debug, Default)]
struct Checked {
    rows: u64,
    records: u64,
    changes: u64,
    newest_stamp: Option<SlotTime>,
    bad: Vec<String>,
    /// Bad ones that are not in `bad`.
    more_bad: u64,
}

impl Checked {
    fn note(&mut self, what: String) {
        if self.bad.len() < SHOWN_MAX {
            self.bad.push(what);
        } else {
            self.more_bad = self.more_bad.saturating_add(1);
        }
    }

    fn shown(self) -> impl Iterator<Item = String> {
        let more = (self.more_bad > 0).then(|| format!("{} more like these", self.more_bad));
        self.bad.into_iter().chain(more)
    }
}

impl RecoverySink for Checked {
    fn load_row(&mut self, id: StateId, row: &[u8]) -> Result<(), BadRecord> {
        match codec::decode_row(id, row) {
            Ok(_) => {
                self.rows = self.rows.saturating_add(1);
                Ok(())
            }
            Err(error) => {
                self.note(format!(
                    "the row of state {:032x} is damaged: {error}",
                    id.0
                ));
                Err(BadRecord {
                    reason: error.to_string(),
                })
            }
        }
    }

    fn replay(&mut self, _number: u64, record: &[u8]) -> Result<(), BadRecord> {
        let mut changes = 0_u64;
        // A record that is damaged is told by `Recovery::lost_commits`.
        let head = commit_record::read(record, |_| changes = changes.saturating_add(1)).map_err(
            |error| BadRecord {
                reason: error.to_string(),
            },
        )?;
        self.records = self.records.saturating_add(1);
        self.changes = self.changes.saturating_add(changes);
        self.newest_stamp = self.newest_stamp.max(Some(head.stamp));
        Ok(())
    }
}
