//! What the edges of the tests' nodes do for replicas: grants go to them as commits, in order, over
//! the same connections as messages; a grant counts as given once a majority has it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::event::{Copied, Event, Origin, TaskId};
use super::disk::{State, Write};
use super::world::{Said, World};
use crate::types::{Epoch, NodeId, Position, Replicas, Slot, SlotSet, SlotTime};

/// One grant of a slot, as it goes to a replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Commit {
    pub(super) slot: Slot,
    pub(super) epoch: Epoch,
    pub(super) n: u64,
    pub(super) grant: u64,
}

/// What an owner knows of a slot in one reign.
#[derive(Debug)]
pub(super) struct Reign {
    epoch: Epoch,
    replicas: Replicas,
    /// The grant of each commit, and
    grants: Vec<u64>,
    /// how many of them a majority has.
    complete: usize,
    /// Of each peer that is in sync, how far it is.
    acks: BTreeMap<NodeId, u64>,
    /// Who is sent commits although it is no replica.
    fed: BTreeSet<NodeId>,
}

impl World {
    /// A node begins to serve; what was given before must be known to it.
    pub(super) fn begin_reign(&mut self, id: NodeId, slot: Slot, epoch: Epoch) {
        let it = self.node_mut(id);
        let state = it.states[&slot].clone();
        assert_eq!(state.at, Position { epoch, n: 0 }, "T6: installed");
        let replicas = it.life.record(slot).unwrap().replicas;
        let reign = Reign {
            epoch,
            replicas,
            grants: Vec::new(),
            complete: 0,
            acks: BTreeMap::new(),
            fed: BTreeSet::new(),
        };
        it.reigns.insert(slot, reign);
        it.following.remove(&slot);
        it.serving.insert(slot, epoch);
        self.judge_reign(slot, epoch, &state);
    }

    /// One grant of a slot that is served.
    pub(super) fn grant_one(&mut self, id: NodeId, slot: Slot, epoch: Epoch) {
        self.grants_made += 1;
        let grant = self.grants_made;
        let it = self.node_mut(id);
        let state = it.states.get_mut(&slot).unwrap();
        assert_eq!(
            state.at.epoch, epoch,
            "O1: the state is at the epoch served"
        );
        state.at.n += 1;
        state.grants.insert(grant);
        let n = state.at.n;
        let reign = it.reigns.get_mut(&slot).unwrap();
        reign.grants.push(grant);
        let members = reign.replicas.as_slice().iter().chain(&reign.fed);
        let to: BTreeSet<NodeId> = members.copied().filter(|it| *it != id).collect();
        let commit = Commit {
            slot,
            epoch,
            n,
            grant,
        };
        for peer in to {
            self.say(id, peer, Said::Commit(commit));
        }
        self.complete(id, slot);
    }

    /// O3: gives the grants that a majority has.
    fn complete(&mut self, id: NodeId, slot: Slot) {
        let Some(reign) = self.node_mut(id).reigns.get_mut(&slot) else {
            return;
        };
        let mut given = Vec::new();
        while let Some(grant) = reign.grants.get(reign.complete) {
            let n = reign.complete as u64 + 1;
            let has = |it: &&NodeId| **it == id || reign.acks.get(it).is_some_and(|at| *at >= n);
            if reign.replicas.as_slice().iter().filter(has).count() < reign.replicas.majority() {
                break;
            }
            given.push(*grant);
            reign.complete += 1;
        }
        let epoch = reign.epoch;
        for grant in given {
            self.judge_grant(slot, epoch, grant);
        }
    }

    /// The edge of an owner hears of a replica how far it is.
    pub(super) fn on_ack(&mut self, id: NodeId, from: NodeId, said: &Said) {
        let (Said::Ack(slot, at) | Said::InSync(slot, at)) = *said else {
            return;
        };
        let in_sync = matches!(said, Said::InSync(..));
        let it = self.node_mut(id);
        let Some(reign) = it.reigns.get_mut(&slot).filter(|it| it.epoch == at.epoch) else {
            return;
        };
        let sent = reign.replicas.contains(from) || reign.fed.contains(&from);
        if !sent || !(in_sync || reign.acks.contains_key(&from)) {
            return;
        }
        let known = reign.acks.entry(from).or_default();
        *known = at.n.max(*known);
        self.complete(id, slot);
        if in_sync {
            let slots = [slot].into_iter().collect();
            self.event(id.0, Event::InSync { peer: from, slots });
        }
    }

    /// R1: a commit arrives at a replica.
    pub(super) fn on_commit(&mut self, id: NodeId, from: NodeId, commit: Commit) {
        let it = self.node_mut(id);
        let slot = commit.slot;
        let becoming = it.writes.iter().any(|write| match write {
            Write::Become(_, _, slots) => slots
                .iter()
                .any(|it| it.0 == slot && it.1.epoch == commit.epoch && it.1.n < commit.n),
            Write::Registers(..) | Write::Install(..) | Write::Report(..) => false,
        });
        let state = it.states.get_mut(&slot);
        let follows = it.following.get(&slot) == Some(&commit.epoch);
        if let Some(state) = state.filter(|it| follows && it.at.epoch == commit.epoch && !becoming)
        {
            if commit.n == state.at.n + 1 {
                state.at.n = commit.n;
                state.grants.insert(commit.grant);
            }
            if commit.n <= state.at.n {
                let ack = Said::Ack(slot, state.at);
                self.say(id, from, ack);
                return;
            }
        }
        it.following.remove(&slot);
        it.buffered.push((from, commit));
        if !it.behind.contains(slot) {
            it.behind.insert(slot);
            let slots = [slot].into_iter().collect();
            self.event(id.0, Event::Behind { slots });
        }
    }

    /// R1: from now on commits of the reign are taken in, and those that came before.
    pub(super) fn follow(&mut self, id: NodeId, slot: Slot, epoch: Epoch) {
        let it = self.node_mut(id);
        assert!(!it.serving.contains_key(&slot));
        assert!(it.life.register(slot).promised <= epoch, "R1");
        it.following.insert(slot, epoch);
        it.behind.remove(slot);
        let at = it.states[&slot].at;
        assert_eq!(at.epoch, epoch, "R1: installed before");
        let of_slot = |it: &mut (NodeId, Commit)| it.1.slot == slot;
        let buffered: Vec<(NodeId, Commit)> = it.buffered.extract_if(.., of_slot).collect();
        self.say(id, epoch.node, Said::InSync(slot, at));
        for (from, commit) in buffered {
            if commit.epoch >= epoch {
                self.on_commit(id, from, commit);
            }
        }
    }

    /// A copy for a replica, of what its owner serves.
    pub(super) fn copy(
        &mut self,
        id: NodeId,
        from: NodeId,
        wanted: &[(Slot, Epoch)],
    ) -> Vec<Copied> {
        let mut copied = Vec::new();
        for &(slot, epoch) in wanted {
            if !self.is_linked(id, from) || self.nodes[&from].serving.get(&slot) != Some(&epoch) {
                continue;
            }
            let owner = self.node_mut(from);
            owner.reigns.get_mut(&slot).unwrap().fed.insert(id);
            let state: State = owner.states[&slot].clone();
            let it = self.node_mut(id);
            let same = it.states.get(&slot).is_some_and(|it| it.at == state.at);
            let complete = it.life.register(slot).complete;
            let origin = if same && complete {
                Origin::Own
            } else {
                Origin::Fetched
            };
            let at = state.at;
            it.beside.insert(slot, state);
            let clock = SlotTime::ZERO;
            copied.push(Copied {
                slot,
                origin,
                at,
                clock,
            });
        }
        copied
    }

    /// Before a replica says that it cannot become: commits that are on their way are waited for.
    pub(super) fn await_commits(&mut self, id: NodeId) {
        let Some(Write::Become(_, _, slots)) = self.nodes[&id].writes.front().cloned() else {
            return;
        };
        for (slot, at, _) in slots {
            let on_their_way = |it: &(NodeId, NodeId, Said)| {
                it.1 == id
                    && matches!(&it.2, Said::Commit(commit)
                        if commit.slot == slot && commit.epoch == at.epoch && commit.n <= at.n)
            };
            while let Some(place) = self.messages.iter().position(on_their_way) {
                let (from, _, said) = self.messages.remove(place).unwrap();
                if let Said::Commit(commit) = said {
                    self.on_commit(id, from, commit);
                }
            }
        }
    }

    /// R6: the connection between two is lost, for both.
    pub(super) fn unlink_replicas(&mut self, id: NodeId, peer: NodeId) {
        let it = self.node_mut(id);
        it.following.retain(|_, epoch| epoch.node != peer);
        it.buffered.retain(|it| it.0 != peer);
        it.behind = SlotSet::EMPTY;
        for reign in it.reigns.values_mut() {
            reign.acks.remove(&peer);
            reign.fed.remove(&peer);
        }
    }

    /// Copies of a lost connection fail.
    pub(super) fn drop_copies(&mut self, id: NodeId, peer: NodeId) {
        let of_peer = |it: &mut (TaskId, NodeId, Vec<(Slot, Epoch)>)| it.1 == peer;
        let it = self.node_mut(id);
        let lost: Vec<_> = it.copies.iter().cloned().collect();
        it.copies.retain(|it| it.1 != peer);
        for mut it in lost {
            if of_peer(&mut it) {
                let (task, slots) = (it.0, Vec::new());
                self.event(id.0, Event::CaughtUp { task, slots });
            }
        }
    }
}
