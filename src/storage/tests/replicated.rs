//! Records of other nodes' commits among the committer's own.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;

use super::group_commit::{Bytes, Replayed};
use crate::limiter::policy::Durability;
use crate::storage::committer::Committer;
use crate::storage::fence::{Fence, StorageFailed};
use crate::storage::memory::MemoryStore;
use crate::storage::recovery::recover;
use crate::storage::replicated::{Replicated, Waiting};
use crate::storage::store::Store;
use crate::types::{MonoTime, NodeId};

const NEVER: Duration = Duration::from_secs(3600);

/// A record of one byte, which notes under which number it was appended.
struct Record {
    byte: u8,
    told: Arc<Mutex<Vec<u8>>>,
}

impl Replicated for Record {
    fn owner(&self) -> NodeId {
        NodeId(u128::from(self.byte / 100))
    }

    fn groups(&self) -> &[u8] {
        std::slice::from_ref(&self.byte)
    }

    fn pack(&self, _number: u64, behind: &[Waiting], record: &mut Vec<u8>) {
        record.push(self.byte);
        for (it, _) in behind {
            record.extend(it.groups());
        }
    }

    fn appended(&self) {
        self.told.lock().push(self.byte);
    }
}

struct World {
    store: Arc<MemoryStore>,
    committer: Committer<Arc<Bytes>, dyn Store>,
    told: Arc<Mutex<Vec<u8>>>,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let any: Arc<dyn Store> = store.clone();
        let source = Arc::new(Bytes::after(0));
        let committer = Committer::start(
            source,
            any,
            Arc::new(Fence::new()),
            0,
            NEVER,
            MonoTime::default,
        );
        Self {
            store,
            committer: committer.unwrap(),
            told: Arc::default(),
        }
    }

    fn record(&self, byte: u8) -> Box<dyn Replicated> {
        let told = Arc::clone(&self.told);
        Box::new(Record { byte, told })
    }

    /// What a restart reads, in order; nothing of it may be missing.
    fn replayed(store: &MemoryStore) -> Vec<u8> {
        let mut replayed = Replayed::default();
        let recovery = recover(store, &mut replayed).unwrap();
        assert_eq!(recovery.lost_commits, None);
        replayed.bytes
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx))).await
}

#[test]
fn records_are_there_in_order_once_it_is_said_and_synced_when_asked_for() {
    let world = World::new();
    let numbers = block_on(async {
        let first = world.committer.append_replicated(world.record(1)).await;
        let ticket = world.committer.source().change(2);
        // All wait for one turn; the first two are of one owner.
        let mut queued = Box::pin(world.committer.append_replicated(world.record(3)));
        let mut same = Box::pin(world.committer.append_replicated(world.record(4)));
        let mut more = Box::pin(world.committer.append_replicated(world.record(105)));
        world
            .committer
            .kept(ticket, Durability::Process)
            .await
            .unwrap();
        let Poll::Ready(second) = poll_once(&mut queued).await else {
            panic!("it is appended")
        };
        let Poll::Ready(joined) = poll_once(&mut same).await else {
            panic!("it is appended")
        };
        let Poll::Ready(third) = poll_once(&mut more).await else {
            panic!("it is appended")
        };
        assert_eq!(second, joined, "appended as one record");
        [first, second, third].map(Result::unwrap)
    });
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(*world.told.lock(), [1, 3, 4, 105]);
    assert!(world.committer.synced() < numbers[0]);
    block_on(world.committer.kept(numbers[2], Durability::Fsync)).unwrap();
    assert!(world.committer.synced() >= numbers[2]);
    assert_eq!(
        World::replayed(&world.store.power_loss(3)),
        [1, 3, 4, 105, 2]
    );
}

#[test]
fn a_record_whose_caller_has_gone_is_appended_all_the_same() {
    let world = World::new();
    let queued = world.committer.append_replicated(world.record(1));
    drop(queued);
    let number = block_on(world.committer.append_replicated(world.record(2))).unwrap();
    assert!(number <= world.committer.committed());
    assert_eq!(*world.told.lock(), [1, 2]);
    drop(world.committer.append_replicated(world.record(3)));
    block_on(world.committer.flush()).unwrap();
    assert_eq!(World::replayed(&world.store.power_loss(1)), [1, 2, 3]);
}

#[test]
fn a_sync_between_a_record_and_its_commit_tells_nobody_too_much() {
    // The ticket of a change that came while the record was written is the record's number or the
    // one behind it. Only their commit may release it.
    let world = World::new();
    for round in 0..20 {
        let ticket = world.committer.source().change(round);
        block_on(async {
            let kept = world.committer.kept(ticket, Durability::Fsync);
            let queued = world.committer.append_replicated(world.record(100 + round));
            let (kept, queued) = tokio::join!(kept, queued);
            kept.unwrap();
            assert!(queued.unwrap() >= ticket);
        });
        let replayed = World::replayed(&world.store);
        assert!(replayed.contains(&round) && replayed.contains(&(100 + round)));
    }
}

#[test]
fn many_who_append_and_commit_at_once_are_all_answered() {
    let world = World::new();
    let world = &world;
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let append = async move |n| {
                let record = world.record(n);
                world.committer.append_replicated(record).await.unwrap();
            };
            let commit = async move |n| {
                let ticket = world.committer.source().change(n);
                let kept = world.committer.kept(ticket, Durability::Process);
                kept.await.unwrap();
            };
            scope.spawn(move || {
                for n in 0..50 {
                    if thread < 2 {
                        block_on(append(n));
                    } else {
                        block_on(commit(n));
                    }
                }
            });
        }
    });
    assert_eq!(world.told.lock().len(), 100);
    assert_eq!(World::replayed(&world.store.kill()).len(), 200);
}

#[test]
fn after_a_failed_append_no_record_is_said_to_be_there() {
    let world = World::new();
    block_on(world.committer.append_replicated(world.record(1))).unwrap();
    world.store.fail_write(1);
    let failed = block_on(world.committer.append_replicated(world.record(2)));
    assert_eq!(failed, Err(StorageFailed));
    let failed = block_on(world.committer.append_replicated(world.record(3)));
    assert_eq!(failed, Err(StorageFailed));
    assert_eq!(*world.told.lock(), [1]);
    assert_eq!(World::replayed(&world.store.kill()), [1]);
}
