//! R2 without a copy: a replica that holds exactly what a candidate's state was made of takes it for
//! the candidate's, `(ballot, 0)` (T6).
//!
//! It leaves out whether the state is exactly that, which the edge sees. Invariant: the answer leaves
//! after both the promise and the mark are synced; and a slot that was promised to the ballot but has
//! another state takes in no more commits of a lower reign (R3).

use super::event::TaskId;
use super::ledger::Ledger;
use super::message::{Becoming, Message};
use super::ownership::Ownership;
use super::refusal::Refusal;
use super::settings::OWED_MAX;
use crate::types::{Epoch, NodeId, SLOT_COUNT, Slot, SlotSet};

/// Slots that are becoming, of one message.
#[derive(Debug)]
pub(super) struct Pending {
    /// Who is answered; nobody if its connection is lost.
    to: Option<NodeId>,
    ballot: Epoch,
    slots: SlotSet,
    refused: SlotSet,
    persist: Option<TaskId>,
    become_task: Option<TaskId>,
    became: SlotSet,
}

impl Pending {
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.slots.contains(slot)
    }

    /// R6: the answer to a connection that is gone is not given.
    pub(super) fn forget(&mut self, peer: NodeId) {
        self.to = self.to.filter(|it| *it != peer);
    }
}

impl Ownership {
    /// A candidate has installed at its ballot what these slots may hold already.
    pub(super) fn on_become(&mut self, from: NodeId, ballot: Epoch, slots: &[Becoming]) {
        let ledger = &mut self.ledger;
        if slots.len() > usize::from(SLOT_COUNT) {
            ledger.refusals.add(Refusal::Size);
            return;
        }
        if !ledger.is_ballot_of(from, ballot) {
            return;
        }
        if self.becoming.len() >= OWED_MAX {
            ledger.refusals.add(Refusal::Busy);
            return;
        }
        let mut pending = Pending {
            to: Some(from),
            ballot,
            slots: SlotSet::EMPTY,
            refused: SlotSet::EMPTY,
            persist: None,
            become_task: None,
            became: SlotSet::EMPTY,
        };
        for it in slots {
            if pending.slots.contains(it.slot) || pending.refused.contains(it.slot) {
                ledger.refusals.add(Refusal::Size);
            } else if may_become(ledger, ballot, it) {
                pending.slots.insert(it.slot);
                pending.persist = ledger.promise(it.slot, ballot).or(pending.persist);
                pending.become_task = Some(ledger.out.become_here(ballot, it));
            } else {
                pending.refused.insert(it.slot);
            }
        }
        self.becoming.push(pending);
        self.answer_became();
    }

    /// The edge has taken those for the candidate's whose state was exactly as told.
    pub(super) fn on_became(&mut self, task: TaskId, slots: &SlotSet) {
        for pending in &mut self.becoming {
            if pending.become_task == Some(task) {
                pending.become_task = None;
                let asked = slots.iter().filter(|it| pending.slots.contains(*it));
                pending.became = asked.collect();
            }
        }
        self.answer_became();
    }

    /// A promise is synced.
    pub(super) fn note_persisted_promise(&mut self, task: TaskId) {
        let waiting = self.becoming.iter_mut();
        for pending in waiting.filter(|it| it.persist == Some(task)) {
            pending.persist = None;
        }
        self.answer_became();
    }

    /// Follows and answers where nothing is waited for any more.
    fn answer_became(&mut self) {
        let ready = |it: &mut Pending| it.persist.is_none() && it.become_task.is_none();
        let ready: Vec<Pending> = self.becoming.extract_if(.., ready).collect();
        for mut pending in ready {
            let ledger = &mut self.ledger;
            for slot in pending.slots.iter() {
                let register = ledger.register(slot);
                // What was promised to a higher ballot meanwhile is frozen already.
                let current = register.promised == pending.ballot;
                let became = pending.became.contains(slot) && register.complete;
                if current && became {
                    // R6: to a connection that is gone nothing was promised to be complete.
                    if pending.to.is_some() {
                        self.following.follow(ledger, slot, pending.ballot);
                    }
                } else {
                    pending.became.remove(slot);
                    pending.refused.insert(slot);
                    if current && self.following.epoch(slot) != Some(pending.ballot) {
                        ledger.out.freeze(slot);
                    }
                }
                ledger.changed.insert(slot);
            }
            let Some(to) = pending.to else {
                continue;
            };
            let answer = Message::Became {
                ballot: pending.ballot,
                slots: pending.became,
                refused: pending.refused,
            };
            ledger.out.answer(to, answer);
        }
        self.recheck = true;
    }
}

/// R2: nothing higher was promised, nothing newer is chosen, and the state is all there (R5).
fn may_become(ledger: &Ledger, ballot: Epoch, it: &Becoming) -> bool {
    let register = ledger.register(it.slot);
    let newer = register.chosen.is_some_and(|chosen| chosen.epoch > ballot);
    register.promised <= ballot && !newer && register.complete && it.at.epoch < ballot
}
