//! What the ownership is to be told of replicas, gathered until it is fetched.
//!
//! Of each peer and slot only the newest word counts, so that no peer can make the list grow.

use std::collections::BTreeMap;

use crate::types::{Epoch, NodeId, Slot, SlotSet};

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Report {
    /// The peer has all of what is committed of these slots, and follows.
    InSync {
        /// Who.
        peer: NodeId,
        /// Which slots.
        slots: SlotSet,
    },
    /// It does not any more.
    OutOfSync {
        /// Who.
        peer: NodeId,
        /// Which slots.
        slots: SlotSet,
    },
    /// It takes no commits of the reign any more.
    Deaf {
        /// Who.
        peer: NodeId,
        /// Each slot and what the peer has promised.
        slots: Vec<(Slot, Epoch)>,
    },
    /// What the peer said of these slots is not so: it has to be told to catch up.
    Behind {
        /// Who.
        peer: NodeId,
        /// On which link.
        link: u64,
        /// Which slots.
        slots: SlotSet,
    },
}

/// What is to be told of one peer.
#[derive(Debug)]
struct Pending {
    into: SlotSet,
    out: SlotSet,
    deaf: BTreeMap<Slot, Epoch>,
    behind: SlotSet,
    link: u64,
}

/// What is to be told of all.
#[derive(Debug, Default)]
pub(super) struct Reports(BTreeMap<NodeId, Box<Pending>>);

impl Reports {
    pub(super) fn in_sync(&mut self, peer: NodeId, slot: Slot) {
        let pending = self.of(peer);
        pending.out.remove(slot);
        pending.behind.remove(slot);
        pending.deaf.remove(&slot);
        pending.into.insert(slot);
    }

    pub(super) fn out_of_sync(&mut self, peer: NodeId, slot: Slot) {
        let pending = self.of(peer);
        pending.into.remove(slot);
        pending.out.insert(slot);
    }

    pub(super) fn deaf(&mut self, peer: NodeId, slot: Slot, promised: Epoch) {
        self.of(peer).deaf.insert(slot, promised);
    }

    pub(super) fn behind(&mut self, peer: NodeId, link: u64, slot: Slot) {
        let pending = self.of(peer);
        if pending.link != link {
            pending.behind = SlotSet::EMPTY;
            pending.link = link;
        }
        pending.behind.insert(slot);
    }

    /// All of it, and forgets it.
    pub(super) fn take(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        for (peer, pending) in std::mem::take(&mut self.0) {
            let Pending {
                into,
                out,
                deaf,
                behind,
                link,
            } = *pending;
            let told = [
                (!out.is_empty()).then_some(Report::OutOfSync { peer, slots: out }),
                (!into.is_empty()).then_some(Report::InSync { peer, slots: into }),
                (!deaf.is_empty()).then(|| Report::Deaf {
                    peer,
                    slots: deaf.into_iter().collect(),
                }),
                (!behind.is_empty()).then_some(Report::Behind {
                    peer,
                    link,
                    slots: behind,
                }),
            ];
            reports.extend(told.into_iter().flatten());
        }
        reports
    }

    fn of(&mut self, peer: NodeId) -> &mut Pending {
        self.0.entry(peer).or_insert_with(|| {
            Box::new(Pending {
                into: SlotSet::EMPTY,
                out: SlotSet::EMPTY,
                deaf: BTreeMap::new(),
                behind: SlotSet::EMPTY,
                link: 0,
            })
        })
    }
}
