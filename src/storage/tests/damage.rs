//! Real RocksDB directories, damaged in every way at hand: each opens with a typed error, or
//! recovery tells what is missing. Nothing is ever missing in silence.

use std::fs;
use std::path::{Path, PathBuf};

use super::conformance::options;
use super::directory::{
    COMMITS, In, Loaded, ROWS, copy, edit, files, filled, find, id_of, row_of, whole,
    with_extension,
};
use crate::storage::inspect;
use crate::storage::open::OpenError;
use crate::storage::recovery::{Lost, Recovery, recover};
use crate::storage::rocks::RocksStore;
use crate::storage::store::Store;

/// What a start on the directory comes to.
#[derive(Debug)]
enum Start {
    Refused(OpenError),
    /// Recovery itself refuses; only for damage to `meta`.
    Unrecovered,
    Recovered(Recovery, Loaded),
}

/// Starts on `dir`, and demands that nothing is missing or wrong that is not told.
fn start(dir: &Path, what: &str) -> Start {
    let mut seen = Loaded::default();
    inspect::verify(dir, &mut seen).unwrap();
    let store = match RocksStore::open(&options(dir.to_owned(), true)) {
        Ok(store) => store,
        Err(error) => return Start::Refused(error),
    };
    assert!(
        !store.found().created,
        "{what}: a damaged directory was taken for an empty one"
    );
    let identity = store.identity();
    assert_eq!(identity, options(PathBuf::new(), false).newborn, "{what}");
    let mut loaded = Loaded::default();
    let Ok(recovery) = recover(&store, &mut loaded) else {
        return Start::Unrecovered;
    };
    let expected = whole();
    for (id, row) in &expected.rows {
        let told = recovery.bad_rows.contains(id)
            || recovery.lost_commits.is_some()
            || recovery.unreadable.is_some_and(|(after, before)| {
                after.is_none_or(|after| after < *id) && before.is_none_or(|before| *id < before)
            });
        let loaded = loaded.rows.get(id);
        assert!(
            loaded == Some(row) || told,
            "{what}: {id} is missing: {recovery:?}"
        );
    }
    let commits_are_whole = loaded.commits == expected.commits;
    assert!(
        commits_are_whole || recovery.lost_commits.is_some(),
        "{what}: {recovery:?}"
    );
    assert!(recovery.next_commit > COMMITS, "{what}");
    let clock = store.meta("clock");
    let clock_is_told = clock.is_err() || recovery.lost_commits.is_some();
    assert!(
        clock_is_told || clock.unwrap().as_deref() == Some(b"12345"),
        "{what}"
    );
    Start::Recovered(recovery, loaded)
}

#[test]
fn an_undamaged_directory_is_whole() {
    for place in [In::Log, In::Tables] {
        let dir = filled(place);
        let before: Vec<_> = files(dir.path())
            .iter()
            .map(|f| fs::read(dir.path().join(f)).unwrap())
            .collect();
        let mut seen = Loaded::default();
        let report = inspect::verify(dir.path(), &mut seen).unwrap();
        assert!(report.is_whole(), "{report:?}");
        assert_eq!(seen, whole());
        let after: Vec<_> = files(dir.path())
            .iter()
            .map(|f| fs::read(dir.path().join(f)).unwrap())
            .collect();
        assert!(before == after, "looking changed the directory");
        let Start::Recovered(recovery, loaded) = start(dir.path(), "undamaged") else {
            panic!("it does not open");
        };
        assert!(recovery.is_whole() && !recovery.unclean, "{recovery:?}");
        assert_eq!(loaded, whole());
    }
}

#[test]
fn a_flipped_byte_in_a_row_costs_the_rows_of_its_block_and_is_told() {
    let dir = filled(In::Tables);
    let damaged = id_of(300);
    let row = row_of(300).1;
    let hits = with_extension(dir.path(), "sst")
        .into_iter()
        .filter(|name| {
            let path = dir.path().join(name);
            let Some(at) = find(&fs::read(&path).unwrap(), &row) else {
                return false;
            };
            edit(&path, |bytes| bytes[at + 20] ^= 1);
            true
        });
    assert_eq!(hits.count(), 1);
    let Start::Recovered(recovery, loaded) = start(dir.path(), "row") else {
        panic!("it does not open");
    };
    let (Some(after), Some(before)) = recovery.unreadable.unwrap() else {
        panic!("both ends are known: {recovery:?}");
    };
    assert!(after < damaged && damaged < before);
    assert!(
        loaded.rows.len() as u64 > ROWS - 100,
        "one block of a few dozen rows is lost"
    );
    assert_eq!(recovery.lost_commits, None);
}

#[test]
fn no_flipped_byte_in_a_table_goes_unnoticed() {
    let dir = filled(In::Tables);
    for name in with_extension(dir.path(), "sst") {
        let bytes = fs::read(dir.path().join(&name)).unwrap().len();
        for at in (0..bytes).step_by((bytes / 25).max(1)) {
            let dir = copy(dir.path());
            edit(&dir.path().join(&name), |bytes| bytes[at] ^= 4);
            start(dir.path(), &format!("{} byte {at}", name.display()));
        }
    }
}

#[test]
fn a_damaged_head_that_rocksdb_mistakes_is_put_right() {
    // The type byte of a frame somewhere behind the first: a plain full record becomes a recyclable
    // one, which RocksDB never leaves.
    let dir = filled(In::Tables);
    let log = dir
        .path()
        .join(with_extension(dir.path(), "log").pop().unwrap());
    edit(&log, |bytes| {
        let first = usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
        assert_eq!(bytes[7 + first + 6], 1);
        bytes[7 + first + 6] ^= 4;
    });
    let Start::Recovered(recovery, loaded) = start(dir.path(), "type byte") else {
        panic!("it does not open");
    };
    assert!(recovery.is_whole());
    assert_eq!(loaded, whole());
}

#[test]
fn no_flipped_byte_in_the_manifest_goes_unnoticed() {
    let dir = filled(In::Tables);
    let mut manifests = files(dir.path());
    manifests.retain(|name| name.to_string_lossy().contains("MANIFEST"));
    for name in manifests {
        let bytes = fs::read(dir.path().join(&name)).unwrap();
        let sparse = (0..bytes.len()).step_by(31);
        for at in heads(&bytes).into_iter().chain(sparse) {
            let dir = copy(dir.path());
            edit(&dir.path().join(&name), |bytes| bytes[at] ^= 4);
            start(dir.path(), &format!("{} byte {at}", name.display()));
        }
    }
}

/// The bytes of the heads of all frames in a log of one block.
fn heads(log: &[u8]) -> Vec<usize> {
    let (mut heads, mut at) = (Vec::new(), 0);
    while let Some(head) = log.get(at..at + 7) {
        heads.extend(at..at + 7);
        at += 7 + usize::from(u16::from_le_bytes([head[4], head[5]]));
    }
    assert_eq!(at, log.len());
    heads
}

#[test]
fn no_flipped_byte_in_the_log_goes_unnoticed() {
    for place in [In::Log, In::Tables] {
        let dir = filled(place);
        let mut lost = 0;
        for name in with_extension(dir.path(), "log") {
            let bytes = fs::read(dir.path().join(&name)).unwrap().len();
            for at in (0..bytes).step_by((bytes / 40).max(1)) {
                let dir = copy(dir.path());
                edit(&dir.path().join(&name), |bytes| bytes[at] ^= 4);
                let started = start(dir.path(), &format!("{} byte {at}", name.display()));
                let Start::Recovered(recovery, _) = started else {
                    continue;
                };
                lost += u64::from(recovery.lost_commits.is_some());
            }
        }
        assert!(lost > 10, "damage is told and the rest is served: {lost}");
    }
}

#[test]
fn no_truncated_log_goes_unnoticed() {
    for place in [In::Log, In::Tables] {
        let dir = filled(place);
        for name in with_extension(dir.path(), "log") {
            let bytes = fs::read(dir.path().join(&name)).unwrap().len();
            for length in (0..bytes).step_by((bytes / 15).max(1)) {
                let dir = copy(dir.path());
                edit(&dir.path().join(&name), |bytes| bytes.truncate(length));
                start(dir.path(), &format!("{} cut at {length}", name.display()));
            }
        }
    }
}

#[test]
fn a_cut_of_the_last_log_is_shown_by_the_watermark() {
    let dir = filled(In::Tables);
    let log = with_extension(dir.path(), "log").pop().unwrap();
    edit(&dir.path().join(log), |bytes| {
        bytes.truncate(bytes.len() / 2);
    });
    let Start::Recovered(recovery, loaded) = start(dir.path(), "cut") else {
        panic!("it does not open");
    };
    assert!(!loaded.commits.is_empty() && loaded.rows.len() as u64 == ROWS);
    let lost = recovery.lost_commits.unwrap();
    assert!(
        matches!(
            lost,
            Lost::BelowWatermark {
                synced: COMMITS,
                ..
            }
        ),
        "{lost:?}"
    );
}

#[test]
fn a_flipped_byte_in_meta_refuses_the_start() {
    let dir = filled(In::Tables);
    let secret = [7; 16];
    let mut hits = 0;
    for name in with_extension(dir.path(), "sst") {
        edit(&dir.path().join(name), |bytes| {
            if let Some(at) = find(bytes, &secret) {
                bytes[at] ^= 1;
                hits += 1;
            }
        });
    }
    assert_eq!(hits, 1);
    let started = start(dir.path(), "meta");
    assert!(
        matches!(&started, Start::Refused(OpenError::MetaUnreadable { .. })),
        "{started:?}"
    );
}

#[test]
fn no_missing_file_goes_unnoticed() {
    type Expected = fn(&Start) -> bool;
    for place in [In::Log, In::Tables] {
        let dir = filled(place);
        for name in files(dir.path()) {
            let dir = copy(dir.path());
            fs::remove_file(dir.path().join(&name)).unwrap();
            let started = start(dir.path(), &format!("without {}", name.display()));
            let file = name.file_name().unwrap().to_string_lossy().into_owned();
            let expected: Expected = match file.split(['-', '.']).next_back().unwrap() {
                "CURRENT" => |s| matches!(s, Start::Refused(OpenError::FileMissing { .. })),
                "sst" => |s| matches!(s, Start::Refused(OpenError::Damaged { .. })),
                "watermark" | "log" => |s| {
                    matches!(s, Start::Recovered(recovery, _) if recovery.lost_commits.is_some())
                        || matches!(s, Start::Refused(OpenError::Damaged { .. }))
                },
                _ if file.starts_with("MANIFEST") => {
                    |s| matches!(s, Start::Refused(OpenError::Damaged { .. }))
                }
                // RocksDB makes these anew; nothing of ours is in them.
                _ => |s| matches!(s, Start::Recovered(recovery, _) if recovery.is_whole()),
            };
            assert!(
                expected(&started),
                "without {}: {started:?}",
                name.display()
            );
        }
    }
}
