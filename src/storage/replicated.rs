//! Records that wait for the next turn of the committer: what was taken in of other nodes' commits.
//!
//! What a record holds is in the table before the record is queued. So when a checkpoint notes the
//! last number that is published, all up to it is in the table, and the states that it reads after
//! that have it: the journal behind that number may go. The other way around, a record that is
//! appended but not yet in the table would be dropped unseen.
//!
//! The queue needs no bound of its own: whoever queues a record waits for it before the next one, or
//! counts what waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::types::NodeId;

/// Bytes of groups above which no more are put into one record.
const RUN_BYTES_MAX: usize = 1 << 20;

/// A record that is not the commit source's own.
pub(crate) trait Replicated: Send {
    /// Whose commits these are. Records of one owner that wait one behind the other are appended as one.
    fn owner(&self) -> NodeId;

    /// What was taken in: whole groups, back to back.
    fn groups(&self) -> &[u8];

    /// *Appends* the record with this number, of the groups of this one and of those behind it.
    fn pack(&self, number: u64, behind: &[Waiting], record: &mut Vec<u8>);

    /// It is appended. Called before anybody is told so.
    fn appended(&self);
}

/// Records in the order in which they are to be appended.
#[derive(Default)]
pub(super) struct Queue(Mutex<Vec<Waiting>>);

/// A record that waits to be appended.
pub(crate) type Waiting = (Box<dyn Replicated>, Queued);

/// The number that a record in the queue gets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queued(Arc<AtomicU64>);

impl Queue {
    pub(super) fn push(&self, replicated: Box<dyn Replicated>) -> Queued {
        let queued = Queued::default();
        self.0.lock().push((replicated, queued.clone()));
        queued
    }

    /// Takes all that waits.
    pub(super) fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// How many of these are appended as one record: the first, and what its owner has behind it.
pub(super) fn run(waiting: &[Waiting]) -> usize {
    let owner = waiting.first().map(|(first, _)| first.owner());
    let mut bytes: usize = 0;
    let run = waiting.iter().take_while(|(it, _)| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(it.groups().len());
        Some(it.owner()) == owner && (is_first || bytes <= RUN_BYTES_MAX)
    });
    run.count().max(1)
}

impl Queued {
    /// The record's number, once it is appended.
    pub(super) fn number(&self) -> Option<u64> {
        let number = self.0.load(Ordering::Acquire);
        (number > 0).then_some(number)
    }

    pub(super) fn set(&self, number: u64) {
        self.0.store(number, Ordering::Release);
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Queue").field(&self.0.lock().len()).finish()
    }
}
