//! Damaged directories that are mended: the next start finds all that could be read, and no damage.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::conformance::options;
use super::directory::{
    COMMITS, In, Loaded, ROWS, edit, filled, find, id_of, row_of, whole, with_extension,
};
use crate::storage::recovery::{Recovery, recover};
use crate::storage::rocks::RocksStore;
use crate::storage::store::Store;

fn start(dir: &Path) -> (RocksStore, Recovery, Loaded) {
    let store = RocksStore::open(&options(dir.to_owned(), false)).unwrap();
    let mut loaded = Loaded::default();
    let recovery = recover(&store, &mut loaded).unwrap();
    (store, recovery, loaded)
}

/// Flips a byte in the one table file that holds `bytes`.
fn flip(dir: &Path, bytes: &[u8]) {
    let hits = with_extension(dir, "sst").into_iter().filter(|name| {
        let path = dir.join(name);
        let Some(at) = find(&fs::read(&path).unwrap(), bytes) else {
            return false;
        };
        edit(&path, |file| file[at + 20] ^= 1);
        true
    });
    assert_eq!(hits.count(), 1);
}

/// A directory with a damaged block of rows, opened; and what could be read of it.
fn damaged() -> (TempDir, RocksStore, Loaded) {
    let dir = filled(In::Tables);
    flip(dir.path(), &row_of(300).1);
    let (store, recovery, loaded) = start(dir.path());
    assert!(recovery.unreadable.is_some());
    assert!(!loaded.rows.contains_key(&id_of(300)));
    (dir, store, loaded)
}

/// The row put in the place of what is lost.
const IN_PLACE: u64 = ROWS + 7;

fn is_mended(dir: &Path, mut expected: Loaded) {
    for _ in 0..2 {
        let (store, recovery, loaded) = start(dir);
        assert!(recovery.unreadable.is_none(), "{recovery:?}");
        let row = whole_row(IN_PLACE);
        expected.rows.insert(id_of(IN_PLACE), row);
        assert_eq!(loaded, expected);
        store.close().unwrap();
    }
}

fn whole_row(row: u64) -> Vec<u8> {
    row_of(row).1[4..].to_vec()
}

#[test]
fn a_damaged_block_of_rows_is_gone_and_all_else_is_there() {
    let (dir, store, readable) = damaged();
    store.mend_states(&[row_of(IN_PLACE)]).unwrap();
    store.put_states(&[row_of(300)]).unwrap();
    store.close().unwrap();
    let mut expected = readable;
    expected.rows.insert(id_of(300), whole_row(300));
    is_mended(dir.path(), expected);
}

#[test]
fn a_crash_before_the_copy_counts_leaves_the_damage_to_be_told_again() {
    let (dir, store, _) = damaged();
    store.copy_states(&[row_of(IN_PLACE)]).unwrap();
    drop(store);
    let (store, recovery, readable) = start(dir.path());
    assert!(recovery.unreadable.is_some(), "{recovery:?}");
    store.mend_states(&[row_of(IN_PLACE)]).unwrap();
    drop(store);
    is_mended(dir.path(), readable);
}

#[test]
fn a_crash_after_the_copy_counts_is_made_good_by_the_next_start() {
    let (dir, store, readable) = damaged();
    store.copy_states(&[row_of(IN_PLACE)]).unwrap();
    store.with_mut(|open| open.put_mending(true)).unwrap();
    drop(store);
    is_mended(dir.path(), readable);
}

#[test]
fn a_damaged_journal_begins_anew() {
    let dir = filled(In::Tables);
    // A start writes to files what it finds in the log.
    drop(start(dir.path()));
    flip(dir.path(), b"commit 150 ");
    let (store, recovery, _) = start(dir.path());
    assert!(recovery.journal_is_broken);
    assert!(recovery.lost_commits.is_some());
    store.drop_journal(COMMITS).unwrap();
    store.mend_journal().unwrap();
    drop(store);
    let (store, recovery, loaded) = start(dir.path());
    assert_eq!(recovery.lost_commits, None);
    assert_eq!(loaded.rows, whole().rows);
    assert!(loaded.commits.is_empty() && recovery.next_commit == COMMITS + 1);
    store.close().unwrap();
}
