//! What follows from a register that has changed, and from time: stop granting (O4), drop what is
//! another's (R8), take back what is owned but not served (liveness), and begin what is due.

use std::time::Duration;

use super::attempt::Why;
use super::event::TaskId;
use super::ledger::Ledger;
use super::ownership::Ownership;
use super::refusal::Refusal;
use super::vouch::Vouched;
use crate::types::{Epoch, NodeId, Slot, SlotSet};

/// Most attempts on own slots at a time; more begin when one has ended.
const TAKE_BACKS_MAX: usize = 4;

impl Ledger {
    /// Whether a ballot that a node sent is its own, and can be.
    pub(super) fn is_ballot_of(&mut self, node: NodeId, ballot: Epoch) -> bool {
        if ballot.node != node {
            self.refusals.add(Refusal::ForeignBallot);
            return false;
        }
        self.heard(ballot)
    }

    /// Whether enough of a slot's replicas are connected for the procedure to succeed.
    pub(super) fn can_reach_majority(&self, slot: Slot) -> bool {
        self.chosen(slot).is_some_and(|it| {
            let nodes = it.replicas.as_slice().iter();
            let reached = nodes.filter(|node| **node == self.me || self.peers.contains(node));
            reached.count() >= it.replicas.majority()
        })
    }
}

impl Ownership {
    /// A random wait of up to half of the shortest retry; one for all slots of a step, so that they
    /// stay together.
    pub(super) fn stretch(&mut self) -> Duration {
        let least = self.ledger.settings.retry_min;
        self.ledger.jitter.stretch(least).saturating_sub(least)
    }

    /// Draws the consequences of changed registers that concern what is served and held.
    pub(super) fn reconcile(&mut self, changed: &SlotSet) {
        if changed.is_empty() {
            return;
        }
        let stretch = self.stretch();
        let mut tombstones = SlotSet::EMPTY;
        let mut task = None;
        for slot in changed.iter() {
            self.following.obey(&self.ledger, slot);
            self.catch_ups.obey(&self.ledger, slot);
            self.calm_reconfiguration(slot);
            // O4: the write of a promise and the end of granting are one step.
            if self.owner.obey(&self.ledger, slot) {
                self.ledger.out.freeze(slot);
                self.reconfigure.forget(slot);
            }
            if self.ledger.should_hold(slot) {
                // A learner's.
                self.ledger.leaving.remove(slot);
            }
            if self.ledger.leaving.contains(slot) && !self.is_busy(slot) {
                self.ledger.leaving.remove(slot);
                self.ledger.set_complete(slot, false);
                // Who wants it back copies it anew.
                self.following.clear(slot);
                task = Some(self.ledger.out.persist(slot));
                tombstones.insert(slot);
            }
            self.plan_to_take_back(slot, stretch);
        }
        self.recheck = true;
        // R8: the state goes when the tombstone is synced.
        self.drops.extend(task.map(|task| (task, tombstones)));
    }

    /// Whether an attempt, a copy that is being installed, or the operator's word is at work on a slot.
    pub(super) fn is_busy(&self, slot: Slot) -> bool {
        let vouched = |it: &Vouched| it.slots.contains(slot);
        self.coordinator.busy().contains(slot)
            || self.catch_ups.is_installing(slot)
            || self.vouched.values().any(vouched)
    }

    /// Liveness: an owner that does not serve runs the procedure, soon; or a while later if another
    /// node has sealed the slot and may be about to finish.
    fn plan_to_take_back(&mut self, slot: Slot, stretch: Duration) {
        let busy = self.is_busy(slot);
        let ledger = &mut self.ledger;
        let Some(chosen) = ledger.chosen(slot) else {
            return;
        };
        if chosen.owner != ledger.me {
            if self.owner.is_due_some_time(slot) {
                self.owner.calm(slot);
            }
            return;
        }
        if busy || self.owner.serving(slot).is_some() {
            return;
        }
        let promised = ledger.register(slot).promised;
        let sealed = promised > chosen.epoch && promised.node != ledger.me;
        let wait = if sealed {
            ledger.settings.deaf
        } else {
            ledger.settings.resume
        };
        let at = ledger.now.plus(wait.saturating_add(stretch));
        if let Some(at) = self.owner.take_back_at(slot, at) {
            ledger.out.wake(at);
        }
    }

    /// R8: the targets have changed: what a learner holds (it has `learned` it, or may have in an
    /// earlier life) goes where nobody wants it to learn any more. Not where it has promised more than
    /// is known to be chosen: then its state may be one of a configuration whose fate it does not know.
    pub(super) fn drop_what_nobody_wants(&mut self, learned: &SlotSet) {
        let replicated = self.ledger.replicated.clone();
        for slot in learned.iter().chain(replicated.iter()) {
            let register = self.ledger.register(slot);
            let Some(chosen) = register.chosen else {
                continue;
            };
            let copied = learned.contains(slot) || chosen.replicas.majority() > 1;
            let known = register.promised <= chosen.epoch;
            if copied && known && register.complete && !self.ledger.should_hold(slot) {
                self.ledger.leaving.insert(slot);
                self.ledger.changed.insert(slot);
            }
        }
    }

    /// R8: a register that names others is synced, and the state may go.
    pub(super) fn on_persisted(&mut self, task: TaskId) {
        let synced = self.drops.extract_if(.., |it| it.0 == task);
        let synced: Vec<(TaskId, SlotSet)> = synced.collect();
        for (_, slots) in synced {
            for slot in slots.iter() {
                let held = self.ledger.register(slot).complete || self.is_busy(slot);
                let named = self.ledger.chosen(slot);
                let named = named.is_some_and(|it| it.replicas.contains(self.ledger.me));
                if !held && !named {
                    self.ledger.out.drop(slot);
                }
            }
        }
    }

    /// Begins to take back and to move what is due.
    pub(super) fn begin_what_is_due(&mut self) {
        let ledger = &mut self.ledger;
        let (now, later) = (ledger.now, ledger.now.plus(ledger.settings.retry_min));
        if self.coordinator.take_backs(ledger.me) < TAKE_BACKS_MAX {
            let reachable = |slot: Slot| ledger.can_reach_majority(slot);
            let due = self.owner.take_due(now, later, reachable);
            self.coordinator.take_back(ledger, &due);
        }
        if std::mem::take(&mut self.replan) {
            self.begin_moves();
        }
        if std::mem::take(&mut self.recheck) {
            self.begin_catch_ups();
            self.begin_reconfiguration();
        }
    }

    fn begin_moves(&mut self) {
        let ledger = &mut self.ledger;
        let moving = self.coordinator.moving(ledger.me);
        let busy = self.coordinator.busy();
        let of_slots = (&self.owner, &self.following);
        let planned = self.rebalance.plan(ledger, of_slots, busy, &moving);
        for batch in planned {
            if batch.held {
                let why = (batch.from, Why::Move);
                self.coordinator.run(ledger, why, &batch.slots);
            } else {
                self.coordinator
                    .start_move(ledger, batch.from, &batch.slots);
            }
        }
    }
}
