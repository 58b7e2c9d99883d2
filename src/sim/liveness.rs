//! The second phase: faults stop, and within a bounded time every slot is served by its target, all
//! nodes agree on who owns what, and clients get decisions.

use super::faults::targets;
use super::machine::{Process, node_id, node_of};
use super::queue::Happening;
use super::world::{MS, World};
use crate::types::{Replicas, Slot};

/// How long it may take until all is well: several of the longest waits between attempts.
const SETTLED_WITHIN_NS: u64 = 40_000 * MS;
/// Decisions in a row that every client must get.
const DECISIONS: u64 = 5;

impl World {
    /// Faults stop: cuts are healed, nodes start again or go on, connections are made anew.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.say(|| "faults stop".to_owned());
        self.heal_all();
        for node in 0..self.machines.len() {
            self.machines[node].failing = false;
            let weight = self.weights[node];
            self.weigh(node, weight);
            self.plan(0, Happening::Resume { node });
            self.plan(0, Happening::Start { node });
        }
        for b in 0..self.machines.len() {
            // what a rough network has lost is never repeated on the same connection
            for a in 0..b {
                if self.options.rough {
                    self.break_link(a, b);
                } else {
                    self.reconnect(a, b);
                }
            }
        }
        for client in &mut self.clients {
            client.decided = 0;
        }
    }

    /// Whether all has come right again; too late is a broken promise.
    pub(super) fn all_is_well(&mut self) -> bool {
        let late = self.now > self.options.safety_ns + SETTLED_WITHIN_NS;
        if !late && !self.steps.is_multiple_of(64) {
            return false;
        }
        let wrong = self.what_is_wrong();
        if wrong.is_none() {
            let since = *self.settled_ns.get_or_insert(self.now);
            return self.now > since + 300 * MS;
        }
        self.settled_ns = None;
        if let Some(wrong) = wrong.filter(|_| late) {
            self.judge.report(
                self.now,
                "liveness: everything becomes available again",
                wrong,
            );
        }
        late
    }

    fn what_is_wrong(&self) -> Option<String> {
        for (node, machine) in self.machines.iter().enumerate() {
            if machine.process.is_none() && !machine.removed {
                return Some(format!("node {node} does not run"));
            }
        }
        let there = |it: &usize| !self.machines[*it].removed;
        let there: Vec<usize> = (0..self.machines.len()).filter(there).collect();
        for &node in &there {
            if let Some(peer) = there.iter().find(|&&peer| !self.sees(node, peer)) {
                return Some(format!("node {node} takes node {peer} for dead"));
            }
        }
        let wrong = self.options.slots.iter().find_map(|&slot| {
            let wanted = targets(slot, &self.weights, self.replicas);
            let target = node_of(*wanted.as_slice().first()?);
            let process = self.machines[target].process.as_ref()?;
            let held = process.held.get(&slot);
            if held.is_none_or(|it| it.serving.is_none()) {
                let standing = process.ownership.standing(slot);
                return Some(format!(
                    "slot {slot} is not served by its target, node {target}, to which it is \
                     {standing:?}"
                ));
            }
            if let Some(wrong) = self.is_not_replicated(slot, wanted, process) {
                return Some(wrong);
            }
            let owner = Some(node_id(target));
            let known = |it: &Process| it.records.get(&slot).map(|record| record.owner);
            let disagrees = |it: &Process| known(it) != owner;
            let all = self.machines.iter().enumerate();
            let mut running = all.filter_map(|(n, it)| Some((n, it.process.as_ref()?)));
            let (node, it) = running.find(|(_, it)| disagrees(it))?;
            let owner = known(it);
            Some(format!(
                "node {node} takes {owner:?} for the owner of slot {slot}"
            ))
        });
        wrong.or_else(|| {
            let unheard = self.clients.iter().position(|it| it.decided < DECISIONS)?;
            Some(format!("client {unheard} gets no decisions"))
        })
    }

    /// Whether a slot lacks replicas that follow.
    fn is_not_replicated(&self, slot: Slot, wanted: Replicas, owner: &Process) -> Option<String> {
        let chosen = owner.records.get(&slot)?;
        let (held, should) = (chosen.replicas.as_slice(), wanted.as_slice());
        let same = held.len() == should.len() && held.iter().all(|it| should.contains(it));
        if !same {
            return Some(format!("slot {slot} is on {held:?}, not on {should:?}"));
        }
        let in_sync = owner.ownership.replicas(slot).in_sync;
        let late = held
            .iter()
            .find(|it| **it != chosen.owner && !in_sync.contains(it))?;
        let late_process = self.machines[node_of(*late)].process.as_ref();
        let standing = late_process.map(|it| it.ownership.replicas(slot));
        Some(format!(
            "node {late} does not follow slot {slot}: {standing:?}"
        ))
    }
}
