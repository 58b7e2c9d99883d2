//! What a replica says only once it is synced. One sync at a time, for all that waited by then.
//!
//! The invariant: what is said of a sync was in the table before a record that the sync has covered
//! was put in the queue of the journal, which is appended in order.

use std::future::pending;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::limiter::commit_record::write_groups;
use crate::limiter::policy::Durability;
use crate::node::engine::Engine;
use crate::storage::replicated::Replicated;
use crate::types::{NodeId, Position, Slot, SlotSet, SlotTime};

/// What waits for a sync, or has waited.
#[derive(Debug, Default)]
pub(super) struct Synced {
    /// Commits up to this number.
    pub(super) through: Option<u64>,
    /// Slots that follow since a position.
    pub(super) followed: Vec<(Slot, Position)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    next: Synced,
    running: Option<(JoinHandle<bool>, Synced)>,
}

/// A record without groups: behind all that was in the queue before it.
#[derive(Debug)]
struct Mark {
    owner: NodeId,
    stamp: SlotTime,
}

impl Replicated for Mark {
    fn pack(&self, number: u64, record: &mut Vec<u8>) {
        let head = (number, self.stamp, self.owner);
        write_groups(record, head, std::iter::empty());
    }

    fn appended(&self) {}
}

impl Synced {
    fn is_empty(&self) -> bool {
        self.through.is_none() && self.followed.is_empty()
    }

    fn forget(&mut self, slots: &SlotSet) {
        self.followed.retain(|(slot, _)| !slots.contains(*slot));
    }
}

impl Syncs {
    /// The owner wants commits up to this number synced.
    pub(super) fn ask(&mut self, through: u64) {
        self.next.through = self.next.through.max(Some(through));
    }

    /// Slots follow, which is to be said once what is there is synced.
    pub(super) fn followed(&mut self, slots: Vec<(Slot, Position)>) {
        self.next.followed.extend(slots);
    }

    /// Nothing is said of these slots.
    pub(super) fn forget(&mut self, slots: &SlotSet) {
        self.next.forget(slots);
        if let Some((_, waits)) = &mut self.running {
            waits.forget(slots);
        }
    }

    /// Begins a sync if one is wanted and none runs.
    pub(super) fn begin(&mut self, engine: &Arc<Engine>, owner: NodeId) {
        if self.running.is_some() || self.next.is_empty() {
            return;
        }
        let waits = std::mem::take(&mut self.next);
        let stamp = engine.now();
        let engine = Arc::clone(engine);
        // A task of its own: it may be given the turn to commit, and must then not rest.
        let task = tokio::spawn(async move {
            let mark = Box::new(Mark { owner, stamp });
            let committer = &engine.committer;
            let synced = match committer.append_replicated(mark).await {
                Ok(number) => committer.kept(number, Durability::Fsync).await,
                Err(failed) => Err(failed),
            };
            synced.is_ok()
        });
        self.running = Some((task, waits));
    }

    /// Resolves when a sync has ended, for ever pending while none runs; `None` if it has failed.
    /// Cancel safe.
    pub(super) async fn ended(&mut self) -> Option<Synced> {
        let Some((task, _)) = &mut self.running else {
            return pending().await;
        };
        let synced = task.await;
        let (_, waited) = self.running.take()?;
        synced.unwrap_or(false).then_some(waited)
    }
}
