//! The thread that puts `meta` into files of its own, behind those who write it.
//!
//! Registers are synced when they are written, by the write-ahead log; this is for the day on which
//! the log is damaged. It costs four syncs or so, which nobody waits for: a slot that moves is
//! sealed while its registers are written. Many writes shortly one after the other are filed once.
//! Invariant: what was written is filed within about a second, and before the store is closed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

/// So long without another write, and what was written is filed.
const QUIET: Duration = Duration::from_millis(50);

/// Writes that may put it off, each by [`QUIET`] at most.
const PUT_OFF_MAX: u32 = 20;

/// The thread, from the first wish on; dropped, it ends.
#[derive(Default)]
pub(super) struct Filer {
    running: Mutex<Option<Running>>,
    /// Wishes that came, and how many had come before what was filed last.
    wishes: Arc<Wishes>,
}

#[derive(Default)]
struct Wishes {
    came: AtomicU64,
    granted: AtomicU64,
}

struct Running {
    /// The thread ends when it is gone.
    asked: Sender<()>,
    thread: JoinHandle<()>,
}

impl Wishes {
    fn grant(&self, file: impl FnOnce()) {
        let came = self.came.load(Ordering::Acquire);
        file();
        self.granted.fetch_max(came, Ordering::Release);
    }
}

impl Filer {
    /// Has `file` called soon. The first one that is given is the one that is used.
    pub(super) fn soon(&self, file: impl Fn() + Clone + Send + 'static) {
        self.wishes.came.fetch_add(1, Ordering::AcqRel);
        let mut running = self.running.lock();
        if running.is_none() {
            *running = start(Arc::clone(&self.wishes), file.clone());
        }
        match &*running {
            // If there is a wish already, this one is granted with it.
            Some(running) => drop(running.asked.try_send(())),
            None => self.wishes.grant(file),
        }
    }

    /// Waits until the thread has ended; whether the caller has to file what is left.
    pub(super) fn stop(&self) -> bool {
        self.end();
        let granted = self.wishes.granted.load(Ordering::Acquire);
        self.wishes.came.load(Ordering::Acquire) > granted
    }

    fn end(&self) {
        let Some(Running { asked, thread }) = self.running.lock().take() else {
            return;
        };
        drop(asked);
        if thread.join().is_err() {
            tracing::error!("the thread that files registers panicked; please report this");
        }
    }
}

impl Drop for Filer {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Filer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filer").finish_non_exhaustive()
    }
}

/// `None` if there is no thread to be had.
fn start(wishes: Arc<Wishes>, file: impl Fn() + Send + 'static) -> Option<Running> {
    let (asked, asking) = bounded(1);
    let thread = Builder::new().name("storage-file".to_owned());
    let thread = thread.spawn(move || run(&asking, &wishes, file)).ok()?;
    Some(Running { asked, thread })
}

fn run(asking: &Receiver<()>, wishes: &Wishes, file: impl Fn()) {
    while asking.recv().is_ok() {
        for _ in 0..PUT_OFF_MAX {
            match asking.recv_timeout(QUIET) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        wishes.grant(&file);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn every_wish_is_granted_by_a_later_filing_and_many_by_one() {
        let filer = Filer::default();
        let (written, filed) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (done, filings) = bounded(1000);
        let file = {
            let (written, filed) = (Arc::clone(&written), Arc::clone(&filed));
            move || {
                filed.store(written.load(Ordering::SeqCst), Ordering::SeqCst);
                done.send(()).unwrap();
            }
        };
        for n in 1..=100 {
            written.store(n, Ordering::SeqCst);
            filer.soon(file.clone());
        }
        drop(file);
        let mut count = 0;
        while filed.load(Ordering::SeqCst) < 100 {
            filings.recv().unwrap();
            count += 1;
        }
        assert!(count < 100, "each was filed by itself");
        assert!(!filer.stop() && !filer.stop(), "nothing is left");
    }
}
