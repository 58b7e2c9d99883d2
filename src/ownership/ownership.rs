//! A node's part in who owns the slots: all rules put together behind one `step`.
//!
//! It leaves out how effects are carried out. Invariant: when a step returns, no slot is served
//! whose register promises or chooses something else than the epoch it is served at (O4).

use std::collections::{BTreeMap, BTreeSet};

use super::attempt::End;
use super::becoming::Pending;
use super::catch_up::CatchUps;
use super::coordinator::{Coordinator, Progress};
use super::event::{Effect, Event, TaskId};
use super::following::Following;
use super::gossip::{self, Gossip};
use super::ledger::Ledger;
use super::message::Message;
use super::owner::Owner;
use super::rebalance::Rebalance;
use super::reconfigure::Reconfigure;
use super::record::Register;
use super::refusal::{Refusal, Refusals};
use super::settings::Settings;
use super::takeover::Takeover;
use super::vouch::Vouched;
use crate::types::{Configuration, Epoch, MonoTime, NodeId, Replicas, SLOT_COUNT, Slot, SlotSet};

/// What a slot is to this node.
#[cfg(any(test, feature = "internals"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// This node decides.
    Serving {
        /// At this epoch.
        epoch: Epoch,
    },
    /// This node owns it but may not decide: it has just started, or another is taking it over.
    Sealed,
    /// Another decides.
    Elsewhere {
        /// Who.
        owner: NodeId,
    },
    /// Nobody has said yet who decides.
    Unknown,
}

/// How the replicas of a slot stand, as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotReplicas {
    /// The slot's register at this node.
    pub(crate) register: Register,
    /// The reign whose commits this node takes in as a replica or learner.
    pub(crate) followed: Option<Epoch>,
    /// Who has all that this node has committed as the owner, and follows.
    pub(crate) in_sync: Vec<NodeId>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Ownership {
    pub(super) ledger: Ledger,
    pub(super) coordinator: Coordinator,
    pub(super) owner: Owner,
    pub(super) rebalance: Rebalance,
    gossip: Gossip,
    pub(super) following: Following,
    pub(super) catch_ups: CatchUps,
    pub(super) reconfigure: Reconfigure,
    pub(super) takeover: Takeover,
    /// What becomes a candidate's.
    pub(super) becoming: Vec<Pending>,
    /// Whether there may be something new to move,
    pub(super) replan: bool,
    /// or to copy, or replicas to change.
    pub(super) recheck: bool,
    /// R8: states to drop once the registers that say so are synced.
    pub(super) drops: Vec<(TaskId, SlotSet)>,
    /// Who is gone for good, as the operator has said in this life.
    pub(super) gone: BTreeSet<NodeId>,
    /// What is being installed on the operator's word.
    pub(super) vouched: BTreeMap<TaskId, Vouched>,
}

impl Ownership {
    /// The ownership of node `me` in a new life of its process. `registers` are those of all slots
    /// as recovered, `complete` false where state was lost (R5); `seed` only spreads waits.
    pub(crate) fn new(
        me: NodeId,
        registers: Vec<Option<Register>>,
        settings: Settings,
        seed: u64,
    ) -> Self {
        Self {
            ledger: Ledger::new(me, registers, settings, seed),
            coordinator: Coordinator::new(),
            owner: Owner::new(),
            rebalance: Rebalance::default(),
            gossip: Gossip::default(),
            following: Following::new(),
            catch_ups: CatchUps::new(),
            reconfigure: Reconfigure::new(),
            takeover: Takeover::default(),
            becoming: Vec::new(),
            replan: false,
            recheck: false,
            drops: Vec::new(),
            gone: BTreeSet::new(),
            vouched: BTreeMap::new(),
        }
    }

    /// The registers of a node that creates a cluster, and so owns all slots.
    pub(crate) fn founding(me: NodeId) -> Vec<Option<Register>> {
        vec![Some(Register::of_creator(me)); usize::from(SLOT_COUNT)]
    }

    /// Takes an event; what is to be done about it, in order.
    pub(crate) fn step(&mut self, now: MonoTime, event: Event) -> Vec<Effect> {
        self.ledger.now = self.ledger.now.max(now);
        self.take(event);
        self.draw_consequences();
        self.begin_what_is_due();
        self.draw_consequences();
        let Ledger {
            out,
            registers,
            peers,
            ..
        } = &mut self.ledger;
        out.take(registers, peers)
    }

    fn take(&mut self, event: Event) {
        let ledger = &mut self.ledger;
        match event {
            Event::Start => self.start(),
            Event::Tick => {
                self.replan = true;
                self.coordinator.on_tick(ledger);
                self.gossip.on_tick(ledger);
                self.recheck = true;
                self.watch_owners();
            }
            Event::Connected { peer } => self.on_connected(peer),
            Event::Lost { peer } => self.on_lost(peer),
            Event::Received { from, message } => self.on_message(from, &message),
            Event::Retargeted { targets, reachable } => self.on_retargeted(targets, reachable),
            Event::Persisted { task } => {
                ledger.note_persisted(task);
                self.note_persisted_promise(task);
                self.on_persisted(task);
            }
            Event::Frozen { task, slots } => ledger.note_frozen(task, &slots),
            Event::Fetched { task, slots } => self.coordinator.on_fetched(ledger, task, &slots),
            Event::Installed { task } => {
                self.coordinator.on_installed(ledger, task);
                self.on_vouched_installed(task);
                self.on_caught_up_installed(task);
            }
            Event::Vouched { gone } => self.vouch(gone),
            Event::Behind { slots } => self.on_behind(&slots),
            Event::CaughtUp { task, slots } => self.on_caught_up(task, &slots),
            Event::Became { task, slots } => self.on_became(task, &slots),
            Event::InSync { peer, slots } => self.on_in_sync(peer, &slots),
            Event::OutOfSync { peer, slots } => self.on_out_of_sync(peer, &slots),
            Event::Deaf { peer, slots } => self.on_deaf(peer, slots.into_iter()),
            Event::Heard { peers } => {
                let now = ledger.now;
                for peer in peers {
                    self.takeover.hear(now, peer);
                }
            }
        }
    }

    fn on_connected(&mut self, peer: NodeId) {
        if peer == self.ledger.me {
            return;
        }
        // R6: a new connection is the end of an earlier one.
        self.on_lost(peer);
        self.ledger.peers.insert(peer);
        self.gone.remove(&peer);
        self.takeover.hear(self.ledger.now, peer);
        self.recheck = true;
        self.coordinator.on_connected(&mut self.ledger, peer);
        gossip::tell_digest(&mut self.ledger, peer);
    }

    fn on_lost(&mut self, peer: NodeId) {
        self.ledger.peers.remove(&peer);
        self.ledger.forget_owed(peer);
        self.coordinator.on_lost(&self.ledger, peer);
        self.following.lose(peer);
        self.catch_ups.lose(peer);
        self.reconfigure.lose(peer);
        self.takeover.lose(peer);
        self.becoming.iter_mut().for_each(|it| it.forget(peer));
    }

    fn on_retargeted(&mut self, targets: Vec<Replicas>, reachable: Vec<NodeId>) {
        let ledger = &mut self.ledger;
        if targets.len() != usize::from(SLOT_COUNT) {
            ledger.refusals.add(Refusal::Size);
            return;
        }
        let me = ledger.me;
        let learned = Slot::all().filter(|it| ledger.wanted_replicas(*it).contains(me));
        let learned: SlotSet = learned.collect();
        let at = self.rebalance.retarget(ledger, targets, reachable);
        ledger.out.wake(at);
        self.drop_what_nobody_wants(&learned);
        self.recheck = true;
    }

    fn on_message(&mut self, from: NodeId, message: &Message) {
        let ledger = &mut self.ledger;
        if from == ledger.me {
            ledger.refusals.add(Refusal::OwnName);
            return;
        }
        self.takeover.hear(ledger.now, from);
        match message {
            Message::Seal { ballot, slots } => {
                if ledger.is_ballot_of(from, *ballot) {
                    ledger.seal_for(from, *ballot, slots);
                }
            }
            Message::Accept { ballot, slots } => {
                if slots.len() > usize::from(SLOT_COUNT) {
                    ledger.refusals.add(Refusal::Size);
                } else if ledger.is_ballot_of(from, *ballot) {
                    ledger.accept_for(from, *ballot, slots);
                }
            }
            Message::Sealed {
                ballot, refused, ..
            } => {
                let deaf = self.on_refused_by_deaf(from, *ballot, refused);
                if !deaf || self.coordinator.is_running(*ballot) {
                    self.coordinator.on_answer(&mut self.ledger, from, message);
                }
            }
            Message::Accepted { .. } => self.coordinator.on_answer(ledger, from, message),
            Message::Digest { groups } => gossip::on_digest(ledger, from, groups),
            Message::Chosen { records } => gossip::on_chosen(ledger, records),
            Message::Become { ballot, slots } => self.on_become(from, *ballot, slots),
            Message::Became {
                ballot,
                slots,
                refused,
            } => self.on_others_became(from, *ballot, (slots, refused)),
            Message::AskHeard { owner } => self.on_ask_heard(from, *owner),
            Message::Heard { owner, lately } => self.on_heard(from, *owner, *lately),
        }
    }

    /// What is known to be chosen of a slot.
    pub(crate) fn record(&self, slot: Slot) -> Option<Configuration> {
        self.ledger.chosen(slot).copied()
    }

    /// The register of a slot, as it is or is about to be stored.
    pub(crate) fn register(&self, slot: Slot) -> Register {
        *self.ledger.register(slot)
    }

    /// What a slot is to this node.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn standing(&self, slot: Slot) -> Standing {
        if let Some(epoch) = self.owner.serving(slot) {
            return Standing::Serving { epoch };
        }
        match self.ledger.chosen(slot) {
            None => Standing::Unknown,
            Some(it) if it.owner == self.ledger.me => Standing::Sealed,
            Some(it) => Standing::Elsewhere { owner: it.owner },
        }
    }

    /// How the replicas of a slot stand.
    pub(crate) fn replicas(&self, slot: Slot) -> SlotReplicas {
        SlotReplicas {
            register: self.register(slot),
            followed: self.following.epoch(slot),
            in_sync: self.reconfigure.in_sync(slot),
        }
    }

    /// The batches that move to this node now, or are copied to it.
    pub(crate) fn progress(&self) -> Vec<Progress> {
        let mut progress = self.coordinator.progress(self.ledger.me);
        progress.extend(self.catch_ups.progress(self.ledger.me));
        progress
    }

    /// Whether there is nothing to do: all that this node owns is served, and all that the targets
    /// give it and that can be moved is its own.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        let ledger = &self.ledger;
        let settled = |slot: Slot| {
            let serves = self.owner.serving(slot).is_some();
            let moves = self.rebalance.move_of(ledger, &self.following, slot);
            let served = serves || !(ledger.is_owner(slot) || moves.is_some());
            let follows =
                serves || !ledger.should_hold(slot) || self.following.is_current(ledger, slot);
            served && follows && self.wanted_by_owner(slot).is_none()
        };
        self.coordinator.is_idle()
            && self.catch_ups.is_idle()
            && self.becoming.is_empty()
            && self.vouched.is_empty()
            && Slot::all().all(settled)
    }

    /// How many slots this node owns, served or not.
    pub(crate) fn owned(&self) -> usize {
        Slot::all().filter(|it| self.ledger.is_owner(*it)).count()
    }

    /// What was refused so far.
    pub(crate) const fn refusals(&self) -> &Refusals {
        &self.ledger.refusals
    }

    /// O5: nothing is served from the memory of having been owner.
    fn start(&mut self) {
        let (ledger, busy) = (&self.ledger, self.coordinator.busy());
        let own = |slot: &Slot| {
            ledger.is_owner(*slot)
                && self.owner.serving(*slot).is_none()
                && !busy.contains(*slot)
                && ledger.can_reach_majority(*slot)
        };
        let (now, own): (Vec<Slot>, Vec<Slot>) = Slot::all()
            .filter(|slot| ledger.is_owner(*slot))
            .partition(own);
        self.coordinator.take_back(&mut self.ledger, &now);
        for slot in own {
            self.ledger.changed.insert(slot);
        }
    }

    /// Until nothing changes any more: what follows from changed registers, answers that are ready,
    /// and slots that left their attempts.
    fn draw_consequences(&mut self) {
        loop {
            let changed = std::mem::replace(&mut self.ledger.changed, SlotSet::EMPTY);
            let proposals = self.ledger.out.take_own_accepts(self.ledger.me);
            let answers = self.ledger.give_answers();
            let quiet = changed.is_empty() && proposals.is_empty() && answers.is_empty();
            for (ballot, proposals) in proposals {
                self.ledger.accept_for(self.ledger.me, ballot, &proposals);
            }
            for answer in answers {
                let me = self.ledger.me;
                self.coordinator.on_answer(&mut self.ledger, me, &answer);
            }
            for slot in changed.iter() {
                self.coordinator.reconcile(&mut self.ledger, slot);
            }
            let ended = self.coordinator.take_ended();
            self.note_ended(&ended);
            self.reconcile(&changed);
            if quiet && ended.is_empty() {
                break;
            }
        }
    }

    fn note_ended(&mut self, ended: &[(Slot, End)]) {
        if ended.is_empty() {
            return;
        }
        self.replan = true;
        let stretch = self.stretch();
        for &(slot, end) in ended {
            self.ledger.changed.insert(slot);
            match end {
                End::Served(epoch) => {
                    self.reconfigure.forget(slot);
                    self.following.clear(slot);
                    self.owner.serve(slot, epoch);
                    self.ledger.out.serve(slot, epoch);
                }
                End::Failed => self.owner.failed(&self.ledger, slot, stretch),
                End::Over => self.owner.calm(slot),
            }
        }
    }
}
