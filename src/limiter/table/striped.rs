//! The table itself: its stripes, the open commit's number, and how full it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam::utils::CachePadded;

use super::commit::CommitSide;
use super::pages::HugePages;
use super::prefetch::prefetch;
use super::records::home;
use super::stripe::Stripe;
use super::sync::{Mutex, MutexGuard, Word};
use crate::limiter::SlotClocks;
use crate::limiter::shape::Shapes;
use crate::types::{NodeId, SLOT_COUNT, Slot, SlotTime, StateId};

/// Number of stripes: so many that two threads seldom meet, so few that all locks stay cached, and
/// that the records of one are moved within a millisecond when it grows.
pub(super) const STRIPES: usize = 256;

/// How much a table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Most key states.
    pub(crate) keys_max: u64,
    /// Most bytes of key states.
    pub(crate) bytes_max: u64,
    /// Whether states that are on disk may be evicted to make room.
    pub(crate) evicts: bool,
}

/// All key states of a node. See [`super`].
#[derive(Debug)]
pub(crate) struct Table {
    stripes: Vec<CachePadded<Mutex<Stripe>>>,
    /// Of each stripe, where its records lie; may be stale, and is for prefetching only.
    hints: Vec<Hint>,
    /// Stripes whose dirty list is not empty; a bit may be set for one whose list is.
    pub(super) dirty_stripes: [CachePadded<Word>; STRIPES / 64],
    /// Number of the commit that takes what changes now.
    pub(super) open_commit: CachePadded<Word>,
    pub(super) commit_side: Mutex<CommitSide>,
    pub(super) huge_pages: Mutex<HugePages>,
    /// Of each slot, when the last of its evicted states stops to count; until then a miss must
    /// look at the store.
    evicted_until: Vec<AtomicU64>,
    pub(super) capacity: Capacity,
    pub(super) keys: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) evictions: AtomicU64,
    /// The node, whose reigns are the epochs of what is committed.
    pub(super) node: NodeId,
    /// The slots' gates and clocks for those who hold no lock.
    pub(super) clocks: Arc<SlotClocks>,
    /// The highest counter of an epoch that was seen.
    pub(super) highest_counter: AtomicU64,
    /// Copies of slots that were begun.
    pub(super) copies: AtomicU64,
    pub(crate) shapes: Shapes,
}

#[derive(Debug, Default)]
struct Hint {
    address: AtomicUsize,
    places: AtomicUsize,
}

/// What the table has done and holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// States in memory.
    pub(crate) keys: u64,
    /// Bytes they take.
    pub(crate) bytes: u64,
    /// Checks granted.
    pub(crate) grants: u64,
    /// Checks denied.
    pub(crate) denials: u64,
    /// States evicted to disk.
    pub(crate) evictions: u64,
}

impl Table {
    /// An empty table of `node` that holds and serves nothing yet, and publishes in `clocks` what it
    /// serves. Its first commit is numbered `first_commit`.
    pub(crate) fn new(
        capacity: Capacity,
        first_commit: u64,
        node: NodeId,
        clocks: Arc<SlotClocks>,
    ) -> Self {
        let slots = usize::from(SLOT_COUNT);
        Self {
            stripes: (0..STRIPES).map(|_| CachePadded::default()).collect(),
            hints: (0..STRIPES).map(|_| Hint::default()).collect(),
            dirty_stripes: Default::default(),
            open_commit: CachePadded::new(Word::new(first_commit)),
            commit_side: Mutex::new(CommitSide::default()),
            huge_pages: Mutex::default(),
            evicted_until: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            capacity,
            keys: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            node,
            clocks,
            highest_counter: AtomicU64::new(0),
            copies: AtomicU64::new(0),
            shapes: Shapes::default(),
        }
    }

    /// Numbers the next commit, before anything has changed.
    pub(crate) fn start_commits_at(&mut self, number: u64) {
        *self.open_commit = Word::new(number);
    }

    /// Starts to load the record of `id`, and the next one, which it may have been moved to.
    #[inline]
    pub(crate) fn prefetch(&self, id: StateId) {
        if let Some(hint) = self.hints.get(stripe_of(id)) {
            let places = hint.places.load(Ordering::Relaxed);
            let offset = home(id, places).wrapping_mul(super::records::RECORD_BYTES);
            let address = hint.address.load(Ordering::Relaxed).wrapping_add(offset);
            prefetch(address);
            prefetch(address.wrapping_add(super::records::RECORD_BYTES));
        }
    }

    /// Locks the stripe of `id`.
    #[inline]
    pub(super) fn lock(&self, id: StateId) -> MutexGuard<'_, Stripe> {
        self.lock_nth(stripe_of(id))
    }

    /// Locks the `n`th stripe; `n` is below [`STRIPES`].
    #[inline]
    pub(super) fn lock_nth(&self, n: usize) -> MutexGuard<'_, Stripe> {
        #[expect(
            clippy::indexing_slicing,
            reason = "n is one of eight bits and there are 256"
        )]
        self.stripes[n % STRIPES].lock()
    }

    /// Takes the difference that a change of the stripe's records made into the totals.
    pub(super) fn account(&self, id: StateId, stripe: &Stripe, before: &Size) {
        let now = Size::of(stripe);
        adjust(&self.keys, before.keys, now.keys);
        adjust(&self.bytes, before.bytes, now.bytes);
        if let Some(hint) = self.hints.get(stripe_of(id)) {
            let (address, places) = stripe.records.place_hint();
            hint.address.store(address, Ordering::Relaxed);
            hint.places.store(places, Ordering::Relaxed);
        }
    }

    /// Takes a change of the bytes that a state has on the heap into the total.
    #[inline]
    pub(super) fn account_heap(&self, before: usize, after: usize) {
        if before != after {
            adjust(&self.bytes, before, after);
        }
    }

    /// Until when a miss in `slot` must look at the store.
    pub(super) fn evicted_until(&self, slot: Slot) -> SlotTime {
        let until = self.evicted_until.get(usize::from(slot.number()));
        SlotTime::from_ms(until.map_or(0, |until| until.load(Ordering::Acquire)))
    }

    /// Notes that a state that counts until `expires_at` is only in the store.
    pub(super) fn note_evicted(&self, slot: Slot, expires_at: SlotTime) {
        if let Some(until) = self.evicted_until.get(usize::from(slot.number())) {
            until.fetch_max(expires_at.as_ms(), Ordering::AcqRel);
        }
    }

    /// The store has nothing of `slot` any more that is not in memory.
    pub(super) fn clear_evicted(&self, slot: Slot) {
        if let Some(until) = self.evicted_until.get(slot.index()) {
            until.store(0, Ordering::Release);
        }
    }

    /// How much the table may hold.
    pub(crate) const fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// What the table has done and holds.
    pub(crate) fn counters(&self) -> Counters {
        let mut counters = Counters {
            keys: self.keys.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            ..Counters::default()
        };
        for stripe in &self.stripes {
            let stripe = stripe.lock();
            counters.grants = counters.grants.saturating_add(stripe.tally.grants);
            counters.denials = counters.denials.saturating_add(stripe.tally.denials);
        }
        counters
    }
}

/// How much a stripe's records take, without what states have on the heap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    keys: usize,
    bytes: usize,
}

impl Size {
    pub(super) const fn of(stripe: &Stripe) -> Self {
        Self {
            keys: stripe.records.len(),
            bytes: stripe.records.bytes(),
        }
    }
}

/// The stripe of a state: the top 8 bits, so that a slot lies in one stripe.
pub(super) const fn stripe_of(id: StateId) -> usize {
    (id.0 >> 120) as usize
}

/// The stripe of a slot's states.
pub(super) const fn stripe_of_slot(slot: Slot) -> usize {
    stripe_of(StateId::first_of(slot))
}

fn adjust(total: &AtomicU64, before: usize, now: usize) {
    let difference = now.abs_diff(before) as u64;
    if now >= before {
        total.fetch_add(difference, Ordering::Relaxed);
    } else {
        total.fetch_sub(difference, Ordering::Relaxed);
    }
}

/// The slots of the `n`th stripe.
pub(super) fn slots_of(n: usize) -> impl Iterator<Item = Slot> {
    let slots = usize::from(SLOT_COUNT) / STRIPES;
    let first = n.saturating_mul(slots);
    let numbers = first..first.saturating_add(slots);
    numbers.filter_map(|number| Slot::new(u16::try_from(number).ok()?))
}
