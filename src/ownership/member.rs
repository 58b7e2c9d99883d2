//! What this node does as a replica: R3 (seal) and R4 (accept), many slots at a time, one synced
//! write for a message, and no answer before it.
//!
//! It leaves out who asks and why. The node's own procedure asks in the same way, and is answered
//! as late. Invariant: an answer leaves after the write that it rests on is synced, and a seal's
//! also after granting has stopped and what was granted is in the state (so that below the ballot
//! it can not change any more).

use super::event::TaskId;
use super::ledger::Ledger;
use super::message::{Message, Proposal, Refused, SealedSlot};
use super::record::is_sound;
use super::refusal::Refusal;
use super::settings::{MESSAGE_SLOTS_MAX, OWED_MAX};
use crate::types::{Epoch, NodeId, Position, Replicas, Slot, SlotSet, SlotTime};

/// An answer that waits for the disk.
#[derive(Debug)]
pub(super) struct Owed {
    to: NodeId,
    ballot: Epoch,
    granted: SlotSet,
    refused: Vec<Refused>,
    persist: Option<TaskId>,
    /// Only a seal waits for a freeze too.
    freeze: Option<TaskId>,
    /// What the freeze reported, of a seal.
    frozen: Option<Vec<(Slot, Position, SlotTime)>>,
}

impl Ledger {
    /// R3: promise, sync, freeze, then answer.
    pub(super) fn seal_for(&mut self, to: NodeId, ballot: Epoch, slots: &SlotSet) {
        if self.is_busy(to) {
            return;
        }
        let mut owed = Owed {
            to,
            ballot,
            granted: SlotSet::EMPTY,
            refused: Vec::new(),
            persist: None,
            freeze: None,
            frozen: Some(Vec::new()),
        };
        for slot in slots.iter() {
            if let Some(task) = self.promise(slot, ballot) {
                owed.granted.insert(slot);
                owed.persist = Some(task);
                owed.freeze = Some(self.out.freeze(slot));
            } else {
                owed.refused.push(self.refused(slot));
            }
        }
        self.owed.push(owed);
    }

    /// R4: accept, sync, then answer.
    pub(super) fn accept_for(&mut self, to: NodeId, ballot: Epoch, proposals: &[Proposal]) {
        if self.is_busy(to) {
            return;
        }
        let mut owed = Owed {
            to,
            ballot,
            granted: SlotSet::EMPTY,
            refused: Vec::new(),
            persist: None,
            freeze: None,
            frozen: None,
        };
        for it in proposals {
            if !self.may_be_proposed(ballot, it) {
                continue;
            }
            if self.accept(it.slot, ballot, it.base, it.proposed) {
                owed.granted.insert(it.slot);
                owed.persist = Some(self.out.persist(it.slot));
            } else {
                owed.refused.push(self.refused(it.slot));
            }
        }
        self.owed.push(owed);
    }

    /// Whether a proposal can be one: of the next version, by its own ballot, or by an older one
    /// that was found (T4), for replicas that this node is one of.
    fn may_be_proposed(&mut self, ballot: Epoch, it: &Proposal) -> bool {
        let register = self.register(it.slot);
        let wrong = if !is_sound(&it.base) || !is_sound(&it.proposed) {
            Refusal::Unsound
        } else if it.base.version.checked_add(1) != Some(it.proposed.version)
            || it.proposed.epoch > ballot
            || it.base.epoch >= it.proposed.epoch
        {
            Refusal::Sequence
        } else if !it.base.replicas.contains(self.me) {
            Refusal::NoReplica
        } else if !register.agrees_with(&it.base) {
            Refusal::Contradiction
        } else if it.base.replicas == Replicas::one(self.me) && register.promised < ballot {
            // T2: alone it is the majority that must have promised first.
            Refusal::Unsealed
        } else {
            return true;
        };
        self.refusals.add(wrong);
        false
    }

    fn is_busy(&mut self, to: NodeId) -> bool {
        let busy = to != self.me && self.owed.len() >= OWED_MAX;
        if busy {
            self.refusals.add(Refusal::Busy);
        }
        busy
    }

    fn refused(&self, slot: Slot) -> Refused {
        let register = self.register(slot);
        Refused {
            slot,
            promised: register.promised,
            chosen: register.chosen,
        }
    }

    /// A write is synced.
    pub(super) fn note_persisted(&mut self, task: TaskId) {
        for owed in self.owed.iter_mut().filter(|it| it.persist == Some(task)) {
            owed.persist = None;
        }
    }

    /// Granting has stopped, and this is how far the state is.
    pub(super) fn note_frozen(&mut self, task: TaskId, slots: &[(Slot, Position, SlotTime)]) {
        for owed in self.owed.iter_mut().filter(|it| it.freeze == Some(task)) {
            owed.freeze = None;
            let granted = &owed.granted;
            let asked = slots.iter().filter(|it| granted.contains(it.0));
            let mut frozen: Vec<_> = asked.copied().collect();
            frozen.sort_unstable_by_key(|it| it.0);
            owed.frozen = Some(frozen);
        }
    }

    /// R6: answers to a connection that is gone are not given.
    pub(super) fn forget_owed(&mut self, peer: NodeId) {
        self.owed.retain(|it| it.to != peer);
    }

    /// Gives the answers that wait for nothing any more, and returns those to this node itself.
    pub(super) fn give_answers(&mut self) -> Vec<Message> {
        let ready = |it: &mut Owed| it.persist.is_none() && it.freeze.is_none();
        let ready: Vec<Owed> = self.owed.extract_if(.., ready).collect();
        let mut own = Vec::new();
        for owed in ready {
            let to = owed.to;
            let answer = self.answer(owed);
            if to == self.me {
                own.push(answer);
            } else {
                for part in parts(answer) {
                    self.out.answer(to, part);
                }
            }
        }
        own
    }

    fn answer(&self, owed: Owed) -> Message {
        let Owed {
            ballot,
            granted,
            mut refused,
            frozen,
            ..
        } = owed;
        let Some(frozen) = frozen else {
            let slots = granted;
            return Message::Accepted {
                ballot,
                slots,
                refused,
            };
        };
        let mut slots = Vec::with_capacity(granted.len());
        for slot in granted.iter() {
            // A higher promise has been made while the disk was busy.
            if self.register(slot).promised != ballot {
                refused.push(self.refused(slot));
                continue;
            }
            slots.push(self.sealed(slot, &frozen));
        }
        Message::Sealed {
            ballot,
            slots,
            refused,
        }
    }

    fn sealed(&self, slot: Slot, frozen: &[(Slot, Position, SlotTime)]) -> SealedSlot {
        let register = self.register(slot);
        let found = frozen.binary_search_by_key(&slot, |it| it.0).ok();
        let found = found.and_then(|place| frozen.get(place));
        let (at, clock) = found.map(|it| (it.1, it.2)).unwrap_or_default();
        SealedSlot {
            slot,
            chosen: register.chosen,
            accepted: register.accepted,
            at,
            clock,
            // What is not reported is not there.
            complete: register.complete && found.is_some(),
        }
    }
}

/// An answer in parts that each fit into a frame.
fn parts(answer: Message) -> Vec<Message> {
    let mut parts = Vec::new();
    match answer {
        Message::Sealed {
            ballot,
            slots,
            refused,
        } => {
            parts.extend(
                slots
                    .chunks(MESSAGE_SLOTS_MAX)
                    .map(|slots| Message::Sealed {
                        ballot,
                        slots: slots.to_vec(),
                        refused: Vec::new(),
                    }),
            );
            parts.extend(
                refused
                    .chunks(MESSAGE_SLOTS_MAX)
                    .map(|refused| Message::Sealed {
                        ballot,
                        slots: Vec::new(),
                        refused: refused.to_vec(),
                    }),
            );
        }
        Message::Accepted {
            ballot,
            slots,
            refused,
        } => {
            if !slots.is_empty() {
                parts.push(Message::Accepted {
                    ballot,
                    slots,
                    refused: Vec::new(),
                });
            }
            parts.extend(
                refused
                    .chunks(MESSAGE_SLOTS_MAX)
                    .map(|refused| Message::Accepted {
                        ballot,
                        slots: SlotSet::EMPTY,
                        refused: refused.to_vec(),
                    }),
            );
        }
        other @ (Message::Seal { .. }
        | Message::Accept { .. }
        | Message::Digest { .. }
        | Message::Chosen { .. }
        | Message::Become { .. }
        | Message::Became { .. }
        | Message::AskHeard { .. }
        | Message::Heard { .. }) => parts.push(other),
    }
    parts
}
