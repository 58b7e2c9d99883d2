//! The attempts that run now, and which message is for which.
//!
//! Invariant: a slot is in at most one of them.

use std::collections::BTreeMap;

use super::attempt::{Attempt, End, Phase, Why};
use super::candidate::{Candidate, Step, Wanted};
use super::event::TaskId;
use super::ledger::Ledger;
use super::message::Message;
use super::refusal::Refusal;
use crate::types::{Epoch, NodeId, Slot, SlotSet};

/// How far a batch is, by its slowest slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// A replica copies the state while its owner goes on serving; no owner changes.
    CatchUp,
    /// The state is copied while its owner goes on serving.
    PreCopy,
    /// T1, T2.
    Seal,
    /// T4.
    Finish,
    /// T5.
    Fetch,
    /// T6.
    Install,
    /// T6, at others.
    Become,
    /// T7.
    Accept,
}

/// A batch of slots on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Whose they were, or are.
    pub(crate) from: NodeId,
    /// Whose they become, or who gets a copy; this node.
    pub(crate) to: NodeId,
    /// How many are not done.
    pub(crate) slots: usize,
    /// How far.
    pub(crate) step: Stage,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Coordinator {
    attempts: Vec<Attempt>,
    /// The slots of all attempts.
    busy: SlotSet,
}

impl Coordinator {
    pub(super) const fn new() -> Self {
        Self {
            attempts: Vec::new(),
            busy: SlotSet::EMPTY,
        }
    }

    pub(super) const fn busy(&self) -> &SlotSet {
        &self.busy
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.attempts.is_empty()
    }

    /// From whom slots are moved now.
    pub(super) fn moving(&self, me: NodeId) -> Vec<NodeId> {
        let moves = self.attempts.iter().filter(|it| it.from != me);
        moves.map(|it| it.from).collect()
    }

    /// How many attempts run on slots of this node itself.
    pub(super) fn take_backs(&self, me: NodeId) -> usize {
        self.attempts.iter().filter(|it| it.from == me).count()
    }

    /// Whether a ballot is of an attempt that runs.
    pub(super) fn is_running(&self, ballot: Epoch) -> bool {
        self.attempts.iter().any(|it| it.ballot == ballot)
    }

    /// How many attempts run for a reason.
    pub(super) fn running(&self, why: Why) -> usize {
        self.attempts.iter().filter(|it| it.why == why).count()
    }

    /// Runs the procedure on slots of this node itself, whose replicas stay.
    pub(super) fn take_back(&mut self, ledger: &mut Ledger, slots: &[Slot]) {
        let slots: Vec<_> = slots.iter().map(|slot| (*slot, Wanted::Same)).collect();
        self.run(ledger, (ledger.me, Why::TakeBack), &slots);
    }

    /// Runs the procedure on slots of which nothing need be copied first.
    pub(super) fn run(
        &mut self,
        ledger: &mut Ledger,
        (from, why): (NodeId, Why),
        slots: &[(Slot, Wanted)],
    ) {
        let mut attempt = self.attempt(ledger, (from, why), slots);
        if !attempt.slots.is_empty() {
            attempt.begin(ledger);
            self.attempts.push(attempt);
        }
    }

    /// Moves slots from `from` to this node, with a pre-copy first.
    pub(super) fn start_move(
        &mut self,
        ledger: &mut Ledger,
        from: NodeId,
        slots: &[(Slot, Wanted)],
    ) {
        let mut attempt = self.attempt(ledger, (from, Why::Move), slots);
        if !attempt.slots.is_empty() {
            let slots = attempt.slots.keys().copied().collect();
            let task = ledger.out.pre_copy(from, slots);
            attempt.phase = Phase::PreCopying { task };
            self.attempts.push(attempt);
        }
    }

    fn attempt(
        &mut self,
        ledger: &Ledger,
        (from, why): (NodeId, Why),
        slots: &[(Slot, Wanted)],
    ) -> Attempt {
        let mut candidates = BTreeMap::new();
        for &(slot, wanted) in slots {
            if let Some(base) = ledger.chosen(slot)
                && !self.busy.contains(slot)
            {
                candidates.insert(slot, Candidate::new(*base, wanted));
                self.busy.insert(slot);
            }
        }
        Attempt {
            ballot: Epoch::ZERO,
            from,
            why,
            phase: Phase::Promising,
            slots: candidates,
            ended: Vec::new(),
        }
    }

    /// Gives up a slot.
    pub(super) fn abandon(&mut self, slot: Slot) {
        for attempt in &mut self.attempts {
            attempt.end(slot, End::Failed);
        }
    }

    /// A slot's register has changed.
    pub(super) fn reconcile(&mut self, ledger: &mut Ledger, slot: Slot) {
        if self.busy.contains(slot) {
            for attempt in &mut self.attempts {
                attempt.reconcile(ledger, slot);
            }
        }
    }

    /// The slots that have left, and how; attempts without slots are gone.
    pub(super) fn take_ended(&mut self) -> Vec<(Slot, End)> {
        let mut ended = Vec::new();
        for attempt in &mut self.attempts {
            ended.append(&mut attempt.ended);
        }
        self.attempts.retain(|it| !it.slots.is_empty());
        for (slot, _) in &ended {
            self.busy.remove(*slot);
        }
        ended
    }

    /// An answer, of another node or this one.
    pub(super) fn on_answer(&mut self, ledger: &mut Ledger, from: NodeId, message: &Message) {
        let ballot = match message {
            Message::Sealed { ballot, .. } | Message::Accepted { ballot, .. } => *ballot,
            Message::Seal { .. }
            | Message::Accept { .. }
            | Message::Digest { .. }
            | Message::Chosen { .. }
            | Message::Become { .. }
            | Message::Became { .. }
            | Message::AskHeard { .. }
            | Message::Heard { .. } => return,
        };
        if ballot.node != ledger.me {
            ledger.refusals.add(Refusal::ForeignBallot);
            return;
        }
        let running = |it: &&mut Attempt| it.ballot == ballot;
        let Some(attempt) = self.attempts.iter_mut().find(running) else {
            // This node's own answers may come after the attempt has ended.
            if from != ledger.me {
                ledger.refusals.add(Refusal::Unasked);
            }
            return;
        };
        match message {
            Message::Sealed { slots, refused, .. } => {
                attempt.on_seal_refused(ledger, refused);
                attempt.on_sealed(ledger, from, slots);
            }
            Message::Accepted { slots, refused, .. } => {
                attempt.on_accept_refused(ledger, from, refused);
                attempt.on_accepted(ledger, from, slots);
            }
            Message::Seal { .. }
            | Message::Accept { .. }
            | Message::Digest { .. }
            | Message::Chosen { .. }
            | Message::Become { .. }
            | Message::Became { .. }
            | Message::AskHeard { .. }
            | Message::Heard { .. } => {}
        }
    }

    /// Answers to being told to become. Returns those slots that no attempt knows.
    pub(super) fn on_became(
        &mut self,
        ledger: &mut Ledger,
        from: NodeId,
        (ballot, slots, refused): (Epoch, &SlotSet, &SlotSet),
    ) -> SlotSet {
        let (mut slots, mut refused) = (slots.clone(), refused.clone());
        for attempt in self.attempts.iter_mut().filter(|it| it.ballot == ballot) {
            attempt.on_became(ledger, from, &mut slots, &mut refused);
        }
        refused.iter().for_each(|slot| slots.insert(slot));
        slots
    }

    pub(super) fn on_fetched(&mut self, ledger: &mut Ledger, task: TaskId, slots: &SlotSet) {
        for attempt in &mut self.attempts {
            attempt.on_fetched(ledger, task, slots);
        }
    }

    pub(super) fn on_installed(&mut self, ledger: &mut Ledger, task: TaskId) {
        for attempt in &mut self.attempts {
            attempt.on_installed(ledger, task);
        }
    }

    pub(super) fn on_connected(&mut self, ledger: &mut Ledger, peer: NodeId) {
        for attempt in &mut self.attempts {
            attempt.on_connected(ledger, peer);
        }
    }

    pub(super) fn on_lost(&mut self, ledger: &Ledger, peer: NodeId) {
        for attempt in &mut self.attempts {
            attempt.on_lost(ledger, peer);
        }
    }

    pub(super) fn on_tick(&mut self, ledger: &Ledger) {
        for attempt in &mut self.attempts {
            attempt.on_tick(ledger);
        }
    }

    pub(super) fn progress(&self, me: NodeId) -> Vec<Progress> {
        let running = self.attempts.iter().filter(|it| !it.slots.is_empty());
        let progress = running.map(|it| Progress {
            from: it.from,
            to: me,
            slots: it.slots.len(),
            step: stage(it),
        });
        progress.collect()
    }
}

fn stage(attempt: &Attempt) -> Stage {
    match attempt.phase {
        Phase::PreCopying { .. } => return Stage::PreCopy,
        Phase::Promising => return Stage::Seal,
        Phase::Running => {}
    }
    let stages = attempt.slots.values().map(|it| match it.step {
        Step::Sealing => Stage::Seal,
        Step::Finishing(_) => Stage::Finish,
        Step::Fetching { .. } => Stage::Fetch,
        Step::Installing { .. } => Stage::Install,
        Step::Becoming { .. } => Stage::Become,
        Step::Accepting(_) => Stage::Accept,
    });
    stages.min().unwrap_or(Stage::Accept)
}
