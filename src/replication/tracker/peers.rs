//! The nodes that get commits: each one's link, and how far it has acknowledged what was sent on it.
//!
//! A peer that has acknowledged the last number sent to it has all commits, also those in which there
//! was nothing for it. One that owes an acknowledgement has all up to the one before that number.

use std::collections::{BTreeMap, VecDeque};

use crate::replication::marks::Marks;
use crate::replication::refusal::Refusal;
use crate::types::{Epoch, NodeId, Slot};

/// A peer's place in the list.
pub(super) type PeerNo = u16;

/// Most commits that were sent to a peer and are not synced there: some seconds at ten thousand
/// commits a second, for which replicas sync once a second. A peer with more is connected anew and
/// catches up.
pub(super) const UNSYNCED_MAX: usize = 1 << 16;

/// With so many commits not synced at a peer it is asked to sync although nobody waits for it.
pub(super) const UNSYNCED_ASK: usize = UNSYNCED_MAX / 2;

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    /// Its link; none while there is no connection.
    pub(super) link: Option<u64>,
    /// Numbers that were sent and are not synced, in order.
    unsynced: VecDeque<u64>,
    /// The last number sent on this link.
    pub(super) sent: u64,
    /// The last number that is applied.
    pub(super) applied: u64,
    /// The last number that is synced.
    pub(super) synced: u64,
    /// The last number that it was asked to sync.
    pub(super) sync_asked: u64,
    /// Its place in the parts of the commit that is being told.
    pub(super) part: Option<usize>,
    /// Slots that it has said to follow in reigns that were not served yet, from their beginning: it
    /// may know before the owner that the reign's configuration is chosen. One reign a slot.
    pub(super) early: BTreeMap<Slot, Epoch>,
}

impl Peer {
    fn new(node: NodeId) -> Self {
        Self {
            node,
            link: None,
            unsynced: VecDeque::new(),
            sent: 0,
            applied: 0,
            synced: 0,
            sync_asked: 0,
            part: None,
            early: BTreeMap::new(),
        }
    }

    /// Begins or ends a link: nothing was sent on it yet.
    pub(super) fn relink(&mut self, link: Option<u64>) {
        *self = Self {
            link,
            ..Self::new(self.node)
        };
    }

    /// Up to which commit the peer has all that was sent to it.
    pub(super) fn through(&self) -> Marks {
        let before = |number: Option<&u64>| number.map_or(u64::MAX, |n| n.saturating_sub(1));
        Marks {
            appended: before(self.unsynced.get(self.owed_from())),
            synced: before(self.unsynced.front()),
        }
    }

    /// Notes that a number was sent; false if too many are owed.
    pub(super) fn send(&mut self, number: u64) -> bool {
        if self.unsynced.len() >= UNSYNCED_MAX {
            return false;
        }
        self.unsynced.push_back(number);
        self.sent = number;
        true
    }

    /// Whether an acknowledgement of `through` can be.
    pub(super) fn may_apply(&self, through: u64) -> Result<(), Refusal> {
        if through < self.applied {
            return Err(Refusal::Backwards);
        }
        if through == self.applied || self.unsynced.binary_search(&through).is_ok() {
            Ok(())
        } else {
            Err(Refusal::NeverSent)
        }
    }

    /// Takes an acknowledgement that can be.
    pub(super) fn apply(&mut self, through: u64) {
        self.applied = self.applied.max(through);
    }

    /// Takes an acknowledgement of a sync.
    pub(super) fn sync(&mut self, through: u64) -> Result<(), Refusal> {
        if through < self.synced {
            return Err(Refusal::Backwards);
        }
        if through > self.applied {
            return Err(Refusal::NotApplied);
        }
        let synced = self.unsynced.partition_point(|number| *number <= through);
        self.unsynced.drain(..synced);
        self.synced = through;
        Ok(())
    }

    /// How many numbers are not synced.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// How many numbers are not acknowledged.
    pub(super) fn owed(&self) -> usize {
        self.unsynced.len().saturating_sub(self.owed_from())
    }

    /// Place of the first number that is not acknowledged.
    fn owed_from(&self) -> usize {
        match self.unsynced.back() {
            Some(last) if *last > self.applied => {
                self.unsynced.partition_point(|n| *n <= self.applied)
            }
            Some(_) | None => self.unsynced.len(),
        }
    }
}

/// All peers that a configuration or a link has ever named.
#[derive(Debug, Default)]
pub(super) struct Peers {
    list: Vec<Peer>,
    by_node: BTreeMap<NodeId, PeerNo>,
}

impl Peers {
    /// The place of a node, made if need be; none if there are 65,535 others.
    pub(super) fn place(&mut self, node: NodeId) -> Option<PeerNo> {
        if let Some(&place) = self.by_node.get(&node) {
            return Some(place);
        }
        let place = PeerNo::try_from(self.list.len()).ok()?;
        self.list.push(Peer::new(node));
        self.by_node.insert(node, place);
        Some(place)
    }

    /// The place of a node whose current link this is.
    pub(super) fn linked(&self, node: NodeId, link: u64) -> Result<PeerNo, Refusal> {
        let place = self.by_node.get(&node).ok_or(Refusal::ForeignLink)?;
        match self.get(*place) {
            Some(peer) if peer.link == Some(link) => Ok(*place),
            Some(_) | None => Err(Refusal::ForeignLink),
        }
    }

    pub(super) fn get(&self, place: PeerNo) -> Option<&Peer> {
        self.list.get(usize::from(place))
    }

    pub(super) fn get_mut(&mut self, place: PeerNo) -> Option<&mut Peer> {
        self.list.get_mut(usize::from(place))
    }

    /// Whether the peer has a link.
    pub(super) fn is_linked(&self, place: PeerNo) -> bool {
        self.get(place).is_some_and(|peer| peer.link.is_some())
    }

    /// In which reign, not served yet, a peer follows a slot already; it is forgotten.
    pub(super) fn take_early(&mut self, place: PeerNo, slot: Slot) -> Option<Epoch> {
        self.get_mut(place)?.early.remove(&slot)
    }

    /// See [`Peer::through`].
    pub(super) fn through(&self, place: PeerNo) -> Marks {
        self.get(place).map_or(Marks::both(0), Peer::through)
    }

    /// The name of a peer.
    pub(super) fn node(&self, place: PeerNo) -> NodeId {
        self.get(place)
            .map_or_else(NodeId::default, |peer| peer.node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.list.iter_mut()
    }
}
