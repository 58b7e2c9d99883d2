//! The nodes of the cluster, as every node keeps them: who belongs, with which weight, and who has
//! gone for good. Alive or not is another question (see [`super::swim`]).
//!
//! Each entry is written by its own node, and its standing also by whoever removes it. Copies are
//! merged by taking the greater one in one total order, so that all nodes end with the same list
//! whatever they hear, in whatever order and however often: removed for ever before all else, then
//! the later boot, then one that has left, then the later revision.
//!
//! The ring is made of the entries, never of who answers: losing sight of a node moves nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::identity::Address;
use super::roster_bytes;
use crate::types::{BootCounter, NodeId};

/// Most nodes, those that have gone among them.
pub(crate) const NODES_MAX: usize = 256;

/// Most addresses of a node.
pub(crate) const ADDRESSES_MAX: usize = 4;

/// Longest name of a certificate or zone.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// Greatest weight of a node; the ring has many points for each unit.
pub(crate) const WEIGHT_MAX: u32 = 16;

/// Seed of the digest, so that it is no other hash by accident.
const DIGEST_SEED: u64 = 0x726f_7374_6572_0001;

/// What a node is to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Standing {
    /// It takes slots.
    Active,
    /// It gives its slots to others.
    Draining,
    /// It has given them away and gone; it may come back with a higher boot counter.
    Left,
    /// An operator has vouched that it is gone. It never comes back under this id.
    Removed,
    /// It is about to stop and hands over what it owns, but keeps what it replicates: it will be
    /// back.
    Stopping,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RosterEntry {
    /// Which one.
    pub(crate) node: NodeId,
    /// Which start of the node wrote this.
    pub(crate) boot: BootCounter,
    /// Counts the changes within that start.
    pub(crate) revision: u64,
    /// What it is to the cluster.
    pub(crate) standing: Standing,
    /// Its share of the slots, relative to the others'; 1 to [`WEIGHT_MAX`].
    pub(crate) weight: u32,
    /// Hash of the policy set that it has in force.
    pub(crate) policies: u64,
    /// Where it is reached; at least one, at most [`ADDRESSES_MAX`].
    pub(crate) addresses: Vec<Address>,
    /// The name in its certificate; empty if none is known.
    pub(crate) certificate: String,
    /// Where it stands, in the operator's words; may be empty.
    pub(crate) zone: String,
}

impl RosterEntry {
    /// Whether every field is within its bounds; one that is not is never taken into a roster.
    pub(crate) fn is_sound(&self) -> bool {
        let name_is_sound =
            |name: &str| name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
        (1..=ADDRESSES_MAX).contains(&self.addresses.len())
            && (1..=WEIGHT_MAX).contains(&self.weight)
            && name_is_sound(&self.certificate)
            && name_is_sound(&self.zone)
    }

    /// The order in which copies win; of two equal ranks the rest decides, alike everywhere.
    fn rank(&self) -> (bool, BootCounter, bool, u64, &Self) {
        let removed = self.standing == Standing::Removed;
        let left = self.standing == Standing::Left;
        (removed, self.boot, left, self.revision, self)
    }
}

/// What a node claims to be when it connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim<'a> {
    /// Its id.
    pub(crate) node: NodeId,
    /// Its boot counter.
    pub(crate) boot: BootCounter,
    /// Where it says that it is reached.
    pub(crate) address: &'a Address,
    /// The name in the certificate that it has shown.
    pub(crate) certificate: &'a str,
}

/// Why a node is not let in, or an entry not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RosterError {
    /// An operator has removed the node.
    #[error("node {node} was removed from the cluster; start it with an empty data directory")]
    Removed {
        /// Which.
        node: NodeId,
    },
    /// The node has been seen with a higher boot counter: its data directory is an old copy, or was
    /// copied and started elsewhere.
    #[error(
        "node {node} has started {claimed} times, but was seen with {known}: its data directory is \
         an old copy or runs elsewhere too; start it with an empty data directory"
    )]
    LowerBoot {
        /// Which.
        node: NodeId,
        /// Its boot counter.
        claimed: BootCounter,
        /// The one it was seen with.
        known: BootCounter,
    },
    /// The same id and boot counter at two addresses at once: a copied data directory.
    #[error(
        "node {node} runs at {known} already and cannot run at {claimed} too: its data directory \
         was copied; stop one of them and start it with an empty data directory"
    )]
    Cloned {
        /// Which.
        node: NodeId,
        /// Where the second one runs.
        claimed: Address,
        /// Where the first one runs.
        known: Address,
    },
    /// The certificate is another node's.
    #[error(
        "node {node} belongs to the certificate `{known}` but has shown `{claimed}`; give it its \
         own certificate, or remove the node and let it join anew"
    )]
    OtherCertificate {
        /// Which node.
        node: NodeId,
        /// The name in the certificate that it has shown.
        claimed: String,
        /// The name in the certificate that it had.
        known: String,
    },
    /// No more nodes are remembered.
    #[error("the cluster remembers {NODES_MAX} nodes already, those that have gone among them")]
    Full,
    /// A field of the entry is out of bounds.
    #[error("the entry of node {node} is out of bounds")]
    Unsound {
        /// Whose.
        node: NodeId,
    },
}

/// All nodes of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Roster {
    entries: BTreeMap<NodeId, RosterEntry>,
}

impl Roster {
    /// All entries, by node id.
    pub(crate) fn entries(&self) -> impl ExactSizeIterator<Item = &RosterEntry> {
        self.entries.values()
    }

    /// The entry of a node.
    #[cfg(test)]
    pub(crate) fn get(&self, node: NodeId) -> Option<&RosterEntry> {
        self.entries.get(&node)
    }

    /// Takes a copy of an entry; whether anything has changed.
    ///
    /// # Errors
    /// [`RosterError::Unsound`], [`RosterError::Full`]; nothing has changed then.
    pub(crate) fn merge(&mut self, entry: RosterEntry) -> Result<bool, RosterError> {
        let node = entry.node;
        if !entry.is_sound() {
            return Err(RosterError::Unsound { node });
        }
        let full = self.entries.len() >= NODES_MAX;
        match self.entries.entry(node) {
            Place::Vacant(_) if full => Err(RosterError::Full),
            Place::Vacant(place) => {
                place.insert(entry);
                Ok(true)
            }
            Place::Occupied(mut place) if entry.rank() > place.get().rank() => {
                place.insert(entry);
                Ok(true)
            }
            Place::Occupied(_) => Ok(false),
        }
    }

    /// Puts in what a node says of itself, as its next revision; whether that changed anything. What
    /// another node has made of its standing is seen in the entry before, and goes on only if the
    /// node says so.
    ///
    /// # Errors
    /// [`RosterError::Removed`], [`RosterError::Unsound`], [`RosterError::Full`].
    pub(crate) fn publish(&mut self, mut own: RosterEntry) -> Result<bool, RosterError> {
        let node = own.node;
        if let Some(known) = self.entries.get(&node) {
            if known.standing == Standing::Removed {
                return Err(RosterError::Removed { node });
            }
            own.revision = known.revision;
            if *known == own {
                return Ok(false);
            }
            if known.boot == own.boot {
                own.revision = known.revision.saturating_add(1);
            }
        }
        self.merge(own)
    }

    /// Removes a node for ever, on the word of an operator; whether it was not removed before.
    /// `false` too if the node is not known.
    pub(crate) fn remove(&mut self, node: NodeId) -> bool {
        self.restate(node, Standing::Removed)
    }

    /// Changes what a node is to the cluster, as its next revision; whether that changed anything.
    /// A node that was removed stays so.
    pub(crate) fn restate(&mut self, node: NodeId, standing: Standing) -> bool {
        let Some(entry) = self.entries.get_mut(&node) else {
            return false;
        };
        if entry.standing == Standing::Removed || entry.standing == standing {
            return false;
        }
        entry.standing = standing;
        entry.revision = entry.revision.saturating_add(1);
        true
    }

    /// Whether a node that connects is the one it claims to be. `is_alive`: another connection to a
    /// node of this id works at this moment.
    ///
    /// # Errors
    /// [`RosterError`], with what to do about it.
    pub(crate) fn admit(&self, claim: Claim<'_>, is_alive: bool) -> Result<(), RosterError> {
        let node = claim.node;
        let Some(known) = self.entries.get(&node) else {
            let full = self.entries.len() >= NODES_MAX;
            return if full { Err(RosterError::Full) } else { Ok(()) };
        };
        if known.standing == Standing::Removed {
            return Err(RosterError::Removed { node });
        }
        if !known.certificate.is_empty() && known.certificate != claim.certificate {
            return Err(RosterError::OtherCertificate {
                node,
                claimed: claim.certificate.to_owned(),
                known: known.certificate.clone(),
            });
        }
        if claim.boot < known.boot {
            return Err(RosterError::LowerBoot {
                node,
                claimed: claim.boot,
                known: known.boot,
            });
        }
        match known.addresses.first() {
            Some(first)
                if claim.boot == known.boot
                    && is_alive
                    && !known.addresses.contains(claim.address) =>
            {
                Err(RosterError::Cloned {
                    node,
                    claimed: claim.address.clone(),
                    known: first.clone(),
                })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The nodes that slots should be on, by node id: those that take slots, and those that will be
    /// back. One that does not answer stays among them.
    pub(crate) fn ring_members(&self) -> impl Iterator<Item = &RosterEntry> {
        let of_ring = [Standing::Active, Standing::Stopping];
        let entries = self.entries.values();
        entries.filter(move |entry| of_ring.contains(&entry.standing))
    }

    /// A hash of the whole list: two nodes with the same one know the same.
    pub(crate) fn digest(&self) -> u64 {
        xxh3_64_with_seed(&self.to_bytes(), DIGEST_SEED)
    }

    /// The bytes to store; see [`roster_bytes`].
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        roster_bytes::encode(self.entries.values())
    }

    /// A roster from its bytes; `None` if they are not ones of [`Roster::to_bytes`].
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut roster = Self::default();
        for entry in roster_bytes::decode(bytes)? {
            let is_new = !roster.entries.contains_key(&entry.node);
            if !is_new || roster.merge(entry).is_err() {
                return None;
            }
        }
        Some(roster)
    }
}
