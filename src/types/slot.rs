//! Slots, the fixed parts of the key space, and who owns them.

use std::fmt;

use super::NodeId;

/// Number of slots; fixed when a cluster is created.
pub(crate) const SLOT_COUNT: u16 = 4096;

/// Most replicas that a slot may have.
pub(crate) const REPLICAS_MAX: usize = 5;

/// Of how many holders of a slot clients are told: its owner, and the two that would take over first.
pub(crate) const HOLDERS_TOLD: usize = 3;

/// One of [`SLOT_COUNT`] fixed parts of the key space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u16);

impl Slot {
    /// The slot numbered `number`, or `None` if there is no such slot.
    pub(crate) const fn new(number: u16) -> Option<Self> {
        if number < SLOT_COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The slot of a 128-bit hash: its top 12 bits.
    pub(super) const fn of_hash(hash: u128) -> Self {
        Self((hash >> 116) as u16)
    }

    /// The slot's number, below [`SLOT_COUNT`].
    pub(crate) const fn number(self) -> u16 {
        self.0
    }

    /// The slot's number as a place in a list of all slots.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// All slots, in order.
    pub(crate) fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator + Clone {
        (0..SLOT_COUNT).map(Self)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A reign over a slot, and the ballot that it was won with: a counter above all seen, and the node
/// that reigns. No node uses one twice, so no two reigns share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Epoch {
    /// Compared first.
    pub(crate) counter: u64,
    /// Tells apart who chose the same counter.
    pub(crate) node: NodeId,
}

impl Epoch {
    /// Below every epoch of a node.
    pub(crate) const ZERO: Self = Self {
        counter: 0,
        node: NodeId(0),
    };
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:08x}", self.counter, self.node.0 >> 96)
    }
}

/// The nodes that hold a slot, at most [`REPLICAS_MAX`], each once, in the order of their rank.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Replicas {
    nodes: [NodeId; REPLICAS_MAX],
    len: u8,
}

impl Replicas {
    /// Just `node`.
    pub(crate) fn one(node: NodeId) -> Self {
        Self::of(&[node])
    }

    /// The first [`REPLICAS_MAX`] of `nodes`, each once.
    pub(crate) fn of(nodes: &[NodeId]) -> Self {
        let mut replicas = Self::default();
        for &node in nodes {
            if replicas.contains(node) {
                continue;
            }
            let Some(place) = replicas.nodes.get_mut(usize::from(replicas.len)) else {
                break;
            };
            *place = node;
            replicas.len = replicas.len.saturating_add(1);
        }
        replicas
    }

    /// The nodes, by rank.
    pub(crate) fn as_slice(&self) -> &[NodeId] {
        self.nodes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// Whether `node` is one of them.
    pub(crate) fn contains(&self, node: NodeId) -> bool {
        self.as_slice().contains(&node)
    }

    /// How many make a majority.
    pub(crate) fn majority(&self) -> usize {
        self.as_slice().len() / 2 + 1
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

/// What was chosen about a slot: who owns it since which epoch, and who holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Configuration {
    /// Counts the configurations of the slot; one is chosen for each version.
    pub(crate) version: u64,
    /// The owner's reign.
    pub(crate) epoch: Epoch,
    /// Who decides.
    pub(crate) owner: NodeId,
    /// Who holds the state, the owner among them.
    pub(crate) replicas: Replicas,
}

/// A slot and what was chosen about it: the durable slot record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotRecord {
    /// Which slot.
    pub(crate) slot: Slot,
    /// What was chosen.
    pub(crate) chosen: Configuration,
}

/// How far the state of a slot is: so many commits within a reign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Position {
    /// The reign.
    pub(crate) epoch: Epoch,
    /// The slot's commits in it.
    pub(crate) n: u64,
}

/// A set of slots, as a bitmap.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SlotSet([u64; SLOT_COUNT as usize / 64]);

impl SlotSet {
    /// No slot.
    pub(crate) const EMPTY: Self = Self([0; SLOT_COUNT as usize / 64]);

    /// Adds a slot.
    pub(crate) fn insert(&mut self, slot: Slot) {
        if let Some(word) = self.0.get_mut(slot.index() / 64) {
            *word |= 1 << (slot.index() % 64);
        }
    }

    /// Removes a slot.
    pub(crate) fn remove(&mut self, slot: Slot) {
        if let Some(word) = self.0.get_mut(slot.index() / 64) {
            *word &= !(1 << (slot.index() % 64));
        }
    }

    /// Whether the slot is in it.
    pub(crate) fn contains(&self, slot: Slot) -> bool {
        let word = self.0.get(slot.index() / 64).copied().unwrap_or(0);
        word & (1 << (slot.index() % 64)) != 0
    }

    /// Whether no slot is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// How many slots are in it.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The slots in it, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        let words = self.0.iter().zip((0..SLOT_COUNT).step_by(64));
        let full = words.filter(|(word, _)| **word != 0);
        full.flat_map(|(&word, first)| {
            let bits = (0..64u16).filter(move |bit| word & (1 << bit) != 0);
            bits.map(move |bit| Slot(first | bit))
        })
    }

    /// The words of the bitmap, for the wire.
    pub(crate) const fn words(&self) -> &[u64; SLOT_COUNT as usize / 64] {
        &self.0
    }

    /// A set from the words of its bitmap.
    #[expect(
        clippy::large_types_passed_by_value,
        reason = "the words become the set"
    )]
    pub(crate) const fn from_words(words: [u64; SLOT_COUNT as usize / 64]) -> Self {
        Self(words)
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::EMPTY;
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(Slot::number))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_order_by_counter_and_then_by_node() {
        let epoch = |counter, node| Epoch {
            counter,
            node: NodeId(node),
        };
        assert!(Epoch::ZERO < epoch(0, 1));
        assert!(epoch(1, 9) < epoch(2, 1));
        assert!(epoch(2, 1) < epoch(2, 2));
    }

    #[test]
    fn replicas_are_each_there_once_and_have_a_majority() {
        let nodes: Vec<NodeId> = [3, 1, 3, 2].map(NodeId).to_vec();
        let replicas = Replicas::of(&nodes);
        assert_eq!(replicas.as_slice(), [3, 1, 2].map(NodeId));
        assert_eq!(replicas.majority(), 2);
        assert_eq!(Replicas::one(NodeId(7)).majority(), 1);
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let slots = [0, 63, 64, 4095].map(|n| Slot::new(n).unwrap());
        let mut set: SlotSet = slots.into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), slots);
        set.remove(slots[1]);
        assert_eq!((set.len(), set.contains(slots[1])), (3, false));
        assert_eq!(SlotSet::from_words(*set.words()), set);
    }
}
