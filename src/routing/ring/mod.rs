//! The ring: which nodes *should* hold each slot, worked out from the members and their weights
//! alone, so that all nodes with the same members name the same targets.
//!
//! Consistent hashing (Karger et al., 1997) with the `hashring` crate: each node stands on the ring
//! at [`POINTS`] points (its virtual nodes) times its weight, and a slot goes to the nodes that follow
//! its own point. Points are seeded xxh3 hashes of these bytes:
//!
//! | bytes | what |
//! |---|---|
//! | 16, 4 | a node's point: its id and the number of the point, little-endian |
//! | 2 | a slot's point: its number, little-endian |
//!
//! Nothing is decided here: a node that should own a slot does so once a slot record says it. How
//! even the shares are is told, with figures, by the tests.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::types::{NodeId, Slot};

/// Points on the ring for each unit of a node's weight. With 256, in three nodes of random ids the
/// largest share was above 1.12 times the mean in one of twenty clusters; with 1024 in one of two
/// hundred. What is left comes from the slots, which are 4096 and no more.
pub(crate) const POINTS: u32 = 1024;

/// Largest weight of a node: the ring of a hundred such nodes has 1.6 million points, and more would
/// be slow to make.
pub(crate) const WEIGHT_MAX: u32 = 16;

/// Makes the ring's hashes others than those of any other use of xxh3. Never changes: all nodes of
/// a cluster must agree.
const SEED: u64 = 0x6472_6c2d_7269_6e67;

/// Who should hold each slot.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    points: HashRing<Point, Xxh3>,
    /// The same points in their order, to walk on from the first: the crate copies the whole ring to
    /// name the next ones.
    order: Vec<(u64, NodeId)>,
    /// How many different nodes have a point.
    nodes: usize,
}

impl Ring {
    /// The ring of these nodes; one of weight 0 gets nothing, and one that is named twice has the
    /// weight that is named last. Their order does not matter.
    pub(crate) fn new(members: &[(NodeId, u32)]) -> Self {
        let members: BTreeMap<NodeId, u32> = members.iter().copied().collect();
        let mut points = Vec::new();
        for (&node, &weight) in &members {
            let numbers = 0..POINTS.saturating_mul(weight.min(WEIGHT_MAX));
            points.extend(numbers.map(|number| Point { node, number }));
        }
        let place = |point: &Point| (point.place(), point.node);
        let mut order: Vec<_> = points.iter().map(place).collect();
        // Both sorts are stable and begin with the points by node and number, so that the order of
        // points in one place does not depend on who was named first.
        order.sort_by_key(|&(at, _)| at);
        let mut ring = HashRing::with_hasher(Xxh3);
        ring.batch_add(points);
        let nodes = members.values().filter(|&&weight| weight > 0).count();
        Self {
            points: ring,
            order,
            nodes,
        }
    }

    /// All nodes in the order in which they follow the slot on the ring, as far as it takes until
    /// `enough` of those so far.
    pub(crate) fn walk(&self, slot: Slot, enough: impl Fn(&[NodeId]) -> bool) -> Vec<NodeId> {
        let mut found = Vec::new();
        let Some(owner) = self.owner(slot) else {
            return found;
        };
        found.push(owner);
        let start = self
            .order
            .partition_point(|&(at, _)| at < SlotPoint(slot).place());
        let (before, from_start) = self.order.split_at(start);
        for &(_, node) in from_start.iter().chain(before) {
            if found.len() >= self.nodes || enough(&found) {
                break;
            }
            if !found.contains(&node) {
                found.push(node);
            }
        }
        found
    }

    /// Who should own each slot, in the order of the slots; `None` if no node takes any.
    #[cfg(test)]
    pub(crate) fn owners(&self) -> Option<Vec<NodeId>> {
        Slot::all().map(|slot| self.owner(slot)).collect()
    }

    fn owner(&self, slot: Slot) -> Option<NodeId> {
        self.points.get(&SlotPoint(slot)).map(|point| point.node)
    }
}

/// One of a node's points.
#[derive(Debug, Clone, Copy)]
struct Point {
    node: NodeId,
    number: u32,
}

impl Point {
    fn bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        let (node, number) = bytes.split_at_mut(16);
        node.copy_from_slice(&self.node.0.to_le_bytes());
        number.copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    fn place(self) -> u64 {
        Xxh3.hash_one(self)
    }
}

/// A slot's point.
#[derive(Debug, Clone, Copy)]
struct SlotPoint(Slot);

impl SlotPoint {
    fn place(self) -> u64 {
        Xxh3.hash_one(self)
    }
}

impl Hash for SlotPoint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0.number().to_le_bytes());
    }
}

impl Hash for Point {
    /// One write of exactly its bytes, so that nothing depends on how the standard library hashes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.bytes());
    }
}

/// Hashes what is written in one piece, as it is.
#[derive(Debug, Clone, Copy)]
struct Xxh3;

impl BuildHasher for Xxh3 {
    type Hasher = OnePiece;

    fn build_hasher(&self) -> OnePiece {
        OnePiece(SEED)
    }
}

/// The hash of the last piece written.
#[derive(Debug)]
struct OnePiece(u64);

impl Hasher for OnePiece {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, SEED);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
