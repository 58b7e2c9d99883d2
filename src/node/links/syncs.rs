//! What a replica says only once it is synced. One sync at a time, for all that waited by then.
//!
//! The invariant: what is said of a sync was in the queue of the journal before the sync was asked
//! for, and all that was in the queue is appended before it is synced.

use std::future::pending;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::limiter::policy::Durability;
use crate::node::engine::Engine;
use crate::types::{Position, Slot, SlotSet};

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
    pub(super) fn begin(&mut self, engine: &Arc<Engine>) {
        if self.running.is_some() || self.next.is_empty() {
            return;
        }
        let waits = std::mem::take(&mut self.next);
        let engine = Arc::clone(engine);
        // A task of its own: it may be given the turn to commit, and must then not rest.
        let task = tokio::spawn(async move {
            let committer = &engine.committer;
            let synced = match committer.commit_all().await {
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
