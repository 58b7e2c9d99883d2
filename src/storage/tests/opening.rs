//! Opening real directories: whose they are, and what is told when they cannot be used; full and
//! read-only disks; expiry by compaction.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::conformance::{journal, options, states};
use crate::storage::fence::Fence;
use crate::storage::meta::{FORMAT_OLDEST, FORMAT_VERSION, Identity};
use crate::storage::open::OpenError;
use crate::storage::rocks::RocksStore;
use crate::storage::store::{Store, StoreError};
use crate::storage::watermark::Mark;
use crate::types::{BootCounter, NodeId, SlotTime, StateId};

fn open(path: &Path, create: bool) -> Result<RocksStore, OpenError> {
    RocksStore::open(&options(path.to_owned(), create))
}

#[test]
fn a_directory_keeps_who_it_is_and_counts_its_starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/data");
    let born = options(PathBuf::new(), true).newborn;
    for boot in 1..=3 {
        let mut options = options(path.clone(), true);
        // Only the first start is asked who it is.
        if boot > 1 {
            options.newborn = Identity {
                node: NodeId(99),
                ..born
            };
        }
        let store = RocksStore::open(&options).unwrap();
        assert_eq!(store.found().created, boot == 1);
        assert_eq!((store.identity(), store.boots()), (born, BootCounter(boot)));
        store.close().unwrap();
    }
}

/// Prepares a directory, opens it, and demands an error that names it.
fn check_refusal(create: bool, prepare: impl FnOnce(&Path), expected: fn(&OpenError) -> bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    fs::create_dir(&path).unwrap();
    prepare(&path);
    let error = open(&path, create).unwrap_err();
    assert!(expected(&error), "{error:?}");
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn an_empty_place_is_filled_only_when_told_to() {
    check_refusal(false, |_| (), |e| matches!(e, OpenError::Empty { .. }));
    check_refusal(
        false,
        |path| fs::remove_dir(path).unwrap(),
        |e| matches!(e, OpenError::Missing { .. }),
    );
}

#[test]
fn what_belongs_to_others_is_left_alone() {
    check_refusal(
        true,
        |path| fs::write(path.join("PG_VERSION"), b"17").unwrap(),
        |e| matches!(e, OpenError::NotADatabase { name, .. } if name == "PG_VERSION"),
    );
    check_refusal(
        true,
        |path| {
            fs::remove_dir(path).unwrap();
            fs::write(path, b"").unwrap();
        },
        |e| matches!(e, OpenError::NotADirectory { .. }),
    );
}

#[test]
fn another_format_and_an_unreadable_identity_are_refused() {
    const NEWER: u32 = FORMAT_VERSION + 1;
    const OLDER: u32 = FORMAT_OLDEST - 1;
    let put = |name: &'static str, value: Vec<u8>| {
        move |path: &Path| {
            let store = open(path, true).unwrap();
            store.put_meta(name, &value).unwrap();
            store.close().unwrap();
        }
    };
    check_refusal(
        true,
        put("format", NEWER.to_le_bytes().to_vec()),
        |e| matches!(e, OpenError::NewerFormat { found, .. } if *found == NEWER),
    );
    check_refusal(
        true,
        put("format", OLDER.to_le_bytes().to_vec()),
        |e| matches!(e, OpenError::OlderFormat { found, .. } if *found == OLDER),
    );
    for name in ["format", "identity", "boots"] {
        check_refusal(true, put(name, b"short".to_vec()), |e| {
            matches!(e, OpenError::MetaUnreadable { .. })
        });
    }
}

#[test]
fn a_directory_of_the_format_before_is_gone_on_with_and_is_then_of_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), true).unwrap();
    let old = FORMAT_OLDEST.to_le_bytes();
    store.put_meta("format", &old).unwrap();
    store.append_commit(1, b"record").unwrap();
    store.close().unwrap();
    drop(store);
    let store = open(dir.path(), false).unwrap();
    let format = store.meta("format").unwrap();
    assert_eq!(
        format.as_deref(),
        Some(FORMAT_VERSION.to_le_bytes().as_slice())
    );
    let mut records = 0;
    store.scan_journal(&mut |_, _| records += 1).unwrap();
    assert_eq!(records, 1);
}

#[test]
fn a_deleted_database_is_not_taken_for_an_empty_place() {
    for (create, leaves_dir) in [(true, true), (true, false), (false, true), (false, false)] {
        check_refusal(
            create,
            |path| {
                open(path, true).unwrap().close().unwrap();
                fs::remove_dir_all(path.join("db")).unwrap();
                if leaves_dir {
                    fs::create_dir(path.join("db")).unwrap();
                }
            },
            |e| matches!(e, OpenError::FileMissing { .. }),
        );
    }
}

#[test]
fn what_was_appended_survives_the_process_without_a_sync() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), true).unwrap();
    store.append_commit(1, b"record").unwrap();
    store.put_states(&[(StateId(1), b"row".to_vec())]).unwrap();
    // The files as they are now are what kill -9 leaves.
    let copy = super::directory::copy(dir.path());
    let after = open(copy.path(), false).unwrap();
    assert_eq!(journal(&after), [(1, b"record".to_vec())]);
    assert_eq!(states(&after), [(StateId(1), b"row".to_vec())]);
    assert!(!after.found().salvaged);
}

#[test]
fn a_second_opening_is_refused_while_the_first_lasts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), true).unwrap();
    let error = open(dir.path(), true).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    drop(store);
    open(dir.path(), false).unwrap();
}

#[test]
fn an_interrupted_creation_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    // What is there before RocksDB has written anything, and the mark of a database not yet born.
    fs::create_dir(dir.path().join("db")).unwrap();
    let boot = options(PathBuf::new(), true).boot;
    let (mut mark, _) =
        crate::storage::watermark::Watermark::open(&dir.path().join("watermark")).unwrap();
    mark.put(Mark::unborn(boot)).unwrap();
    assert!(matches!(
        open(dir.path(), false),
        Err(OpenError::Empty { .. })
    ));
    assert!(open(dir.path(), true).unwrap().found().created);
}

#[test]
fn expired_rows_go_when_files_are_compacted_and_only_by_the_published_clock() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path().to_owned(), true);
    let clocks = options.slot_clocks.clone();
    let store = RocksStore::open(&options).unwrap();
    let row = |expires_ms: u64| [&[0; 5], expires_ms.to_le_bytes().as_slice()].concat();
    store
        .put_states(&[(StateId(1), row(1000)), (StateId(2), row(2000))])
        .unwrap();
    store
        .put_states(&[(StateId(3), b"unreadable".to_vec())])
        .unwrap();
    clocks.publish(SlotTime::from_ms(5000));
    store.compact_states();
    assert_eq!(states(&store).len(), 3, "while no slot is served");
    clocks.open(StateId(1).slot(), -100);
    for (clock_ms, left) in [
        (0, vec![1, 2, 3]),
        (1099, vec![1, 2, 3]),
        (1100, vec![2, 3]),
        (2100, vec![3]),
    ] {
        clocks.publish(SlotTime::from_ms(clock_ms));
        store.compact_states();
        let ids: Vec<u128> = states(&store).iter().map(|(id, _)| id.0).collect();
        assert_eq!(ids, left, "at {clock_ms} ms");
    }
}

/// A small file system in memory, or `None`, said aloud, where mounting is not permitted.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: this needs the right to mount a tmpfs");
            return None;
        }
        Some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        let status = Command::new("mount")
            .args(["-o", &options])
            .arg(self.path())
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a test that failed may still have files open.
        let status = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(status.unwrap().success() || std::thread::panicking());
    }
}

#[test]
fn a_full_disk_fails_typed_and_loses_nothing_that_was_kept() {
    let Some(disk) = Tmpfs::mount("40m") else {
        return;
    };
    let path = disk.path().join("data");
    let ballast = disk.path().join("ballast");
    let store = open(&path, true).unwrap();
    fs::write(&ballast, vec![1; 16 << 20]).unwrap();
    let fence = Fence::new();
    let mut kept = 0;
    // Far more than the disk holds; it must end before.
    for number in 1..100_000 {
        let appended = store
            .append_commit(number, &[7; 10_000])
            .and_then(|()| store.sync());
        if let Err(error) = appended {
            assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
            fence.close(error);
            break;
        }
        kept = number;
    }
    assert!(fence.is_closed() && kept > 0);
    drop(store);
    // Still full: it opens, or says so.
    match open(&path, false) {
        Ok(store) => drop(store),
        Err(error) => assert!(matches!(error, OpenError::Full { .. }), "{error:?}"),
    }
    fs::remove_file(&ballast).unwrap();
    let store = open(&path, false).unwrap();
    assert!(!store.found().salvaged);
    let numbers: Vec<u64> = journal(&store)
        .into_iter()
        .map(|(number, _)| number)
        .collect();
    assert!(
        numbers.len() as u64 >= kept,
        "{} of {kept} are left",
        numbers.len()
    );
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64));
    store.append_commit(kept + 2, b"goes on").unwrap();
    store.close().unwrap();
}

#[test]
fn a_read_only_directory_is_refused_as_such() {
    let Some(disk) = Tmpfs::mount("40m") else {
        return;
    };
    open(disk.path(), true).unwrap().close().unwrap();
    disk.remount("ro");
    let error = open(disk.path(), false).unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
    disk.remount("rw");
    open(disk.path(), false).unwrap();
}
