//! One run of the procedure, seal, install, accept (T1 to T9), for a batch of slots under one
//! ballot.
//!
//! Slots go on one by one: one that is refused, or has to finish another's configuration first,
//! leaves its neighbours alone. What they want at the same time is one effect all the same.
//! Invariant: a slot is served only when its configuration is chosen, its state is installed at the
//! ballot, and this node has promised nothing higher (T8).

use std::collections::BTreeMap;

use super::candidate::{Candidate, Next, Step, Vote};
use super::event::{Origin, TaskId};
use super::ledger::Ledger;
use super::message::{Proposal, SealedSlot};
use super::outbox::ToInstall;
use super::record::is_sound;
use super::refusal::Refusal;
use crate::types::{Configuration, Epoch, NodeId, Slot, SlotSet};

/// Why an attempt was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The owner does not serve, or its replicas are deaf to it.
    TakeBack,
    /// The targets give the slots to this node.
    Move,
    /// The owner changes the replicas.
    Reconfigure,
    /// The owner is silent.
    TakeOver,
}

/// What the batch as a whole waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The owner's state is copied while it goes on serving; nothing is sealed yet.
    PreCopying {
        /// By which effect.
        task: TaskId,
    },
    /// T1: this node's own promise, which goes to the disk before anyone hears of the ballot.
    Promising,
    /// T2 to T8, slot by slot.
    Running,
}

/// How a slot left an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// T8.
    Served(Epoch),
    /// T9, a lost peer, or silence: to be tried again later.
    Failed,
    /// It is another's, whose configuration was found or learned.
    Over,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) ballot: Epoch,
    /// From whom the slots are moved; this node itself where it starts or takes back its own.
    pub(super) from: NodeId,
    pub(super) why: Why,
    pub(super) phase: Phase,
    pub(super) slots: BTreeMap<Slot, Candidate>,
    /// The slots that left since last asked.
    pub(super) ended: Vec<(Slot, End)>,
}

impl Attempt {
    /// T1: a new ballot, promised to this node itself first.
    pub(super) fn begin(&mut self, ledger: &mut Ledger) {
        self.ballot = ledger.next_ballot();
        self.phase = Phase::Promising;
        let slots: SlotSet = self.slots.keys().copied().collect();
        ledger.seal_for(ledger.me, self.ballot, &slots);
    }

    pub(super) fn end(&mut self, slot: Slot, end: End) {
        if self.slots.remove(&slot).is_some() {
            self.ended.push((slot, end));
        }
    }

    /// Answers to the seal; those of this node itself start the seal of the others.
    pub(super) fn on_sealed(&mut self, ledger: &mut Ledger, from: NodeId, slots: &[SealedSlot]) {
        for answer in slots {
            let slot = answer.slot;
            let Some(candidate) = self.slots.get_mut(&slot) else {
                continue;
            };
            let asked = from == ledger.me || candidate.sealed.contains(&from);
            // Nothing at or above the ballot was installed when it was promised.
            if !asked || candidate.has_answered(from) || answer.at.epoch >= self.ballot {
                ledger.refusals.add(Refusal::Unasked);
                continue;
            }
            // A found configuration may be chosen (T4), so it must be one.
            if answer.accepted.is_some_and(|it| !is_sound(&it.1)) {
                ledger.refusals.add(Refusal::Unsound);
                continue;
            }
            candidate.answer(from, answer);
            // T3, once the step draws the consequences.
            if let Some(chosen) = answer.chosen
                && from != ledger.me
            {
                ledger.hear(slot, chosen);
            }
            if from == ledger.me {
                self.seal_others(ledger, slot);
            }
            self.advance(ledger, slot);
        }
        if from == ledger.me {
            self.phase = Phase::Running;
        }
    }

    /// T1: asks those of the base's replicas that were not asked yet and can be.
    pub(super) fn seal_others(&mut self, ledger: &mut Ledger, slot: Slot) {
        let Some(candidate) = self.slots.get_mut(&slot) else {
            return;
        };
        for &node in candidate.base.replicas.as_slice() {
            if ledger.peers.contains(&node) && !candidate.sealed.contains(&node) {
                candidate.sealed.push(node);
                ledger.out.seal(node, self.ballot, slot);
            }
        }
        candidate.since = ledger.now;
    }

    /// What to do with a slot whose answers have changed: T4, T5, T6.
    pub(super) fn advance(&mut self, ledger: &mut Ledger, slot: Slot) {
        let Some(candidate) = self.slots.get_mut(&slot) else {
            return;
        };
        // T3: a newer base is taken up first.
        if candidate.step != Step::Sealing
            || ledger.register(slot).version() > candidate.base.version
        {
            return;
        }
        match candidate.next(ledger.me) {
            Next::Wait => {}
            Next::Finish(found) => {
                candidate.step = Step::Finishing(Vote {
                    proposed: found,
                    by: Vec::new(),
                });
                ledger.leaving.remove(slot);
                self.propose(ledger, slot, found);
            }
            Next::Install { origin, at, clock } => {
                let lost = origin == Origin::Lost;
                if lost && !candidate.settle_for_same(ledger.me) {
                    self.end(slot, End::Failed);
                    return;
                }
                candidate.clock = clock;
                candidate.made_of = (!lost).then_some(at);
                self.install(ledger, slot, origin);
            }
            Next::Fetch { from, at, clock } => {
                candidate.clock = clock;
                candidate.made_of = Some(at);
                let task = ledger.out.fetch(from, self.ballot, slot, at);
                candidate.step = Step::Fetching { from, task };
            }
        }
    }

    /// T6: the state at `(ballot, 0)`. Where this node is of the old set too, and nobody else needs
    /// to have the state first, its own acceptance (T7) is in the same write, so that neither is
    /// there without the other.
    pub(super) fn install(&mut self, ledger: &mut Ledger, slot: Slot, origin: Origin) {
        let (me, ballot) = (ledger.me, self.ballot);
        let Some(candidate) = self.slots.get_mut(&slot) else {
            return;
        };
        // R2: nothing higher was promised, and nothing newer was chosen.
        let base = candidate.base;
        let Some(proposed) = candidate.own_proposal(me, ballot) else {
            return;
        };
        let accepts = base.replicas.contains(me) && candidate.one_install_is_enough();
        let outdated = proposed.epoch <= base.epoch;
        if ledger.register(slot).promised > ballot
            || outdated
            || (accepts && !ledger.accept(slot, ballot, base, proposed))
        {
            self.end(slot, End::Failed);
            return;
        }
        candidate.accepts_itself = accepts;
        let clock = candidate.clock;
        ledger.set_complete(slot, true);
        let task = ledger.out.install(
            ballot,
            ToInstall {
                slot,
                origin,
                n: 0,
                clock,
                vouched: None,
            },
        );
        candidate.step = Step::Installing { task };
    }

    /// T6: the state is installed here; now it may be elsewhere, or (T7) the configuration accepted.
    pub(super) fn on_installed(&mut self, ledger: &mut Ledger, task: TaskId) {
        let installing = Step::Installing { task };
        let slots = self.slots.iter().filter(|it| it.1.step == installing);
        for slot in slots.map(|it| *it.0).collect::<Vec<Slot>>() {
            let Some(candidate) = self.slots.get_mut(&slot) else {
                continue;
            };
            if candidate.one_install_is_enough() {
                self.propose_own(ledger, slot);
            } else {
                candidate.step = Step::Becoming {
                    by: vec![ledger.me],
                    refused_by: Vec::new(),
                };
                self.spread(ledger, slot);
            }
        }
    }

    /// T7: enough of the new set have the state.
    pub(super) fn propose_own(&mut self, ledger: &mut Ledger, slot: Slot) {
        let Some(candidate) = self.slots.get_mut(&slot) else {
            return;
        };
        let Some(proposed) = candidate.own_proposal(ledger.me, self.ballot) else {
            return;
        };
        let by = if candidate.accepts_itself {
            vec![ledger.me]
        } else {
            Vec::new()
        };
        candidate.step = Step::Accepting(Vote { proposed, by });
        // From now on this state may be the only one of a chosen configuration.
        ledger.leaving.remove(slot);
        self.propose(ledger, slot, proposed);
        self.conclude(ledger, slot);
    }

    /// Asks the base's replicas to accept.
    fn propose(&mut self, ledger: &mut Ledger, slot: Slot, proposed: Configuration) {
        let (me, ballot) = (ledger.me, self.ballot);
        let Some(candidate) = self.slots.get_mut(&slot) else {
            return;
        };
        let base = candidate.base;
        for &node in base.replicas.as_slice() {
            let done = candidate.vote().is_some_and(|it| it.by.contains(&node));
            if done || (node != me && !ledger.peers.contains(&node)) {
                continue;
            }
            candidate.ask(node, proposed.version);
            let proposal = Proposal {
                slot,
                base,
                proposed,
            };
            ledger.out.accept(node, ballot, &proposal);
        }
        candidate.since = ledger.now;
    }

    /// Acceptances have arrived.
    pub(super) fn on_accepted(&mut self, ledger: &mut Ledger, from: NodeId, slots: &SlotSet) {
        for slot in slots.iter() {
            let Some(candidate) = self.slots.get_mut(&slot) else {
                continue;
            };
            let Some(version) = candidate.answered_proposal(from) else {
                ledger.refusals.add(Refusal::Unasked);
                continue;
            };
            candidate.accepted_by(from, version);
            self.conclude(ledger, slot);
        }
    }

    /// T4 and T8, once a configuration is chosen.
    fn conclude(&mut self, ledger: &mut Ledger, slot: Slot) {
        let Some(candidate) = self.slots.get(&slot) else {
            return;
        };
        let Some(chosen) = candidate.chosen() else {
            return;
        };
        let own = matches!(candidate.step, Step::Accepting(_));
        ledger.learn(slot, chosen);
        ledger.out.tell(slot);
        // T8. A found configuration of this node's own older ballot is not served: the slot goes
        // on from it as its base (`reconcile`).
        if own && ledger.register(slot).promised <= self.ballot {
            self.spread_to_all(ledger, slot);
            self.end(slot, End::Served(self.ballot));
        } else if own {
            self.end(slot, End::Failed);
        }
    }

    /// A pre-copy or fetch has ended.
    pub(super) fn on_fetched(&mut self, ledger: &mut Ledger, task: TaskId, fetched: &SlotSet) {
        if self.phase == (Phase::PreCopying { task }) {
            let failed = self.slots.keys().filter(|it| !fetched.contains(**it));
            for slot in failed.copied().collect::<Vec<Slot>>() {
                self.end(slot, End::Failed);
            }
            if !self.slots.is_empty() {
                self.begin(ledger);
            }
            return;
        }
        let mine = self.slots.iter().filter(
            |it| matches!(it.1.step, Step::Fetching { task: of_slot, .. } if of_slot == task),
        );
        for slot in mine.map(|it| *it.0).collect::<Vec<Slot>>() {
            if fetched.contains(slot) {
                self.install(ledger, slot, Origin::Fetched);
            } else {
                self.end(slot, End::Failed);
            }
        }
    }
}
