//! A replica's ends of links, as the node has them: what owners commit is taken in by R1, written,
//! and acknowledged; and what follows is said once it is synced.

use super::disk::Write;
use super::judge::Fact;
use super::linked::Group;
use super::machine::{Held, node_id};
use super::mutations::Mutation;
use super::queue::AfterSync;
use super::state::SlotState;
use super::wire::{GroupId, OwnerSaid, ReplicaSaid, Wire};
use super::world::World;
use crate::ownership::event::Event;
use crate::replication::{Follower, Found, Taken};
use crate::types::{Epoch, Position, Slot, SlotSet};

/// The replica's end of one link.
#[derive(Debug)]
pub(super) struct Visit {
    link: u64,
    pub(super) follower: Follower,
    /// The last commit that came.
    through: u64,
    /// Slots that follow, from where, which is to be said once it is synced;
    pub(super) followed: Vec<(Slot, Position)>,
    /// those that are being synced.
    syncing: Vec<(Slot, Position)>,
    pub(super) deaf: Vec<(Slot, Epoch)>,
}

impl Visit {
    /// Nothing is said of these slots.
    pub(super) fn forget(&mut self, slots: &SlotSet) {
        self.followed.retain(|(slot, _)| !slots.contains(*slot));
        self.syncing.retain(|(slot, _)| !slots.contains(*slot));
    }
}

impl World {
    /// What an owner says on its link.
    pub(super) fn owner_said(&mut self, node: usize, peer: usize, link: u64, said: OwnerSaid) {
        if let OwnerSaid::Begin = said {
            self.begin_visit(node, peer, link);
            return;
        }
        let Some(process) = self.process(node) else {
            return;
        };
        if process.visits.get(&peer).is_none_or(|it| it.link != link) {
            return;
        }
        match said {
            OwnerSaid::Begin => {}
            OwnerSaid::End => {
                process.visits.remove(&peer);
            }
            OwnerSaid::Commit { number, groups } => {
                if self.take_commit(node, peer, number, &groups) {
                    self.acknowledge(node, peer, number);
                }
            }
            OwnerSaid::Sync { through } => {
                let visit = process.visits.get(&peer);
                let through = through.min(visit.map_or(0, |it| it.through));
                let after = AfterSync::Through {
                    peer,
                    link,
                    through,
                };
                self.sync(node, after);
            }
            OwnerSaid::Clocks(clocks) => {
                for (slot, epoch, clock) in clocks {
                    let held = process.held.get_mut(&slot);
                    if let Some(held) = held.filter(|it| it.followed && it.state.at.epoch == epoch)
                    {
                        held.state.clock = held.state.clock.max(clock);
                    }
                }
            }
            OwnerSaid::Behind(slots) => self.tell_soon(node, Event::Behind { slots }),
        }
    }

    /// A link begins: all slots of its owner that are here are behind (R6).
    fn begin_visit(&mut self, node: usize, peer: usize, link: u64) {
        let gaps = self.mutated(Mutation::GapsAccepted);
        let Some(process) = self.process(node) else {
            return;
        };
        let of_owner = |it: &(&Slot, &Held)| it.1.state.at.epoch.node == node_id(peer);
        let here = process.held.iter().filter(of_owner);
        let here: SlotSet = here.map(|it| *it.0).collect();
        let visit = Visit {
            link,
            follower: Follower::new(node_id(peer), here.clone()),
            through: 0,
            followed: Vec::new(),
            syncing: Vec::new(),
            deaf: Vec::new(),
        };
        process.visits.insert(peer, visit);
        if gaps {
            self.follow_over_a_gap(node, peer, &here);
        }
        self.speak(node, peer);
    }

    /// Mutation: goes on as if nothing could have been missed between two links.
    fn follow_over_a_gap(&mut self, node: usize, peer: usize, slots: &SlotSet) {
        for slot in slots.iter() {
            let theirs = self.machines[peer].process.as_ref();
            let theirs = theirs
                .and_then(|it| it.held.get(&slot))
                .map(|it| it.state.at);
            let Some(process) = self.process(node) else {
                return;
            };
            let (Some(held), Some(visit)) =
                (process.held.get(&slot), process.visits.get_mut(&peer))
            else {
                continue;
            };
            let (at, followed) = (held.state.at, held.followed);
            if let Some(theirs) = theirs.filter(|it| followed && it.epoch == at.epoch)
                && visit.follower.follow(slot, at).is_ok()
            {
                let link = visit.link;
                let said = ReplicaSaid::InSync(vec![(slot, theirs)]);
                self.send(node, peer, Wire::FromReplica { link, said });
            }
        }
    }

    /// R1, group by group; false if the node crashed.
    fn take_commit(&mut self, node: usize, peer: usize, number: u64, groups: &[GroupId]) -> bool {
        let older = self.mutated(Mutation::ReplicateOntoOlderEpoch);
        let mut written = Vec::new();
        for &id in groups {
            let group = self.groups[id].clone();
            let bytes = (id as u64).to_le_bytes();
            let gaps = self.mutated(Mutation::GapsAccepted);
            let Some(process) = self.machines[node].process.as_mut() else {
                return false;
            };
            let Some(visit) = process.visits.get_mut(&peer) else {
                return false;
            };
            if older && is_of_older_reign(process.held.get(&group.slot), &group) {
                let (link, said) = (visit.link, (group.slot, group.at));
                written.extend(self.put_in(node, &group));
                let said = ReplicaSaid::InSync(vec![said]);
                self.send(node, peer, Wire::FromReplica { link, said });
                continue;
            }
            let taken = visit
                .follower
                .take(group.slot, group.at, group.clock, &bytes);
            if taken != Taken::Apply {
                continue;
            }
            let found = found(process.held.get(&group.slot), &group, gaps);
            let told = (group.at, group.clock, &bytes[..]);
            visit.follower.applied(group.slot, told, found);
            if found == Found::Done {
                written.extend(self.put_in(node, &group));
            }
        }
        self.append(node, peer, number, written)
    }

    /// What was taken in is written, and the commit has come.
    fn append(
        &mut self,
        node: usize,
        peer: usize,
        number: u64,
        written: Vec<(Slot, SlotState)>,
    ) -> bool {
        if !written.is_empty() {
            if self.accident(node, ("crash before write", "group")) {
                return false;
            }
            self.machines[node]
                .disk
                .write(Write::Commit(written, Vec::new()));
            if self.accident(node, ("crash before report", "group")) {
                return false;
            }
        }
        let visit = self.process(node).and_then(|it| it.visits.get_mut(&peer));
        if let Some(visit) = visit {
            visit.through = number;
        }
        true
    }

    /// Makes a group part of the state, unless it is already.
    pub(super) fn put_in(&mut self, node: usize, group: &Group) -> Option<(Slot, SlotState)> {
        let held = self.process(node)?.held.get_mut(&group.slot)?;
        let own = held.state.at;
        if own.epoch == group.at.epoch && own.n >= group.at.n {
            return None;
        }
        for (n, key) in &group.keys {
            held.state.keys[*n] = key.clone();
        }
        held.state.at = group.at;
        held.state.clock = held.state.clock.max(group.clock);
        if held.state.fuzzy_below.is_some_and(|it| it <= group.at.n) {
            held.state.fuzzy_below = None;
        }
        let (slot, state) = (group.slot, held.state.clone());
        let (state_seen, all) = (&state, false);
        self.see(&Fact::Held {
            slot,
            state: state_seen,
            all,
        });
        Some((slot, state))
    }

    fn acknowledge(&mut self, node: usize, peer: usize, through: u64) {
        let visit = self.process(node).and_then(|it| it.visits.get_mut(&peer));
        if let Some(visit) = visit {
            let (link, refused) = (visit.link, visit.follower.take_refused());
            let said = ReplicaSaid::Applied { through, refused };
            self.send(node, peer, Wire::FromReplica { link, said });
        }
        self.speak(node, peer);
    }

    /// Says what else there is to say on a link.
    pub(super) fn speak(&mut self, node: usize, peer: usize) {
        let visit = self.process(node).and_then(|it| it.visits.get_mut(&peer));
        let Some(visit) = visit else {
            return;
        };
        let link = visit.link;
        let behind = visit.follower.behind();
        visit.forget(&behind);
        let deaf = std::mem::take(&mut visit.deaf);
        let followed = std::mem::take(&mut visit.followed);
        visit.syncing.extend(followed.iter().copied());
        if !behind.is_empty() {
            let slots = behind.clone();
            let said = ReplicaSaid::OutOfSync(behind);
            self.send(node, peer, Wire::FromReplica { link, said });
            self.tell_soon(node, Event::Behind { slots });
        }
        if !deaf.is_empty() {
            self.coverage
                .note(("rule", "owner told that a replica is deaf"));
            let said = ReplicaSaid::Deaf(deaf);
            self.send(node, peer, Wire::FromReplica { link, said });
        }
        if !followed.is_empty() {
            let after = AfterSync::Followed {
                peer,
                link,
                slots: followed,
            };
            self.sync(node, after);
        }
    }

    /// What follows is synced: it is said of what still does.
    pub(super) fn followed(
        &mut self,
        node: usize,
        peer: usize,
        link: u64,
        slots: Vec<(Slot, Position)>,
    ) {
        let visit = self.process(node).and_then(|it| it.visits.get_mut(&peer));
        let Some(visit) = visit.filter(|it| it.link == link) else {
            return;
        };
        let still = |it: &(Slot, Position)| {
            visit.syncing.contains(it) && visit.follower.follows(it.0, it.1.epoch)
        };
        let slots: Vec<_> = slots.into_iter().filter(still).collect();
        visit.syncing.retain(|it| !slots.contains(it));
        if !slots.is_empty() {
            self.coverage.note(("rule", "replica in sync"));
            let said = ReplicaSaid::InSync(slots);
            self.send(node, peer, Wire::FromReplica { link, said });
        }
    }

    /// What was taken in up to a commit is synced.
    pub(super) fn synced_through(&mut self, node: usize, peer: usize, link: u64, through: u64) {
        let visit = self.process(node).and_then(|it| it.visits.get(&peer));
        if visit.is_some_and(|it| it.link == link) {
            let said = ReplicaSaid::Synced { through };
            self.send(node, peer, Wire::FromReplica { link, said });
        }
    }
}

pub(super) fn one(slot: Slot) -> SlotSet {
    std::iter::once(slot).collect()
}

/// R1, as the table sees it.
pub(super) fn found(held: Option<&Held>, group: &Group, gaps: bool) -> Found {
    let Some(held) = held.filter(|it| it.followed && it.state.at.epoch == group.at.epoch) else {
        return Found::Closed;
    };
    let n = held.state.at.n;
    // What is known already is not put in again: see [`World::put_in`].
    if group.at.n <= n + 1 || gaps {
        Found::Done
    } else {
        Found::Gap
    }
}

/// For the mutation that takes commits onto a state of an older reign.
fn is_of_older_reign(held: Option<&Held>, group: &Group) -> bool {
    held.is_some_and(|it| it.serving.is_none() && it.state.at.epoch < group.at.epoch)
}
