//! The thread that syncs: at once when an `fsync` ticket waits, else at each tick.
//!
//! It also puts the watermark, once a tick, always after a sync and never above it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, tick};
use crossbeam::select;

use super::committer::Shared;
use super::fence::{HalfWay, StorageFailed};
use super::store::{Operation, Store, StoreError};
use super::timings::Timed;

/// The running thread; dropping it ends and joins it.
#[derive(Debug)]
pub(super) struct Syncer {
    /// Never sends; the thread ends when it is gone.
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread; `asked` receives when an `fsync` ticket waits.
    pub(super) fn start<S: Store + ?Sized>(
        shared: Arc<Shared<S>>,
        asked: Receiver<()>,
        interval: Duration,
    ) -> Result<Self, StoreError> {
        let (stop, stopped) = bounded(0);
        // Read here: by the time the thread runs, the first commits may have been written.
        let marked = shared.written.load(Ordering::Acquire);
        let thread = Builder::new()
            .name("storage-sync".to_owned())
            .spawn(move || run(&shared, &asked, &stopped, (marked, tick(interval))))
            .map_err(|error| StoreError::Failed {
                operation: Operation::Sync,
                source: Box::new(error),
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sync thread panicked; report this");
        }
    }
}

fn run<S: Store + ?Sized>(
    shared: &Shared<S>,
    asked: &Receiver<()>,
    stopped: &Receiver<Infallible>,
    (mut marked, ticks): (u64, Receiver<Instant>),
) {
    loop {
        let ticked = select! {
            recv(stopped) -> _ => return,
            recv(asked) -> _ => ticks.try_recv().is_ok(),
            recv(ticks) -> _ => true,
        };
        let done = shared.sync_written().and_then(|written| {
            if ticked && written > marked {
                marked = written;
                return shared.put_mark_at(written, false);
            }
            Ok(())
        });
        if done.is_err() {
            // The fence is closed and has told everyone; nothing is tried again.
            return;
        }
    }
}

impl<S: Store + ?Sized> Shared<S> {
    /// Syncs what is committed, if it is not synced yet, and publishes it.
    pub(super) fn sync(&self) -> Result<(), StorageFailed> {
        self.sync_written().map(drop)
    }

    /// Puts the watermark after a last [`Shared::sync`], when nothing is committed any more.
    pub(super) fn put_mark(&self, clean: bool) -> Result<(), StorageFailed> {
        self.put_mark_at(self.written.load(Ordering::Acquire), clean)
    }

    /// Syncs as [`Shared::sync`] does; the number of the last record that is now synced.
    fn sync_written(&self) -> Result<u64, StorageFailed> {
        self.fence.check()?;
        // Both are read before the sync, so it covers them. A record is counted as written a moment
        // before its commit is published, and the watermark must not run ahead of the syncs. But only
        // what is published counts as synced: the number of a record that is not the table's own may be
        // the ticket of a change that the commit behind it takes.
        let written = self.written.load(Ordering::Acquire);
        let committed = self.tickets.committed();
        if committed.max(written) > self.tickets.synced() {
            let half_way = HalfWay::new(&self.fence, Operation::Sync);
            let begun = self.timings.begin();
            let synced = self.store.sync();
            half_way.done();
            self.timings.done(Timed::Sync, begun);
            synced.map_err(|error| self.fence.close(error))?;
            self.tickets.publish_synced(committed, &mut Vec::new());
        }
        Ok(written)
    }

    fn put_mark_at(&self, written: u64, clean: bool) -> Result<(), StorageFailed> {
        self.store
            .put_mark(written, clean)
            .map_err(|error| self.fence.close(error))
    }
}
