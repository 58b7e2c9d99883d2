//! The self-fence: once a write or sync has failed, the node grants nothing more until a restart.
//!
//! After a failed write or sync nobody knows what the disk holds; a second sync that succeeds
//! proves nothing about the first. So the fence closes for good, keeps its first cause, and nothing
//! behind it is ever tried again.

use std::error::Error;
use std::fmt;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::store::{Operation, StoreError};

/// The storage failed: what was to be kept may not be, and the node has stopped granting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node's storage failed and it has stopped granting; see its log")]
pub(crate) struct StorageFailed;

type Watcher = Box<dyn FnOnce() + Send>;

/// Open until the first failure, then closed for good.
#[derive(Default)]
pub(crate) struct Fence {
    cause: OnceLock<StoreError>,
    watchers: Mutex<Vec<Watcher>>,
}

impl Fence {
    /// An open fence.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Whether something has failed.
    pub(crate) fn is_closed(&self) -> bool {
        self.cause.get().is_some()
    }

    /// What failed first.
    pub(crate) fn cause(&self) -> Option<&StoreError> {
        self.cause.get()
    }

    /// Fails if the fence is closed.
    ///
    /// # Errors
    /// [`StorageFailed`], if it is.
    pub(crate) fn check(&self) -> Result<(), StorageFailed> {
        if self.is_closed() {
            return Err(StorageFailed);
        }
        Ok(())
    }

    /// Closes the fence because of `error`, unless it is closed already; logs the first cause and
    /// tells the watchers. Returns what the caller answers.
    pub(crate) fn close(&self, error: StoreError) -> StorageFailed {
        let watchers = {
            let mut watchers = self.watchers.lock();
            if self.cause.set(error).is_err() {
                return StorageFailed;
            }
            std::mem::take(&mut *watchers)
        };
        if let Some(error) = self.cause() {
            tracing::error!(
                error = %error,
                cause = error.source().map(ToString::to_string),
                "storage failed: the node grants nothing more until it is restarted"
            );
        }
        for watcher in watchers {
            watcher();
        }
        StorageFailed
    }

    /// Calls `watcher` once when the fence closes, or at once if it is closed.
    pub(crate) fn on_close(&self, watcher: impl FnOnce() + Send + 'static) {
        {
            let mut watchers = self.watchers.lock();
            if !self.is_closed() {
                watchers.push(Box::new(watcher));
                return;
            }
        }
        watcher();
    }
}

/// Watches over an operation: closes the fence if it unwinds in the middle.
#[derive(Debug)]
pub(super) struct HalfWay<'a> {
    fence: &'a Fence,
    operation: Operation,
}

impl<'a> HalfWay<'a> {
    /// From here on the operation must come to [`HalfWay::done`].
    pub(super) fn new(fence: &'a Fence, operation: Operation) -> Self {
        Self { fence, operation }
    }

    /// The operation has ended, well or not.
    pub(super) fn done(self) {
        let _ended = std::mem::ManuallyDrop::new(self);
    }
}

impl Drop for HalfWay<'_> {
    fn drop(&mut self) {
        let operation = self.operation;
        self.fence.close(StoreError::Abandoned { operation });
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fence")
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn failed(operation: Operation) -> StoreError {
        StoreError::Failed {
            operation,
            source: "injected".into(),
        }
    }

    #[test]
    fn the_first_cause_stays_and_every_watcher_is_told_once() {
        let fence = Fence::new();
        let told = Arc::new(AtomicUsize::new(0));
        let watch = || {
            let told = Arc::clone(&told);
            fence.on_close(move || {
                told.fetch_add(1, Ordering::Relaxed);
            });
        };
        watch();
        watch();
        assert_eq!(fence.check(), Ok(()));
        assert_eq!(fence.close(failed(Operation::Append)), StorageFailed);
        assert_eq!(fence.close(failed(Operation::Sync)), StorageFailed);
        assert_eq!(told.load(Ordering::Relaxed), 2);
        watch();
        assert_eq!(told.load(Ordering::Relaxed), 3);
        assert_eq!(fence.check(), Err(StorageFailed));
        assert!(matches!(
            fence.cause(),
            Some(StoreError::Failed {
                operation: Operation::Append,
                ..
            })
        ));
    }
}
