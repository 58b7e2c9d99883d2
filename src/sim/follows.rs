//! When a replica begins to follow the owner of a slot, and when it ends.

use super::disk::Write;
use super::following::{found, one};
use super::machine::{node_id, node_of};
use super::mutations::Mutation;
use super::world::World;
use crate::ownership::event::Event;
use crate::replication::{Found, Group as Kept};
use crate::types::{Epoch, Slot, SlotSet};

impl World {
    /// R1: from here on takes in what the owners of these slots commit.
    pub(super) fn follow(&mut self, node: usize, slots: &[(Slot, Epoch)]) {
        for &(slot, epoch) in slots {
            let peer = node_of(epoch.node);
            let Some(process) = self.machines[node].process.as_mut() else {
                return;
            };
            let held = process.held.get_mut(&slot);
            let held = held.filter(|it| it.state.at.epoch == epoch && it.serving.is_none());
            let Some(held) = held.filter(|_| peer != node) else {
                self.coverage.note(("rule", "follow of another state"));
                self.tell_soon(node, Event::Behind { slots: one(slot) });
                continue;
            };
            held.followed = true;
            let at = held.state.at;
            let Some(visit) = process.visits.get_mut(&peer) else {
                continue;
            };
            if self.mutation == Some(Mutation::GivenUpForgotten) {
                visit.follower.forget_unapplied(slot);
            }
            let Ok(kept) = visit.follower.follow(slot, at) else {
                self.coverage.note(("rule", "gap behind a copy"));
                continue;
            };
            self.follow_on(node, peer, slot, kept);
        }
        let visits = self.process(node).map(|it| it.visits.keys().copied());
        let visits: Vec<usize> = visits.map_or_else(Vec::new, Iterator::collect);
        for peer in visits {
            self.speak(node, peer);
        }
    }

    /// Takes in what was kept of a slot that follows now.
    fn follow_on(&mut self, node: usize, peer: usize, slot: Slot, kept: Vec<Kept>) {
        let mut written = Vec::new();
        for kept in kept {
            let id = kept.bytes.first_chunk().map(|it| u64::from_le_bytes(*it));
            let id = id.and_then(|it| usize::try_from(it).ok());
            let Some(group) = id.and_then(|it| self.groups.get(it).cloned()) else {
                continue;
            };
            self.coverage.note(("rule", "kept commit taken in"));
            let Some(process) = self.machines[node].process.as_mut() else {
                return;
            };
            let found = found(process.held.get(&slot), &group, false);
            if let Some(visit) = process.visits.get_mut(&peer) {
                let told = (group.at, group.clock, &kept.bytes[..]);
                visit.follower.applied(slot, told, found);
            }
            if found == Found::Done {
                written.extend(self.put_in(node, &group));
            }
        }
        if !written.is_empty() {
            self.machines[node]
                .disk
                .write(Write::Commit(written, Vec::new()));
        }
        let Some(process) = self.machines[node].process.as_mut() else {
            return;
        };
        let at = process.held.get(&slot).map(|it| it.state.at);
        if let (Some(at), Some(visit)) = (at, process.visits.get_mut(&peer))
            && visit.follower.follows(slot, at.epoch)
        {
            visit.followed.push((slot, at));
        }
    }

    /// Slots are about to be copied from their owner.
    pub(super) fn restart_following(&mut self, node: usize, peer: usize, slots: &SlotSet) {
        let visit = self.process(node).and_then(|it| it.visits.get_mut(&peer));
        if let Some(visit) = visit {
            visit.forget(slots);
            visit.follower.restart(slots);
        }
    }

    /// Slots were sealed or dropped.
    pub(super) fn stop_following(&mut self, node: usize, slots: &SlotSet) {
        let Some(process) = self.process(node) else {
            return;
        };
        for visit in process.visits.values_mut() {
            visit.forget(slots);
            visit.follower.close(slots);
        }
    }

    /// Has the owners of slots know that a higher ballot was promised here.
    pub(super) fn tell_deaf(&mut self, node: usize, slots: &SlotSet) {
        let mut owners = Vec::new();
        let Some(process) = self.process(node) else {
            return;
        };
        for slot in slots.iter() {
            let register = process.ownership.register(slot);
            let owner = register.chosen.filter(|it| it.owner != node_id(node));
            let Some(chosen) = owner.filter(|it| register.promised > it.epoch) else {
                continue;
            };
            let peer = node_of(chosen.owner);
            if let Some(visit) = process.visits.get_mut(&peer) {
                visit.deaf.retain(|it| it.0 != slot);
                visit.deaf.push((slot, register.promised));
                owners.push(peer);
            }
        }
        for peer in owners {
            self.speak(node, peer);
        }
    }
}
