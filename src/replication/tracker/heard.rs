//! What replicas say. Each word is checked before anything moves: a number that was never sent, a
//! link that is not the peer's, a slot or reign that is not served here are refused and counted.

use super::peers::PeerNo;
use super::tracker::Tracker;
use crate::replication::refusal::Refusal;
use crate::types::{Epoch, NodeId, Position, Slot, SlotSet};

impl Tracker {
    /// O3: the peer has dealt with all commits up to `through` that were sent to it, and what it took
    /// in is appended there. It took in all of them but what is of the slots `refused`, and of slots
    /// for which it was not in sync.
    ///
    /// False if no peer that works as it should says so on its link: the link is to be closed.
    pub(crate) fn applied(
        &mut self,
        peer: NodeId,
        link: u64,
        through: u64,
        refused: &SlotSet,
    ) -> bool {
        let may = self.peers.linked(peer, link).and_then(|place| {
            let peer = self.peers.get(place).ok_or(Refusal::ForeignLink)?;
            peer.may_apply(through)?;
            Ok(place)
        });
        let place = match may {
            Ok(place) => place,
            Err(refusal) => return self.refuse(refusal),
        };
        // First: the number counts for nothing where something was refused.
        for slot in refused.iter() {
            self.fall_behind(place, slot);
        }
        if let Some(peer) = self.peers.get_mut(place) {
            peer.apply(through);
        }
        self.advance();
        true
    }

    /// What the peer took in up to `through` is synced there. False as for [`Tracker::applied`].
    pub(crate) fn synced(&mut self, peer: NodeId, link: u64, through: u64) -> bool {
        let done = self.peers.linked(peer, link).and_then(|place| {
            let peer = self.peers.get_mut(place).ok_or(Refusal::ForeignLink)?;
            peer.sync(through)
        });
        match done {
            Ok(()) => self.advance(),
            Err(refusal) => return self.refuse(refusal),
        }
        true
    }

    /// Counts it; whether a peer that works as it should may have said so.
    fn refuse(&mut self, refusal: Refusal) -> bool {
        self.refusals.add(refusal);
        refusal == Refusal::ForeignLink
    }

    /// The peer has all of these slots up to these positions, synced, and takes in what comes next:
    /// from here on its acknowledgements count for them, if it is a replica.
    pub(crate) fn in_sync(&mut self, peer: NodeId, link: u64, slots: &[(Slot, Position)]) {
        let place = match self.peers.linked(peer, link) {
            Ok(place) => place,
            Err(refusal) => return self.refusals.add(refusal),
        };
        for &(slot, at) in slots {
            match self.come_into_sync(place, slot, at) {
                Ok(()) => {
                    self.rank(slot);
                    self.reports.in_sync(peer, slot);
                }
                Err(refusal) => {
                    self.refusals.add(refusal);
                    if refusal == Refusal::Position {
                        self.reports.behind(peer, link, slot);
                    }
                    self.note_early(place, slot, at);
                }
            }
        }
        self.advance();
    }

    /// The peer does not follow these slots any more.
    pub(crate) fn out_of_sync(&mut self, peer: NodeId, link: u64, slots: &SlotSet) {
        match self.peers.linked(peer, link) {
            Ok(place) => {
                slots.iter().for_each(|slot| self.fall_behind(place, slot));
                self.advance();
            }
            Err(refusal) => self.refusals.add(refusal),
        }
    }

    /// The peer takes in nothing more of these slots' reigns: it has promised higher ones.
    pub(crate) fn deaf(&mut self, peer: NodeId, link: u64, slots: &[(Slot, Epoch)]) {
        let place = match self.peers.linked(peer, link) {
            Ok(place) => place,
            Err(refusal) => return self.refusals.add(refusal),
        };
        for &(slot, promised) in slots {
            match self.may_be_deaf(place, slot, promised) {
                Ok(()) => {
                    self.fall_behind(place, slot);
                    self.reports.deaf(peer, slot, promised);
                }
                Err(refusal) => self.refusals.add(refusal),
            }
        }
        self.advance();
    }

    /// Remembers a peer that follows a reign of this node before it is served.
    fn note_early(&mut self, place: PeerNo, slot: Slot, at: Position) {
        let served = self.slots.get(slot.index()).and_then(Option::as_deref);
        let is_new = served.is_none_or(|served| served.epoch < at.epoch);
        if is_new
            && at.n == 0
            && at.epoch.node == self.me
            && let Some(peer) = self.peers.get_mut(place)
        {
            peer.early.insert(slot, at.epoch);
        }
    }

    /// The peer's acknowledgements do not count for the slot any more.
    pub(super) fn fall_behind(&mut self, place: PeerNo, slot: Slot) {
        if let Some(peer) = self.peers.get_mut(place) {
            peer.early.remove(&slot);
        }
        let Some(Some(served)) = self.slots.get_mut(slot.index()) else {
            return self.refusals.add(Refusal::NotServed);
        };
        let Some(copy) = served.copy_mut(place) else {
            return self.refusals.add(Refusal::NotFed);
        };
        if std::mem::take(&mut copy.in_sync) {
            let peer = self.peers.node(place);
            self.reports.out_of_sync(peer, slot);
            self.rank(slot);
        }
    }

    fn come_into_sync(&mut self, place: PeerNo, slot: Slot, at: Position) -> Result<(), Refusal> {
        let Some(Some(served)) = self.slots.get_mut(slot.index()) else {
            return Err(Refusal::NotServed);
        };
        if at.epoch != served.epoch {
            return Err(Refusal::OtherEpoch);
        }
        let n = served.n;
        let copy = served.copy_mut(place).filter(|copy| copy.fed);
        let copy = copy.ok_or(Refusal::NotFed)?;
        let has_gap = copy.from.is_some_and(|from| at.n < from);
        let has_more = n.is_some_and(|n| at.n > n);
        if has_gap || has_more {
            return Err(Refusal::Position);
        }
        copy.in_sync = true;
        Ok(())
    }

    fn may_be_deaf(&self, place: PeerNo, slot: Slot, promised: Epoch) -> Result<(), Refusal> {
        let served = self.slots.get(slot.index()).and_then(Option::as_deref);
        let served = served.ok_or(Refusal::NotServed)?;
        if promised <= served.epoch {
            return Err(Refusal::Promise);
        }
        let mut copies = served.copies.iter();
        let copy = copies.find(|copy| copy.peer == place);
        copy.map(|_| ()).ok_or(Refusal::NotFed)
    }
}
