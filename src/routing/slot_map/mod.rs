//! The slot map: who owns each slot, by the newest records that this node knows, and where the nodes
//! are found.
//!
//! Advice only: a node serves a slot because its register says so, never because of this map. One
//! that is behind costs a check a way round, and the answer of the node that was asked in vain
//! brings what was missing.
//!
//! Of two pieces of news about a slot the one of the higher epoch stands, and of the same epoch the
//! one of the higher version: chosen configurations rise in both.
//!
//! The owner of a slot is read without a lock; the nodes' names and all that changes are under one.

mod directory;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::RwLock;

pub(crate) use self::directory::Directory;
use crate::types::{Epoch, NodeId, Replicas, SLOT_COUNT, Slot, SlotRecord};

/// Most nodes that are known at once; slots of others count as unowned.
pub(crate) const NODES_MAX: usize = 512;

/// Place of this node itself.
const ME: u32 = 1;
/// Stands for "no owner known".
const NOBODY: u32 = 0;

/// See the module.
#[derive(Debug)]
pub(crate) struct SlotMap {
    /// Of each slot the place of its owner: [`NOBODY`], or one more than its index in `nodes`.
    places: Box<[AtomicU32]>,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    owners: Vec<Option<Owner>>,
    /// This node is the first. A place is given to another node when nothing refers to it.
    nodes: Vec<Node>,
    policies: u64,
    /// Made when asked for, dropped when anything changes.
    directory: Option<Arc<Directory>>,
}

#[derive(Debug)]
struct Node {
    id: NodeId,
    address: Option<Arc<str>>,
    /// Slots whose owner it is.
    slots: u32,
}

/// Who owns a slot, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Its reign.
    pub(crate) epoch: Epoch,
    /// Version of the newest record; of an earlier reign if the owner is known by a node's answer.
    pub(crate) version: u64,
    /// Who decides.
    pub(crate) node: NodeId,
    /// Who holds the slot by the newest record.
    pub(crate) replicas: Replicas,
}

impl SlotMap {
    /// The map of node `me`, which knows of no owner yet.
    pub(crate) fn new(me: NodeId) -> Self {
        let slots = usize::from(SLOT_COUNT);
        let node = Node {
            id: me,
            address: None,
            slots: 0,
        };
        Self {
            places: (0..slots).map(|_| AtomicU32::new(NOBODY)).collect(),
            state: RwLock::new(State {
                owners: vec![None; slots],
                nodes: vec![node],
                policies: 0,
                directory: None,
            }),
        }
    }

    /// Whether this node owns the slot.
    #[inline]
    pub(crate) fn is_mine(&self, slot: Slot) -> bool {
        self.place(slot) == ME
    }

    /// Who owns the slot.
    pub(crate) fn owner(&self, slot: Slot) -> Option<NodeId> {
        // A slot without an owner is told without the lock, too.
        if self.place(slot) == NOBODY {
            return None;
        }
        self.known(slot).map(|owner| owner.node)
    }

    /// All that is known of the slot's owner.
    pub(crate) fn known(&self, slot: Slot) -> Option<Owner> {
        self.state.read().owners.get(slot.index()).copied()?
    }

    /// Takes in chosen configurations; those that are not newer change nothing. Whether any was.
    pub(crate) fn apply(&self, records: &[SlotRecord]) -> bool {
        let mut state = self.state.write();
        let mut changed = false;
        for record in records {
            let owner = Owner {
                epoch: record.chosen.epoch,
                version: record.chosen.version,
                node: record.chosen.owner,
                replicas: record.chosen.replicas,
            };
            changed |= self.learn(&mut state, record.slot, owner);
        }
        changed
    }

    /// Takes in what another node answered: the slot belongs to the node of this epoch. Whether that
    /// is news.
    pub(crate) fn hint(&self, slot: Slot, epoch: Epoch) -> bool {
        let mut state = self.state.write();
        let known = state.owners.get(slot.index()).copied().flatten();
        let owner = Owner {
            epoch,
            version: known.map_or(0, |known| known.version),
            node: epoch.node,
            replicas: known.map_or_else(|| Replicas::one(epoch.node), |known| known.replicas),
        };
        self.learn(&mut state, slot, owner)
    }

    /// Says where nodes are found; of those that are not named nothing is known any more. Whether
    /// that is news.
    pub(crate) fn set_nodes(&self, nodes: &[(NodeId, String)]) -> bool {
        let addresses: BTreeMap<NodeId, &str> = nodes
            .iter()
            .map(|(node, address)| (*node, address.as_str()))
            .collect();
        let mut state = self.state.write();
        let mut changed = false;
        for node in &mut state.nodes {
            let address = addresses.get(&node.id).copied();
            if node.address.as_deref() != address {
                node.address = address.map(Arc::from);
                changed = true;
            }
        }
        for (&node, &address) in &addresses {
            let known = state.nodes.iter().any(|known| known.id == node);
            if !known && let Some(place) = state.place_for(node) {
                if let Some(node) = state.node_mut(place) {
                    node.address = Some(Arc::from(address));
                }
                changed = true;
            }
        }
        if changed {
            state.directory = None;
        }
        changed
    }

    /// Where the node is found.
    pub(crate) fn address(&self, node: NodeId) -> Option<Arc<str>> {
        let state = self.state.read();
        let known = state.nodes.iter().find(|known| known.id == node)?;
        known.address.clone()
    }

    /// Sets the hash of the policy set, which goes into the tag. Whether it is another one.
    pub(crate) fn set_policies(&self, policies: u64) -> bool {
        let mut state = self.state.write();
        let changed = state.policies != policies;
        if changed {
            state.policies = policies;
            state.directory = None;
        }
        changed
    }

    /// The hash of all that is known; never 0.
    pub(crate) fn tag(&self) -> u64 {
        self.directory().tag
    }

    /// All that is known.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        if let Some(directory) = &self.state.read().directory {
            return Arc::clone(directory);
        }
        let mut state = self.state.write();
        let directory = Arc::new(Directory::of(&state));
        Arc::clone(state.directory.insert(directory))
    }

    fn learn(&self, state: &mut State, slot: Slot, owner: Owner) -> bool {
        let known = state.owners.get(slot.index()).copied().flatten();
        let is_news =
            known.is_none_or(|known| (known.epoch, known.version) < (owner.epoch, owner.version));
        if !is_news {
            return false;
        }
        let same_node = known.is_some_and(|known| known.node == owner.node);
        if !same_node || known.is_some_and(|known| known.replicas != owner.replicas) {
            state.directory = None;
        }
        if let Some(place) = state.owners.get_mut(slot.index()) {
            *place = Some(owner);
        }
        if same_node {
            return true;
        }
        if let Some(node) = state.node_mut(self.place(slot)) {
            node.slots = node.slots.saturating_sub(1);
        }
        let place = state.place_for(owner.node).unwrap_or(NOBODY);
        if let Some(node) = state.node_mut(place) {
            node.slots = node.slots.saturating_add(1);
        }
        if let Some(owner) = self.places.get(slot.index()) {
            owner.store(place, Ordering::Release);
        }
        true
    }

    #[inline]
    fn place(&self, slot: Slot) -> u32 {
        let place = self.places.get(slot.index());
        place.map_or(NOBODY, |place| place.load(Ordering::Acquire))
    }
}

impl State {
    /// The place of a node, made if there is room for it.
    fn place_for(&mut self, node: NodeId) -> Option<u32> {
        let known = self.nodes.iter().position(|known| known.id == node);
        let unused = || {
            let mut others = self.nodes.iter().enumerate().skip(1);
            let unused = others.find(|(_, known)| known.slots == 0 && known.address.is_none())?;
            Some(unused.0)
        };
        let new = Node {
            id: node,
            address: None,
            slots: 0,
        };
        let index = match known {
            Some(index) => index,
            None if self.nodes.len() < NODES_MAX => {
                self.nodes.push(new);
                self.nodes.len().saturating_sub(1)
            }
            None => {
                let index = unused()?;
                *self.nodes.get_mut(index)? = new;
                index
            }
        };
        u32::try_from(index).ok()?.checked_add(1)
    }

    fn node_mut(&mut self, place: u32) -> Option<&mut Node> {
        let index = usize::try_from(place.checked_sub(1)?).ok()?;
        self.nodes.get_mut(index)
    }
}

#[cfg(test)]
mod tests;
