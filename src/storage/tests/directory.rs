//! Real directories with checked rows and commits in them, to be damaged.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::conformance::options;
use crate::storage::record;
use crate::storage::recovery::{BadRecord, RecoverySink};
use crate::storage::rocks::RocksStore;
use crate::storage::store::{StateRow, Store};
use crate::types::StateId;

pub(super) const ROWS: u64 = 600;
pub(super) const COMMITS: u64 = 200;

/// A row or record behind its checksum, as the limiter's codec has it.
fn checked(name: u128, content: &[u8]) -> Vec<u8> {
    let crc = crc32fast::hash(&[name.to_le_bytes().as_slice(), content].concat());
    [crc.to_le_bytes().as_slice(), content].concat()
}

fn open_checked(name: u128, bytes: &[u8]) -> Result<Vec<u8>, BadRecord> {
    let content = bytes.get(4..).unwrap_or_default();
    if checked(name, content) == bytes {
        return Ok(content.to_vec());
    }
    let reason = "checksum".to_owned();
    Err(BadRecord { reason })
}

pub(super) fn id_of(row: u64) -> StateId {
    StateId((u128::from(row) << 116) | u128::from(row))
}

pub(super) fn row_of(row: u64) -> StateRow {
    let content = format!("row {row} {}", "x".repeat(90));
    (id_of(row), checked(id_of(row).0, content.as_bytes()))
}

fn commit_of(number: u64) -> Vec<u8> {
    let mut stored = Vec::new();
    record::begin(&mut stored);
    let content = format!("commit {number} {}", "y".repeat(90));
    stored.extend(checked(number.into(), content.as_bytes()));
    record::seal(&mut stored, number, number - 1);
    stored
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) rows: BTreeMap<StateId, Vec<u8>>,
    pub(super) commits: BTreeMap<u64, Vec<u8>>,
}

impl RecoverySink for Loaded {
    fn load_row(&mut self, id: StateId, row: &[u8]) -> Result<(), BadRecord> {
        self.rows.insert(id, open_checked(id.0, row)?);
        Ok(())
    }

    fn replay(&mut self, number: u64, record: &[u8]) -> Result<(), BadRecord> {
        let known = self
            .commits
            .last_key_value()
            .is_none_or(|(last, _)| *last < number);
        assert!(known, "records come in order");
        self.commits
            .insert(number, open_checked(number.into(), record)?);
        Ok(())
    }
}

/// Where a directory keeps what was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum In {
    /// All in the write-ahead log.
    Log,
    /// Rows and meta in table files, commits in the log.
    Tables,
}

/// A cleanly closed directory with rows, commits and a meta value.
pub(super) fn filled(place: In) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksStore::open(&options(dir.path().to_owned(), true)).unwrap();
    let rows: Vec<_> = (0..ROWS).map(row_of).collect();
    store.put_meta("clock", b"12345").unwrap();
    store.put_states(&rows).unwrap();
    if place == In::Tables {
        store.compact_states();
        store.close().unwrap();
        // A start writes to files what it finds in the log.
        let store = RocksStore::open(&options(dir.path().to_owned(), false)).unwrap();
        fill_journal(&store);
    } else {
        fill_journal(&store);
    }
    dir
}

fn fill_journal(store: &RocksStore) {
    for number in 1..=COMMITS {
        store.append_commit(number, &commit_of(number)).unwrap();
    }
    store.sync().unwrap();
    store.put_mark(COMMITS, true).unwrap();
    store.close().unwrap();
}

pub(super) fn copy(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("db")).unwrap();
    for file in files(dir) {
        fs::copy(dir.join(&file), copy.path().join(&file)).unwrap();
    }
    copy
}

/// Paths of all files, relative to `dir`.
pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    for part in ["", "db"] {
        for entry in fs::read_dir(dir.join(part)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                names.push(Path::new(part).join(entry.file_name()));
            }
        }
    }
    names.sort();
    names
}

pub(super) fn with_extension(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut names = files(dir);
    names.retain(|name| name.extension().is_some_and(|found| found == extension));
    names
}

pub(super) fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

pub(super) fn whole() -> Loaded {
    let strip = |bytes: &[u8]| bytes[4..].to_vec();
    Loaded {
        rows: (0..ROWS)
            .map(|row| (id_of(row), strip(&row_of(row).1)))
            .collect(),
        commits: (1..=COMMITS)
            .map(|number| (number, strip(&commit_of(number)[record::HEAD_BYTES..])))
            .collect(),
    }
}
