//! Copies to replicas while the owner serves, and states that become those of another reign without
//! a copy, as the node carries them out.
//!
//! A copy may take a while: a key that is read late is newer than the position that the copy goes by,
//! which is harmless, since what the owner commits from that position on sets it again.

use super::disk::Write;
use super::judge::Fact;
use super::machine::{Becoming, Staged, node_id};
use super::mutations::Mutation;
use super::queue::{AfterSync, NodeEvent};
use super::state::SlotState;
use super::wire::{CaughtUp, Wire};
use super::world::{MS, World};
use crate::ownership::event::{Copied, Event, Origin, TaskId};
use crate::types::{Epoch, NodeId, Position, Slot, SlotSet, SlotTime};

/// How long a state waits for commits that are on their way.
const COMMITS_WAIT_NS: u64 = 300 * MS;
/// How often it is looked whether they have come.
const COMMITS_LOOK_NS: u64 = 5 * MS;

/// Each slot that is asked for, in which reign, and what is there already.
pub(super) type Asked = Vec<(Slot, Epoch, Option<Position>)>;

impl World {
    pub(super) fn catch_up(
        &mut self,
        node: usize,
        from: usize,
        task: TaskId,
        slots: &[(Slot, Epoch)],
    ) {
        let set: SlotSet = slots.iter().map(|it| it.0).collect();
        self.restart_following(node, from, &set);
        let stale = self.stale_copies(node, from, slots);
        let Some(process) = self.process(node) else {
            return;
        };
        process.staged.retain(|slot, _| !set.contains(*slot));
        let asked = slots.iter().map(|&(slot, epoch)| {
            let whole = process.ownership.register(slot).complete;
            let held = process.held.get(&slot).filter(|_| whole);
            (slot, epoch, held.map(|it| it.state.at))
        });
        let asked: Asked = asked.collect();
        if !self.begin_transfer(node, from, task, super::machine::Kind::CatchUp) {
            return;
        }
        if stale.is_empty() {
            self.send(node, from, Wire::CatchUpAsked { task, slots: asked });
        } else {
            let connection = self.links.open(node, from).unwrap_or(0);
            let wire = Wire::CaughtUp { task, slots: stale };
            let event = NodeEvent::Delivered {
                peer: from,
                connection,
                wire,
            };
            self.plan_node(node, 1, event);
        }
    }

    /// Mutation: what an earlier life of the node had asked for comes just now.
    fn stale_copies(&mut self, node: usize, from: usize, slots: &[(Slot, Epoch)]) -> Vec<CaughtUp> {
        if self.calm || !self.mutated(Mutation::RepairWithoutIncarnation) {
            return Vec::new();
        }
        let life = self.machines[node].life;
        let known = self.copied.get(&(node, from)).cloned().unwrap_or_default();
        let old = known
            .into_iter()
            .filter(|(of, _)| *of < life)
            .map(|it| it.1);
        old.filter(|it| slots.contains(&(it.slot, it.at.epoch)) && it.state.is_some())
            .collect()
    }

    /// An owner is asked for a copy by a replica, and goes on serving.
    pub(super) fn catch_up_asked(&mut self, node: usize, peer: usize, task: TaskId, asked: &Asked) {
        let Some(process) = self.process(node) else {
            return;
        };
        let serves = |slot: &Slot, epoch: &Epoch| {
            let held = process.held.get(slot);
            held.is_some_and(|it| it.serving.is_some_and(|it| it.epoch == *epoch))
        };
        let fed = asked.iter().filter(|it| serves(&it.0, &it.1));
        let fed: SlotSet = fed.map(|it| it.0).collect();
        let Some(&link) = process.links.get(&peer) else {
            self.coverage.note(("transfer", "copy refused"));
            let slots = Vec::new();
            self.send(node, peer, Wire::CaughtUp { task, slots });
            return;
        };
        process.tracker.feed(node_id(peer), link, &fed);
        let mut copies = Vec::new();
        for &(slot, _, own) in asked.iter().filter(|it| fed.contains(it.0)) {
            let reading = self.reading(node, slot).unwrap_or_default();
            let held = self.process(node).and_then(|it| it.held.get(&slot));
            let Some(held) = held else { continue };
            let at = held.state.at;
            let same = own == Some(at) && held.state.quarantined_until <= reading;
            copies.push(CaughtUp {
                slot,
                at,
                clock: reading,
                state: (!same).then(|| held.state.clone()),
            });
        }
        let slow = self.random.permille(350);
        let after_ns = if slow { self.random.below(60 * MS) } else { 0 };
        let Some(connection) = self.links.open(node, peer) else {
            return;
        };
        let event = NodeEvent::CopyEnds {
            peer,
            connection,
            task,
            copies,
        };
        if slow {
            self.plan_node(node, after_ns, event);
        } else if let NodeEvent::CopyEnds { copies, .. } = event {
            self.copy_ends(node, (peer, connection), task, copies);
        }
    }

    /// The rest of a copy is read; a slot that has changed hands since is not told.
    pub(super) fn copy_ends(
        &mut self,
        node: usize,
        (peer, connection): (usize, u64),
        task: TaskId,
        mut copies: Vec<CaughtUp>,
    ) {
        if self.links.open(node, peer) != Some(connection) {
            return;
        }
        for copy in &mut copies {
            let reading = self.reading(node, copy.slot);
            let held = self.process(node).and_then(|it| it.held.get(&copy.slot));
            let held = held.filter(|it| it.state.at.epoch == copy.at.epoch);
            let (Some(held), Some(reading)) = (held, reading) else {
                copy.at = Position::default();
                continue;
            };
            copy.clock = reading;
            let Some(state) = &mut copy.state else {
                continue;
            };
            // the first key was read at the start
            state.keys[1..].clone_from_slice(&held.state.keys[1..]);
            if held.dirty || held.state.at != copy.at {
                state.fuzzy_below = Some(held.state.at.n + 1);
            } else {
                state.fuzzy_below = held.state.fuzzy_below;
            }
            if state.fuzzy_below.is_some() {
                self.coverage
                    .note(("transfer", "copy newer than its position"));
            }
        }
        copies.retain(|it| it.at != Position::default());
        self.coverage.note(("transfer", "copy to a replica"));
        let slots = copies;
        self.send(node, peer, Wire::CaughtUp { task, slots });
    }

    /// A copy arrives.
    pub(super) fn caught_up(
        &mut self,
        node: usize,
        peer: usize,
        task: TaskId,
        slots: Vec<CaughtUp>,
    ) {
        let life = self.machines[node].life;
        let Some(process) = self.process(node) else {
            return;
        };
        let known = process.transfers.get(&task);
        let known = known.filter(|it| it.kind == super::machine::Kind::CatchUp && it.from == peer);
        let Some(connection) = known.map(|it| it.connection) else {
            return;
        };
        process.transfers.remove(&task);
        let mut copied = Vec::with_capacity(slots.len());
        for it in &slots {
            if let Some(state) = &it.state {
                let staged = Staged {
                    from: peer,
                    connection,
                    state: state.clone(),
                    whole: true,
                };
                process.staged.insert(it.slot, staged);
            }
            copied.push(Copied {
                slot: it.slot,
                origin: match it.state {
                    Some(_) => Origin::Fetched,
                    None => Origin::Own,
                },
                at: it.at,
                clock: it.clock,
            });
        }
        if self.mutated(Mutation::RepairWithoutIncarnation) {
            let known = self.copied.entry((node, peer)).or_default();
            for it in slots.into_iter().filter(|it| it.state.is_some()) {
                known.retain(|(_, old)| old.slot != it.slot || old.at.epoch == it.at.epoch);
                if !known.iter().any(|(_, old)| old.slot == it.slot) {
                    known.push((life, it));
                }
            }
        }
        let slots = copied;
        self.step(node, Event::CaughtUp { task, slots });
    }

    /// States are to be those of another epoch, at once or as soon as the commits that they lack are
    /// here.
    pub(super) fn begin_become(
        &mut self,
        node: usize,
        task: TaskId,
        epoch: Epoch,
        waiting: Vec<(Slot, Position, SlotTime)>,
    ) {
        let until_ns = self.now + COMMITS_WAIT_NS;
        if let Some(process) = self.process(node) {
            process.becoming.push(Becoming {
                task,
                epoch,
                waiting,
                became: SlotSet::EMPTY,
                until_ns,
            });
        }
        self.go_on_becoming(node);
    }

    /// Looks for states that wait for commits.
    pub(super) fn go_on_becoming(&mut self, node: usize) {
        let Some(process) = self.process(node) else {
            return;
        };
        let all = std::mem::take(&mut process.becoming);
        for mut becoming in all {
            self.look_at(node, &mut becoming);
            if becoming.waiting.is_empty() {
                let (task, slots) = (becoming.task, becoming.became);
                let event = Event::Became { task, slots };
                if self.accident(node, ("crash before sync", "become")) {
                    return;
                }
                self.sync(node, AfterSync::Report(event, Vec::new()));
            } else {
                self.coverage.note(("rule", "become waits for commits"));
                let Some(process) = self.process(node) else {
                    return;
                };
                process.becoming.push(becoming);
                if !std::mem::replace(&mut process.looking, true) {
                    self.plan_node(node, COMMITS_LOOK_NS, NodeEvent::Become);
                }
            }
        }
    }

    fn look_at(&mut self, node: usize, becoming: &mut Becoming) {
        let (epoch, late) = (becoming.epoch, self.now >= becoming.until_ns);
        let Some(process) = self.process(node) else {
            return;
        };
        let mut ready = Vec::new();
        becoming.waiting.retain(|&(slot, at, clock)| {
            if process.ownership.register(slot).promised > epoch {
                return false;
            }
            let Some(held) = process.held.get_mut(&slot) else {
                return false;
            };
            let own = held.state.at;
            if own == at {
                if held.serving.is_none() && at.epoch <= epoch {
                    held.followed = false;
                    held.state.become_of(epoch, 0);
                    held.state.clock = clock;
                    ready.push((slot, held.state.clone()));
                }
                return false;
            }
            own.epoch == at.epoch && own.n < at.n && held.followed && !late
        });
        if ready.is_empty() {
            return;
        }
        self.coverage
            .note(("rule", "state of another reign without a copy"));
        for (slot, state) in &ready {
            becoming.became.insert(*slot);
            let (slot, all) = (*slot, false);
            self.see(&Fact::Held { slot, state, all });
        }
        self.machines[node]
            .disk
            .write(Write::Commit(ready, Vec::new()));
    }

    /// Remembers whose states became this node's reign before it is chosen.
    pub(super) fn note_became(&mut self, node: usize, peer: usize, ballot: Epoch, slots: &SlotSet) {
        let from: NodeId = node_id(peer);
        let Some(process) = self.process(node) else {
            return;
        };
        if ballot.node != node_id(node) {
            return;
        }
        for slot in slots.iter() {
            let known = process.became.entry(slot).or_default();
            if known.0 != ballot {
                *known = (ballot, Vec::new());
            }
            if !known.1.contains(&from) {
                known.1.push(from);
            }
        }
    }
}

impl SlotState {
    /// Is of another epoch from here on.
    pub(super) fn become_of(&mut self, epoch: Epoch, n: u64) {
        if self.at != (Position { epoch, n }) && self.fuzzy_below.is_some() {
            self.fuzzy_below = Some(u64::MAX);
        }
        self.at = Position { epoch, n };
    }
}
