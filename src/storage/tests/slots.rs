//! Registers and whole slots: over both stores, and through crashes at every point.

use std::fs;
use std::path::{Path, PathBuf};

use super::conformance::{Bed, MemoryBed, RocksBed, options, states};
use super::directory::copy;
use crate::storage::memory::MemoryStore;
use crate::storage::rocks::RocksStore;
use crate::storage::store::{SlotInstall, StateRow, Store, StoreError, writes_of};
use crate::types::{Slot, SlotSet, StateId};

pub(super) fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

/// A row of a slot, at both of its ends and in between.
pub(super) fn row(of: u16, n: u8, byte: u8) -> StateRow {
    let within = match n {
        0 => 0,
        u8::MAX => (1 << 116) - 1,
        n => u128::from(n),
    };
    (
        StateId(StateId::first_of(slot(of)).0 | within),
        vec![byte; 5],
    )
}

pub(super) fn install_of(of: u16, byte: u8, rows: Option<Vec<StateRow>>) -> SlotInstall {
    SlotInstall {
        slot: slot(of),
        register: vec![byte; 3],
        mark: vec![byte; 2],
        rows,
    }
}

fn registers_are_kept_by_slot_and_in_order<B: Bed>() {
    let mut bed = B::create();
    let register = |of, byte| (slot(of), vec![byte; 4]);
    bed.store().put_registers(&[]).unwrap();
    assert_eq!(bed.store().registers().unwrap(), []);
    let first = [register(4095, 1), register(0, 1), register(70, 1)];
    bed.store().put_registers(&first).unwrap();
    bed.store().put_registers(&[register(70, 2)]).unwrap();
    bed.store().put_meta("registes", b"before").unwrap();
    bed.store().put_meta("registf", b"behind").unwrap();
    for _ in 0..2 {
        let expected = [register(0, 1), register(70, 2), register(4095, 1)];
        assert_eq!(bed.store().registers().unwrap(), expected);
        assert_eq!(bed.store().slot_marks().unwrap(), []);
        bed.reopen();
    }
}

fn marks_are_put_without_touching_rows_or_registers<B: Bed>() {
    let mut bed = B::create();
    let rows = vec![row(7, 0, 1), row(7, 9, 1)];
    let installs = [install_of(7, 1, Some(rows.clone())), install_of(8, 1, None)];
    bed.store().install(&installs).unwrap();
    bed.store().put_marks(&[]).unwrap();
    bed.store().put_marks(&[(slot(7), vec![5; 4])]).unwrap();
    for _ in 0..2 {
        let marks = [(slot(7), vec![5; 4]), (slot(8), vec![1; 2])];
        assert_eq!(bed.store().slot_marks().unwrap(), marks);
        let registers = [7, 8].map(|of| (slot(of), vec![1; 3]));
        assert_eq!(bed.store().registers().unwrap(), registers);
        assert_eq!(states(bed.store()), rows);
        bed.reopen();
    }
}

fn an_installed_slot_has_its_new_rows_and_others_theirs<B: Bed>() {
    let mut bed = B::create();
    let all = |of, byte| [row(of, 0, byte), row(of, 9, byte), row(of, u8::MAX, byte)];
    for of in [6, 7, 8, 4095] {
        bed.store().put_states(&all(of, 1)).unwrap();
    }
    let new = vec![row(7, 0, 2), row(7, 5, 2)];
    let last = vec![row(4095, 5, 2)];
    let installs = [
        install_of(7, 2, Some(new.clone())),
        install_of(8, 2, None),
        install_of(4095, 2, Some(last.clone())),
    ];
    bed.store().install(&installs).unwrap();
    let expected = [&all(6, 1)[..], &new, &all(8, 1), &last].concat();
    for _ in 0..2 {
        assert_eq!(states(bed.store()), expected);
        let values = |byte, len| [7, 8, 4095].map(|of| (slot(of), vec![byte; len]));
        assert_eq!(bed.store().registers().unwrap(), values(2, 3));
        assert_eq!(bed.store().slot_marks().unwrap(), values(2, 2));
        bed.reopen();
    }
}

fn a_dropped_slot_keeps_its_register_only<B: Bed>() {
    let mut bed = B::create();
    let rows = |of| vec![row(of, 0, 1), row(of, u8::MAX, 1)];
    let installs = [0, 7, 8, 4095].map(|of| install_of(of, 1, Some(rows(of))));
    bed.store().install(&installs).unwrap();
    let dropped: SlotSet = [0, 7, 4095].map(slot).into_iter().collect();
    bed.store().drop_slots(&dropped, b"gone").unwrap();
    bed.store().put_states(&[row(7, 3, 4)]).unwrap();
    for _ in 0..2 {
        let left = [vec![row(7, 3, 4)], rows(8)].concat();
        assert_eq!(states(bed.store()), left);
        assert_eq!(bed.store().registers().unwrap().len(), 4);
        let marks = bed.store().slot_marks().unwrap();
        let gone = marks.iter().filter(|(_, mark)| mark == b"gone");
        assert!(gone.map(|(slot, _)| *slot).eq(dropped.iter()));
        bed.reopen();
    }
}

fn a_slots_rows_come_in_pages_and_no_others<B: Bed>() {
    let bed = B::create();
    for of in [6, 7, 8] {
        let rows: Vec<_> = [0, 1, 2, 3, u8::MAX].map(|n| row(of, n, 1)).into();
        bed.store().put_states(&rows).unwrap();
    }
    let row_bytes = 16 + 5;
    for (bytes_max, page) in [(0, 1), (2 * row_bytes, 2), (1 << 20, 5)] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let rows = bed.store().slot_rows(slot(7), after, bytes_max).unwrap();
            let Some((last, _)) = rows.last() else { break };
            assert!(rows.len() <= page);
            after = Some(*last);
            seen.extend(rows);
        }
        let expected = [0, 1, 2, 3, u8::MAX].map(|n| row(7, n, 1));
        assert_eq!(seen, expected);
    }
    let none = bed.store().slot_rows(slot(9), None, 100).unwrap();
    assert_eq!(none, []);
}

fn a_closed_store_refuses<B: Bed>() {
    let bed = B::create();
    let store = bed.store();
    store.close().unwrap();
    let refusals = [
        store.put_registers(&[]),
        store.registers().map(drop),
        store.slot_marks().map(drop),
        store.install(&[install_of(1, 1, None)]),
        store.drop_slots(&SlotSet::EMPTY, b""),
        store.slot_rows(slot(1), None, 1).map(drop),
    ];
    for (at, refusal) in refusals.into_iter().enumerate() {
        assert!(matches!(refusal, Err(StoreError::Closed)), "call {at}");
    }
}

macro_rules! every_store {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[test] fn $case() { super::$case::<super::MemoryBed>(); })*
        }
        mod rocks {
            $(#[test] fn $case() { super::$case::<super::RocksBed>(); })*
        }
    };
}

every_store!(
    registers_are_kept_by_slot_and_in_order,
    marks_are_put_without_touching_rows_or_registers,
    an_installed_slot_has_its_new_rows_and_others_theirs,
    a_dropped_slot_keeps_its_register_only,
    a_slots_rows_come_in_pages_and_no_others,
    a_closed_store_refuses,
);

const SLOTS: u16 = 10;

/// Slots of about a megabyte, so that a few go into each write.
fn large(byte: u8) -> Vec<SlotInstall> {
    let rows = |of| (1..=byte + 3).map(move |n| (row(of, n, byte).0, vec![byte; 300_000]));
    (0..SLOTS)
        .map(|of| install_of(of, byte, Some(rows(of).collect())))
        .collect()
}

/// How many slots are as `new` says; all others must be as `old` does.
fn count_new(store: &impl Store, old: &[SlotInstall], new: &[SlotInstall]) -> usize {
    let (registers, marks) = (store.registers().unwrap(), store.slot_marks().unwrap());
    let rows = states(store);
    let found = registers.into_iter().zip(marks).map(|(register, mark)| {
        assert_eq!(register.0, mark.0);
        let rows = rows.iter().filter(|(id, _)| id.slot() == register.0);
        SlotInstall {
            slot: register.0,
            register: register.1,
            mark: mark.1,
            rows: Some(rows.cloned().collect()),
        }
    });
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), old.len());
    let is_new = found.iter().zip(old.iter().zip(new)).map(|(found, it)| {
        assert!(found == it.0 || found == it.1, "{} is mixed", found.slot);
        found == it.1
    });
    is_new.filter(|is_new| *is_new).count()
}

#[test]
fn slots_are_written_whole_and_few_at_once() {
    let slots = large(1);
    let writes: Vec<_> = writes_of(&slots).map(<[_]>::len).collect();
    assert_eq!(writes, [3, 3, 3, 1]);
    assert!(writes_of(&[]).next().is_none());
}

#[test]
fn a_crash_at_any_point_of_an_installation_leaves_each_slot_old_or_new() {
    let (old, new) = (large(1), large(2));
    let writes = writes_of(&new).count() as u64;
    let mut counts = std::collections::BTreeSet::new();
    for failing in 1..=writes + 1 {
        for seed in 0..6 {
            let store = MemoryStore::new();
            store.install(&old).unwrap();
            if failing <= writes {
                store.fail_write(failing);
            } else {
                store.fail_sync(1);
            }
            store.install(&new).unwrap_err();
            counts.insert(count_new(&store.power_loss(seed), &old, &new));
            let store = MemoryStore::new();
            store.install(&old).unwrap();
            store.install(&new).unwrap();
            let after = store.power_loss(seed);
            assert_eq!(count_new(&after, &old, &new), new.len(), "it was synced");
        }
    }
    assert!(counts.len() > 2, "{counts:?}");
}

#[test]
fn a_drop_is_all_or_nothing_and_synced() {
    let rows = |of| vec![row(of, 1, 1)];
    let all: SlotSet = [1, 2].map(slot).into_iter().collect();
    for seed in 0..8 {
        let store = MemoryStore::new();
        let installs = [1, 2].map(|of| install_of(of, 1, Some(rows(of))));
        store.install(&installs).unwrap();
        if seed % 2 == 0 {
            store.fail_sync(1);
            store.drop_slots(&all, b"gone").unwrap_err();
        } else {
            store.drop_slots(&all, b"gone").unwrap();
        }
        let after = store.power_loss(seed);
        let marks = after.slot_marks().unwrap();
        let gone = marks.iter().filter(|(_, mark)| mark == b"gone").count();
        let left = states(&after).len();
        assert!((gone, left) == (2, 0) || seed % 2 == 0 && (gone, left) == (0, 2));
    }
}

fn last_log(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir.join("db")).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let logs = paths.filter(|path| path.extension().is_some_and(|it| it == "log"));
    logs.max().unwrap()
}

#[test]
fn a_log_torn_anywhere_leaves_each_slot_old_or_new() {
    let small = |byte: u8| {
        let rows = |of| Some((1..=byte * 9).map(|n| row(of, n, byte)).collect());
        let slots = (0..4).map(|of| install_of(of, byte, rows(of)));
        slots.collect::<Vec<_>>()
    };
    let (old, new) = (small(1), small(2));
    let dir = tempfile::tempdir().unwrap();
    let store = RocksStore::open(&options(dir.path().to_owned(), true)).unwrap();
    store.install(&old).unwrap();
    // Another log begins there.
    store.file_now();
    let log = last_log(dir.path());
    let before = fs::metadata(&log).unwrap().len();
    // One write for each slot, and the crash before the sync.
    for slot in &new {
        store.write_slots(std::slice::from_ref(slot));
    }
    let after = fs::metadata(&log).unwrap().len();
    assert!(after > before + 2000);
    let mut counts = Vec::new();
    let cuts = (before..after).step_by(61).chain([after]);
    for cut in cuts {
        let torn = copy(dir.path());
        let log = last_log(torn.path());
        fs::File::options()
            .write(true)
            .open(log)
            .unwrap()
            .set_len(cut)
            .unwrap();
        let store = RocksStore::open(&options(torn.path().to_owned(), false)).unwrap();
        counts.push(count_new(&store, &old, &new));
    }
    assert!(counts.is_sorted());
    assert_eq!((counts[0], counts.last()), (0, Some(&new.len())));
    counts.dedup();
    assert_eq!(counts, [0, 1, 2, 3, 4]);
}

#[test]
fn no_damage_to_a_log_takes_a_register_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksStore::open(&options(dir.path().to_owned(), true)).unwrap();
    store
        .put_registers(&[(slot(1), vec![1]), (slot(2), vec![1])])
        .unwrap();
    store
        .install(&[install_of(2, 2, Some(vec![row(2, 1, 2)]))])
        .unwrap();
    store
        .drop_slots(&[slot(3)].into_iter().collect(), b"gone")
        .unwrap();
    let expected = (store.registers().unwrap(), store.slot_marks().unwrap());
    store.append_commit(1, &[7; 500]).unwrap();
    store.close().unwrap();
    for file in fs::read_dir(dir.path().join("db")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "log") {
            let mut bytes = fs::read(&path).unwrap();
            for byte in &mut bytes {
                *byte ^= 0x55;
            }
            fs::write(&path, bytes).unwrap();
        }
    }
    let store = RocksStore::open(&options(dir.path().to_owned(), false)).unwrap();
    let found = (store.registers().unwrap(), store.slot_marks().unwrap());
    assert_eq!(found, expected);
}

#[test]
fn a_register_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksStore::open(&options(dir.path().to_owned(), true)).unwrap();
    store.put_registers(&[(slot(1), vec![1])]).unwrap();
    store.put_meta("register/4096", b"").unwrap();
    let unreadable = store.registers().unwrap_err();
    let StoreError::MetaUnreadable { name } = unreadable else {
        panic!("{unreadable:?}")
    };
    assert_eq!(name, "register/4096");
}
