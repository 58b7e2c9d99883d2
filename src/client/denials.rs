//! The denial cache as calls share it: a few caches by the keys' hashes, each under its own lock,
//! which nobody takes while that one is empty.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::aim::Aim;
use super::denial_cache::{Asked, DenialCache, DenialId};
use crate::types::Decision;

/// Most caches: more than threads that ask at the same time.
const STRIPES_MAX: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Denials {
    /// None if it is off.
    stripes: Box<[Stripe]>,
    /// Generation of all caches. What changes it is told to each cache first: a denial that is kept
    /// meanwhile under the old one is refused by those that know, and forgotten by the others.
    generation: AtomicU64,
}

#[derive(Debug)]
struct Stripe {
    cache: Mutex<DenialCache>,
    /// How many it keeps.
    kept: AtomicUsize,
}

impl Denials {
    /// Room for so many; none means off.
    pub(super) fn new(denials_max: usize) -> Self {
        let stripes = denials_max.min(STRIPES_MAX);
        let stripe = |_| Stripe {
            cache: Mutex::new(DenialCache::new(denials_max / stripes)),
            kept: AtomicUsize::new(0),
        };
        Self {
            stripes: (0..stripes).map(stripe).collect(),
            generation: AtomicU64::new(0),
        }
    }

    /// The denial that answers a check of `cost`, if there is one.
    pub(super) fn find(&self, aim: Option<Aim>, cost: u64, now: Duration) -> Option<Decision> {
        let id = aim?.id;
        let stripe = self.stripe(id)?;
        if stripe.kept.load(Ordering::Relaxed) == 0 {
            return None;
        }
        stripe.change(|cache| cache.find(id, cost, now))
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
        if let (false, Some(aim)) = (decision.allowed, aim)
            && let Some(stripe) = self.stripe(aim.id)
        {
            stripe.change(|cache| cache.keep(aim.id, cost, asked, decision));
        }
    }

    /// Drops what is kept of `aim` now, and again when the guard is dropped: for what gives permits
    /// back.
    pub(super) fn dropping(&self, aim: Option<Aim>, now: impl Fn() -> Duration) -> impl Drop {
        let drop_now = move || {
            if let Some(aim) = aim
                && let Some(stripe) = self.stripe(aim.id)
            {
                stripe.change(|cache| cache.drop_denial(aim.id, now()));
            }
        };
        drop_now();
        OnDrop(drop_now)
    }

    /// The policy set in force has this hash.
    pub(super) fn set_policies(&self, hash: u64) {
        self.change_all(|cache| cache.set_policies(hash));
    }

    /// It is not known at present whether the policy set changes.
    pub(super) fn suspend(&self) {
        self.change_all(DenialCache::suspend);
    }

    /// All of it was of another cluster.
    pub(super) fn forget(&self) {
        self.change_all(DenialCache::forget);
    }

    /// The cache that keeps denials of this name; `None` if all of it is off.
    fn stripe(&self, id: DenialId) -> Option<&Stripe> {
        // The low bits, since the high ones tell the slot.
        let bits = usize::try_from(id & 0xffff).unwrap_or_default();
        self.stripes.get(bits.checked_rem(self.stripes.len())?)
    }

    /// Changes all caches alike, so that all are of one generation. Called under the lock of what is
    /// known of the cluster: one change at a time.
    fn change_all(&self, change: impl Fn(&mut DenialCache)) {
        let mut generation = 0;
        for stripe in &self.stripes {
            generation = stripe.change(|cache| {
                change(cache);
                cache.generation()
            });
        }
        self.generation.store(generation, Ordering::SeqCst);
    }
}

impl Stripe {
    fn change<T>(&self, change: impl FnOnce(&mut DenialCache) -> T) -> T {
        let mut cache = self.cache.lock();
        let result = change(&mut cache);
        self.kept.store(cache.len(), Ordering::Relaxed);
        result
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
