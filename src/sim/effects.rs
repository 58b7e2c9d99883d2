//! What the state machine of a node wants done, carried out one by one; between any two of them,
//! and around every write and sync, the node may crash or stand still.

use super::coverage::STEPS;
use super::disk::Write;
use super::judge::Fact;
use super::lives::End;
use super::machine::node_of;
use super::mutations::Mutation;
use super::queue::{AfterSync, Happening, NodeEvent};
use super::words::brief;
use super::world::{MS, World};
use crate::ownership::event::{Effect, Event, TaskId};
use crate::ownership::record::Register;
use crate::types::{MonoTime, Position, Slot, SlotRecord, SlotSet, SlotTime};

impl World {
    /// Something happens to a node's state machine.
    pub(super) fn step(&mut self, node: usize, event: Event) {
        let machine = &mut self.machines[node];
        let mono = machine.clocks.mono(self.now);
        let Some(process) = machine.process.as_mut() else {
            return;
        };
        let effects = process.ownership.step(mono, event);
        process.effects.extend(effects);
        self.carry_out(node);
    }

    /// Carries out what is to be done, until the node crashes or stands still.
    pub(super) fn carry_out(&mut self, node: usize) {
        while self.machines[node].paused.is_none() {
            let Some(effect) = self.process(node).and_then(|it| it.effects.pop_front()) else {
                return;
            };
            let step = name(&effect);
            if STEPS.contains(&step) && self.accident(node, ("cut before", step)) {
                return;
            }
            if self.may_stumble() {
                self.coverage.note(("fault", "pause between two effects"));
                if let Some(process) = self.process(node) {
                    process.effects.push_front(effect);
                }
                self.pause(node);
                return;
            }
            self.carry_out_one(node, effect);
        }
    }

    fn may_stumble(&mut self) -> bool {
        !self.calm && self.random.below(3_000_000) < self.options.crash_ppm
    }

    /// A crash at this very place, or not.
    pub(super) fn accident(&mut self, node: usize, place: (&'static str, &'static str)) -> bool {
        let often = match place.1 {
            "send" | "commit" | "persist" => 1,
            "fetch" | "drop" => 40,
            _ => 10,
        };
        if self.calm || self.random.below(1_000_000) >= self.options.crash_ppm * often {
            return false;
        }
        self.coverage.note(place);
        self.say(|| format!("node {node} crashes: {} {}", place.0, place.1));
        let power = self.random.permille(400);
        self.crash(node, if power { End::PowerLoss } else { End::Kill });
        true
    }

    fn carry_out_one(&mut self, node: usize, effect: Effect) {
        self.say(|| format!("node {node}: {}", brief(&effect)));
        match effect {
            Effect::Send { to, message } => self.send_message(node, node_of(to), message),
            Effect::Persist { task, registers } => self.persist(node, task, registers),
            Effect::Freeze { task, slots } => self.freeze(node, task, &slots),
            Effect::PreCopy { task, from, slots } => {
                self.ask_for_copy(node, node_of(from), task, &slots);
            }
            Effect::Fetch {
                task, from, slots, ..
            } => self.ask_for_rest(node, node_of(from), task, &slots),
            Effect::Install { task, epoch, slots } => self.install(node, task, epoch, &slots),
            Effect::Serve { slots } => {
                for (slot, chosen) in slots {
                    self.serve(node, slot, chosen);
                }
            }
            Effect::CatchUp { task, from, slots } => {
                self.catch_up(node, node_of(from), task, &slots);
            }
            Effect::Become { task, epoch, slots } => self.begin_become(node, task, epoch, slots),
            Effect::Follow { slots } => self.follow(node, &slots),
            Effect::Drop { slots } => self.drop_states(node, &slots),
            Effect::Announce { records } => self.announce(node, &records),
            Effect::WakeAt(at) => self.wake_at(node, at),
        }
    }

    fn persist(&mut self, node: usize, task: TaskId, registers: Vec<(Slot, Register)>) {
        for (ballot, found) in registers.iter().filter_map(|(_, it)| it.accepted) {
            if ballot != found.epoch {
                self.coverage
                    .note(("rule", "accepted configuration finished (T4)"));
            }
        }
        if self.accident(node, ("crash before write", "registers")) {
            return;
        }
        let write = Write::Registers(registers.clone());
        self.machines[node].disk.write(write);
        let after = AfterSync::Report(Event::Persisted { task }, registers);
        if self.mutated(Mutation::PromiseNotSynced) {
            self.plan_node(node, 1, NodeEvent::Synced { upto: 0, after });
        } else if !self.accident(node, ("crash before sync", "registers")) {
            self.sync(node, after);
        }
    }

    /// Syncs all that is written, and then does what waits for it.
    pub(super) fn sync(&mut self, node: usize, after: AfterSync) {
        let slow = self.random.permille(30);
        let takes_ns = self
            .random
            .between(100_000, if slow { 80 * MS } else { 3 * MS });
        let now = self.now;
        let machine = &mut self.machines[node];
        machine.sync_ends_ns = machine.sync_ends_ns.max(now + takes_ns);
        let upto = machine.disk.last_write();
        let in_ns = machine.sync_ends_ns - now;
        self.plan_node(node, in_ns, NodeEvent::Synced { upto, after });
    }

    pub(super) fn synced(&mut self, node: usize, upto: u64, after: AfterSync) {
        if std::mem::take(&mut self.machines[node].failing) {
            // the node fences itself: nobody knows what of it is on the disk
            self.coverage.note(("fault", "failed sync"));
            self.crash(node, End::PowerLoss);
            return;
        }
        self.machines[node].disk.synced(upto);
        match after {
            AfterSync::Report(event, registers) => {
                if self.accident(node, ("crash before report", reported(&event))) {
                    return;
                }
                for (slot, register) in &registers {
                    let (slot, register) = (*slot, register);
                    self.see(&Fact::Registered {
                        node,
                        slot,
                        register,
                    });
                }
                self.step(node, event);
            }
            AfterSync::Kept { number } => self.kept(node, number),
            AfterSync::Frozen { task, slots, all } => self.frozen(node, task, slots, &all),
            AfterSync::Followed { peer, link, slots } => self.followed(node, peer, link, slots),
            AfterSync::Through {
                peer,
                link,
                through,
            } => self.synced_through(node, peer, link, through),
            AfterSync::Nothing => {}
        }
    }

    fn freeze(&mut self, node: usize, task: TaskId, slots: &SlotSet) {
        let mut frozen = Vec::new();
        let ignored = self.mutated(Mutation::OwnerIgnoresItsPromise);
        let below = self.mutated(Mutation::ReplicateBelowPromise) && !self.calm;
        for slot in slots.iter() {
            let reading = self.reading(node, slot);
            let Some(held) = self.process(node).and_then(|it| it.held.get_mut(&slot)) else {
                continue;
            };
            if let Some(reading) = reading {
                held.state.clock = held.state.clock.max(reading);
            }
            held.followed &= below;
            let served = !ignored && held.serving.take().is_some();
            if served {
                self.see(&Fact::Stopped { node, slot });
            }
            frozen.push(slot);
        }
        self.commit(node);
        if self.accident(node, ("crash before sync", "freeze")) {
            return;
        }
        let Some(process) = self.process(node) else {
            return;
        };
        let held = frozen
            .iter()
            .filter_map(|slot| process.held.get_key_value(slot));
        let reported: Vec<(Slot, Position, SlotTime)> = held
            .map(|(&slot, it)| (slot, it.state.at, it.state.clock))
            .collect();
        let after = AfterSync::Frozen {
            task,
            slots: reported,
            all: slots.clone(),
        };
        self.sync(node, after);
    }

    /// What was granted in frozen slots is synced, and has gone to the replicas.
    fn frozen(
        &mut self,
        node: usize,
        task: TaskId,
        slots: Vec<(Slot, Position, SlotTime)>,
        all: &SlotSet,
    ) {
        if !self.mutated(Mutation::OwnerIgnoresItsPromise) {
            self.stop_replicating(node, all);
        }
        if self.calm || !self.mutated(Mutation::ReplicateBelowPromise) {
            self.stop_following(node, all);
        }
        self.tell_deaf(node, all);
        if !self.accident(node, ("crash before report", "freeze")) {
            self.step(node, Event::Frozen { task, slots });
        }
    }

    fn announce(&mut self, node: usize, records: &[SlotRecord]) {
        for it in records {
            let (slot, chosen) = (it.slot, &it.chosen);
            self.see(&Fact::Chosen { slot, chosen });
            let newest = self.newest.entry(slot).or_insert(*chosen);
            if newest.version < chosen.version {
                *newest = *chosen;
            }
            if let Some(process) = self.process(node) {
                process.records.insert(slot, it.chosen);
            }
        }
        for client in 0..self.clients.len() {
            if self.random.permille(400) {
                let after_ns = self.random.below(300 * MS);
                let records = records.to_vec();
                self.plan(after_ns, Happening::Learned { client, records });
            }
        }
    }

    fn wake_at(&mut self, node: usize, at: MonoTime) {
        let wait_ns = self.machines[node].clocks.true_wait_ns(self.now, at);
        let Some(process) = self.process(node) else {
            return;
        };
        if process.wake.is_none_or(|it| at < it) {
            process.wake = Some(at);
            self.plan_node(node, wait_ns, NodeEvent::Wake(at));
        }
    }

    pub(super) fn wake(&mut self, node: usize, at: MonoTime) {
        if let Some(process) = self.process(node)
            && process.wake == Some(at)
        {
            process.wake = None;
            self.step(node, Event::Tick);
        }
    }
}

/// The step of a hand-off that an effect belongs to.
const fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Send { .. } => "send",
        Effect::Persist { .. } => "persist",
        Effect::Freeze { .. } => "freeze",
        Effect::PreCopy { .. } => "pre-copy",
        Effect::Fetch { .. } => "fetch",
        Effect::Install { .. } => "install",
        Effect::Serve { .. } => "serve",
        Effect::CatchUp { .. } => "catch-up",
        Effect::Become { .. } => "become",
        Effect::Follow { .. } => "follow",
        Effect::Drop { .. } => "drop",
        Effect::Announce { .. } => "announce",
        Effect::WakeAt(_) => "wake",
    }
}

const fn reported(event: &Event) -> &'static str {
    match event {
        Event::Persisted { .. } => "registers",
        Event::Frozen { .. } => "freeze",
        Event::Installed { .. } => "install",
        _ => "other",
    }
}
