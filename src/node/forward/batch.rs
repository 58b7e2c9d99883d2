//! Checks that go the same way: those of one request to an owner, or those that wait for one slot.

use std::time::Duration;

use crate::client::peer_request::{EncodedAsks, PeerRequest};
use crate::node::clock;
use crate::protocol::client::Ask;
use crate::protocol::error::WireError;
use crate::server::{Decided, Mode};
use crate::types::{MonoTime, NodeId, Slot};

/// Deadlines that differ by less are one deadline, the earliest: a caller's batch travels as one.
const SAME_DEADLINE: Duration = Duration::from_millis(5);

/// A check on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    /// Its place in the list that the server holds.
    pub(super) place: usize,
    pub(super) slot: Slot,
    pub(super) ask: &'a Ask<'a>,
    pub(super) mode: Mode,
    /// When nobody waits for the answer any more.
    pub(super) deadline: MonoTime,
}

/// Checks that go the same way.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) mode: Mode,
    asks: EncodedAsks,
    /// Of each check its place in the server's list, and its slot.
    places: Vec<(usize, Slot)>,
    /// The first check's, which the others' are held against.
    first_deadline: MonoTime,
    /// The earliest of all.
    deadline: MonoTime,
    /// When the first check came.
    since: MonoTime,
}

impl Batch {
    fn new(first: &Item<'_>, now: MonoTime) -> Self {
        Self {
            mode: first.mode,
            asks: EncodedAsks::default(),
            places: Vec::new(),
            first_deadline: first.deadline,
            deadline: first.deadline,
            since: now,
        }
    }

    /// Adds a check; false if it belongs into another batch.
    fn push(&mut self, item: &Item<'_>) -> bool {
        let apart = item.deadline.since(self.first_deadline);
        let apart = apart.max(self.first_deadline.since(item.deadline));
        let band = self.first_deadline.since(self.since) / 4;
        if item.mode != self.mode || apart > band.max(SAME_DEADLINE) || !self.asks.push(item.ask) {
            return false;
        }
        self.places.push((item.place, item.slot));
        self.deadline = self.deadline.min(item.deadline);
        true
    }

    /// Checks in it.
    pub(super) const fn len(&self) -> usize {
        self.places.len()
    }

    /// Time left until nobody waits for the answers any more.
    pub(super) fn left(&self) -> Duration {
        self.deadline.since(clock::mono_now())
    }

    /// The request that has all of it decided.
    pub(super) fn request(&self) -> PeerRequest {
        self.asks.request(self.mode == Mode::Look)
    }

    /// The checks, in order.
    pub(super) fn asks(&self) -> Vec<Ask<'_>> {
        self.asks.asks()
    }

    /// Of each check its place in the server's list, and its slot.
    pub(super) fn places(&self) -> &[(usize, Slot)] {
        &self.places
    }

    /// The `n`th check as it came.
    pub(super) fn item<'a>(&self, n: usize, ask: &'a Ask<'a>) -> Option<Item<'a>> {
        let &(place, slot) = self.places.get(n)?;
        Some(Item {
            place,
            slot,
            ask,
            mode: self.mode,
            deadline: self.deadline,
        })
    }

    /// The same answer to all of them.
    pub(super) fn all(&self, error: &WireError) -> Vec<(usize, Decided)> {
        let places = self.places.iter();
        places.map(|&(n, _)| (n, Err(error.clone()))).collect()
    }
}

/// Checks sorted by where they go.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// To owners.
    pub(super) owners: Vec<(NodeId, Batch)>,
    /// Nowhere yet: each slot by itself.
    pub(super) waits: Vec<(Slot, Batch)>,
    /// Answered already.
    pub(super) decided: Vec<(usize, Decided)>,
}

impl Sorted {
    pub(super) fn send(&mut self, owner: NodeId, item: &Item<'_>, now: MonoTime) {
        if !add(&mut self.owners, owner, item, now) {
            self.too_long(item);
        }
    }

    pub(super) fn hold(&mut self, item: &Item<'_>, now: MonoTime) {
        if !add(&mut self.waits, item.slot, item, now) {
            self.too_long(item);
        }
    }

    /// No check that a policy was found for is so long.
    fn too_long(&mut self, item: &Item<'_>) {
        let reason = "the check is too long to be passed on".to_owned();
        self.decided
            .push((item.place, Err(WireError::Malformed { reason })));
    }
}

fn add<K: Copy + PartialEq>(
    batches: &mut Vec<(K, Batch)>,
    way: K,
    item: &Item<'_>,
    now: MonoTime,
) -> bool {
    // The last one is the one with room.
    let last = batches
        .iter_mut()
        .rev()
        .find(|(other, batch)| *other == way && batch.mode == item.mode);
    if let Some((_, batch)) = last
        && batch.push(item)
    {
        return true;
    }
    let mut batch = Batch::new(item, now);
    let added = batch.push(item);
    if added {
        batches.push((way, batch));
    }
    added
}
