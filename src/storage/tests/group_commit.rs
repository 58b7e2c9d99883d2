//! The committer over the model of a store: what is kept, when, and what a failure does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::limiter::policy::Durability;
use crate::storage::committer::{CommitSource, Committer, TakenCommit};
use crate::storage::fence::{Fence, StorageFailed};
use crate::storage::memory::MemoryStore;
use crate::storage::recovery::{BadRecord, Recovery, RecoverySink, recover};
use crate::storage::store::{Store, StoreError};
use crate::types::{MonoTime, StateId};

/// Never comes in a test, so that only the calls of the test sync.
const NEVER: Duration = Duration::from_secs(3600);

/// A table of bytes: each change is one byte of the next record.
#[derive(Debug)]
pub(super) struct Bytes(Mutex<(u64, Vec<u8>)>);

impl Bytes {
    pub(super) fn after(recovered: u64) -> Self {
        Self(Mutex::new((recovered + 1, Vec::new())))
    }

    /// Changes something; the ticket.
    pub(super) fn change(&self, byte: u8) -> u64 {
        let mut open = self.0.lock();
        open.1.push(byte);
        open.0
    }
}

impl CommitSource for Bytes {
    fn take_commit(&self, record: &mut Vec<u8>) -> TakenCommit {
        let mut open = self.0.lock();
        let number = open.0;
        open.0 += 1;
        let empty = open.1.is_empty();
        record.append(&mut open.1);
        TakenCommit { number, empty }
    }

    fn take_number(&self) -> u64 {
        let mut open = self.0.lock();
        open.0 += 1;
        open.0 - 1
    }
}

/// What recovery reads back.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) rows: BTreeMap<StateId, Vec<u8>>,
    pub(super) bytes: Vec<u8>,
}

impl RecoverySink for Replayed {
    fn load_row(&mut self, id: StateId, row: &[u8]) -> Result<(), BadRecord> {
        self.rows.insert(id, row.to_vec());
        Ok(())
    }

    fn replay(&mut self, _number: u64, record: &[u8]) -> Result<(), BadRecord> {
        self.bytes.extend_from_slice(record);
        Ok(())
    }
}

// Behind a pointer to any store, as a node has it that may run with or without a directory.
type Committing = Committer<Arc<Bytes>, dyn Store>;

fn start(store: MemoryStore) -> (Arc<MemoryStore>, Arc<Fence>, Committing) {
    let (store, fence) = (Arc::new(store), Arc::new(Fence::new()));
    let source = Arc::new(Bytes::after(0));
    let any: Arc<dyn Store> = store.clone();
    let committer =
        Committer::start(source, any, Arc::clone(&fence), 0, NEVER, MonoTime::default).unwrap();
    (store, fence, committer)
}

fn replay(store: &MemoryStore) -> (Recovery, Replayed) {
    let mut replayed = Replayed::default();
    let recovery = recover(store, &mut replayed).unwrap();
    (recovery, replayed)
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

#[test]
fn an_answer_survives_what_its_durability_says() {
    for (durability, survives_kill, survives_power_loss) in [
        (Durability::None, false, false),
        (Durability::Process, true, false),
        (Durability::Fsync, true, true),
    ] {
        // The model loses a random part of what is unsynced; over many seeds, everything once.
        let mut lost_to_power = false;
        for seed in 0..20 {
            let (store, _, committer) = start(MemoryStore::new());
            let ticket = committer.source().change(7);
            block_on(committer.kept(ticket, durability)).unwrap();
            let (_, after) = replay(&store.power_loss(seed));
            lost_to_power |= after.bytes != [7];
            drop(committer);
        }
        assert_eq!(lost_to_power, !survives_power_loss, "{durability:?}");
        let (store, _, committer) = start(MemoryStore::new());
        let ticket = committer.source().change(7);
        block_on(committer.kept(ticket, durability)).unwrap();
        let (_, after) = replay(&store.kill());
        assert_eq!(after.bytes == [7], survives_kill, "{durability:?}");
    }
}

#[test]
fn ready_tasks_of_a_runtime_share_one_commit() {
    let (_, _, committer) = start(MemoryStore::new());
    let committer = Arc::new(committer);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..100)
            .map(|byte| {
                let committer = Arc::clone(&committer);
                tokio::spawn(async move {
                    let ticket = committer.source().change(byte);
                    committer.kept(ticket, Durability::Process).await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
    });
    assert_eq!(committer.commits(), 1);
    assert_eq!(committer.committed(), 1);
}

#[test]
fn tasks_of_several_runtimes_are_all_answered() {
    const CHANGES: u8 = 50;
    let (store, _, committer) = start(MemoryStore::new());
    let change_all = async |runtime: u8| {
        for byte in 0..CHANGES {
            let ticket = committer.source().change(byte);
            let durability = match (byte + runtime) % 5 {
                0 => Durability::Fsync,
                _ => Durability::Process,
            };
            committer.kept(ticket, durability).await.unwrap();
        }
    };
    let change_all = &change_all;
    std::thread::scope(|scope| {
        for runtime in 0..4 {
            scope.spawn(move || block_on(change_all(runtime)));
        }
    });
    let (recovery, after) = replay(&store.kill());
    assert_eq!(after.bytes.len(), 4 * usize::from(CHANGES));
    assert_eq!(recovery.lost_commits, None);
}

#[test]
fn a_commit_without_changes_is_published_but_not_written() {
    let (store, _, committer) = start(MemoryStore::new());
    block_on(committer.kept(1, Durability::Fsync)).unwrap();
    block_on(committer.flush()).unwrap();
    let ticket = committer.source().change(1);
    block_on(committer.kept(ticket, Durability::Process)).unwrap();
    block_on(committer.flush()).unwrap();
    assert_eq!(
        (
            committer.commits(),
            committer.committed(),
            committer.synced()
        ),
        (1, 4, 4)
    );
    block_on(committer.close()).unwrap();
    let (recovery, after) = replay(&store.kill());
    assert!(recovery.is_whole() && !recovery.unclean, "{recovery:?}");
    assert_eq!((recovery.records, recovery.next_commit), (1, 4));
    assert_eq!(after.bytes, [1]);
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_answered_or_tried_again() {
    for (fail_write, fail_sync) in [(2, 0), (0, 1)] {
        let (store, fence, committer) = start(MemoryStore::new());
        let kept = |byte, durability| {
            let ticket = committer.source().change(byte);
            block_on(committer.kept(ticket, durability))
        };
        store.fail_write(fail_write);
        store.fail_sync(fail_sync);
        kept(1, Durability::Process).unwrap();
        assert_eq!(kept(2, Durability::Fsync), Err(StorageFailed));
        assert!(matches!(fence.cause(), Some(StoreError::Failed { .. })));
        // The store would work again by now.
        for durability in [Durability::Process, Durability::Fsync] {
            assert_eq!(kept(3, durability), Err(StorageFailed));
        }
        assert_eq!(block_on(committer.flush()), Err(StorageFailed));
        assert_eq!(block_on(committer.close()), Err(StorageFailed));
        let (recovery, after) = replay(&store.kill());
        assert!(recovery.unclean);
        assert!(!after.bytes.contains(&3));
    }
}

#[test]
fn a_fence_that_others_close_ends_the_waits() {
    let (_, fence, committer) = start(MemoryStore::new());
    block_on(async {
        let ticket = committer.source().change(1);
        let mut first = Box::pin(committer.kept(ticket, Durability::Process));
        let mut second = Box::pin(committer.kept(ticket, Durability::Process));
        // The first has the turn and yields; the second waits.
        for kept in [&mut first, &mut second] {
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(kept.as_mut().poll(cx)));
            assert!(polled.await.is_pending());
        }
        fence.close(StoreError::Closed);
        assert_eq!(second.await, Err(StorageFailed));
        assert_eq!(first.await, Err(StorageFailed));
    });
}

#[test]
fn a_clean_close_leaves_a_mark_that_says_so() {
    let (store, _, committer) = start(MemoryStore::new());
    committer.source().change(1);
    block_on(committer.close()).unwrap();
    assert_eq!(
        block_on(committer.kept(9, Durability::Process)),
        Err(StorageFailed)
    );
    let after = store.power_loss(1);
    let (recovery, replayed) = replay(&after);
    assert_eq!(replayed.bytes, [1]);
    assert!(!recovery.unclean && recovery.rebooted && recovery.is_whole());
    assert_eq!(after.found().mark.unwrap().synced, 1);
}

#[test]
fn each_commit_write_and_sync_is_timed_once_and_empty_commits_are_not() {
    let (_, _, committer) = start(MemoryStore::new());
    let timed = || {
        let timings = committer.timings();
        [timings.commits(), timings.writes(), timings.syncs()]
            .map(|it| it.counts.iter().sum::<u64>())
    };
    block_on(committer.commit_all()).unwrap();
    assert_eq!(timed(), [0, 0, 0], "there was nothing to commit");
    for n in 1..=3 {
        committer.source().change(7);
        block_on(committer.commit_all()).unwrap();
        assert_eq!(timed(), [n, n, 0]);
    }
    block_on(committer.flush()).unwrap();
    assert_eq!(timed(), [3, 3, 1]);
}

#[test]
fn a_tick_syncs_and_marks_what_nobody_waits_for() {
    let (store, fence) = (Arc::new(MemoryStore::new()), Arc::new(Fence::new()));
    let tick = Duration::from_millis(1);
    let committer = Committer::start(
        Bytes::after(0),
        Arc::clone(&store),
        fence,
        0,
        tick,
        MonoTime::default,
    )
    .unwrap();
    let ticket = committer.source().change(7);
    block_on(committer.kept(ticket, Durability::Process)).unwrap();
    // Ends when the thread has done its work, and hangs if it does not.
    while store.mark().is_none_or(|mark| mark.synced < 1) {
        std::thread::yield_now();
    }
    assert_eq!(committer.synced(), 1);
    assert_eq!(replay(&store.power_loss(0)).1.bytes, [7]);
}
