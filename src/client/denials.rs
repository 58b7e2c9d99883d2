//! The denial cache as calls share it: under one lock, and without it while it is empty.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::aim::Aim;
use super::denial_cache::{Asked, DenialCache};
use crate::types::Decision;

/// See the module.
#[derive(Debug)]
pub(super) struct Denials {
    /// `None` if it is off.
    cache: Option<Mutex<DenialCache>>,
    /// How many it keeps.
    kept: AtomicUsize,
    /// Its generation.
    generation: AtomicU64,
}

impl Denials {
    /// Room for so many; none means off.
    pub(super) fn new(denials_max: usize) -> Self {
        Self {
            cache: (denials_max > 0).then(|| Mutex::new(DenialCache::new(denials_max))),
            kept: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
        }
    }

    /// The denial that answers a check of `cost`, if there is one.
    pub(super) fn find(&self, aim: Option<Aim>, cost: u64, now: Duration) -> Option<Decision> {
        if self.kept.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let id = aim?.id;
        self.with(|cache| cache.find(id, cost, now)).flatten()
    }

    /// For what is asked now.
    pub(super) fn asked(&self, now: Duration) -> Asked {
        Asked {
            at: now,
            generation: self.generation.load(Ordering::SeqCst),
        }
    }

    /// Keeps the answer to a check if it is a denial that stays true.
    pub(super) fn keep(&self, aim: Option<Aim>, cost: u64, asked: Asked, decision: &Decision) {
        if let (false, Some(aim)) = (decision.allowed, aim) {
            self.with(|cache| cache.keep(aim.id, cost, asked, decision));
        }
    }

    /// Drops what is kept of `aim` now, and again when the guard is dropped: for what gives permits
    /// back.
    pub(super) fn dropping(&self, aim: Option<Aim>, now: impl Fn() -> Duration) -> impl Drop {
        let drop_now = move || {
            if let Some(aim) = aim {
                self.with(|cache| cache.drop_denial(aim.id, now()));
            }
        };
        drop_now();
        OnDrop(drop_now)
    }

    /// The policy set in force has this hash.
    pub(super) fn set_policies(&self, hash: u64) {
        self.with(|cache| cache.set_policies(hash));
    }

    /// It is not known at present whether the policy set changes.
    pub(super) fn suspend(&self) {
        self.with(DenialCache::suspend);
    }

    /// All of it was of another cluster.
    pub(super) fn forget(&self) {
        self.with(DenialCache::forget);
    }

    fn with<T>(&self, change: impl FnOnce(&mut DenialCache) -> T) -> Option<T> {
        let mut cache = self.cache.as_ref()?.lock();
        let result = change(&mut cache);
        self.kept.store(cache.len(), Ordering::Relaxed);
        self.generation.store(cache.generation(), Ordering::SeqCst);
        Some(result)
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
