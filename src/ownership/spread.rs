//! T6 where one install is not enough: the replicas that hold exactly what the candidate's state was
//! made of become what it has installed, without a copy.
//!
//! A majority of the new set has to have the state before its configuration may be accepted. Who has
//! another state is left alone: it catches up with the owner later. Once a configuration is chosen,
//! all of the set who may hold the same are told, which spares them a copy each.

use super::attempt::{Attempt, End};
use super::candidate::Step;
use super::ledger::Ledger;
use super::message::Becoming;
use super::refusal::Refusal;
use crate::types::{NodeId, Slot, SlotSet};

impl Attempt {
    /// Tells those of the new set that can be told and were not yet.
    pub(super) fn spread(&mut self, ledger: &mut Ledger, slot: Slot) {
        let Some(candidate) = self.slots.get_mut(&slot) else {
            return;
        };
        let wanted = candidate.wanted();
        self.tell_to_become(ledger, slot, wanted.as_slice());
        if let Some(candidate) = self.slots.get_mut(&slot) {
            candidate.since = ledger.now;
        }
        self.end_without_hope(ledger, slot);
    }

    /// The configuration is chosen: tells the rest of the new set. (Learners catch up anew: only a
    /// copy begins what they are fed.)
    pub(super) fn spread_to_all(&mut self, ledger: &mut Ledger, slot: Slot) {
        let Some(candidate) = self.slots.get(&slot) else {
            return;
        };
        let wanted = candidate.wanted();
        self.tell_to_become(ledger, slot, wanted.as_slice());
    }

    fn tell_to_become(&mut self, ledger: &mut Ledger, slot: Slot, nodes: &[NodeId]) {
        let Some(candidate) = self.slots.get_mut(&slot) else {
            return;
        };
        for &node in nodes {
            if node != ledger.me
                && ledger.peers.contains(&node)
                && let Some(at) = candidate.tell(node)
            {
                let clock = candidate.clock;
                let becoming = Becoming { slot, at, clock };
                ledger.out.become_at(node, self.ballot, becoming);
            }
        }
    }

    /// Some have become what is installed here, others cannot. Takes the slots that it knows out of
    /// both sets.
    pub(super) fn on_became(
        &mut self,
        ledger: &mut Ledger,
        from: NodeId,
        slots: &mut SlotSet,
        refused: &mut SlotSet,
    ) {
        let known: Vec<Slot> = self.slots.keys().copied().collect();
        for slot in known {
            let (did, did_not) = (slots.contains(slot), refused.contains(slot));
            let Some(candidate) = self.slots.get_mut(&slot).filter(|_| did || did_not) else {
                continue;
            };
            slots.remove(slot);
            refused.remove(slot);
            if !candidate.was_told(from) {
                ledger.refusals.add(Refusal::Unasked);
                continue;
            }
            let wanted = candidate.wanted();
            let Step::Becoming { by, refused_by } = &mut candidate.step else {
                continue;
            };
            if did && !did_not && wanted.contains(from) && !by.contains(&from) {
                by.push(from);
                if by.len() >= wanted.majority() {
                    self.propose_own(ledger, slot);
                }
            } else if did_not && !by.contains(&from) {
                refused_by.push(from);
                self.end_without_hope(ledger, slot);
            }
        }
    }

    fn end_without_hope(&mut self, ledger: &Ledger, slot: Slot) {
        let reached = |node: NodeId| ledger.peers.contains(&node);
        let candidate = self.slots.get(&slot);
        if candidate.is_some_and(|it| !it.has_hope(ledger.me, reached)) {
            self.end(slot, End::Failed);
        }
    }
}
