//! The lives of a node: starts, crashes, power losses, pauses, and everything that happens to a
//! life on its way to the state machine.

use std::collections::{BTreeMap, VecDeque};

use super::clocks::MAX_ERROR;
use super::disk::{Image, Write};
use super::judge::Fact;
use super::links::Belongs;
use super::machine::{Held, Process, node_id};
use super::mutations::Mutation;
use super::queue::{AfterSync, Happening, NodeEvent};
use super::state::SlotState;
use super::wire::Wire;
use super::world::{MS, World};
use crate::limiter::{ClockStamp, SlotClock, StartClocks, resume};
use crate::ownership::{Ownership, Settings};
use crate::ownership::event::Event;
use crate::ownership::record::Register;
use crate::types::{Slot, SlotTime};

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// `kill -9`: what is written stays.
    Kill,
    /// The power fails: what is not synced may be lost, and the machine boots anew.
    PowerLoss,
    /// It stops by itself: all is synced.
    Clean,
}

impl World {
    /// A machine starts its node, if none runs.
    pub(super) fn start(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if machine.process.is_some() || machine.removed {
            return;
        }
        machine.life += 1;
        let boots = machine.disk.read().boots + 1;
        machine.disk.write(Write::Boots(boots));
        // recovery syncs what it has read, or it could be lost after it was relied upon
        let read = machine.disk.last_write();
        machine.disk.synced(read);
        let image = machine.disk.read().clone();
        let clocks = machine.clocks.read(self.now);
        let states = self.recovered(node, &image, &clocks);
        let registers = self.registers_at_start(node, &image);
        let process = self.new_process(node, &registers, states);
        self.say(|| format!("node {node} starts its life {boots}"));
        self.machines[node].process = Some(process);
        self.plan_node(node, 1, NodeEvent::Tick);
        self.plan_node(node, 0, NodeEvent::Upkeep);
        for (weighed, weight) in self.weights.clone().into_iter().enumerate() {
            let after_ns = self.random.below(300 * MS);
            let node_knows = NodeEvent::Weighed {
                node: weighed,
                weight,
            };
            self.plan_node(node, after_ns, node_knows);
        }
        for peer in (0..self.machines.len()).filter(|&it| it != node) {
            self.reconnect(node, peer);
        }
        if registers.values().any(|it| it.chosen.is_some_and(|it| it.owner == node_id(node))) {
            self.coverage.note(("rule", "start with slots of its own (O5)"));
        }
        self.step(node, Event::Start);
        if self.mutated(Mutation::EpochResumed) {
            self.resume_epochs(node, &registers);
        }
    }

    fn new_process(
        &mut self,
        node: usize,
        registers: &BTreeMap<Slot, Register>,
        states: BTreeMap<Slot, SlotState>,
    ) -> Process {
        let seed = self.random.bits();
        let mono = self.machines[node].clocks.mono(self.now);
        let nodes = self.machines.len();
        let own_ms = self.random.below(5000);
        let records = registers.iter();
        Process {
            ownership: self.new_ownership(node, registers, seed),
            effects: VecDeque::new(),
            held: states.into_iter().map(|(slot, it)| (slot, Held::resting(it))).collect(),
            records: records.filter_map(|(&slot, it)| Some((slot, it.chosen?))).collect(),
            uncommitted: Vec::new(),
            committing: false,
            staged: BTreeMap::new(),
            copies: BTreeMap::new(),
            transfers: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            requests: 0,
            weights: vec![0; nodes],
            lost_ns: vec![Some(self.now); nodes],
            retargeting: false,
            own_clock: SlotClock::new(SlotTime::from_ms(mono.as_ns() / MS + own_ms), mono),
            wake: None,
        }
    }

    fn new_ownership(
        &self,
        node: usize,
        registers: &BTreeMap<Slot, Register>,
        seed: u64,
    ) -> Ownership {
        let registers: Vec<Option<Register>> =
            Slot::all().map(|slot| registers.get(&slot).copied()).collect();
        Ownership::new(node_id(node), registers, Settings::default(), seed)
    }

    /// The registers as they are found; a mutation finds other ones.
    fn registers_at_start(&mut self, node: usize, image: &Image) -> BTreeMap<Slot, Register> {
        for (slot, register) in &image.registers {
            self.judge.see(
                self.now,
                &Fact::Registered {
                    node,
                    slot: *slot,
                    register,
                },
            );
        }
        let mut registers = image.registers.clone();
        if self.mutated(Mutation::AcceptedIgnored) {
            registers.values_mut().for_each(|it| it.accepted = None);
        }
        registers
    }

    /// The states as they are found, with their clocks resumed and, after a power loss, in
    /// quarantine if the operator wants that.
    fn recovered(
        &mut self,
        node: usize,
        image: &Image,
        clocks: &StartClocks,
    ) -> BTreeMap<Slot, SlotState> {
        let quarantined = std::mem::take(&mut self.machines[node].lost_power)
            && self.options.quarantine
            && !self.mutated(Mutation::QuarantineForgotten);
        let window_ms = self.options.policies.longest_window_ms();
        let mut states = image.states.clone();
        for (&slot, state) in &mut states {
            self.judge.see(self.now, &Fact::Held { slot, state });
            state.clock = self.resumed(image, slot, state, clocks);
            if quarantined {
                // one window and one bucket of it
                let until = state.clock.plus_ms(window_ms + window_ms / 60 + 1);
                state.quarantined_until = state.quarantined_until.max(until);
            }
        }
        if quarantined {
            let kept = states.iter().map(|(&slot, it)| (slot, it.clone())).collect();
            let disk = &mut self.machines[node].disk;
            let write = disk.write(Write::Commit(kept, Vec::new()));
            disk.synced(write);
        }
        states
    }

    /// What a slot's clock shows at a start.
    fn resumed(
        &self,
        image: &Image,
        slot: Slot,
        state: &SlotState,
        clocks: &StartClocks,
    ) -> SlotTime {
        let stamped = image.stamp.slots.get(&slot);
        let any_epoch = self.mutated(Mutation::ClockOfLowerEpoch);
        let stamped = stamped.filter(|(epoch, _)| any_epoch || *epoch == state.at.epoch);
        let stamp = stamped.zip(image.stamp.clocks.as_ref()).map(|(at, shown)| ClockStamp {
            slot: at.1,
            mono: shown.mono,
            wall_ms: shown.wall_ms,
            boot_id: shown.boot_id.clone(),
        });
        let mut clocks = clocks.clone();
        if let Some(stamp) = &stamp
            && self.mutated(Mutation::NegativeCredited)
        {
            clocks.wall_ms = stamp.wall_ms + stamp.wall_ms.abs_diff(clocks.wall_ms);
        }
        let clock = resume(stamp.as_ref(), state.clock, &clocks, Some(MAX_ERROR));
        clock.read(clocks.mono)
    }

    /// Mutation: serves what the registers say it owned in the life before.
    fn resume_epochs(&mut self, node: usize, registers: &BTreeMap<Slot, Register>) {
        for (&slot, register) in registers {
            if let Some(chosen) = register.chosen.filter(|it| it.owner == node_id(node)) {
                self.serve(node, slot, chosen.epoch);
            }
        }
    }

    /// A process ends, and starts again after a while.
    pub(super) fn crash(&mut self, node: usize, end: End) {
        let Some(process) = self.machines[node].process.take() else {
            return;
        };
        self.say(|| format!("node {node} ends: {end:?}"));
        for (&slot, held) in &process.held {
            if held.serving.is_some() {
                self.judge.see(self.now, &Fact::Stopped { node, slot });
            }
        }
        self.machines[node].paused = None;
        match end {
            End::Kill => self.coverage.note(("fault", "kill -9")),
            End::PowerLoss => self.lose_power(node),
            End::Clean => self.machines[node].disk.synced(u64::MAX),
        }
        for peer in (0..self.machines.len()).filter(|&it| it != node) {
            self.end_is_gone(node, peer);
        }
        let after_ns = if self.random.permille(200) {
            self.random.between(1000, 6000) * MS
        } else {
            self.random.between(20, 1200) * MS
        };
        self.plan(after_ns, Happening::Start { node });
    }

    fn lose_power(&mut self, node: usize) {
        self.coverage.note(("fault", "power loss"));
        let unsynced = self.machines[node].disk.unsynced();
        let kept = self.random.place(unsynced + 1);
        let machine = &mut self.machines[node];
        let lost = machine.disk.lose_power(kept);
        machine.lost_power = true;
        machine.clocks.reboot(self.now, &mut self.random);
        if self.random.permille(400) && machine.clocks.step_wall(&mut self.random) {
            self.coverage.note(("fault", "wall clock falls far back"));
        }
        if !lost.is_empty() {
            self.coverage.note(("fault", "power loss that costs writes"));
        }
        let commits = lost.into_iter().filter_map(|write| match write {
            Write::Commit(_, grants) => Some(grants),
            _ => None,
        });
        // grants of the mode `fsync` were to survive this
        if self.options.durability != crate::limiter::policy::Durability::Fsync {
            let quarantined = self.options.quarantine;
            for grant in commits.flatten() {
                self.see(&Fact::LostWithPower { grant, quarantined });
            }
        }
    }

    /// The process stands still for a while.
    pub(super) fn pause(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if machine.process.is_none() || machine.paused.is_some() {
            return;
        }
        machine.paused = Some(VecDeque::new());
        let for_ns = self.random.between(50, 4000) * MS;
        self.say(|| format!("node {node} stands still for {} ms", for_ns / MS));
        self.plan(for_ns, Happening::Resume { node });
        for peer in (0..self.machines.len()).filter(|&it| it != node) {
            if for_ns > 1500 * MS && self.random.permille(700) {
                self.break_link(node, peer);
            }
        }
    }

    /// The process goes on with what it knew.
    pub(super) fn resume(&mut self, node: usize) {
        let Some(waiting) = self.machines[node].paused.take() else {
            return;
        };
        self.say(|| format!("node {node} goes on"));
        self.carry_out(node);
        for event in waiting {
            self.plan_node(node, 0, event);
        }
    }

    /// Something happens to a life of a node, unless that is over.
    pub(super) fn to_node(&mut self, node: usize, life: u64, event: NodeEvent) {
        let machine = &mut self.machines[node];
        if machine.process.is_none() || machine.life != life {
            if let NodeEvent::Delivered { peer, wire, .. } = event {
                self.arrived_too_late(node, peer, wire);
            }
            return;
        }
        if let Some(waiting) = &mut machine.paused {
            waiting.push_back(event);
            return;
        }
        match event {
            NodeEvent::Tick => {
                self.step(node, Event::Tick);
                self.plan_node(node, 100 * MS, NodeEvent::Tick);
            }
            NodeEvent::Wake(at) => self.wake(node, at),
            NodeEvent::Commit => self.commit(node),
            NodeEvent::Upkeep => self.upkeep(node),
            NodeEvent::Synced { upto, after } => self.synced(node, upto, after),
            NodeEvent::LateInstall(states) => {
                self.machines[node].disk.write(Write::Commit(states, Vec::new()));
                self.sync(node, AfterSync::Nothing);
            }
            NodeEvent::Stray { request, answer } => self.pass_back(node, request, answer),
            NodeEvent::Opened { peer, connection } => self.opened(node, peer, connection),
            NodeEvent::Closed { peer, connection } => self.closed(node, peer, connection),
            NodeEvent::Delivered {
                peer,
                connection,
                wire,
            } => self.delivered(node, peer, connection, wire),
            NodeEvent::Asked {
                asker,
                request,
                ask,
                tries,
            } => self.asked(node, (asker, request), ask, tries),
            NodeEvent::Retarget => self.retarget(node),
            NodeEvent::Weighed {
                node: weighed,
                weight,
            } => self.weighed(node, weighed, weight),
            NodeEvent::Applied { version } => self.applied(node, version),
            NodeEvent::Vouched { gone } => self.step(node, Event::Vouched { gone }),
        }
    }

    fn opened(&mut self, node: usize, peer: usize, connection: u64) {
        if self.links.open(node, peer) == Some(connection) {
            return;
        }
        if let Some(old) = self.links.open(node, peer) {
            self.closed(node, peer, old);
        }
        self.open_end(node, peer, connection);
        if let Some(process) = self.process(node) {
            process.lost_ns[peer] = None;
        }
        let peer_id = node_id(peer);
        self.step(node, Event::Connected { peer: peer_id });
        self.retarget_soon(node);
    }

    fn closed(&mut self, node: usize, peer: usize, connection: u64) {
        if !self.close_end(node, peer, connection) {
            return;
        }
        let now = self.now;
        let Some(process) = self.process(node) else {
            return;
        };
        process.lost_ns[peer] = Some(now);
        process.copies.retain(|(to, _), _| *to != peer);
        self.step(node, Event::Lost { peer: node_id(peer) });
        self.transfers_are_cut(node, peer, connection);
        self.retarget_soon(node);
        self.reconnect(node, peer);
        // a node that is away for long is no target any more
        self.plan_node(node, 2500 * MS, NodeEvent::Retarget);
    }

    fn delivered(&mut self, node: usize, peer: usize, connection: u64, wire: Wire) {
        match self.belongs(node, peer, connection) {
            Belongs::Here => {}
            Belongs::Newer => self.opened(node, peer, connection),
            Belongs::Elsewhere => return self.arrived_too_late(node, peer, wire),
        }
        match wire {
            Wire::Ownership(message) => self.received(node, peer, message),
            Wire::Ask { request, ask } => {
                let asker = super::wire::Asker::Peer {
                    node: peer,
                    connection,
                };
                self.asked(node, (asker, request), ask, 0);
            }
            Wire::Answer { request, answer } => self.pass_back(node, request, answer),
            Wire::CopyAsked { task, slots } => self.copy_asked(node, peer, task, &slots),
            Wire::Copied { task, states } => self.copied(node, peer, task, states),
            Wire::RestAsked { task, slots } => self.rest_asked(node, peer, task, &slots),
            Wire::Rest { task, rests } => self.rest_came(node, peer, task, rests),
        }
    }
}
