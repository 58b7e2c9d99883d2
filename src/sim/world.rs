//! A cluster of real state machines in a world of true time. One seed decides everything.
//!
//! This file holds the world and its main loop; what happens in it stands in the files beside:
//! [`super::links`] connections, [`super::linked`] and [`super::following`] the links that carry commits, [`super::sight`] who is there, [`super::starts`] and [`super::lives`] of nodes, [`super::effects`]
//! what the state machines want done, [`super::installs`] and [`super::transfers`] of states, [`super::copies`] for replicas, [`super::serving`] checks,
//! [`super::clients`] who asks, [`super::faults`] what goes wrong, [`super::liveness`] that it
//! comes right again.

use std::collections::{BTreeMap, BTreeSet};

use super::clients::Client;
use super::clocks::Clocks;
use super::coverage::Coverage;
use super::disk::Disk;
use super::judge::{Fact, Judge};
use super::linked::Group;
use super::links::Links;
use super::machine::{Machine, Process, node_id};
use super::mutations::Mutation;
use super::options::Options;
use super::queue::{Happening, NodeEvent, Queue};
use super::random::Random;
use super::state::SlotState;
use super::wire::CaughtUp;
use crate::ownership::record::Register;
use crate::types::{Configuration, Epoch, Position, Replicas, Slot};

pub(super) const MS: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct World {
    pub(super) options: Options,
    pub(super) mutation: Option<Mutation>,
    pub(super) now: u64,
    pub(super) queue: Queue,
    pub(super) random: Random,
    pub(super) links: Links,
    pub(super) machines: Vec<Machine>,
    pub(super) clients: Vec<Client>,
    pub(super) judge: Judge,
    pub(super) coverage: Coverage,
    /// The weights that operators want.
    pub(super) weights: Vec<u64>,
    /// How many replicas operators want.
    pub(super) replicas: usize,
    /// Parts of all commits that went to replicas.
    pub(super) groups: Vec<Group>,
    pub(super) links_made: u64,
    /// The newest configuration of each slot that anybody knows to be chosen.
    pub(super) newest: BTreeMap<Slot, Configuration>,
    /// Which states were ever in doubt after a power loss (R5).
    pub(super) doubtful: BTreeSet<(usize, Slot)>,
    /// Copies of earlier lives, for the mutation that delivers them to a later one.
    pub(super) copied: BTreeMap<(usize, usize), Vec<(u64, CaughtUp)>>,
    /// The newest version of the policy set that was applied anywhere.
    pub(super) version: usize,
    /// Faults have stopped.
    pub(super) calm: bool,
    /// Since when everything has been as it should be.
    pub(super) settled_ns: Option<u64>,
    /// Lines of what happened, if somebody wants to read them.
    pub(super) trace: Option<Vec<String>>,
    pub(super) steps: u64,
}

impl World {
    /// The world of these options, before anything has happened.
    pub(super) fn new(options: Options, mutation: Option<Mutation>, traced: bool) -> Self {
        let mut random = Random::new(options.seed);
        let nodes = options.nodes;
        let machines = (0..nodes)
            .map(|n| {
                let (registers, states) = founding(n, &options.slots);
                Machine::new(Clocks::new(&mut random), Disk::new(registers, states))
            })
            .collect();
        let weights = (0..nodes).map(|n| u64::from(n < options.founders) * 4);
        let mut world = Self {
            mutation,
            now: 0,
            queue: Queue::default(),
            links: Links::new(nodes),
            machines,
            clients: (0..options.clients).map(|_| Client::default()).collect(),
            judge: Judge::new(),
            coverage: Coverage::default(),
            weights: weights.collect(),
            replicas: options.replicas,
            groups: Vec::new(),
            links_made: 0,
            newest: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            copied: BTreeMap::new(),
            version: 0,
            calm: false,
            settled_ns: None,
            trace: traced.then(Vec::new),
            steps: 0,
            random,
            options,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.machines.len() {
            let at = self.random.below(200 * MS);
            self.queue.plan(at, Happening::Start { node });
        }
        for client in 0..self.clients.len() {
            let at = self.random.between(100 * MS, 500 * MS);
            self.queue.plan(at, Happening::Turn { client });
        }
        self.queue.plan(400 * MS, Happening::Fault);
    }

    /// Runs until something is wrong, or faults have stopped and all has come right again.
    pub(super) fn run(&mut self) {
        let safety_ns = self.options.safety_ns;
        while let Some((at_ns, what)) = self.queue.next() {
            self.now = at_ns;
            self.steps += 1;
            if !self.calm && self.now >= safety_ns {
                self.calm_down();
            }
            self.happen(what);
            if self.judge.violation().is_some() || (self.calm && self.all_is_well()) {
                return;
            }
        }
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Node { node, life, event } => self.happens_to(node, life, event),
            Happening::Start { node } => self.start(node),
            Happening::Resume { node } => self.resume(node),
            Happening::Connect { a, b } => self.connect(a, b),
            Happening::Silence { a, b, connection } => self.silence(a, b, connection),
            Happening::Heal { from, to } => self.heal(from, to),
            Happening::Turn { client } => self.turn(client),
            Happening::Answered {
                client,
                request,
                answer,
            } => self.answered(client, request, answer),
            Happening::TimedOut { client, request } => self.timed_out(client, request),
            Happening::Learned { client, records } => {
                for it in records {
                    self.learn(client, it.slot, it.chosen);
                }
            }
            Happening::ToldClient { client, version } => self.told(client, version),
            Happening::Fault => self.fault(),
            Happening::Reweigh { node, weight } => self.weigh(node, weight),
            Happening::Vouch { gone } => self.vouch(gone),
            Happening::Stop { node } => self.stop(node),
        }
    }

    /// Plans something for the life that a node lives now.
    pub(super) fn plan_node(&mut self, node: usize, after_ns: u64, event: NodeEvent) {
        let life = self.machines[node].life;
        let what = Happening::Node { node, life, event };
        self.queue.plan(self.now + after_ns, what);
    }

    pub(super) fn plan(&mut self, after_ns: u64, what: Happening) {
        self.queue.plan(self.now + after_ns, what);
    }

    pub(super) fn see(&mut self, fact: &Fact<'_>) {
        self.judge.see(self.now, fact);
    }

    pub(super) fn mutated(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(super) fn process(&mut self, node: usize) -> Option<&mut Process> {
        self.machines[node].process.as_mut()
    }

    /// A time up to the longest delay of the network, mostly short.
    pub(super) fn delay_ns(&mut self) -> u64 {
        let most_us = if self.calm {
            2000
        } else {
            self.options.delay_us
        };
        let most_us = if self.random.permille(900) {
            most_us / 4
        } else {
            most_us
        };
        20_000 + self.random.below(most_us * 1000)
    }

    /// Adds a line to the trace; it is made only if somebody reads it.
    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let ms = self.now / MS;
            let us = self.now / 1000 % 1000;
            trace.push(format!("{ms:>6}.{us:03} ms  {}", line()));
        }
    }
}

/// What is on a disk before the first start: node 0 has created the cluster and owns every slot.
fn founding(node: usize, slots: &[Slot]) -> (BTreeMap<Slot, Register>, BTreeMap<Slot, SlotState>) {
    if node > 0 {
        return Default::default();
    }
    let epoch = Epoch {
        counter: 1,
        node: node_id(0),
    };
    let register = Register {
        promised: epoch,
        chosen: Some(Configuration {
            version: 1,
            epoch,
            owner: node_id(0),
            replicas: Replicas::one(node_id(0)),
        }),
        accepted: None,
        complete: true,
    };
    let state = SlotState {
        at: Position { epoch, n: 0 },
        ..SlotState::default()
    };
    let registers = slots.iter().map(|&slot| (slot, register));
    let states = slots.iter().map(|&slot| (slot, state.clone()));
    (registers.collect(), states.collect())
}
