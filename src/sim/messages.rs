//! What nodes tell each other about slots: said, cut short, misread where a mutation wants that, heard.

use super::lives::End;
use super::machine::node_id;
use super::mutations::Mutation;
use super::wire::Wire;
use super::words::brief_message;
use super::world::{MS, World};
use crate::ownership::event::Event;
use crate::ownership::message::{Message, Proposal, SealedSlot};
use crate::types::{Position, SlotSet};

impl World {
    pub(super) fn send_message(&mut self, node: usize, to: usize, mut message: Message) {
        match &mut message {
            Message::Sealed { slots, refused, .. } => {
                if !refused.is_empty() {
                    self.coverage.note(("rule", "seal refused"));
                }
                let ignored = self.mutated(Mutation::AcceptedIgnored);
                slots
                    .iter_mut()
                    .filter(|_| ignored)
                    .for_each(|it| it.accepted = None);
            }
            Message::Accepted { refused, .. } if !refused.is_empty() => {
                self.coverage.note(("rule", "accept refused"));
            }
            Message::Accept { ballot, slots } if self.mutated(Mutation::ServeOnOwnAcceptance) => {
                let own = slots.iter().filter(|it| it.proposed.owner == node_id(node));
                let own = own.filter(|it| it.proposed.epoch == *ballot);
                let own: Vec<_> = own.map(|it| (it.slot, it.proposed)).collect();
                for (slot, proposed) in own {
                    self.serve(node, slot, proposed);
                }
            }
            Message::Accept { ballot, slots } if self.mutated(Mutation::MajorityOfNewSet) => {
                let left_out = |it: &Proposal| !it.proposed.replicas.contains(node_id(to));
                let assumed: SlotSet = slots
                    .iter()
                    .filter(|it| left_out(it))
                    .map(|it| it.slot)
                    .collect();
                slots.retain(|it| !left_out(it));
                if !assumed.is_empty() {
                    let message = Message::Accepted {
                        ballot: *ballot,
                        slots: assumed,
                        refused: Vec::new(),
                    };
                    let from = node_id(to);
                    self.tell_soon(node, Event::Received { from, message });
                }
            }
            _ => {}
        }
        if let Some(step) = hand_off_step(&message)
            && self.may_be_cut_off(node, to, step)
        {
            return;
        }
        self.send(node, to, Wire::Ownership(message));
    }

    /// A hand-off is cut just when it says something: the network fails for a while, or one of the
    /// two does.
    fn may_be_cut_off(&mut self, node: usize, to: usize, step: &'static str) -> bool {
        if self.calm || self.random.below(1_000_000) >= self.options.crash_ppm * 25 {
            return false;
        }
        self.coverage.note(("hand-off cut at", step));
        self.say(|| format!("the hand-off between {node} and {to} is cut at {step}"));
        let for_ns = self.random.between(100, 4000) * MS;
        match self.random.below(4) {
            0 => {
                self.cut(node, to, for_ns);
                self.cut(to, node, for_ns);
            }
            1 => self.break_link(node, to),
            2 => self.crash(to, End::Kill),
            _ => {
                self.crash(node, End::PowerLoss);
                return true;
            }
        }
        false
    }

    /// A message about slots arrives.
    pub(super) fn received(&mut self, node: usize, peer: usize, mut message: Message) {
        self.say(|| format!("node {node} hears from {peer}: {}", brief_message(&message)));
        match &mut message {
            Message::Sealed { slots, .. } => slots.iter_mut().for_each(|it| self.misread(node, it)),
            Message::Became { ballot, slots, .. } => {
                let (ballot, slots) = (*ballot, slots.clone());
                self.note_became(node, peer, ballot, &slots);
            }
            _ => {}
        }
        let from = node_id(peer);
        self.step(node, Event::Received { from, message });
    }

    /// Mutations: an answer to a seal is taken for another one.
    fn misread(&mut self, node: usize, it: &mut SealedSlot) {
        match self.mutation {
            Some(Mutation::OneCompleteOfTwo) if !it.complete => {
                (it.complete, it.at) = (true, Position::default());
            }
            Some(Mutation::HighestNumberWins) => {
                let own = self
                    .process(node)
                    .and_then(|process| process.held.get(&it.slot));
                if let Some(own) = own.map(|own| own.state.at)
                    && (it.at.epoch < own.epoch) == (it.at.n > own.n)
                {
                    it.at.epoch = own.epoch;
                }
            }
            Some(Mutation::AcceptedFollowed) => {
                let known = it.chosen.map_or(0, |chosen| chosen.version);
                if let Some((_, found)) = it.accepted.filter(|found| found.1.version > known) {
                    (it.chosen, it.accepted) = (Some(found), None);
                }
            }
            _ => {}
        }
    }
}

/// The step of a hand-off that a message belongs to.
const fn hand_off_step(message: &Message) -> Option<&'static str> {
    match message {
        Message::Seal { .. } => Some("seal"),
        Message::Sealed { .. } => Some("sealed"),
        Message::Accept { .. } => Some("accept"),
        Message::Accepted { .. } => Some("accepted"),
        Message::Become { .. } => Some("become"),
        Message::Became { .. } => Some("became"),
        Message::Digest { .. }
        | Message::Chosen { .. }
        | Message::AskHeard { .. }
        | Message::Heard { .. } => None,
    }
}
