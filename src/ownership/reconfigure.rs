//! When an owner changes who holds its slots: once all who shall hold one have all of it and follow,
//! it runs the procedure on itself with the new set (T6).
//!
//! Only the owner does this; who shall own a slot takes it over afterwards. Invariant: a peer counts
//! as in sync only for slots that are served here, in the reign in which they are, and while its
//! connection lasts (R6).

use std::collections::BTreeMap;

use super::attempt::Why;
use super::candidate::Wanted;
use super::message::Refused;
use super::ownership::Ownership;
use super::record::same_nodes;
use super::refusal::Refusal;
use crate::types::{Epoch, MonoTime, NodeId, Replicas, SLOT_COUNT, Slot, SlotSet};

/// How often changing a slot's replicas was tried, and not before when again.
#[derive(Debug, Clone, Copy, Default)]
struct Tries {
    count: u8,
    not_before: MonoTime,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reconfigure {
    in_sync: BTreeMap<NodeId, SlotSet>,
    tries: Vec<Tries>,
}

impl Reconfigure {
    pub(super) fn new() -> Self {
        Self {
            in_sync: BTreeMap::new(),
            tries: vec![Tries::default(); usize::from(SLOT_COUNT)],
        }
    }

    /// Whether a peer has all of a slot.
    fn has(&self, peer: NodeId, slot: Slot) -> bool {
        self.in_sync.get(&peer).is_some_and(|it| it.contains(slot))
    }

    /// Who has all of a slot and follows.
    pub(super) fn in_sync(&self, slot: Slot) -> Vec<NodeId> {
        let peers = self.in_sync.iter().filter(|it| it.1.contains(slot));
        peers.map(|it| *it.0).collect()
    }

    /// A slot is served in a new reign, or not any more: nobody is known to follow.
    pub(super) fn forget(&mut self, slot: Slot) {
        for slots in self.in_sync.values_mut() {
            slots.remove(slot);
        }
    }

    pub(super) fn lose(&mut self, peer: NodeId) {
        self.in_sync.remove(&peer);
    }

    /// A try begins; the next one waits longer, unless this one succeeds.
    fn note_try(&mut self, slot: Slot, now: MonoTime, retry: impl Fn(u8) -> std::time::Duration) {
        if let Some(tries) = self.tries.get_mut(slot.index()) {
            tries.count = tries.count.saturating_add(1);
            tries.not_before = now.plus(retry(tries.count));
        }
    }
}

impl Ownership {
    /// A peer has all of these slots.
    pub(super) fn on_in_sync(&mut self, peer: NodeId, slots: &SlotSet) {
        if peer == self.ledger.me || !self.ledger.peers.contains(&peer) {
            return;
        }
        let served = slots.iter().filter(|it| self.owner.serving(*it).is_some());
        let served: Vec<Slot> = served.collect();
        let known = self
            .reconfigure
            .in_sync
            .entry(peer)
            .or_insert(SlotSet::EMPTY);
        served.into_iter().for_each(|slot| known.insert(slot));
        self.recheck = true;
    }

    /// It has not any more.
    pub(super) fn on_out_of_sync(&mut self, peer: NodeId, slots: &SlotSet) {
        if let Some(known) = self.reconfigure.in_sync.get_mut(&peer) {
            slots.iter().for_each(|slot| known.remove(slot));
        }
    }

    /// A peer takes no commits of the present reigns of these slots: nothing but a newer one will
    /// be heard there. It may be about to come from the node that it was promised to.
    pub(super) fn on_deaf(&mut self, peer: NodeId, slots: impl Iterator<Item = (Slot, Epoch)>) {
        let stretch = self.stretch();
        for (slot, promised) in slots {
            let ledger = &mut self.ledger;
            let counts = ledger.wanted_replicas(slot).contains(peer)
                || ledger
                    .chosen(slot)
                    .is_some_and(|it| it.replicas.contains(peer));
            let above = self.owner.serving(slot).is_some_and(|it| it < promised);
            if !counts || !above || !ledger.heard(promised) {
                continue;
            }
            let at = ledger
                .now
                .plus(ledger.settings.deaf.saturating_add(stretch));
            if let Some(at) = self.owner.take_back_at(slot, at) {
                ledger.out.wake(at);
            }
        }
    }

    /// A refused seal whose ballot is a present reign of this node: its sender is deaf to it. Returns
    /// whether there is any.
    pub(super) fn on_refused_by_deaf(
        &mut self,
        from: NodeId,
        ballot: Epoch,
        refused: &[Refused],
    ) -> bool {
        let served = |it: &&Refused| self.owner.serving(it.slot) == Some(ballot);
        let deaf: Vec<(Slot, Epoch)> = refused
            .iter()
            .filter(served)
            .map(|it| (it.slot, it.promised))
            .collect();
        let any = !deaf.is_empty();
        self.on_deaf(from, deaf.into_iter());
        any
    }

    /// Answers to being told to become what this node has installed. They also come when the slot
    /// is served already.
    pub(super) fn on_others_became(
        &mut self,
        from: NodeId,
        ballot: Epoch,
        (slots, refused): (&SlotSet, &SlotSet),
    ) {
        let ledger = &mut self.ledger;
        if ballot.node != ledger.me {
            ledger.refusals.add(Refusal::ForeignBallot);
            return;
        }
        let answer = (ballot, slots, refused);
        let left = self.coordinator.on_became(ledger, from, answer);
        if left.iter().any(|it| self.owner.serving(it) != Some(ballot)) {
            ledger.refusals.add(Refusal::Unasked);
        }
    }

    /// C' that this owner should bring about now, if it is another than C: the targets; and where
    /// this node is none of them, itself and as many of them as leave room for it, so that their
    /// first can take the slot. Nothing where that one can take it at once.
    pub(super) fn wanted_by_owner(&self, slot: Slot) -> Option<Replicas> {
        let ledger = &self.ledger;
        let me = ledger.me;
        let base = ledger.chosen(slot).filter(|it| it.owner == me)?;
        let targets = ledger.targets.get(slot.index())?;
        let first = *targets.as_slice().first()?;
        let one = targets.as_slice().len() == 1;
        let takes_it = base.replicas.contains(first) && self.reconfigure.has(first, slot);
        if first != me && (one || takes_it) {
            return None;
        }
        let wanted = if targets.contains(me) {
            *targets
        } else {
            let (held, new): (Vec<NodeId>, Vec<NodeId>) = targets
                .as_slice()
                .iter()
                .partition(|it| base.replicas.contains(**it));
            let by_cost = held.into_iter().chain(new);
            let nodes: Vec<NodeId> = [me, first].into_iter().chain(by_cost).collect();
            let nodes = Replicas::of(&nodes);
            let room = targets.as_slice().len();
            Replicas::of(nodes.as_slice().get(..room).unwrap_or(nodes.as_slice()))
        };
        (!same_nodes(&wanted, &base.replicas)).then_some(wanted)
    }

    /// Begins to change the replicas of slots where all is ready, one batch at a time.
    pub(super) fn begin_reconfiguration(&mut self) {
        let ledger = &self.ledger;
        if !self.rebalance.is_settled(ledger.now) || self.coordinator.running(Why::Reconfigure) > 0
        {
            return;
        }
        let slots = ledger.replicated.iter();
        let slots = slots.filter_map(|slot| self.ready_to_change(slot));
        let slots: Vec<(Slot, Wanted)> = slots.take(ledger.settings.batch_slots_max).collect();
        let settings = ledger.settings;
        for (slot, _) in &slots {
            let retry = |count| settings.retry_after(count);
            self.reconfigure.note_try(*slot, self.ledger.now, retry);
        }
        let why = (self.ledger.me, Why::Reconfigure);
        self.coordinator.run(&mut self.ledger, why, &slots);
    }

    fn ready_to_change(&self, slot: Slot) -> Option<(Slot, Wanted)> {
        let ledger = &self.ledger;
        self.owner.serving(slot)?;
        let wanted = self.wanted_by_owner(slot)?;
        let tries = self.reconfigure.tries.get(slot.index());
        let mut nodes = wanted.as_slice().iter().filter(|it| **it != ledger.me);
        let ready = nodes.all(|it| ledger.peers.contains(it) && self.reconfigure.has(*it, slot))
            && tries.is_none_or(|it| it.not_before <= ledger.now)
            && self.owner.may_try(ledger.now, slot)
            && !self.is_busy(slot)
            && ledger.can_reach_majority(slot);
        ready.then_some((slot, Wanted::These(wanted)))
    }

    /// A slot has the replicas that it should have, or is another's: tries are forgotten.
    pub(super) fn calm_reconfiguration(&mut self, slot: Slot) {
        if self.wanted_by_owner(slot).is_none()
            && let Some(tries) = self.reconfigure.tries.get_mut(slot.index())
        {
            *tries = Tries::default();
        }
    }
}
