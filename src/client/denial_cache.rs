//! Denials that are still true: who was denied with a time to come back is not asked about again
//! before that.
//!
//! Pure. A denial of cost `c` stays true until enough buckets have left, and it holds for every cost
//! of at least `c`; so within its `retry_after` it answers those. It is counted from when the check
//! was asked, which is before the node decided, so never longer than the node said. What this client
//! does to give permits back (a reset, a refund, a settlement) drops the key's denial, and so does
//! any change of the policy set. What others give back is felt only after `retry_after`: it errs on
//! the side of denying.
//!
//! Bounded: at the bound, a denial that answered nothing since it was last looked at goes (second
//! chance). Keys are kept as hashes under the cluster's secret.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::types::{Decision, Source};

/// Dropped keys that are remembered, so that an answer that was on its way does not bring back what
/// was dropped. Of an answer older than all of them nothing is kept.
const DROPPED_MAX: usize = 64;

/// Denials that are looked at to find one that may go: a bound on the time under a lock.
const LOOKS_MAX: usize = 16;

/// Names a key under a policy: their hash.
pub(super) type DenialId = u128;

/// When a check was asked, and under which state of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) at: Duration,
    pub(super) generation: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct DenialCache {
    entries_max: usize,
    /// Hash of the policy set that the denials are of; nothing is kept or told without it.
    policies: Option<u64>,
    /// Whether the policy set could have changed without notice.
    suspended: bool,
    /// Changes whenever what was asked before must not be kept.
    generation: u64,
    places: HashMap<DenialId, usize>,
    entries: Vec<Entry>,
    hand: usize,
    /// The keys dropped last, with when.
    dropped: VecDeque<(DenialId, Duration)>,
    /// Until when keys were dropped that are not remembered any more.
    dropped_before: Option<Duration>,
}

#[derive(Debug)]
struct Entry {
    id: DenialId,
    cost: u64,
    until: Duration,
    reset_at: Duration,
    limit: u64,
    remaining: u64,
    used: bool,
}

impl DenialCache {
    /// Room for so many denials.
    pub(super) fn new(entries_max: usize) -> Self {
        Self {
            entries_max,
            policies: None,
            suspended: true,
            generation: 0,
            places: HashMap::new(),
            entries: Vec::new(),
            hand: 0,
            dropped: VecDeque::new(),
            dropped_before: None,
        }
    }

    /// The policy set in force has this hash. If it is another one, everything is forgotten.
    pub(super) fn set_policies(&mut self, hash: u64) {
        if self.policies != Some(hash) {
            self.forget();
            self.policies = Some(hash);
        }
        self.suspended = false;
    }

    /// It is not known at present whether the policy set changes: tells and keeps nothing until
    /// [`Self::set_policies`].
    pub(super) fn suspend(&mut self) {
        self.suspended = true;
        self.generation = self.generation.wrapping_add(1);
    }

    /// Forgets everything, the policy set too.
    pub(super) fn forget(&mut self) {
        self.places.clear();
        self.entries.clear();
        self.hand = 0;
        self.policies = None;
        self.suspend();
    }

    /// What is asked now is asked under this generation.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Denials that are kept.
    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The denial that answers a check of `cost`, if there is one.
    pub(super) fn find(&mut self, id: DenialId, cost: u64, now: Duration) -> Option<Decision> {
        let place = *self.places.get(&id)?;
        let entry = self.entries.get_mut(place)?;
        if entry.until <= now {
            self.remove(place);
            return None;
        }
        if self.suspended || cost < entry.cost {
            return None;
        }
        entry.used = true;
        Some(Decision {
            reset_after: entry.reset_at.saturating_sub(now),
            retry_after: entry.until.saturating_sub(now),
            ..Decision::new(false, entry.limit, entry.remaining, Source::Cached)
        })
    }

    /// Keeps the denial of a check of `cost`; anything else is left alone.
    pub(super) fn keep(&mut self, id: DenialId, cost: u64, asked: Asked, decision: &Decision) {
        let by_counts = match decision.source {
            Source::Owner | Source::Proxied => true,
            Source::Cached | Source::Degraded => false,
        };
        let denies = !decision.allowed && !decision.retry_after.is_zero() && cost > 0;
        let current = !self.suspended && asked.generation == self.generation;
        if !by_counts || !denies || !current || self.was_dropped(id, asked.at) {
            return;
        }
        let entry = Entry {
            id,
            cost,
            until: asked.at.saturating_add(decision.retry_after),
            reset_at: asked.at.saturating_add(decision.reset_after),
            limit: decision.limit,
            remaining: decision.remaining,
            used: false,
        };
        if let Some(&place) = self.places.get(&id) {
            if let Some(known) = self.entries.get_mut(place) {
                *known = entry;
            }
        } else if self.entries.len() < self.entries_max {
            self.places.insert(id, self.entries.len());
            self.entries.push(entry);
        } else {
            self.replace_one(entry);
        }
    }

    /// Permits of the key may have been given back: forgets its denial, and those that are still on
    /// their way.
    pub(super) fn drop_denial(&mut self, id: DenialId, now: Duration) {
        if let Some(&place) = self.places.get(&id) {
            self.remove(place);
        }
        self.dropped.push_back((id, now));
        if self.dropped.len() > DROPPED_MAX
            && let Some((_, at)) = self.dropped.pop_front()
        {
            self.dropped_before = self.dropped_before.max(Some(at));
        }
    }

    fn was_dropped(&self, id: DenialId, asked_at: Duration) -> bool {
        self.dropped_before.is_some_and(|at| at >= asked_at)
            || self
                .dropped
                .iter()
                .any(|&(dropped, at)| dropped == id && at >= asked_at)
    }

    /// Puts `entry` in the place of the next one that was not used since the hand last passed, or
    /// of the last one looked at.
    fn replace_one(&mut self, entry: Entry) {
        for looks_left in (0..LOOKS_MAX).rev() {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let place = self.hand;
            let Some(old) = self.entries.get_mut(place) else {
                return;
            };
            self.hand = place.saturating_add(1);
            if std::mem::take(&mut old.used) && looks_left > 0 {
                continue;
            }
            let new = entry.id;
            let old = std::mem::replace(old, entry);
            self.places.remove(&old.id);
            self.places.insert(new, place);
            return;
        }
    }

    fn remove(&mut self, place: usize) {
        if place >= self.entries.len() {
            return;
        }
        let removed = self.entries.swap_remove(place);
        self.places.remove(&removed.id);
        if let Some(moved) = self.entries.get(place) {
            self.places.insert(moved.id, place);
        }
    }
}
