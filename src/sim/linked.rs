//! An owner's ends of its links, as the node has them: what is committed goes to whom the tracker
//! names, before it is written here (O2), and answers leave when the tracker says so (O3).
//!
//! A link is a connection of its own beside that of the messages, so the two may overtake each other.

use super::disk::Write;
use super::judge::Fact;
use super::machine::{Waiting, node_id, node_of};
use super::mutations::Mutation;
use super::queue::{AfterSync, NodeEvent};
use super::state::SlotState;
use super::wire::{Answer, GroupId, OwnerSaid, ReplicaSaid, Wire};
use super::world::{MS, World};
use crate::limiter::KeyState;
use crate::limiter::policy::Durability;
use crate::ownership::event::Event;
use crate::replication::{Goal, Report};
use crate::types::{NodeId, Position, Slot, SlotSet, SlotTime};

/// How often the tracker is told that time has passed.
const TICK_NS: u64 = 50 * MS;
/// How often a replica is told what the clocks show.
const CLOCKS_NS: u64 = 250 * MS;

/// One slot's part of a commit, as it goes to replicas.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) slot: Slot,
    pub(super) at: Position,
    pub(super) clock: SlotTime,
    /// The keys that changed, as they are since.
    pub(super) keys: Vec<(usize, KeyState)>,
}

impl World {
    /// A connection works: the owner dials its link.
    pub(super) fn dial_soon(&mut self, node: usize, peer: usize, connection: u64) {
        let after_ns = self.random.between(1, 30) * MS;
        self.plan_node(node, after_ns, NodeEvent::Dial { peer, connection });
    }

    pub(super) fn dial(&mut self, node: usize, peer: usize, connection: u64) {
        if self.links.open(node, peer) != Some(connection) {
            return;
        }
        self.links_made += 1;
        let link = self.links_made;
        let Some(process) = self.process(node) else {
            return;
        };
        if process.links.contains_key(&peer) {
            return;
        }
        process.links.insert(peer, link);
        process.tracker.connected(node_id(peer), link);
        self.say_to_replica(node, peer, link, OwnerSaid::Begin);
        self.report(node);
        self.tell_clocks(node, peer, link);
    }

    /// A link ends at the owner's end.
    pub(super) fn unlink(&mut self, node: usize, peer: usize) {
        let Some(process) = self.process(node) else {
            return;
        };
        if let Some(link) = process.links.remove(&peer) {
            process.tracker.lost(node_id(peer), link);
            self.report(node);
        }
    }

    /// A link is lost, though the connection of the messages is not; it is dialled anew.
    pub(super) fn reset_link(&mut self, node: usize, peer: usize) {
        let link = self
            .process(node)
            .and_then(|it| it.links.get(&peer).copied());
        if let (Some(link), Some(connection)) = (link, self.links.open(node, peer)) {
            self.coverage.note(("fault", "link reset"));
            self.say_to_replica(node, peer, link, OwnerSaid::End);
            self.unlink(node, peer);
            self.dial_soon(node, peer, connection);
        }
    }

    pub(super) fn say_to_replica(&mut self, node: usize, peer: usize, link: u64, said: OwnerSaid) {
        self.send(node, peer, Wire::FromOwner { link, said });
    }

    /// Tells what the clocks show of the slots whose commits go to a peer, again and again.
    pub(super) fn tell_clocks(&mut self, node: usize, peer: usize, link: u64) {
        let Some(process) = self.process(node) else {
            return;
        };
        if process.links.get(&peer) != Some(&link) {
            return;
        }
        let given = process.tracker.given(node_id(peer), link);
        let mut clocks = Vec::with_capacity(given.len());
        for (slot, epoch) in given {
            if let Some(reading) = self.reading(node, slot) {
                clocks.push((slot, epoch, reading));
            }
        }
        self.say_to_replica(node, peer, link, OwnerSaid::Clocks(clocks));
        self.plan_node(node, CLOCKS_NS, NodeEvent::Clocks { peer, link });
    }

    /// Time passes for the tracker.
    pub(super) fn track(&mut self, node: usize) {
        let mono = self.machines[node].clocks.mono(self.now);
        if let Some(process) = self.process(node) {
            process.tracker.tick(mono);
        }
        self.ask_sync(node);
        self.report(node);
        self.release(node);
        self.plan_node(node, TICK_NS, NodeEvent::Track);
    }

    /// What a replica says.
    pub(super) fn replica_said(&mut self, node: usize, peer: usize, link: u64, said: &ReplicaSaid) {
        let Some(process) = self.process(node) else {
            return;
        };
        let (tracker, id) = (&mut process.tracker, node_id(peer));
        let honest = match said {
            ReplicaSaid::Applied { through, refused } => {
                tracker.applied(id, link, *through, refused)
            }
            ReplicaSaid::Synced { through } => tracker.synced(id, link, *through),
            ReplicaSaid::InSync(slots) => {
                tracker.in_sync(id, link, slots);
                true
            }
            ReplicaSaid::OutOfSync(slots) => {
                tracker.out_of_sync(id, link, slots);
                true
            }
            ReplicaSaid::Deaf(slots) => {
                tracker.deaf(id, link, slots);
                true
            }
        };
        if !honest {
            let what = format!("node {node} takes {said:?} of node {peer} for forged");
            self.judge
                .report(self.now, "no replica is taken for a liar", what);
        }
        self.report(node);
        self.release(node);
    }

    /// Tells what the tracker has to tell: peers that they are behind, the ownership all else.
    pub(super) fn report(&mut self, node: usize) {
        let Some(process) = self.process(node) else {
            return;
        };
        for report in process.tracker.reports() {
            let event = match report {
                Report::Behind { peer, link, slots } => {
                    let peer = node_of(peer);
                    self.say_to_replica(node, peer, link, OwnerSaid::Behind(slots));
                    continue;
                }
                Report::InSync { peer, slots } => Event::InSync { peer, slots },
                Report::OutOfSync { peer, slots } => Event::OutOfSync { peer, slots },
                Report::Deaf { peer, slots } => Event::Deaf { peer, slots },
            };
            self.tell_soon(node, event);
        }
    }

    /// The ownership hears of links from another thread, in order.
    pub(super) fn tell_soon(&mut self, node: usize, event: Event) {
        self.plan_node(node, 100_000, NodeEvent::Told(event));
    }

    /// Whether nothing may be granted in a slot: too few replicas take its commits in.
    pub(super) fn lacks_majority(&mut self, node: usize, slot: Slot) -> bool {
        self.process(node)
            .is_some_and(|it| !it.tracker.has_majority(slot))
    }

    /// Group commit: everything that has changed goes to replicas and is written at once.
    pub(super) fn commit(&mut self, node: usize) {
        let Some(process) = self.process(node) else {
            return;
        };
        process.committing = false;
        process.commits += 1;
        let number = process.commits;
        let answers = std::mem::take(&mut process.uncommitted);
        process.waiting.extend(answers);
        let (mut slots, mut groups, mut grants) = (Vec::new(), Vec::new(), Vec::new());
        for (&slot, held) in process.held.iter_mut().filter(|it| it.1.dirty) {
            held.dirty = false;
            held.state.at.n += 1;
            let fresh = std::mem::take(&mut held.fresh);
            if !held.has_others {
                grants.extend(fresh);
            }
            let changed = std::mem::take(&mut held.changed);
            let keys = (0..).zip(&held.state.keys);
            let keys = keys.filter(|(n, _)| changed[*n]);
            groups.push(Group {
                slot,
                at: held.state.at,
                clock: held.state.clock,
                keys: keys.map(|(n, key)| (n, key.clone())).collect(),
            });
            slots.push((slot, held.state.clone()));
        }
        if slots.is_empty() {
            process.tracker.taken(number);
        } else {
            self.replicate(node, number, groups);
            if self.accident(node, ("crash before write", "commit")) {
                return;
            }
            self.write_commit(node, slots, grants);
            if self.accident(node, ("crash before sync", "commit")) {
                return;
            }
        }
        self.keep(node, number);
    }

    fn write_commit(
        &mut self,
        node: usize,
        slots: Vec<(Slot, SlotState)>,
        grants: Vec<super::judge::GrantId>,
    ) {
        for (slot, state) in &slots {
            let (slot, all) = (*slot, true);
            self.see(&Fact::Held { slot, state, all });
        }
        self.machines[node].disk.write(Write::Commit(slots, grants));
    }

    /// Has a commit kept here as the durability says.
    fn keep(&mut self, node: usize, number: u64) {
        let at_once = self.options.durability != Durability::Fsync
            || self.mutated(Mutation::AnswerBeforeSync);
        if !at_once {
            self.sync(node, AfterSync::Kept { number });
            return;
        }
        self.kept(node, number);
    }

    /// A commit is kept here.
    pub(super) fn kept(&mut self, node: usize, number: u64) {
        if let Some(process) = self.process(node) {
            process.kept = process.kept.max(number);
        }
        self.release(node);
    }

    /// O2: a commit goes to the replicas.
    fn replicate(&mut self, node: usize, number: u64, groups: Vec<Group>) {
        let first = self.groups.len();
        let at: Vec<(Slot, Position)> = groups.iter().map(|it| (it.slot, it.at)).collect();
        self.groups.extend(groups);
        let Some(process) = self.process(node) else {
            return;
        };
        let mut parts = std::mem::take(&mut process.parts);
        process.tracker.committed(number, &at, &mut parts);
        for part in parts.iter() {
            let groups: Vec<GroupId> = part.groups.iter().map(|place| first + place).collect();
            let said = OwnerSaid::Commit { number, groups };
            self.say_to_replica(node, node_of(part.peer), part.link, said);
        }
        for (peer, _) in parts.full().to_vec() {
            self.unlink(node, node_of(peer));
        }
        if let Some(process) = self.process(node) {
            process.parts = parts;
        }
        self.ask_sync(node);
    }

    fn ask_sync(&mut self, node: usize) {
        let fsync = self.options.durability == Durability::Fsync;
        let Some(process) = self.process(node) else {
            return;
        };
        let waits = fsync && !process.waiting.is_empty();
        let mut ask: Vec<(NodeId, u64, u64)> = Vec::new();
        process.tracker.ask_sync(waits, &mut ask);
        for (peer, link, through) in ask {
            self.say_to_replica(node, node_of(peer), link, OwnerSaid::Sync { through });
        }
    }

    /// O3: gives the answers whose commits are kept here and on a majority, or lost.
    pub(super) fn release(&mut self, node: usize) {
        let goal = if self.options.durability == Durability::Fsync {
            Goal::Synced
        } else {
            Goal::Appended
        };
        let early = self.mutated(Mutation::AnswerBeforeMajority);
        let Some(process) = self.process(node) else {
            return;
        };
        let replicated = process.tracker.replicated().of(goal);
        let kept = process.kept;
        let ready = |it: &mut Waiting| it.ticket <= kept && (early || it.ticket <= replicated);
        let ready: Vec<Waiting> = process.waiting.extract_if(.., ready).collect();
        if ready.is_empty() {
            return;
        }
        if self.accident(node, ("crash before report", "commit")) {
            return;
        }
        for it in ready {
            let lost = self
                .process(node)
                .is_some_and(|process| process.tracker.is_lost(it.slot, it.ticket, goal));
            let answer = if lost && !early {
                self.coverage.note(("rule", "grant without a majority"));
                Answer::Unavailable
            } else {
                it.answer
            };
            self.reply(node, it.asker, it.request, answer);
        }
    }

    /// The tracker gives slots up: what of them is outstanding is lost.
    pub(super) fn stop_replicating(&mut self, node: usize, slots: &SlotSet) {
        if let Some(process) = self.process(node) {
            process.tracker.stop(slots);
        }
        self.report(node);
        self.release(node);
    }
}
