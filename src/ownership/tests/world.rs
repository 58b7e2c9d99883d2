//! A few nodes with durable registers and states, a network without faults but for lost
//! connections, and crashes that lose what is not synced. One micro-step at a time. What comes
//! from outside is in [`super::outside`].
//!
//! Each served slot grants now and then; a node that serves while another does, or a grant that is
//! forgotten, fails the test.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::super::event::{Effect, Event, Origin};
use super::super::message::Message;
use super::super::record::Register;
use super::super::{Ownership, Settings};
use super::disk::{Node, State, Wanted, Write};
use super::judge::Judged;
use super::replicas::Commit;
use crate::types::{
    Configuration, Epoch, MonoTime, NodeId, Position, Replicas, SLOT_COUNT, Slot, SlotSet,
};

/// The slots that the tests use.
pub(super) const SLOTS: u16 = 6;

pub(super) fn node(n: u128) -> NodeId {
    NodeId(n)
}

pub(super) fn slot(n: u16) -> Slot {
    Slot::new(n).unwrap()
}

pub(super) fn epoch(counter: u64, n: u128) -> Epoch {
    Epoch {
        counter,
        node: node(n),
    }
}

pub(super) fn slots(numbers: &[u16]) -> SlotSet {
    numbers.iter().map(|n| slot(*n)).collect()
}

/// What can happen next.
#[derive(Debug, Clone, Copy)]
enum Next {
    Write(NodeId),
    Fetch(NodeId),
    Copy(NodeId),
    Message(usize),
}

/// What goes over a connection, in order.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few at a time")]
pub(super) enum Said {
    Word(Message),
    Commit(Commit),
    /// A replica has all up to here,
    Ack(Slot, Position),
    /// and says so for the first time.
    InSync(Slot, Position),
}

pub(super) struct World {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) messages: VecDeque<(NodeId, NodeId, Said)>,
    pub(super) now: MonoTime,
    /// The grants that were given, each by its number.
    pub(super) granted: BTreeMap<Slot, BTreeSet<u64>>,
    pub(super) grants_made: u64,
    pub(super) judged: Judged,
    /// Nodes that stand still, and are not heard.
    pub(super) paused: BTreeSet<NodeId>,
    pub(super) links: BTreeSet<(NodeId, NodeId)>,
    events: VecDeque<(NodeId, Event)>,
    carrying_out: bool,
    /// The operator's word was wrong: two may serve for a while.
    pub(super) lenient: bool,
    pub(super) targets: Vec<Replicas>,
}

impl World {
    /// Nodes 1 to `count`; the first has created the cluster, all are connected.
    pub(super) fn new(count: u128) -> Self {
        let registers = (0..SLOT_COUNT).map(|n| (n < SLOTS).then(|| Register::of_creator(node(1))));
        let none = vec![None; usize::from(SLOT_COUNT)];
        let mut world = Self::of(vec![registers.collect()], count, &none);
        world.connect_all();
        world
    }

    /// Nodes 1 to `count` whose slots have all of the first three as replicas, owned by node 1.
    pub(super) fn replicated() -> Self {
        Self::replicated_among(3)
    }

    /// The same, in a cluster of `count`.
    pub(super) fn replicated_among(count: u128) -> Self {
        let replicas = Replicas::of(&[node(1), node(2), node(3)]);
        let register = Register {
            promised: epoch(1, 1),
            chosen: Some(Configuration {
                version: 1,
                epoch: epoch(1, 1),
                owner: node(1),
                replicas,
            }),
            accepted: None,
            complete: true,
        };
        let registers = (0..SLOT_COUNT).map(|n| (n < SLOTS).then_some(register));
        let registers: Vec<_> = registers.collect();
        let none = vec![None; registers.len()];
        let mut world = Self::of(vec![registers; 3], count, &none);
        world.targets = vec![replicas; usize::from(SLOT_COUNT)];
        world.lenient = true;
        world
    }

    fn of(first: Vec<Vec<Option<Register>>>, count: u128, rest: &[Option<Register>]) -> Self {
        let mut world = Self {
            nodes: BTreeMap::new(),
            messages: VecDeque::new(),
            now: MonoTime::from_ns(1),
            granted: BTreeMap::new(),
            grants_made: 0,
            judged: Judged::default(),
            paused: BTreeSet::new(),
            links: BTreeSet::new(),
            events: VecDeque::new(),
            carrying_out: false,
            lenient: false,
            targets: vec![Replicas::one(node(1)); usize::from(SLOT_COUNT)],
        };
        let mut first = first.into_iter();
        for n in 1..=count {
            let registers = first.next().unwrap_or_else(|| rest.to_vec());
            let known = registers.iter().zip(Slot::all());
            let known = known.filter(|it| it.0.is_some_and(|it| it.complete));
            let states = known.map(|it| (it.1, State::default())).collect();
            let life = Ownership::new(node(n), registers.clone(), Settings::default(), 7);
            world
                .nodes
                .insert(node(n), Node::new(life, registers, states));
        }
        for n in 1..=count {
            world.event(n, Event::Start);
        }
        world
    }

    pub(super) fn at(&self, n: u128) -> &Node {
        &self.nodes[&node(n)]
    }

    pub(super) fn is_linked(&self, from: NodeId, to: NodeId) -> bool {
        self.links.contains(&(from, to))
    }

    pub(super) fn say(&mut self, from: NodeId, to: NodeId, said: Said) {
        if self.is_linked(from, to) {
            self.messages.push_back((from, to, said));
        }
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    /// Something happens to a node; what that makes happen comes when all is carried out.
    pub(super) fn event(&mut self, n: u128, event: Event) {
        self.events.push_back((node(n), event));
        if std::mem::replace(&mut self.carrying_out, true) {
            return;
        }
        while let Some((id, event)) = self.events.pop_front() {
            let now = self.now;
            let it = self.node_mut(id);
            if !it.up {
                continue;
            }
            let effects = it.life.step(now, event);
            it.log.extend(effects.clone());
            for effect in effects {
                self.carry_out(id, effect);
            }
            self.check(id);
        }
        self.carrying_out = false;
    }

    fn carry_out(&mut self, id: NodeId, effect: Effect) {
        if let Effect::Send { to, message } = effect {
            assert_ne!(to, id, "a node sends to itself");
            self.say(id, to, Said::Word(message));
            return;
        }
        let it = self.node_mut(id);
        match effect {
            Effect::Persist { task, registers } => {
                it.writes.push_back(Write::Registers(task, registers));
            }
            Effect::Freeze { task, slots } => {
                it.serving.retain(|slot, _| !slots.contains(*slot));
                it.reigns.retain(|slot, _| !slots.contains(*slot));
                it.following.retain(|slot, _| !slots.contains(*slot));
                it.writes.push_back(Write::Report(task, Box::new(slots)));
            }
            Effect::PreCopy { task, from, slots } => {
                let slots = slots.iter().map(|it| (it, None)).collect();
                it.fetches.push_back((task, from, slots));
            }
            Effect::Fetch {
                task, from, slots, ..
            } => {
                let slots = slots.into_iter().map(|it| (it.0, Some(it.1))).collect();
                it.fetches.push_back((task, from, slots));
            }
            Effect::Install { task, epoch, slots } => {
                let mut installs = Vec::new();
                let mut lost = Vec::new();
                for it in slots {
                    let fetched = (it.origin == Origin::Fetched)
                        .then(|| self.node_mut(id).beside.remove(&it.slot).unwrap());
                    lost.extend((it.origin == Origin::Lost).then_some((it.slot, epoch)));
                    installs.push((it, fetched));
                }
                let it = self.node_mut(id);
                it.writes.push_back(Write::Install(task, epoch, installs));
                for (slot, epoch) in lost {
                    self.judge_loss(id, slot, epoch);
                }
            }
            Effect::Serve { slots } => {
                for (slot, chosen) in slots {
                    self.begin_reign(id, slot, chosen.epoch);
                }
            }
            Effect::CatchUp { task, from, slots } => it.copies.push_back((task, from, slots)),
            Effect::Become { task, epoch, slots } => {
                it.writes.push_back(Write::Become(task, epoch, slots));
            }
            Effect::Follow { slots } => {
                for (slot, epoch) in slots {
                    self.follow(id, slot, epoch);
                }
            }
            Effect::Drop { slots } => {
                it.serving.retain(|slot, _| !slots.contains(*slot));
                it.states.retain(|slot, _| !slots.contains(*slot));
                it.following.retain(|slot, _| !slots.contains(*slot));
            }
            Effect::Announce { records } => self.judge_records(&records),
            Effect::WakeAt(_) | Effect::Send { .. } => {}
        }
    }

    /// What is next on each disk, of each node's fetches, and on each connection.
    fn next_steps(&self) -> Vec<Next> {
        let mut next = Vec::new();
        for (id, it) in self.nodes.iter().filter(|it| !self.paused.contains(it.0)) {
            next.extend((!it.writes.is_empty()).then_some(Next::Write(*id)));
            next.extend((!it.fetches.is_empty()).then_some(Next::Fetch(*id)));
            next.extend((!it.copies.is_empty()).then_some(Next::Copy(*id)));
        }
        let mut links = BTreeSet::new();
        for (place, (from, to, _)) in self.messages.iter().enumerate() {
            if !self.paused.contains(to) && links.insert((*from, *to)) {
                next.push(Next::Message(place));
            }
        }
        next
    }

    /// One write, fetch, or message; false if there is none.
    pub(super) fn micro_step(&mut self) -> bool {
        self.micro_step_of(0)
    }

    /// The same, of all that could be next the one that `choice` falls on.
    pub(super) fn micro_step_of(&mut self, choice: usize) -> bool {
        let next = self.next_steps();
        if next.is_empty() {
            return false;
        }
        match next[choice % next.len()] {
            Next::Write(id) => {
                self.await_commits(id);
                let write = self.node_mut(id).writes.pop_front().unwrap();
                let event = self.node_mut(id).write(write);
                self.event(id.0, event);
            }
            Next::Fetch(id) => {
                let (task, from, wanted) = self.node_mut(id).fetches.pop_front().unwrap();
                let slots = self.fetch(id, from, wanted);
                self.event(id.0, Event::Fetched { task, slots });
            }
            Next::Copy(id) => {
                let (task, from, wanted) = self.node_mut(id).copies.pop_front().unwrap();
                let slots = self.copy(id, from, &wanted);
                self.event(id.0, Event::CaughtUp { task, slots });
            }
            Next::Message(place) => {
                let (from, to, said) = self.messages.remove(place).unwrap();
                match said {
                    Said::Word(message) => self.event(to.0, Event::Received { from, message }),
                    Said::Commit(commit) => self.on_commit(to, from, commit),
                    Said::Ack(..) | Said::InSync(..) => self.on_ack(to, from, &said),
                }
            }
        }
        true
    }

    fn fetch(&mut self, id: NodeId, from: NodeId, wanted: Wanted) -> SlotSet {
        let mut here = SlotSet::EMPTY;
        if !self.links.contains(&(id, from)) {
            return here;
        }
        for (slot, at) in wanted {
            let Some(state) = self.nodes[&from].states.get(&slot).cloned() else {
                continue;
            };
            if at.is_none_or(|at| at == state.at) {
                here.insert(slot);
                self.node_mut(id).beside.insert(slot, state);
            }
        }
        here
    }

    /// All that can be done now without time passing.
    pub(super) fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.micro_step() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Runs, with a tick each 100 ms, for so long; each served slot grants once a tick.
    pub(super) fn run_for(&mut self, wait: Duration) {
        let end = self.now.plus(wait);
        self.run();
        while self.now < end {
            self.grant();
            self.tick(1);
            self.run();
        }
    }

    /// So many times 100 ms pass, and are told once.
    pub(super) fn tick(&mut self, times: u64) {
        self.now = self.now.plus(Duration::from_millis(100 * times));
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            if self.paused.contains(&id) {
                continue;
            }
            let heard = self.nodes.keys().filter(|it| self.is_linked(**it, id));
            let heard = heard.filter(|it| !self.paused.contains(it));
            let peers = heard.copied().collect();
            self.event(id.0, Event::Heard { peers });
            self.event(id.0, Event::Tick);
        }
    }

    pub(super) fn grant(&mut self) {
        let up = self
            .nodes
            .iter()
            .filter(|it| it.1.up && !self.paused.contains(it.0));
        let serving = up.flat_map(|(id, it)| it.serving.iter().map(|it| (*id, *it.0, *it.1)));
        for (id, slot, epoch) in serving.collect::<Vec<_>>() {
            self.grant_one(id, slot, epoch);
        }
    }
}
