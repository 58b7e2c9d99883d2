//! What comes between in an attempt: refusals (T9), newer configurations (T3), connections that
//! come and go (R6), and silence.
//!
//! A slot that leaves need undo nothing, and its neighbours go on.

use super::attempt::{Attempt, End, Phase};
use super::candidate::{Candidate, Step};
use super::ledger::Ledger;
use super::message::Refused;
use crate::types::{Epoch, NodeId, Slot};

impl Attempt {
    /// T9: what was promised to a higher ballot is lost, and nothing need be undone.
    pub(super) fn on_seal_refused(&mut self, ledger: &mut Ledger, refused: &[Refused]) {
        for it in refused {
            if Self::is_above(self.ballot, ledger, it) {
                self.end(it.slot, End::Failed);
            }
        }
    }

    /// T9 for a proposal: whatever the reason, it will not be accepted there.
    pub(super) fn on_accept_refused(
        &mut self,
        ledger: &mut Ledger,
        from: NodeId,
        refused: &[Refused],
    ) {
        for it in refused {
            let above = Self::is_above(self.ballot, ledger, it);
            let candidate = self.slots.get_mut(&it.slot);
            let asked = candidate.is_some_and(|it| it.answered_proposal(from).is_some());
            if above || asked {
                self.end(it.slot, End::Failed);
            }
        }
    }

    /// Takes up what a refusal tells; whether it is for a ballot above this one.
    fn is_above(ballot: Epoch, ledger: &mut Ledger, it: &Refused) -> bool {
        let known = ledger.heard(it.promised);
        if let Some(chosen) = it.chosen {
            ledger.hear(it.slot, chosen);
        }
        known && it.promised > ballot
    }

    /// A slot's register has changed: T9, T3.
    pub(super) fn reconcile(&mut self, ledger: &mut Ledger, slot: Slot) {
        let register = *ledger.register(slot);
        let Some(candidate) = self.slots.get_mut(&slot) else {
            return;
        };
        let pre_copying = matches!(self.phase, Phase::PreCopying { .. });
        if register.promised > self.ballot && !pre_copying {
            self.end(slot, End::Failed);
            return;
        }
        let newer = register
            .chosen
            .filter(|it| it.version > candidate.base.version);
        let Some(chosen) = newer else {
            return;
        };
        let early = matches!(candidate.step, Step::Sealing | Step::Finishing(_));
        if chosen.owner != ledger.me {
            // T4 ends here too: what was found is another's, and now it is chosen.
            self.end(slot, End::Over);
        } else if early && self.phase == Phase::Running {
            candidate.rebase(chosen);
            self.seal_others(ledger, slot);
            self.advance(ledger, slot);
        } else {
            self.end(slot, End::Failed);
        }
    }

    /// A connection works: who was not asked yet can be.
    pub(super) fn on_connected(&mut self, ledger: &mut Ledger, peer: NodeId) {
        if self.phase != Phase::Running {
            return;
        }
        let mut spreading = Vec::new();
        for (&slot, candidate) in &mut self.slots {
            let of_base = candidate.base.replicas.contains(peer);
            if matches!(candidate.step, Step::Becoming { .. }) {
                spreading.push(slot);
            }
            let sealing = candidate.step == Step::Sealing;
            if of_base && sealing && !candidate.sealed.contains(&peer) {
                candidate.sealed.push(peer);
                ledger.out.seal(peer, self.ballot, slot);
            }
        }
        for slot in spreading {
            self.spread(ledger, slot);
        }
    }

    /// R6: what was sent to `peer` is not answered any more.
    pub(super) fn on_lost(&mut self, ledger: &Ledger, peer: NodeId) {
        let me = ledger.me;
        let pre_copying = matches!(self.phase, Phase::PreCopying { .. }) && self.from == peer;
        let mut hopeless = Vec::new();
        for (&slot, candidate) in &mut self.slots {
            candidate.forget(peer);
            let reached = |node: NodeId| ledger.peers.contains(&node);
            if pre_copying || !candidate.has_hope(me, reached) {
                hopeless.push(slot);
            }
        }
        for slot in hopeless {
            self.end(slot, End::Failed);
        }
    }

    /// Gives up slots that others have been silent about for too long.
    pub(super) fn on_tick(&mut self, ledger: &Ledger) {
        if self.phase != Phase::Running {
            return;
        }
        let patience = ledger.settings.answer;
        let silent = |candidate: &Candidate| match candidate.step {
            Step::Sealing | Step::Finishing(_) | Step::Becoming { .. } | Step::Accepting(_) => {
                ledger.now.since(candidate.since) > patience
            }
            Step::Fetching { .. } | Step::Installing { .. } => false,
        };
        let silent = self.slots.iter().filter(|it| silent(it.1));
        for slot in silent.map(|it| *it.0).collect::<Vec<Slot>>() {
            self.end(slot, End::Failed);
        }
    }
}
