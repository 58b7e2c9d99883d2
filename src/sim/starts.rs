//! A node starts: it reads what is on its disk, resumes its clocks, and runs the procedure on its
//! own slots (O5).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::clocks::MAX_ERROR;
use super::disk::{Image, Write};
use super::judge::Fact;
use super::machine::{Held, Process, node_id};
use super::mutations::Mutation;
use super::queue::NodeEvent;
use super::sight::swim_of;
use super::state::SlotState;
use super::world::{MS, World};
use crate::limiter::{ClockStamp, SlotClock, StartClocks, resume};
use crate::membership::swim::SwimEvent;
use crate::ownership::event::Event;
use crate::ownership::record::Register;
use crate::ownership::{Ownership, Settings};
use crate::replication::{Parts, Tracker};
use crate::types::{Replicas, Slot, SlotTime};

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
        let lost_power = std::mem::take(&mut machine.lost_power);
        if lost_power {
            self.doubt(node);
        }
        let machine = &mut self.machines[node];
        let image = machine.disk.read().clone();
        let clocks = machine.clocks.read(self.now);
        let states = self.recovered(node, &image, &clocks, lost_power);
        let registers = self.registers_at_start(node, &image);
        let process = self.new_process(node, &registers, states);
        self.say(|| format!("node {node} starts its life {boots}"));
        self.machines[node].process = Some(process);
        self.plan_node(node, 1, NodeEvent::Tick);
        self.plan_node(node, 0, NodeEvent::Upkeep);
        self.plan_node(node, 2, NodeEvent::Track);
        let (replicas, after_ns) = (self.replicas, self.random.below(300 * MS));
        self.plan_node(node, after_ns, NodeEvent::Wanted { replicas });
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
        if registers
            .values()
            .any(|it| it.chosen.is_some_and(|it| it.owner == node_id(node)))
        {
            self.coverage
                .note(("rule", "start with slots of its own (O5)"));
        }
        self.sight(node, SwimEvent::Tick);
        self.step(node, Event::Start);
        if self.mutated(Mutation::EpochResumed) {
            self.resume_epochs(node, &registers);
        }
    }

    /// R5: what may have lost unsynced state, and others hold too, counts for nothing; that is synced
    /// first of all.
    fn doubt(&mut self, node: usize) {
        if self.mutated(Mutation::IncompleteTrusted) {
            return;
        }
        let image = self.machines[node].disk.read();
        let shared = |it: &Register| {
            let accepted = it.accepted.map(|it| it.1);
            let known = [it.chosen, accepted].into_iter().flatten();
            known.into_iter().any(|it| it.replicas.as_slice().len() > 1)
        };
        let held = image.registers.iter();
        let held = held.filter(|(slot, it)| image.states.contains_key(slot) && shared(it));
        let doubted: Vec<(Slot, Register)> = held
            .map(|(&slot, it)| {
                let complete = false;
                (slot, Register { complete, ..*it })
            })
            .collect();
        if doubted.is_empty() {
            return;
        }
        self.coverage
            .note(("rule", "start with incomplete states (R5)"));
        self.doubtful.extend(doubted.iter().map(|it| (node, it.0)));
        let disk = &mut self.machines[node].disk;
        let write = disk.write(Write::Registers(doubted));
        disk.synced(write);
    }

    fn new_process(
        &mut self,
        node: usize,
        registers: &BTreeMap<Slot, Register>,
        states: BTreeMap<Slot, SlotState>,
    ) -> Process {
        let seed = self.random.bits();
        let mono = self.machines[node].clocks.mono(self.now);
        let forgotten = self.mutated(Mutation::BootCounterForgotten);
        let boots = if forgotten {
            1
        } else {
            self.machines[node].disk.read().boots
        };
        let nodes = self.machines.len();
        let own_ms = self.random.below(5000);
        let records = registers.iter();
        Process {
            ownership: new_ownership(node, registers, seed),
            effects: VecDeque::new(),
            held: states
                .into_iter()
                .map(|(slot, it)| (slot, Held::resting(it)))
                .collect(),
            records: records
                .filter_map(|(&slot, it)| Some((slot, it.chosen?)))
                .collect(),
            uncommitted: Vec::new(),
            waiting: Vec::new(),
            commits: 0,
            kept: 0,
            tracker: Tracker::new(node_id(node)),
            parts: Parts::default(),
            links: BTreeMap::new(),
            visits: BTreeMap::new(),
            became: BTreeMap::new(),
            becoming: Vec::new(),
            looking: false,
            heard: BTreeSet::new(),
            replicas: 1,
            committing: false,
            staged: BTreeMap::new(),
            copies: BTreeMap::new(),
            transfers: BTreeMap::new(),
            forwarded: BTreeMap::new(),
            requests: 0,
            weights: vec![0; nodes],
            swim: swim_of(node, boots, seed),
            look: None,
            retargeting: false,
            own_clock: SlotClock::new(SlotTime::from_ms(mono.as_ns() / MS + own_ms), mono),
            wake: None,
        }
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
            for register in registers.values_mut() {
                register.accepted = None;
            }
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
        lost_power: bool,
    ) -> BTreeMap<Slot, SlotState> {
        let quarantined =
            lost_power && self.options.quarantine && !self.mutated(Mutation::QuarantineForgotten);
        let window_ms = self.options.policies.longest_window_ms();
        let mut states = image.states.clone();
        for (&slot, state) in &mut states {
            let chosen = image.registers.get(&slot).and_then(|it| it.chosen);
            let all = chosen.is_some_and(|it| {
                it.replicas == Replicas::one(node_id(node)) && it.epoch == state.at.epoch
            });
            self.judge.see(self.now, &Fact::Held { slot, state, all });
            state.clock = self.resumed(image, slot, state, clocks);
            if quarantined {
                // one window and one bucket of it
                let until = state.clock.plus_ms(window_ms + window_ms / 60 + 1);
                state.quarantined_until = state.quarantined_until.max(until);
            }
        }
        if quarantined {
            let kept = states
                .iter()
                .map(|(&slot, it)| (slot, it.clone()))
                .collect();
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
        let stamp = stamped
            .zip(image.stamp.clocks.as_ref())
            .map(|(at, shown)| ClockStamp {
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
                self.serve(node, slot, chosen);
            }
        }
    }
}

fn new_ownership(node: usize, registers: &BTreeMap<Slot, Register>, seed: u64) -> Ownership {
    let registers = Slot::all().map(|slot| registers.get(&slot).copied());
    Ownership::new(
        node_id(node),
        registers.collect(),
        Settings::default(),
        seed,
    )
}
