//! What the node cannot vouch for: since when all its keys are denied, for how long, and how that
//! outlives a restart.
//!
//! A quarantine of the whole node lasts for the longest window that was ever in force here, also of
//! policies that requests brought along and that nobody knows of after a restart: that window is
//! kept in the store before the first grant under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::engine::Engine;
use super::error::StartError;
use super::policies::ActivePolicy;
use crate::limiter::policy::{Limits, PolicySet};
use crate::protocol::client::PolicyRef;
use crate::protocol::error::WireError;
use crate::storage::fence::{Fence, StorageFailed};
use crate::storage::store::{Store, StoreError};
use crate::types::SlotTime;

/// Name of the meta value that says since when the whole node is in quarantine, by its clock in ms
/// (u64 LE); [`NEVER`] if it is not.
const SINCE: &str = "quarantined_since";

/// Name of the meta value that says how long the longest window is that ever was in force, in ms
/// (u64 LE).
const LONGEST_WINDOW: &str = "longest_window_ms";

const NEVER: u64 = u64::MAX;

/// Since when all keys of the node are denied, and how long at most.
#[derive(Debug)]
pub(crate) struct Quarantine {
    /// [`NEVER`]: they are not.
    since_ms: AtomicU64,
    /// As stored.
    stored_ms: AtomicU64,
    /// The longest window that ever was in force, as stored.
    longest_ms: AtomicU64,
    /// Held while a longer one is stored.
    storing: Mutex<()>,
}

impl Quarantine {
    /// What the store says.
    pub(super) fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let number = |name| -> Result<Option<u64>, StoreError> {
            let value = store.meta(name)?;
            let bytes = value.and_then(|value| value.first_chunk().copied());
            Ok(bytes.map(u64::from_le_bytes))
        };
        let since_ms = number(SINCE)?.unwrap_or(NEVER);
        Ok(Self {
            since_ms: AtomicU64::new(since_ms),
            stored_ms: AtomicU64::new(since_ms),
            longest_ms: AtomicU64::new(number(LONGEST_WINDOW)?.unwrap_or(0)),
            storing: Mutex::new(()),
        })
    }

    /// Denies all keys from `since` on, durably.
    pub(super) fn begin(&self, store: &dyn Store, since: SlotTime) -> Result<(), StoreError> {
        self.set(store, since.as_ms())?;
        self.since_ms.store(since.as_ms(), Ordering::Release);
        Ok(())
    }

    fn set(&self, store: &dyn Store, since_ms: u64) -> Result<(), StoreError> {
        store.put_meta(SINCE, &since_ms.to_le_bytes())?;
        self.stored_ms.store(since_ms, Ordering::Release);
        Ok(())
    }

    /// Since when all keys are denied; ends it once the longest window has passed.
    pub(super) fn since(&self, now: SlotTime) -> Option<SlotTime> {
        let since = self.since_ms.load(Ordering::Acquire);
        if since == NEVER {
            return None;
        }
        let since = SlotTime::from_ms(since);
        if self.ends_at(since) <= now {
            self.since_ms.store(NEVER, Ordering::Release);
            tracing::info!("the quarantine of all keys has ended: the longest window has passed");
            return None;
        }
        Some(since)
    }

    /// Time left; 0 if no key is denied by it.
    pub(super) fn left_ms(&self, now: SlotTime) -> u64 {
        let since = self.since(now);
        since.map_or(0, |since| self.ends_at(since).ms_since(now))
    }

    /// The longest window that was ever in force.
    pub(super) fn longest_ms(&self) -> u64 {
        self.longest_ms.load(Ordering::Acquire)
    }

    /// To be called before a window of this length is in force: what is granted in it may be lost,
    /// and then counts for so long. Blocks for a synced write where it is the longest so far, which
    /// at most a few windows ever are.
    pub(super) fn expect_window(
        &self,
        store: &dyn Store,
        fence: &Fence,
        window_ms: u64,
    ) -> Result<(), StorageFailed> {
        if window_ms <= self.longest_ms() {
            return Ok(());
        }
        let _storing = self.storing.lock();
        if window_ms > self.longest_ms() {
            let put = store.put_meta(LONGEST_WINDOW, &window_ms.to_le_bytes());
            put.map_err(|error| fence.close(error))?;
            self.longest_ms.store(window_ms, Ordering::Release);
        }
        Ok(())
    }

    fn ends_at(&self, since: SlotTime) -> SlotTime {
        since.plus_ms(self.longest_ms()).plus_ms(1)
    }
}

impl Engine {
    /// Since when the whole node is in quarantine.
    pub(super) fn quarantined(&self, now: SlotTime) -> Option<SlotTime> {
        self.quarantine.since(now)
    }

    /// See [`Quarantine::expect_window`].
    pub(super) fn expect_window(&self, window_ms: u64) -> Result<(), StorageFailed> {
        self.quarantine
            .expect_window(&*self.store, &self.fence, window_ms)
    }

    /// Puts a set of policies in force.
    ///
    /// # Errors
    /// [`StartError`]; the old set stays in force.
    pub(super) fn put_in_force(&self, set: &PolicySet) -> Result<(), StartError> {
        self.expect_window(longest_window_ms(set))?;
        Ok(self.policies.replace(set, &self.table.shapes)?)
    }

    /// The policy that a request brings along.
    pub(super) fn carried_policy(
        &self,
        name: &str,
        limits: &[(u64, u64)],
    ) -> Result<Arc<ActivePolicy>, WireError> {
        let expect = |window_ms| {
            let expected = self.expect_window(window_ms);
            expected.map_err(|_| WireError::StorageFailed)
        };
        self.policies
            .carried(name, limits, &self.table.shapes, expect)
    }

    /// The policy that a request names or brings along.
    pub(super) fn find_policy(
        &self,
        policy: &PolicyRef<'_>,
    ) -> Result<Arc<ActivePolicy>, WireError> {
        match policy {
            PolicyRef::Named(name) => self.policies.current().named(name).cloned(),
            PolicyRef::Carried { name, limits } => self.carried_policy(name, limits),
        }
    }

    /// Forgets the quarantines that have ended: that of the node in the store too, so that no window of
    /// later brings it back.
    pub(super) fn end_quarantines(&self) -> Result<(), StorageFailed> {
        let now = self.now();
        self.table.end_quarantines(now);
        let ended = self.quarantined(now).is_none();
        if ended && self.quarantine.stored_ms.load(Ordering::Acquire) != NEVER {
            let set = self.quarantine.set(&*self.store, NEVER);
            set.map_err(|error| self.fence.close(error))?;
        }
        Ok(())
    }
}

/// The longest window of any policy of a set, in milliseconds.
pub(super) fn longest_window_ms(set: &PolicySet) -> u64 {
    let all = set.policies.values().flat_map(|policy| {
        let overrides = policy.exact.values().chain(policy.prefixes.values());
        overrides.chain([&policy.limits])
    });
    all.map(Limits::longest_window_ms).max().unwrap_or(0)
}

#[cfg(test)]
#[path = "quarantine_tests.rs"]
mod tests;
