//! Recovery and checkpoints over the model of a store: what is read back after each way to die,
//! and what is told to be missing.

use parking_lot::Mutex;
use proptest::prelude::*;

use crate::storage::checkpoint::{Checkpoint, CheckpointSource, checkpoint};
use crate::storage::fence::{Fence, StorageFailed};
use crate::storage::memory::MemoryStore;
use crate::storage::record;
use crate::storage::recovery::{BAD_ROWS_MAX, BadRecord, Lost, Recovery, RecoverySink, recover};
use crate::storage::replace::RowTurn;
use crate::storage::store::{StateRow, Store};
use crate::types::StateId;

const STATES: usize = 8;

/// Counters whose changes are committed as absolute values, as the limiter's are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Counters([u8; STATES]);

impl RecoverySink for Counters {
    fn load_row(&mut self, id: StateId, row: &[u8]) -> Result<(), BadRecord> {
        let [value] = row else {
            let reason = "not one byte".to_owned();
            return Err(BadRecord { reason });
        };
        self.0[usize::try_from(id.0).unwrap() % STATES] = *value;
        Ok(())
    }

    fn replay(&mut self, _number: u64, record: &[u8]) -> Result<(), BadRecord> {
        let [state, value] = record else {
            let reason = "not two bytes".to_owned();
            return Err(BadRecord { reason });
        };
        self.0[usize::from(*state) % STATES] = *value;
        Ok(())
    }
}

/// A table that hands out two states at once.
struct Unsaved(Mutex<Vec<StateRow>>);

impl CheckpointSource for Unsaved {
    type Cursor = ();

    fn unsaved(&self, (): &mut (), rows: &mut Vec<StateRow>) -> bool {
        let mut left = self.0.lock();
        let taken = left.len().min(2);
        rows.extend(left.drain(..taken));
        taken > 0
    }

    fn positions(&self, committed: u64) -> Vec<u8> {
        committed.to_le_bytes().to_vec()
    }

    fn saved(&self, _rows: &[StateRow]) {}
}

fn rows_of(counters: &Counters) -> Unsaved {
    let rows = counters.0.iter().enumerate();
    Unsaved(Mutex::new(
        rows.map(|(id, value)| (StateId(id as u128), vec![*value]))
            .collect(),
    ))
}

fn append(store: &MemoryStore, number: u64, previous: u64, content: &[u8]) {
    let mut stored = Vec::new();
    record::begin(&mut stored);
    stored.extend_from_slice(content);
    record::seal(&mut stored, number, previous);
    store.append_commit(number, &stored).unwrap();
}

fn read(store: &MemoryStore) -> (Recovery, Counters) {
    let mut counters = Counters::default();
    let recovery = recover(store, &mut counters).unwrap();
    (recovery, counters)
}

#[derive(Debug, Clone)]
enum Step {
    Change { state: u8, value: u8 },
    EmptyCommit,
    Sync,
    Checkpoint,
    Kill,
    PowerLoss(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..u8::try_from(STATES).unwrap(), any::<u8>()).prop_map(|(state, value)| Step::Change { state, value }),
        1 => Just(Step::EmptyCommit),
        2 => Just(Step::Sync),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::PowerLoss),
    ]
}

/// A node that commits one change at a time, and the history of its counters.
struct Node {
    store: MemoryStore,
    counters: Counters,
    /// Counters after each commit since the last sync, and at it.
    since_sync: Vec<Counters>,
    open: u64,
    written: u64,
}

impl Node {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Change { state, value } => {
                self.counters.0[usize::from(*state)] = *value;
                append(&self.store, self.open, self.written, &[*state, *value]);
                self.written = self.open;
                self.open += 1;
                self.since_sync.push(self.counters.clone());
            }
            Step::EmptyCommit => self.open += 1,
            Step::Sync => {
                self.store.sync().unwrap();
                self.store.put_mark(self.written, false).unwrap();
                self.since_sync = vec![self.counters.clone()];
            }
            Step::Checkpoint => {
                let source = rows_of(&self.counters);
                checkpoint(
                    &self.store,
                    &source,
                    &RowTurn::default(),
                    &Fence::new(),
                    self.open - 1,
                )
                .unwrap();
                self.since_sync = vec![self.counters.clone()];
            }
            Step::Kill => {
                self.store = self.store.kill();
                let recovery = self.recover();
                assert!(!recovery.rebooted);
                assert_eq!(Some(&self.counters), self.since_sync.last());
            }
            Step::PowerLoss(seed) => {
                self.store = self.store.power_loss(*seed);
                let recovery = self.recover();
                assert!(recovery.rebooted);
                assert!(
                    self.since_sync.contains(&self.counters),
                    "{:?}",
                    self.counters
                );
                self.since_sync = vec![self.counters.clone()];
            }
        }
    }

    fn recover(&mut self) -> Recovery {
        let (recovery, counters) = read(&self.store);
        assert_eq!(recovery.lost_commits, None);
        assert_eq!(recovery.bad_rows, []);
        assert!(recovery.unclean);
        self.counters = counters;
        self.open = recovery.next_commit;
        self.written = recovery.next_commit - 1;
        self.store.put_mark(self.written, false).unwrap();
        recovery
    }
}

proptest! {
    #[test]
    fn whatever_ends_a_process_leaves_what_was_promised(steps in prop::collection::vec(step(), 1..60)) {
        let store = MemoryStore::new();
        store.put_mark(0, false).unwrap();
        let mut node = Node {
            store,
            counters: Counters::default(),
            since_sync: vec![Counters::default()],
            open: 1,
            written: 0,
        };
        for step in &steps {
            node.take(step);
        }
    }
}

#[test]
fn a_checkpoint_writes_all_rows_and_drops_only_what_was_committed_before() {
    let store = MemoryStore::new();
    for number in 1..=5 {
        append(&store, number, number - 1, &[0, 9]);
    }
    let source = rows_of(&Counters([1; STATES]));
    let done = checkpoint(&store, &source, &RowTurn::default(), &Fence::new(), 3).unwrap();
    assert_eq!(
        done,
        Checkpoint {
            rows: STATES as u64,
            through: 3
        }
    );
    let (recovery, counters) = read(&store.kill());
    assert_eq!(
        (recovery.rows, recovery.records, recovery.next_commit),
        (STATES as u64, 2, 6)
    );
    assert_eq!(counters, Counters([9, 1, 1, 1, 1, 1, 1, 1]));
}

#[test]
fn a_failed_checkpoint_closes_the_fence_and_drops_nothing() {
    for fail_write in 1..=5 {
        let store = MemoryStore::new();
        append(&store, 1, 0, &[0, 9]);
        store.fail_write(fail_write);
        let fence = Fence::new();
        let source = rows_of(&Counters([1; STATES]));
        assert_eq!(
            checkpoint(&store, &source, &RowTurn::default(), &fence, 1),
            Err(StorageFailed)
        );
        assert!(fence.is_closed());
        assert_eq!(
            checkpoint(&store, &source, &RowTurn::default(), &fence, 1),
            Err(StorageFailed)
        );
        assert_eq!(read(&store.kill()).0.records, 1, "write {fail_write}");
    }
}

/// Fills a store, kills it, and compares what recovery says is lost.
fn check_lost(fill: impl FnOnce(&MemoryStore), expected: Option<&Lost>) {
    let store = MemoryStore::new();
    store.put_mark(0, false).unwrap();
    fill(&store);
    let (recovery, _) = read(&store.kill());
    assert_eq!(recovery.lost_commits.as_ref(), expected, "{recovery:?}");
}

#[test]
fn commit_numbers_may_have_holes_that_no_record_names() {
    check_lost(|_| (), None);
    check_lost(
        |store| {
            append(store, 1, 0, &[0, 1]);
            append(store, 4, 1, &[0, 2]);
        },
        None,
    );
    check_lost(
        |store| {
            store.drop_journal(3).unwrap();
            append(store, 4, 1, &[0, 2]);
        },
        None,
    );
}

#[test]
fn a_record_that_is_named_but_not_there_is_told() {
    let gap = |missing, number| Lost::Gap { missing, number };
    check_lost(
        |store| {
            append(store, 1, 0, &[0, 1]);
            append(store, 3, 2, &[0, 2]);
        },
        Some(&gap(2, 3)),
    );
    check_lost(|store| append(store, 2, 1, &[0, 2]), Some(&gap(1, 2)));
}

#[test]
fn a_damaged_record_is_told() {
    let bad = |reason: &str| {
        let reason = reason.to_owned();
        Lost::BadCommit { number: 1, reason }
    };
    check_lost(
        |store| append(store, 1, 0, &[0, 1, 2]),
        Some(&bad("not two bytes")),
    );
    check_lost(
        |store| store.append_commit(1, &[0, 1]).unwrap(),
        Some(&bad("its head does not match its number")),
    );
}

#[test]
fn a_journal_that_ends_below_the_watermark_is_told() {
    let fill = |synced| {
        move |store: &MemoryStore| {
            append(store, 2, 0, &[0, 1]);
            store.put_mark(synced, false).unwrap();
        }
    };
    check_lost(fill(2), None);
    check_lost(fill(3), Some(&Lost::BelowWatermark { last: 2, synced: 3 }));
    let (recovery, _) = read(&MemoryStore::new().kill());
    assert_eq!(recovery.lost_commits, Some(Lost::NoWatermark));
}

#[test]
fn the_next_commit_is_above_all_that_were_synced() {
    let store = MemoryStore::new();
    append(&store, 3, 0, &[0, 1]);
    store.put_mark(7, false).unwrap();
    assert_eq!(read(&store.kill()).0.next_commit, 8);
}

#[test]
fn bad_rows_are_told_one_by_one_up_to_a_bound_and_then_as_all() {
    for (bad, all) in [(1, false), (BAD_ROWS_MAX, false), (BAD_ROWS_MAX + 1, true)] {
        let store = MemoryStore::new();
        store.put_mark(0, true).unwrap();
        store.put_states(&[(StateId(1 << 60), vec![1])]).unwrap();
        let rows: Vec<_> = (0..bad)
            .map(|id| (StateId(id as u128), Vec::new()))
            .collect();
        store.put_states(&rows).unwrap();
        let (recovery, _) = read(&store.kill());
        assert_eq!(recovery.bad_rows.len(), bad.min(BAD_ROWS_MAX));
        assert_eq!(recovery.lost_commits == Some(Lost::ManyBadRows), all);
        assert_eq!(recovery.rows, 1);
    }
}
