//! What goes wrong, and what operators do; and how nodes learn who should hold what.

use super::disk::Disk;
use super::lives::End;
use super::machine::{node_id, node_of};
use super::mutations::Mutation;
use super::queue::{Happening, NodeEvent};
use super::random::mix;
use super::world::{MS, World};
use crate::ownership::event::Event;
use crate::types::{NodeId, Replicas, SLOT_COUNT, Slot};

/// Everything that can go wrong or be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    LosePower,
    FailSync,
    Pause,
    CutOneWay,
    CutOff,
    Reset,
    StepWall,
    Reweigh,
    Drain,
    DrainAndStop,
    Policies,
    Remove,
    Mislead,
    Resize,
    ResetLink,
}

/// In the order of the bits of [`super::options::Options`].
const FAULTS: [Fault; 16] = [
    Fault::Kill,
    Fault::LosePower,
    Fault::FailSync,
    Fault::Pause,
    Fault::CutOneWay,
    Fault::CutOff,
    Fault::Reset,
    Fault::StepWall,
    Fault::Reweigh,
    Fault::Drain,
    Fault::DrainAndStop,
    Fault::Policies,
    Fault::Remove,
    Fault::Mislead,
    Fault::Resize,
    Fault::ResetLink,
];

/// The place of [`Fault::Reweigh`]: without hand-offs there is little that can go wrong.
const REWEIGH: usize = 8;

impl World {
    /// One fault, and when the next one comes.
    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let next_ns = self.random.below(2 * self.options.fault_every_ms * MS) + MS;
        self.plan(next_ns, Happening::Fault);
        let mut place = self.random.place(FAULTS.len());
        if self.random.permille(350) {
            place = REWEIGH;
        }
        if self.options.faults >> place & 1 == 0 {
            return;
        }
        let node = self.random.place(self.machines.len());
        let other = (node + 1 + self.random.place(self.machines.len() - 1)) % self.machines.len();
        self.apply(FAULTS[place], node, other);
    }

    fn apply(&mut self, fault: Fault, node: usize, other: usize) {
        let for_ns = self.random.between(50, 5000) * MS;
        self.say(|| format!("fault: {fault:?} of {node} (and {other})"));
        match fault {
            Fault::Kill => self.crash(node, End::Kill),
            Fault::LosePower => self.crash(node, End::PowerLoss),
            Fault::FailSync => self.machines[node].failing = self.machines[node].process.is_some(),
            Fault::Pause => {
                self.coverage.note(("fault", "pause"));
                self.pause(node);
            }
            Fault::CutOneWay => {
                self.coverage.note(("fault", "one-way cut"));
                self.cut(node, other, for_ns);
            }
            Fault::CutOff => {
                self.coverage.note(("fault", "network partition"));
                for peer in (0..self.machines.len()).filter(|&it| it != node) {
                    self.cut(node, peer, for_ns);
                    self.cut(peer, node, for_ns);
                }
            }
            Fault::Reset => {
                self.coverage.note(("fault", "connection reset"));
                self.break_link(node, other);
            }
            Fault::StepWall => {
                self.coverage.note(("fault", "wall clock steps"));
                if self.machines[node].clocks.step_wall(&mut self.random) {
                    self.coverage.note(("fault", "wall clock falls far back"));
                }
            }
            Fault::Reweigh => {
                let before = self.weights[node];
                let kind = if before == 0 { "join" } else { "weight change" };
                self.coverage.note(("operator", kind));
                let weight = 1 + self.random.below(8);
                self.weigh(node, weight);
                if before > 0 && self.random.permille(600) {
                    let after_ns = self.random.between(400, 2500) * MS;
                    let weight = before;
                    self.plan(after_ns, Happening::Reweigh { node, weight });
                }
            }
            Fault::Drain => {
                self.drain(node);
            }
            Fault::DrainAndStop => {
                if self.drain(node) {
                    let after_ns = self.random.between(300, 4000) * MS;
                    self.plan(after_ns, Happening::Stop { node });
                }
            }
            Fault::Policies => self.apply_policies(node),
            Fault::Remove => self.remove(node),
            Fault::Mislead => self.mislead(node, other),
            Fault::Resize => self.resize(),
            Fault::ResetLink => self.reset_link(node, other),
        }
    }

    /// An operator changes a weight; nodes learn of it one by one.
    pub(super) fn weigh(&mut self, weighed: usize, weight: u64) {
        let weight = if self.machines[weighed].removed {
            0
        } else {
            weight
        };
        self.weights[weighed] = weight;
        for node in 0..self.machines.len() {
            let after_ns = self.random.below(500 * MS);
            let event = NodeEvent::Weighed {
                node: weighed,
                weight,
            };
            self.plan_node(node, after_ns, event);
        }
    }

    /// A node is to give its slots away, unless it would be the last that has any; it joins again
    /// after a while.
    fn drain(&mut self, node: usize) -> bool {
        let others = (0..self.weights.len()).any(|it| it != node && self.weights[it] > 0);
        let drained = others && self.weights[node] > 0;
        if drained {
            self.coverage.note(("operator", "drain"));
            let weight = self.weights[node];
            self.weigh(node, 0);
            let after_ns = self.random.between(2000, 9000) * MS;
            self.plan(after_ns, Happening::Reweigh { node, weight });
        }
        drained
    }

    /// A node that is being drained stops, with what is left.
    pub(super) fn stop(&mut self, node: usize) {
        if self.machines[node].process.is_some() && self.machines[node].paused.is_none() {
            self.coverage.note(("operator", "stop after a drain"));
            self.commit(node);
            self.crash(node, End::Clean);
        }
    }

    /// A node takes another's weight for something else for a while: two nodes then want the same
    /// slots.
    fn mislead(&mut self, node: usize, other: usize) {
        self.coverage
            .note(("fault", "nodes disagree about a weight"));
        let wrong = self.random.below(12);
        if let Some(process) = self.process(node) {
            process.weights[other] = wrong;
            self.retarget_soon(node);
        }
        let after_ns = self.random.between(500, 3000) * MS;
        let weight = self.weights[other];
        let event = NodeEvent::Weighed {
            node: other,
            weight,
        };
        self.plan_node(node, after_ns, event);
    }

    /// An operator wants another number of replicas; nodes learn of it one by one.
    fn resize(&mut self) {
        if !self.options.resized {
            return;
        }
        self.coverage.note(("operator", "other number of replicas"));
        self.replicas = if self.replicas == 1 { 3 } else { 1 };
        let replicas = self.replicas;
        for node in 0..self.machines.len() {
            let after_ns = self.random.below(500 * MS);
            self.plan_node(node, after_ns, NodeEvent::Wanted { replicas });
        }
    }

    /// The number of replicas becomes known to a node.
    pub(super) fn wanted(&mut self, node: usize, replicas: usize) {
        let newest = self.replicas;
        if let Some(process) = self.process(node)
            && newest == replicas
        {
            process.replicas = replicas;
            self.retarget_soon(node);
        }
    }

    /// Whether the slots that a node is one of several replicas of are whole at all others, which run.
    fn is_spare(&self, node: usize) -> bool {
        let id = node_id(node);
        let shared = self
            .newest
            .iter()
            .filter(|(_, it)| it.replicas.contains(id));
        let shared = shared.filter(|(_, it)| it.replicas.majority() > 1);
        shared.into_iter().all(|(&slot, it)| {
            let mut others = it.replicas.as_slice().iter().filter(|it| **it != id);
            others.all(|other| {
                let process = self.machines[node_of(*other)].process.as_ref();
                process.is_some_and(|it| {
                    let register = it.ownership.register(slot);
                    register.complete && it.held.contains_key(&slot)
                })
            })
        })
    }

    fn apply_policies(&mut self, node: usize) {
        if self.version >= self.options.policies.newest() {
            return;
        }
        self.version += 1;
        let version = self.version;
        self.coverage.note(("operator", "policy change"));
        self.plan_node(node, 1, NodeEvent::Applied { version });
        for other in 0..self.machines.len() {
            let after_ns = self.random.below(900 * MS);
            self.plan_node(other, after_ns, NodeEvent::Applied { version });
        }
    }

    /// A node burns down; in time an operator vouches for that. Once in a run: who was told may
    /// not burn down before others have heard.
    fn remove(&mut self, node: usize) {
        let others = (0..self.weights.len()).filter(|&it| it != node && self.weights[it] > 0);
        let all = self.options.slots.len();
        let heard = |it: usize| self.machines[it].known().is_some_and(|it| it.len() == all);
        let heard = (0..self.machines.len()).filter(|&it| it != node).all(heard);
        let again = self.machines.iter().any(|it| it.removed);
        if others.count() < 2 || !heard || again || !self.is_spare(node) {
            return;
        }
        if self.mutated(Mutation::WipedDiskUnderOldId) {
            self.crash(node, End::PowerLoss);
            self.machines[node].disk = Disk::default();
            return;
        }
        let shared = self
            .newest
            .values()
            .any(|it| it.replicas.majority() > 1 && it.replicas.contains(node_id(node)));
        if shared {
            self.coverage.note(("fault", "loss of a replica for good"));
        }
        self.coverage.note(("operator", "removal by force"));
        self.crash(node, End::PowerLoss);
        self.machines[node].removed = true;
        self.weigh(node, 0);
        let after_ns = self.random.between(500, 3000) * MS;
        self.plan(after_ns, Happening::Vouch { gone: node });
    }

    /// The operator gives the word to one node, when all that are left agree on who owns what: a
    /// slot that had moved on would be taken from its owner. The word is repeated to the same node.
    pub(super) fn vouch(&mut self, gone: usize) {
        self.plan(500 * MS, Happening::Vouch { gone });
        let left = (0..self.machines.len()).filter(|&it| it != gone);
        let left: Vec<usize> = left.collect();
        let known: Option<Vec<_>> = left.iter().map(|&it| self.machines[it].known()).collect();
        if known.is_none_or(|it| !it.windows(2).all(|pair| pair[0] == pair[1])) {
            return;
        }
        let gone = node_id(gone);
        if let Some(&told) = left.first() {
            self.plan_node(told, 0, NodeEvent::Vouched { gone });
        }
    }

    /// A node's weight becomes known to another.
    pub(super) fn weighed(&mut self, node: usize, weighed: usize, weight: u64) {
        // what was planned long ago may be older than what was heard since
        let newest = self.weights[weighed];
        if let Some(process) = self.process(node)
            && newest == weight
        {
            process.weights[weighed] = weight;
            self.retarget_soon(node);
        }
    }

    pub(super) fn retarget_soon(&mut self, node: usize) {
        let after_ns = self.random.between(5, 100) * MS;
        let Some(process) = self.process(node) else {
            return;
        };
        if !std::mem::replace(&mut process.retargeting, true) {
            self.plan_node(node, after_ns, NodeEvent::Retarget);
        }
    }

    /// Works out who should hold what, as far as this node knows.
    pub(super) fn retarget(&mut self, node: usize) {
        let slots = self.options.slots.clone();
        let nodes = 0..self.machines.len();
        let steadfast = self.options.steadfast;
        let here: Vec<bool> = nodes
            .clone()
            .map(|it| steadfast || self.sees(node, it))
            .collect();
        let reached = |it: &usize| *it == node || self.links.open(node, *it).is_some();
        let reachable = nodes.filter(reached).map(node_id).collect();
        let Some(process) = self.process(node) else {
            return;
        };
        process.retargeting = false;
        let known = process.weights.iter().zip(here);
        let weights: Vec<u64> = known.map(|(&it, here)| if here { it } else { 0 }).collect();
        let mut targets = vec![Replicas::default(); usize::from(SLOT_COUNT)];
        for slot in slots {
            targets[slot.index()] = self::targets(slot, &weights, process.replicas);
        }
        self.step(node, Event::Retargeted { targets, reachable });
    }
}

/// Who should hold a slot, its owner first: the nodes with the best of as many draws as it has weight, so that a
/// change of one weight moves only that node's slots.
pub(super) fn targets(slot: Slot, weights: &[u64], replicas: usize) -> Replicas {
    let draw = |node: usize, n: u64| {
        let node = u64::try_from(node).unwrap_or(0);
        mix(u64::from(slot.number()) << 32 | node << 16 | n)
    };
    let best = |node: usize| (0..weights[node]).map(|n| draw(node, n)).max();
    let candidates = (0..weights.len()).filter_map(|node| Some((best(node)?, node)));
    let mut candidates: Vec<(u64, usize)> = candidates.collect();
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    let count = if candidates.len() < 3 { 1 } else { replicas };
    let nodes: Vec<NodeId> = candidates
        .iter()
        .take(count)
        .map(|it| node_id(it.1))
        .collect();
    Replicas::of(&nodes)
}
