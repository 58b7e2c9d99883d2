//! The slot map in the form in which clients are told it: who owns each slot, and who would take it
//! over.
//!
//! Each set of holders stands there once, and neighbouring slots of one set are one run: of five
//! nodes there are sixty sets, so that all of it is about as long as the owners alone.
//!
//! Invariant: it fits into a frame; where that cannot hold all holders, it names the owners only.

use std::collections::BTreeMap;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::{Owner, State};
use crate::types::{HOLDERS_TOLD, NodeId, Replicas};

/// Most bytes of ids and addresses, so that they fit into a frame with the runs of all owners.
const NODES_BYTES_MAX: usize = 40 * 1024;

/// Most bytes of nodes, sets and runs together, if all holders are to be named.
const BYTES_MAX: usize = 60 * 1024;

/// The owner of a slot, then the others that hold it by the rank in which they would take it over:
/// their places among the nodes.
pub(crate) type HolderSet = [Option<u16>; HOLDERS_TOLD];

/// The whole map at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    /// A hash of all that follows; never 0. Nodes that know the same have the same.
    pub(crate) tag: u64,
    /// As set by [`super::SlotMap::set_policies`].
    pub(crate) policies: u64,
    /// Nodes with a known address, by id.
    pub(crate) nodes: Vec<(NodeId, Arc<str>)>,
    /// The sets of nodes that hold slots, in the order in which slots need them first.
    pub(crate) sets: Vec<HolderSet>,
    /// Runs of slots: how many, and the place of their set in `sets`.
    pub(crate) runs: Vec<(u16, u16)>,
}

impl Directory {
    pub(super) fn of(state: &State) -> Self {
        let addresses: BTreeMap<NodeId, &Arc<str>> = state
            .nodes
            .iter()
            .filter_map(|node| Some((node.id, node.address.as_ref()?)))
            .collect();
        let mut bytes: usize = 0;
        let mut nodes: Vec<(NodeId, Arc<str>)> = Vec::new();
        for (node, address) in addresses {
            let more = bytes.saturating_add(address.len()).saturating_add(22);
            if more > NODES_BYTES_MAX {
                break;
            }
            bytes = more;
            nodes.push((node, Arc::clone(address)));
        }
        let mut held = Held::of(&state.owners, &nodes, HOLDERS_TOLD);
        if bytes.saturating_add(held.bytes()) > BYTES_MAX {
            held = Held::of(&state.owners, &nodes, 1);
        }
        let mut directory = Self {
            tag: 0,
            policies: state.policies,
            nodes,
            sets: held.sets,
            runs: held.runs,
        };
        directory.tag = directory.hash().max(1);
        directory
    }

    fn hash(&self) -> u64 {
        let mut hasher = Xxh3::new();
        hasher.update(&self.policies.to_le_bytes());
        for (node, address) in &self.nodes {
            hasher.update(&node.0.to_le_bytes());
            // A byte that no address holds ends it.
            hasher.update(address.as_bytes());
            hasher.update(&[0]);
        }
        for place in self.sets.iter().flatten() {
            hasher.update(&place.unwrap_or(u16::MAX).to_le_bytes());
        }
        for &(slots, set) in &self.runs {
            hasher.update(&slots.to_le_bytes());
            hasher.update(&set.to_le_bytes());
        }
        hasher.digest()
    }
}

/// Who holds which slots.
struct Held {
    sets: Vec<HolderSet>,
    runs: Vec<(u16, u16)>,
}

impl Held {
    /// Names at most so many of `nodes` for each slot, none for one whose owner is not among them.
    fn of(owners: &[Option<Owner>], nodes: &[(NodeId, Arc<str>)], told: usize) -> Self {
        let mut held = Self {
            sets: Vec::new(),
            runs: Vec::new(),
        };
        // Many slots have the same holders, which are looked for among the nodes once.
        let mut seen: BTreeMap<Option<(NodeId, Replicas)>, u16> = BTreeMap::new();
        let mut known: BTreeMap<HolderSet, u16> = BTreeMap::new();
        for owner in owners {
            let holders = owner.as_ref().map(|it| (it.node, it.replicas));
            let place = *seen.entry(holders).or_insert_with(|| {
                let set = holders
                    .map(|it| set_of(it, nodes, told))
                    .unwrap_or_default();
                *known.entry(set).or_insert_with(|| {
                    held.sets.push(set);
                    u16::try_from(held.sets.len().saturating_sub(1)).unwrap_or(u16::MAX)
                })
            });
            match held.runs.last_mut() {
                Some((slots, last)) if *last == place => *slots = slots.saturating_add(1),
                Some(_) | None => held.runs.push((1, place)),
            }
        }
        held
    }

    /// As many as it takes at most to tell this: a number below 128 is one byte, one below 16,384
    /// two, and nobody three.
    fn bytes(&self) -> usize {
        let of = |number: u16| match number {
            0..128 => 1_usize,
            128..16_384 => 2,
            16_384.. => 3,
        };
        let sets = self.sets.iter().flatten();
        let runs = self.runs.iter().flat_map(|&(slots, set)| [slots, set]);
        let numbers = sets.map(|place| place.unwrap_or(u16::MAX)).chain(runs);
        numbers.map(of).fold(0, usize::saturating_add)
    }
}

fn set_of(
    (owner, replicas): (NodeId, Replicas),
    nodes: &[(NodeId, Arc<str>)],
    told: usize,
) -> HolderSet {
    let place = |node: NodeId| {
        let index = nodes.binary_search_by_key(&node, |&(node, _)| node).ok()?;
        u16::try_from(index).ok()
    };
    let mut set = HolderSet::default();
    let Some(first) = place(owner) else {
        return set;
    };
    let others = replicas.as_slice().iter();
    let others = others.filter(|node| **node != owner);
    let all = std::iter::once(first).chain(others.filter_map(|node| place(*node)));
    for (told, holder) in set.iter_mut().zip(all.take(told)) {
        *told = Some(holder);
    }
    set
}
