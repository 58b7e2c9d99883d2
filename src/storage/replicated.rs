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

/// A record that is not the commit source's own.
pub(crate) trait Replicated: Send {
    /// *Appends* the record with this number.
    fn pack(&self, number: u64, record: &mut Vec<u8>);

    /// It is appended. Called before anybody is told so.
    fn appended(&self);
}

/// Records in the order in which they are to be appended.
#[derive(Default)]
pub(super) struct Queue(Mutex<Vec<(Box<dyn Replicated>, Queued)>>);

/// The number that a record in the queue gets.
#[derive(Debug, Clone, Default)]
pub(super) struct Queued(Arc<AtomicU64>);

impl Queue {
    pub(super) fn push(&self, replicated: Box<dyn Replicated>) -> Queued {
        let queued = Queued::default();
        self.0.lock().push((replicated, queued.clone()));
        queued
    }

    /// Takes all that waits.
    pub(super) fn take(&self) -> Vec<(Box<dyn Replicated>, Queued)> {
        std::mem::take(&mut *self.0.lock())
    }
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
