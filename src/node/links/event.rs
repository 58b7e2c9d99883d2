//! What links tell the control loop: who is in sync, who is not, and what is behind here.
//!
//! What has not been taken yet is merged: of each slot the newest word counts. So nothing is lost,
//! nobody waits, and it is never more than a set of slots for each peer.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::replication::Report;
use crate::types::{Epoch, NodeId, Slot, SlotSet};

/// What the control loop gets to know; each is an event of the ownership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkEvent {
    /// The peer has all that was committed here of these slots, and follows.
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
    /// The peer takes no commits of this node's reigns any more: it has promised these.
    Deaf {
        /// Who.
        peer: NodeId,
        /// Each slot and what was promised.
        slots: Vec<(Slot, Epoch)>,
    },
    /// The state of these slots does not follow their owner's commits here.
    Behind {
        /// Which slots.
        slots: SlotSet,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    peers: BTreeMap<NodeId, OfPeer>,
    behind: Slots,
}

#[derive(Debug, Default)]
struct OfPeer {
    in_sync: Slots,
    out_of_sync: Slots,
    deaf: BTreeMap<Slot, Epoch>,
}

/// A set of slots that is empty at first.
#[derive(Debug)]
struct Slots(SlotSet);

impl Default for Slots {
    fn default() -> Self {
        Self(SlotSet::EMPTY)
    }
}

impl Slots {
    fn add(&mut self, slots: &SlotSet) {
        slots.iter().for_each(|slot| self.0.insert(slot));
    }

    fn take_out(&mut self, slots: &SlotSet) {
        slots.iter().for_each(|slot| self.0.remove(slot));
    }

    /// All of it, if it is not empty; then it is.
    fn take(&mut self) -> Option<SlotSet> {
        let slots = std::mem::replace(&mut self.0, SlotSet::EMPTY);
        (!slots.is_empty()).then_some(slots)
    }
}

impl Events {
    /// Slots are behind here.
    pub(super) fn behind(&self, slots: &SlotSet) {
        self.waiting.lock().behind.add(slots);
        self.ready.notify_one();
    }

    /// What the replication has to tell; that a peer is behind is for the peer, and ignored here.
    pub(super) fn report(&self, report: Report) {
        let mut waiting = self.waiting.lock();
        match report {
            Report::InSync { peer, slots } => {
                let of_peer = waiting.peers.entry(peer).or_default();
                of_peer.in_sync.add(&slots);
                of_peer.out_of_sync.take_out(&slots);
            }
            Report::OutOfSync { peer, slots } => {
                let of_peer = waiting.peers.entry(peer).or_default();
                of_peer.out_of_sync.add(&slots);
                of_peer.in_sync.take_out(&slots);
            }
            Report::Deaf { peer, slots } => {
                let deaf = &mut waiting.peers.entry(peer).or_default().deaf;
                for (slot, promised) in slots {
                    let known = deaf.entry(slot).or_default();
                    *known = promised.max(*known);
                }
            }
            Report::Behind { .. } => return,
        }
        drop(waiting);
        self.ready.notify_one();
    }

    /// The next thing to know. For one listener; cancel safe.
    pub(super) async fn next(&self) -> LinkEvent {
        loop {
            if let Some(event) = self.waiting.lock().next() {
                return event;
            }
            self.ready.notified().await;
        }
    }
}

impl Waiting {
    fn next(&mut self) -> Option<LinkEvent> {
        if let Some(slots) = self.behind.take() {
            return Some(LinkEvent::Behind { slots });
        }
        while let Some(mut first) = self.peers.first_entry() {
            let (peer, told) = (*first.key(), first.get_mut());
            if let Some(slots) = told.out_of_sync.take() {
                return Some(LinkEvent::OutOfSync { peer, slots });
            }
            if let Some(slots) = told.in_sync.take() {
                return Some(LinkEvent::InSync { peer, slots });
            }
            if !told.deaf.is_empty() {
                let slots = std::mem::take(&mut told.deaf).into_iter().collect();
                return Some(LinkEvent::Deaf { peer, slots });
            }
            first.remove();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[u16]) -> SlotSet {
        numbers.iter().map(|n| Slot::new(*n).unwrap()).collect()
    }

    #[tokio::test]
    async fn of_each_slot_the_newest_word_is_told_once() {
        let events = Events::default();
        let peer = NodeId(7);
        let slots = set(&[1, 2, 3]);
        events.report(Report::InSync { peer, slots });
        let slots = set(&[2]);
        events.report(Report::OutOfSync { peer, slots });
        events.behind(&set(&[9]));
        events.behind(&set(&[10]));
        for counter in [5, 4] {
            let epoch = Epoch {
                counter,
                node: peer,
            };
            let slots = vec![(Slot::new(1).unwrap(), epoch)];
            events.report(Report::Deaf { peer, slots });
        }
        let slots = set(&[9, 10]);
        assert_eq!(events.next().await, LinkEvent::Behind { slots });
        let slots = set(&[2]);
        assert_eq!(events.next().await, LinkEvent::OutOfSync { peer, slots });
        let slots = set(&[1, 3]);
        assert_eq!(events.next().await, LinkEvent::InSync { peer, slots });
        let epoch = Epoch {
            counter: 5,
            node: peer,
        };
        let slots = vec![(Slot::new(1).unwrap(), epoch)];
        assert_eq!(events.next().await, LinkEvent::Deaf { peer, slots });
        assert_eq!(events.waiting.lock().next(), None);
        assert!(events.waiting.lock().peers.is_empty());
    }
}
