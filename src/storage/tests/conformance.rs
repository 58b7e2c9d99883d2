//! What every store must do: the same cases over the model and over RocksDB, each also after the
//! store was closed, or killed, and opened again.

use std::path::PathBuf;
use std::sync::Arc;

use crate::storage::memory::MemoryStore;
use crate::storage::meta::Identity;
use crate::storage::open::OpenOptions;
use crate::storage::rocks::RocksStore;
use crate::storage::store::{Scan, StateRow, Store, StoreError};
use crate::storage::watermark::{BootId, Mark};
use crate::types::{NodeId, StateId};

/// How a store of one kind is made and opened again.
pub(super) trait Bed {
    type Store: Store;
    fn create() -> Self;
    fn store(&self) -> &Self::Store;
    /// Closes the store and opens it again.
    fn reopen(&mut self);
}

pub(super) struct MemoryBed(MemoryStore);

impl Bed for MemoryBed {
    type Store = MemoryStore;

    fn create() -> Self {
        Self(MemoryStore::new())
    }

    fn store(&self) -> &MemoryStore {
        &self.0
    }

    fn reopen(&mut self) {
        self.0.close().unwrap();
        self.0 = self.0.kill();
    }
}

pub(super) struct RocksBed {
    store: Option<RocksStore>,
    dir: tempfile::TempDir,
}

pub(super) fn options(path: PathBuf, create: bool) -> OpenOptions {
    OpenOptions {
        path,
        create,
        newborn: Identity {
            node: NodeId(5),
            cluster: 6,
            key_secret: [7; 16],
            slot_count: 4096,
            founder: true,
        },
        boot: BootId(8),
        slot_clocks: Arc::default(),
    }
}

impl Bed for RocksBed {
    type Store = RocksStore;

    fn create() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = RocksStore::open(&options(dir.path().to_owned(), true)).unwrap();
        Self {
            store: Some(store),
            dir,
        }
    }

    fn store(&self) -> &RocksStore {
        self.store.as_ref().unwrap()
    }

    fn reopen(&mut self) {
        self.store().close().unwrap();
        // The directory is free although the closed store is still there.
        let opened = RocksStore::open(&options(self.dir.path().to_owned(), false)).unwrap();
        self.store = Some(opened);
    }
}

pub(super) fn states(store: &impl Store) -> Vec<StateRow> {
    let mut rows = Vec::new();
    let scan = store
        .scan_states(&mut |id, row| rows.push((id, row.to_vec())))
        .unwrap();
    assert_eq!(scan, Scan::Whole);
    rows
}

pub(super) fn journal(store: &impl Store) -> Vec<(u64, Vec<u8>)> {
    let mut records = Vec::new();
    let scan = store.scan_journal(&mut |number, record| records.push((number, record.to_vec())));
    assert_eq!(scan.unwrap(), Scan::Whole);
    records
}

fn an_empty_store_holds_nothing<B: Bed>() {
    let mut bed = B::create();
    for created in [true, false] {
        assert_eq!(bed.store().found().created, created);
        assert_eq!(bed.store().meta("clock").unwrap(), None);
        assert_eq!(bed.store().state(StateId(1)).unwrap(), None);
        assert_eq!(bed.store().journal_floor().unwrap(), 0);
        assert_eq!(states(bed.store()), []);
        assert_eq!(journal(bed.store()), []);
        bed.reopen();
    }
}

fn the_last_value_of_a_name_is_kept<B: Bed>() {
    let mut bed = B::create();
    bed.store().put_meta("clock", b"1").unwrap();
    bed.store().put_meta("clock", b"2").unwrap();
    bed.store().put_meta("empty", b"").unwrap();
    for _ in 0..2 {
        assert_eq!(bed.store().meta("clock").unwrap(), Some(b"2".to_vec()));
        assert_eq!(bed.store().meta("empty").unwrap(), Some(Vec::new()));
        bed.reopen();
    }
}

fn the_journal_reads_in_order_of_numbers<B: Bed>() {
    let mut bed = B::create();
    let numbers = [
        1,
        2,
        3,
        255,
        256,
        65_536,
        u64::from(u32::MAX) + 1,
        u64::MAX - 1,
    ];
    let expected: Vec<_> = numbers.map(|n| (n, n.to_string().into_bytes())).to_vec();
    for (number, record) in &expected {
        bed.store().append_commit(*number, record).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(journal(bed.store()), expected);
        bed.reopen();
    }
}

fn rows_read_in_order_of_ids_and_the_last_one_holds<B: Bed>() {
    let mut bed = B::create();
    let row = |id: u128, byte| (StateId(id), vec![byte; 3]);
    let store = bed.store();
    store
        .put_states(&[row(1 << 127, 1), row(256, 1), row(255, 1)])
        .unwrap();
    store.put_states(&[row(256, 2), row(0, 2)]).unwrap();
    store.put_states(&[]).unwrap();
    let expected = [row(0, 2), row(255, 1), row(256, 2), row(1 << 127, 1)];
    for _ in 0..2 {
        assert_eq!(states(bed.store()), expected);
        assert_eq!(bed.store().state(StateId(256)).unwrap(), Some(vec![2; 3]));
        assert_eq!(bed.store().state(StateId(9)).unwrap(), None);
        bed.reopen();
    }
}

fn the_journal_is_dropped_up_to_the_floor_and_no_further<B: Bed>() {
    let mut bed = B::create();
    for number in 1..=10 {
        bed.store().append_commit(number, &[1; 100]).unwrap();
    }
    bed.store().drop_journal(0).unwrap();
    bed.store().drop_journal(7).unwrap();
    bed.store().drop_journal(4).unwrap();
    for _ in 0..2 {
        let numbers: Vec<_> = journal(bed.store()).into_iter().map(|(n, _)| n).collect();
        assert_eq!(numbers, [8, 9, 10]);
        assert_eq!(bed.store().journal_floor().unwrap(), 7);
        bed.reopen();
    }
}

fn the_watermark_is_found_by_the_next_process<B: Bed>() {
    let mut bed = B::create();
    bed.store().put_mark(3, false).unwrap();
    bed.store().put_mark(4, true).unwrap();
    let boot = bed.store().found().boot;
    bed.reopen();
    let expected = Mark {
        synced: 4,
        clean: true,
        boot,
    };
    assert_eq!(bed.store().found().mark, Some(expected));
}

fn a_closed_store_refuses_everything_and_closes_again<B: Bed>() {
    let bed = B::create();
    let store = bed.store();
    store.close().unwrap();
    store.close().unwrap();
    let refusals = [
        store.meta("x").map(drop),
        store.put_meta("x", b""),
        store.append_commit(1, b""),
        store.sync(),
        store.put_states(&[(StateId(1), Vec::new())]),
        store.state(StateId(1)).map(drop),
        store.scan_states(&mut |_, _| ()).map(drop),
        store.scan_journal(&mut |_, _| ()).map(drop),
        store.drop_journal(1),
        store.journal_floor().map(drop),
        store.put_mark(1, true),
    ];
    for (at, refusal) in refusals.into_iter().enumerate() {
        assert!(
            matches!(refusal, Err(StoreError::Closed)),
            "call {at}: {refusal:?}"
        );
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
    an_empty_store_holds_nothing,
    the_last_value_of_a_name_is_kept,
    the_journal_reads_in_order_of_numbers,
    rows_read_in_order_of_ids_and_the_last_one_holds,
    the_journal_is_dropped_up_to_the_floor_and_no_further,
    the_watermark_is_found_by_the_next_process,
    a_closed_store_refuses_everything_and_closes_again,
);
