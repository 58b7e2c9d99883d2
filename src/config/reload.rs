//! Watches the policy file and reads it again when it changes.
//!
//! Editors write a new file and rename it over the old one, and Kubernetes swaps a symbolic link
//! in the path, so it is the directories that are watched, of the path and of what it leads to.
//! An event says only that something happened there; whether the file says something else is
//! decided by its bytes. Every so often they are looked at without an event too, as events of
//! some file systems never come; if the watch cannot be had at all, that is done more often.
//!
//! Reading is not asynchronous: it blocks for as long as the disk takes. Await [`Watch::changed`]
//! where nothing else waits for the thread.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use xxhash_rust::xxh3::xxh3_128;

use super::diagnostic::{Checked, ConfigError};
use super::limits::parse_policies;
use super::source::{Source, read_bounded};
use crate::limiter::policy::PolicySet;

/// How long the directory must be quiet before the file is read: editors and copies write in
/// several steps.
const QUIET: Duration = Duration::from_millis(200);

/// Most waits for quiet in a row: a directory in which something always happens is read anyway.
const QUIET_TRIES_MAX: usize = 10;

/// How often the file is looked at although no event came.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// How often the file is looked at when there can be no events.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// A file that holds a policy set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    path: PathBuf,
}

impl PolicyFile {
    /// The policy file at `path`; it is not opened yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the set.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake of the file, if it cannot be used.
    pub fn load(&self) -> Result<Checked<PolicySet>, ConfigError> {
        parse_policies(&Source::read(&self.path)?)
    }

    /// Reads a set from a text; `file` is the name for messages.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake of the text, if it cannot be used.
    pub fn parse(file: &str, text: &str) -> Result<Checked<PolicySet>, ConfigError> {
        parse_policies(&Source::new(file, text))
    }
}

/// Tells when a policy file changes. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    file: PolicyFile,
    events: Arc<Notify>,
    /// Absent where directories cannot be watched.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// What the file held when it was last loaded: a hash of its bytes, or that it could not be
    /// read.
    seen: Option<u128>,
    /// The text of the last set that could be used.
    text: String,
    look_interval: Duration,
    /// An event came and the file was not looked at since: the wait for quiet was given up.
    stirred: bool,
}

impl Watch {
    /// Starts to watch `file`. Call [`Watch::load`] next: what happens in between is not missed.
    pub fn start(file: PolicyFile) -> Self {
        let events = Arc::new(Notify::new());
        let mut watch = Self {
            file,
            watcher: new_watcher(&events),
            events,
            watched: BTreeSet::new(),
            seen: None,
            text: String::new(),
            look_interval: LOOK_INTERVAL,
            stirred: false,
        };
        if watch.watcher.is_some() {
            watch.follow();
        } else {
            watch.poll("this system gives no watches");
        }
        watch
    }

    /// The file that is watched.
    pub const fn file(&self) -> &PolicyFile {
        &self.file
    }

    /// Whether changes are only noticed by looking, every few seconds.
    pub const fn is_polling(&self) -> bool {
        self.watcher.is_none()
    }

    /// Reads the set now, whether it changed or not.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be used: the set in use should be kept.
    pub fn load(&mut self) -> Result<Checked<PolicySet>, ConfigError> {
        let path = &self.file.path;
        let bytes = read_bounded(path);
        self.seen = bytes.as_deref().ok().map(xxh3_128);
        let bytes = bytes.map_err(|source| ConfigError::Read {
            path: path.clone(),
            source,
        })?;
        let source = Source::from_bytes(&path.display().to_string(), bytes)?;
        let checked = parse_policies(&source)?;
        self.text = source.text;
        Ok(checked)
    }

    /// The text of the set that was loaded last; empty if none ever could be.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Waits until the file says something else than when it was last loaded, and reads the set.
    /// Cancel safe: a change that was not returned is returned by the next call.
    ///
    /// # Errors
    /// [`ConfigError`] if the file changed but cannot be used: the set in use should be kept. It is
    /// returned once for each change.
    pub async fn changed(&mut self) -> Result<Checked<PolicySet>, ConfigError> {
        loop {
            if !self.stirred {
                let event = timeout(self.look_interval, self.events.notified()).await;
                self.stirred = event.is_ok();
            }
            if self.stirred {
                self.quiet().await;
                self.stirred = false;
            }
            self.follow();
            let hash = read_bounded(&self.file.path)
                .ok()
                .map(|bytes| xxh3_128(&bytes));
            if hash != self.seen {
                return self.load();
            }
        }
    }

    /// Waits until nothing has happened for [`QUIET`].
    async fn quiet(&self) {
        for _ in 0..QUIET_TRIES_MAX {
            sleep(QUIET).await;
            // An event during the sleep has left its permit, which is taken here.
            if timeout(Duration::ZERO, self.events.notified())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Watches the directories in which a change of the file shows now, and no others.
    fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted = directories(&self.file.path);
        for dir in self.watched.difference(&wanted) {
            if let Err(error) = watcher.unwatch(dir) {
                // It was removed, and its watch with it.
                tracing::debug!(dir = %dir.display(), %error, "directory is no longer watched");
            }
        }
        let mut watched = BTreeSet::new();
        for dir in wanted {
            // A directory that was removed and made again has lost its watch, so each is renewed.
            match watcher.watch(&dir, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(dir);
                }
                Err(error) => tracing::debug!(dir = %dir.display(), %error, "cannot watch"),
            }
        }
        self.watched = watched;
        if self.watched.is_empty() {
            self.poll("no directory of the file can be watched");
        }
    }

    fn poll(&mut self, reason: &str) {
        self.watcher = None;
        self.look_interval = POLL_INTERVAL;
        tracing::warn!(
            file = %self.file.path.display(),
            reason,
            every_s = POLL_INTERVAL.as_secs(),
            "cannot watch the policy file; looking at it from time to time instead"
        );
    }
}

fn new_watcher(events: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let events = Arc::clone(events);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading makes access events. An error may stand for events that were lost.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            events.notify_one();
        }
    });
    watcher
        .inspect_err(|error| tracing::debug!(%error, "cannot make a watcher"))
        .ok()
}

/// The directory of the path, and that of the file to which it leads through symbolic links.
fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    };
    let real = path.canonicalize().ok();
    let near = parent(path).and_then(|dir| dir.canonicalize().ok());
    let far = real.as_deref().and_then(parent);
    near.into_iter().chain(far).collect()
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
