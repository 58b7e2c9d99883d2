//! A slot that is served, who gets its commits, and whose acknowledgements count.

use super::classes::{ClassNo, Voters};
use super::peers::{PeerNo, Peers};
use crate::replication::marks::Marks;
use crate::types::{Configuration, Epoch, MonoTime, NodeId};

/// Most nodes that get a slot's commits: its replicas, and as many learners again.
pub(super) const COPIES_MAX: usize = 10;

/// A node that may have a copy of the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CopyAt {
    pub(super) peer: PeerNo,
    /// It is a replica: its acknowledgements count. Else it is a learner.
    pub(super) counts: bool,
    /// It gets every commit above `from`.
    pub(super) fed: bool,
    /// The last commit of the slot that it did not get on its link; not known until the next one.
    pub(super) from: Option<u64>,
    /// It has all of them and takes in the next.
    pub(super) in_sync: bool,
}

/// How a slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The owner is its own majority.
    Alone,
    /// Enough replicas are in sync.
    Majority(ClassNo),
    /// Too few are.
    Missing {
        /// Commits up to here are on a majority.
        floor: Marks,
        /// Since when; not known before the next tick.
        since: Option<MonoTime>,
    },
    /// Too few have been for too long: what is outstanding is lost.
    Without,
}

/// A slot that is served.
#[derive(Debug)]
pub(super) struct Served {
    /// Its reign.
    pub(super) epoch: Epoch,
    /// Its commits in the reign; not known before the first one where the owner is alone.
    pub(super) n: Option<u64>,
    /// How many others make a majority with the owner.
    pub(super) needed: usize,
    pub(super) copies: Vec<CopyAt>,
    /// The last commit that it was in.
    pub(super) last: u64,
    pub(super) standing: Standing,
}

impl Served {
    /// A slot as chosen, owned by `me`, all of whose commits are outstanding above `number`.
    pub(super) fn new(
        (me, number): (NodeId, u64),
        chosen: &Configuration,
        in_sync: &[NodeId],
        peers: &mut Peers,
    ) -> Self {
        let needed = chosen.replicas.majority().saturating_sub(1);
        let others = chosen.replicas.as_slice().iter().filter(|it| **it != me);
        let copies = others.filter_map(|&node| {
            let peer = peers.place(node)?;
            let fed = peers.is_linked(peer);
            Some(CopyAt {
                peer,
                counts: true,
                fed,
                from: Some(0),
                in_sync: fed && in_sync.contains(&node),
            })
        });
        Self {
            epoch: chosen.epoch,
            n: (needed > 0).then_some(0),
            needed,
            copies: copies.collect(),
            last: 0,
            standing: if needed == 0 {
                Standing::Alone
            } else {
                Standing::Missing {
                    floor: Marks::both(number),
                    since: None,
                }
            },
        }
    }

    /// The replicas that are in sync.
    pub(super) fn voters(&self) -> Voters {
        let mut voters = Voters::needing(self.needed);
        let in_sync = self.copies.iter().filter(|it| it.counts && it.in_sync);
        in_sync.for_each(|it| voters.add(it.peer));
        voters
    }

    pub(super) fn copy_mut(&mut self, peer: PeerNo) -> Option<&mut CopyAt> {
        self.copies.iter_mut().find(|it| it.peer == peer)
    }
}
