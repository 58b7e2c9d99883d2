//! What one step wants done, gathered so that a batch of slots costs one effect of each kind, and
//! put in order: stop granting, write, install, copy, serve, drop, announce, and only then speak.
//!
//! Registers are looked up when the step is over, so that all writes of a step hold the same.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Effect, Installed, Origin, TaskId};
use super::message::{Becoming, Message, Proposal};
use super::record::Register;
use super::settings::{BECOMING_MAX, MESSAGE_SLOTS_MAX, RECORDS_MAX};
use crate::types::{
    Configuration, Epoch, MonoTime, NodeId, Position, Slot, SlotRecord, SlotSet, SlotTime,
};

/// One slot to install; its register is looked up at the end of the step.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToInstall {
    pub(super) slot: Slot,
    pub(super) origin: Origin,
    pub(super) n: u64,
    pub(super) clock: SlotTime,
    /// Written as chosen with it, although it is not known to be: the operator says so.
    pub(super) vouched: Option<Configuration>,
}

/// What to take for what a candidate has: each slot, the position that it must be at, its clock.
type ToBecome = (TaskId, Vec<(Slot, Position, SlotTime)>);

/// What to fetch from one node: each slot at the position that it must have.
type ToFetch = (TaskId, Vec<(Slot, Position)>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    last_task: u64,
    freeze: Option<(TaskId, SlotSet)>,
    persist: Option<(TaskId, SlotSet)>,
    install: BTreeMap<Epoch, (TaskId, Vec<ToInstall>)>,
    pre_copy: Vec<(TaskId, NodeId, SlotSet)>,
    fetch: BTreeMap<(NodeId, Epoch), ToFetch>,
    catch_up: Vec<(TaskId, NodeId, Vec<(Slot, Epoch)>)>,
    becoming: BTreeMap<Epoch, ToBecome>,
    follow: Vec<(Slot, Epoch)>,
    serve: Vec<(Slot, Epoch)>,
    drop: Option<SlotSet>,
    announce: Option<SlotSet>,
    seal: BTreeMap<(NodeId, Epoch), SlotSet>,
    accept: BTreeMap<(NodeId, Epoch), Vec<Proposal>>,
    become_at: BTreeMap<(NodeId, Epoch), Vec<Becoming>>,
    answers: Vec<(NodeId, Message)>,
    tell: Option<SlotSet>,
    tell_one: BTreeMap<NodeId, SlotSet>,
    wake: Option<MonoTime>,
}

impl Outbox {
    fn task(last: &mut u64) -> TaskId {
        *last = last.saturating_add(1);
        TaskId(*last)
    }

    fn joined(last: &mut u64, set: &mut Option<(TaskId, SlotSet)>, slot: Slot) -> TaskId {
        let (task, slots) = set.get_or_insert_with(|| (Self::task(last), SlotSet::EMPTY));
        slots.insert(slot);
        *task
    }

    pub(super) fn freeze(&mut self, slot: Slot) -> TaskId {
        Self::joined(&mut self.last_task, &mut self.freeze, slot)
    }

    pub(super) fn persist(&mut self, slot: Slot) -> TaskId {
        Self::joined(&mut self.last_task, &mut self.persist, slot)
    }

    pub(super) fn install(&mut self, epoch: Epoch, it: ToInstall) -> TaskId {
        let last = &mut self.last_task;
        let (task, slots) = self
            .install
            .entry(epoch)
            .or_insert_with(|| (Self::task(last), Vec::new()));
        slots.push(it);
        *task
    }

    pub(super) fn pre_copy(&mut self, from: NodeId, slots: SlotSet) -> TaskId {
        let task = Self::task(&mut self.last_task);
        self.pre_copy.push((task, from, slots));
        task
    }

    pub(super) fn fetch(
        &mut self,
        from: NodeId,
        ballot: Epoch,
        slot: Slot,
        at: Position,
    ) -> TaskId {
        let last = &mut self.last_task;
        let (task, slots) = self
            .fetch
            .entry((from, ballot))
            .or_insert_with(|| (Self::task(last), Vec::new()));
        slots.push((slot, at));
        *task
    }

    pub(super) fn catch_up(&mut self, from: NodeId, slots: Vec<(Slot, Epoch)>) -> TaskId {
        let task = Self::task(&mut self.last_task);
        self.catch_up.push((task, from, slots));
        task
    }

    /// This node's own state becomes that of an epoch.
    pub(super) fn become_here(&mut self, epoch: Epoch, it: &Becoming) -> TaskId {
        let last = &mut self.last_task;
        let (task, slots) = self
            .becoming
            .entry(epoch)
            .or_insert_with(|| (Self::task(last), Vec::new()));
        slots.push((it.slot, it.at, it.clock));
        *task
    }

    pub(super) fn follow(&mut self, slot: Slot, epoch: Epoch) {
        self.follow.push((slot, epoch));
    }

    pub(super) fn serve(&mut self, slot: Slot, epoch: Epoch) {
        self.serve.push((slot, epoch));
    }

    pub(super) fn drop(&mut self, slot: Slot) {
        self.drop.get_or_insert(SlotSet::EMPTY).insert(slot);
    }

    pub(super) fn announce(&mut self, slot: Slot) {
        self.announce.get_or_insert(SlotSet::EMPTY).insert(slot);
    }

    pub(super) fn seal(&mut self, to: NodeId, ballot: Epoch, slot: Slot) {
        let slots = self.seal.entry((to, ballot)).or_insert(SlotSet::EMPTY);
        slots.insert(slot);
    }

    pub(super) fn accept(&mut self, to: NodeId, ballot: Epoch, proposal: &Proposal) {
        self.accept.entry((to, ballot)).or_default().push(*proposal);
    }

    /// Tells `to` that its state may become that of a ballot.
    pub(super) fn become_at(&mut self, to: NodeId, ballot: Epoch, it: Becoming) {
        self.become_at.entry((to, ballot)).or_default().push(it);
    }

    /// What is asked of node `me` itself goes to its own register instead of out.
    pub(super) fn take_own_accepts(&mut self, me: NodeId) -> Vec<(Epoch, Vec<Proposal>)> {
        let ballots = self.accept.keys().filter(|it| it.0 == me);
        let ballots: Vec<_> = ballots.copied().collect();
        let own = ballots
            .iter()
            .filter_map(|key| self.accept.remove_entry(key));
        own.map(|((_, ballot), proposals)| (ballot, proposals))
            .collect()
    }

    pub(super) fn answer(&mut self, to: NodeId, message: Message) {
        self.answers.push((to, message));
    }

    /// Tells all peers what is chosen of a slot.
    pub(super) fn tell(&mut self, slot: Slot) {
        self.tell.get_or_insert(SlotSet::EMPTY).insert(slot);
    }

    /// Tells one peer.
    pub(super) fn tell_one(&mut self, to: NodeId, slot: Slot) {
        self.tell_one
            .entry(to)
            .or_insert(SlotSet::EMPTY)
            .insert(slot);
    }

    pub(super) fn wake(&mut self, at: MonoTime) {
        self.wake = Some(self.wake.map_or(at, |earlier| earlier.min(at)));
    }

    /// The effects of the step, in order; what was gathered is gone.
    pub(super) fn take(&mut self, registers: &[Register], peers: &BTreeSet<NodeId>) -> Vec<Effect> {
        let mut effects = Vec::new();
        let gathered = std::mem::replace(
            self,
            Self {
                last_task: self.last_task,
                ..Self::default()
            },
        );
        gathered.local(registers, &mut effects);
        gathered.spoken(registers, peers, &mut effects);
        effects.extend(gathered.wake.map(Effect::WakeAt));
        effects
    }

    fn local(&self, registers: &[Register], effects: &mut Vec<Effect>) {
        let register = |slot: Slot| registers.get(slot.index()).copied().unwrap_or_default();
        if let Some((task, slots)) = self.freeze.clone() {
            effects.push(Effect::Freeze { task, slots });
        }
        // What goes with an installed state must not be on the disk without it: a register that
        // says that the state is whole, or that this node has accepted a configuration for it.
        self.installs(false, registers, effects);
        if let Some((task, slots)) = &self.persist {
            let registers = slots.iter().map(|slot| (slot, register(slot))).collect();
            effects.push(Effect::Persist {
                task: *task,
                registers,
            });
        }
        // What the operator vouches for comes last: no other write may hold less.
        self.installs(true, registers, effects);
        self.replicas(effects);
        for (task, from, slots) in self.pre_copy.clone() {
            effects.push(Effect::PreCopy { task, from, slots });
        }
        for (&(from, ballot), (task, slots)) in &self.fetch {
            effects.push(Effect::Fetch {
                task: *task,
                from,
                ballot,
                slots: slots.clone(),
            });
        }
        if !self.serve.is_empty() {
            let slots = self.serve.iter().filter_map(|(slot, epoch)| {
                // What the same step has promised away is never served.
                let register = register(*slot);
                let chosen = register.chosen?;
                let current = chosen.epoch == *epoch && register.promised <= *epoch;
                current.then_some((*slot, chosen))
            });
            effects.push(Effect::Serve {
                slots: slots.collect(),
            });
        }
        if let Some(slots) = self.drop.clone() {
            effects.push(Effect::Drop { slots });
        }
        if let Some(slots) = &self.announce {
            let records = records(registers, slots);
            effects.push(Effect::Announce { records });
        }
    }

    fn installs(&self, vouched: bool, registers: &[Register], effects: &mut Vec<Effect>) {
        let register = |slot: Slot| registers.get(slot.index()).copied().unwrap_or_default();
        for (&epoch, (task, slots)) in &self.install {
            if slots.iter().any(|it| it.vouched.is_some()) != vouched {
                continue;
            }
            let slots = slots.iter().map(|it| it.with(&register(it.slot)));
            effects.push(Effect::Install {
                task: *task,
                epoch,
                slots: slots.collect(),
            });
        }
    }

    /// What a replica does to follow its owner.
    fn replicas(&self, effects: &mut Vec<Effect>) {
        for (&epoch, (task, slots)) in &self.becoming {
            effects.push(Effect::Become {
                task: *task,
                epoch,
                slots: slots.clone(),
            });
        }
        for (task, from, slots) in self.catch_up.clone() {
            effects.push(Effect::CatchUp { task, from, slots });
        }
        if !self.follow.is_empty() {
            effects.push(Effect::Follow {
                slots: self.follow.clone(),
            });
        }
    }

    fn spoken(&self, registers: &[Register], peers: &BTreeSet<NodeId>, out: &mut Vec<Effect>) {
        let mut send = |to, message| out.push(Effect::Send { to, message });
        for (&(to, ballot), slots) in &self.seal {
            let slots = slots.clone();
            send(to, Message::Seal { ballot, slots });
        }
        for (&(to, ballot), proposals) in &self.accept {
            for slots in proposals.chunks(MESSAGE_SLOTS_MAX) {
                let slots = slots.to_vec();
                send(to, Message::Accept { ballot, slots });
            }
        }
        for (&(to, ballot), becoming) in &self.become_at {
            for slots in becoming.chunks(BECOMING_MAX) {
                let slots = slots.to_vec();
                send(to, Message::Become { ballot, slots });
            }
        }
        for (to, message) in self.answers.clone() {
            send(to, message);
        }
        let mut chosen = |to, slots: &SlotSet| {
            for records in records(registers, slots).chunks(RECORDS_MAX) {
                let records = records.to_vec();
                send(to, Message::Chosen { records });
            }
        };
        if let Some(slots) = &self.tell {
            for to in peers {
                chosen(*to, slots);
            }
        }
        for (to, slots) in &self.tell_one {
            chosen(*to, slots);
        }
    }
}

impl ToInstall {
    fn with(&self, register: &Register) -> Installed {
        let register = match self.vouched {
            None => *register,
            Some(chosen) => Register {
                chosen: Some(chosen),
                accepted: None,
                complete: true,
                ..*register
            },
        };
        Installed {
            slot: self.slot,
            origin: self.origin,
            n: self.n,
            clock: self.clock,
            register,
        }
    }
}

fn records(registers: &[Register], slots: &SlotSet) -> Vec<SlotRecord> {
    let chosen = |slot: Slot| registers.get(slot.index()).and_then(|it| it.chosen);
    let records = slots.iter().filter_map(|slot| {
        let chosen = chosen(slot)?;
        Some(SlotRecord { slot, chosen })
    });
    records.collect()
}
