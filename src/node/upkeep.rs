//! The upkeep thread: stamps the clock, forgets what has expired, writes checkpoints, makes room.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::engine::Engine;
use super::stamp;
use crate::storage::checkpoint::checkpoint;
use crate::storage::fence::StorageFailed;

/// How often the clock is stamped and the thread looks around.
const TICK: Duration = Duration::from_secs(1);

/// How many ticks lie between two sweeps of expired states.
const TICKS_PER_SWEEP: u64 = 5;

/// Asks the upkeep thread for something.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    room: bool,
    stop: bool,
}

impl Upkeep {
    /// Asks for a checkpoint now, so that states can be evicted.
    pub(super) fn make_room(&self) {
        self.wanted.lock().room = true;
        self.changed.notify_one();
    }

    fn stop(&self) {
        self.wanted.lock().stop = true;
        self.changed.notify_one();
    }

    /// Waits for a tick or a wish.
    fn wait(&self) -> Wanted {
        let mut wanted = self.wanted.lock();
        if !wanted.room && !wanted.stop {
            self.changed.wait_for(&mut wanted, TICK);
        }
        let now = *wanted;
        wanted.room = false;
        now
    }
}

/// When checkpoints are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoints {
    /// At least so often.
    pub(super) interval: Duration,
    /// As soon as so many bytes of commit records were written since the last one.
    pub(super) bytes: u64,
}

/// The running thread; it ends when this is dropped or stopped.
#[derive(Debug)]
pub(super) struct UpkeepThread {
    engine: Arc<Engine>,
    thread: Option<JoinHandle<()>>,
}

impl UpkeepThread {
    /// Starts the thread, which writes checkpoints as `checkpoints` says.
    pub(super) fn start(engine: Arc<Engine>, checkpoints: Checkpoints) -> std::io::Result<Self> {
        let of_thread = Arc::clone(&engine);
        let thread = std::thread::Builder::new()
            .name("upkeep".to_owned())
            .spawn(move || run(&of_thread, checkpoints))?;
        Ok(Self {
            engine,
            thread: Some(thread),
        })
    }

    /// Ends the thread and waits for it.
    pub(super) fn stop(&mut self) {
        self.engine.upkeep.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the upkeep thread panicked; please report this");
        }
    }
}

impl Drop for UpkeepThread {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(engine: &Engine, checkpoints: Checkpoints) {
    let ticks_per_checkpoint = checkpoints.interval.as_secs().max(1);
    let mut bytes_saved = 0;
    for tick in 1u64.. {
        let wanted = engine.upkeep.wait();
        if wanted.stop {
            return;
        }
        if wanted.room || tick.is_multiple_of(TICKS_PER_SWEEP) {
            engine.table.sweep(engine.now());
            engine.table.settle_pages();
        }
        if !engine.about.keeps || engine.fence.is_closed() {
            continue;
        }
        if stamp::put(engine).is_err() || engine.end_quarantines().is_err() {
            continue;
        }
        let bytes = engine.committer.bytes();
        let many_bytes = bytes.saturating_sub(bytes_saved) >= checkpoints.bytes;
        if wanted.room || many_bytes || tick.is_multiple_of(ticks_per_checkpoint) {
            bytes_saved = bytes;
            // A failure has closed the fence and was logged there.
            write_checkpoint(engine).ok();
            if wanted.room {
                engine.table.make_room(engine.now());
            }
        }
    }
}

/// Writes one checkpoint; a failure closes the fence, which logs it.
pub(super) fn write_checkpoint(engine: &Engine) -> Result<(), StorageFailed> {
    let committed = engine.committer.committed();
    let done = checkpoint(
        &*engine.store,
        engine.committer.source(),
        &engine.row_turn,
        &engine.fence,
        committed,
    )?;
    tracing::debug!(
        rows = done.rows,
        through = done.through,
        "checkpoint written"
    );
    Ok(())
}
