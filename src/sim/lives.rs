//! The lives of a node: crashes, power losses, pauses, and everything that happens to a
//! life on its way to the state machine.

use std::collections::VecDeque;

use super::disk::Write;
use super::judge::Fact;
use super::links::Belongs;
use super::machine::node_id;
use super::queue::{AfterSync, Happening, NodeEvent};
use super::wire::{Asker, Wire};
use super::world::{MS, World};
use crate::limiter::policy::Durability;
use crate::membership::swim::SwimEvent;
use crate::ownership::event::Event;
use crate::types::Configuration;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// `kill -9`: what is written stays.
    Kill,
    /// The power fails: what is not synced may be lost, and the machine boots anew.
    PowerLoss,
    /// It stops by itself: all is synced.
    Clean,
}

impl World {
    /// A process ends, and starts again after a while.
    pub(super) fn crash(&mut self, node: usize, end: End) {
        // who may hold the last whole state of a slot is spared what nobody could repair
        let end = if end == End::PowerLoss && self.is_fragile() {
            End::Kill
        } else {
            end
        };
        let Some(process) = self.machines[node].process.take() else {
            return;
        };
        self.say(|| format!("node {node} ends: {end:?}"));
        for (&slot, held) in &process.held {
            if held.serving.is_some() {
                self.judge.see(self.now, &Fact::Stopped { node, slot });
            }
        }
        self.machines[node].paused = None;
        match end {
            End::Kill => self.coverage.note(("fault", "kill -9")),
            End::PowerLoss => self.lose_power(node),
            End::Clean => self.machines[node].disk.synced(u64::MAX),
        }
        for peer in (0..self.machines.len()).filter(|&it| it != node) {
            self.end_is_gone(node, peer);
        }
        let after_ns = if self.random.permille(200) {
            self.random.between(1000, 6000) * MS
        } else {
            self.random.between(20, 1200) * MS
        };
        self.plan(after_ns, Happening::Start { node });
    }

    fn lose_power(&mut self, node: usize) {
        self.coverage.note(("fault", "power loss"));
        let unsynced = self.machines[node].disk.unsynced();
        let kept = self.random.place(unsynced + 1);
        let machine = &mut self.machines[node];
        let lost = machine.disk.lose_power(kept);
        machine.lost_power = true;
        machine.clocks.reboot(self.now, &mut self.random);
        if self.random.permille(400) && machine.clocks.step_wall(&mut self.random) {
            self.coverage.note(("fault", "wall clock falls far back"));
        }
        if !lost.is_empty() {
            self.coverage
                .note(("fault", "power loss that costs writes"));
        }
        let commits = lost.into_iter().filter_map(|write| match write {
            Write::Commit(_, grants) => Some(grants),
            _ => None,
        });
        // grants of the mode `fsync` were to survive this
        if self.options.durability != Durability::Fsync {
            let quarantined = self.options.quarantine;
            for grant in commits.flatten() {
                self.see(&Fact::LostWithPower { grant, quarantined });
            }
        }
    }

    /// The process stands still for a while.
    pub(super) fn pause(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if machine.process.is_none() || machine.paused.is_some() {
            return;
        }
        machine.paused = Some(VecDeque::new());
        let for_ns = self.random.between(50, 4000) * MS;
        self.say(|| format!("node {node} stands still for {} ms", for_ns / MS));
        self.plan(for_ns, Happening::Resume { node });
        for peer in (0..self.machines.len()).filter(|&it| it != node) {
            if for_ns > 1500 * MS && self.random.permille(700) {
                self.break_link(node, peer);
            }
        }
    }

    /// The process goes on with what it knew.
    pub(super) fn resume(&mut self, node: usize) {
        let Some(waiting) = self.machines[node].paused.take() else {
            return;
        };
        self.say(|| format!("node {node} goes on"));
        self.carry_out(node);
        for event in waiting {
            self.plan_node(node, 0, event);
        }
    }

    /// Something happens to a life of a node, unless that is over.
    pub(super) fn happens_to(&mut self, node: usize, life: u64, event: NodeEvent) {
        let machine = &mut self.machines[node];
        if machine.process.is_none() || machine.life != life {
            if let NodeEvent::Delivered { wire, .. } = event {
                self.arrived_too_late(node, &wire);
            }
            return;
        }
        if let Some(waiting) = &mut machine.paused {
            waiting.push_back(event);
            return;
        }
        match event {
            NodeEvent::Tick => {
                self.tell_heard(node);
                self.step(node, Event::Tick);
                self.plan_node(node, 100 * MS, NodeEvent::Tick);
            }
            NodeEvent::Wake(at) => self.wake(node, at),
            NodeEvent::Look(at) => self.look(node, at),
            NodeEvent::Commit => self.commit(node),
            NodeEvent::Upkeep => self.upkeep(node),
            NodeEvent::Synced { upto, after } => self.synced(node, upto, after),
            NodeEvent::LateInstall(states) => {
                self.machines[node]
                    .disk
                    .write(Write::Commit(states, Vec::new()));
                self.sync(node, AfterSync::Nothing);
            }
            NodeEvent::Stray { request, answer } => self.pass_back(node, request, answer),
            NodeEvent::Opened { peer, connection } => self.opened(node, peer, connection),
            NodeEvent::Closed { peer, connection } => self.closed(node, peer, connection),
            NodeEvent::Delivered {
                peer,
                connection,
                wire,
            } => self.delivered(node, peer, connection, wire),
            NodeEvent::Asked {
                asker,
                request,
                ask,
                tries,
            } => self.asked(node, (asker, request), ask, tries),
            NodeEvent::Retarget => self.retarget(node),
            NodeEvent::Weighed {
                node: weighed,
                weight,
            } => self.weighed(node, weighed, weight),
            NodeEvent::Applied { version } => self.applied(node, version),
            NodeEvent::Vouched { gone } => self.step(node, Event::Vouched { gone }),
            other => self.replicates(node, other),
        }
    }

    /// The same, of what concerns replicas.
    fn replicates(&mut self, node: usize, event: NodeEvent) {
        match event {
            NodeEvent::Wanted { replicas } => self.wanted(node, replicas),
            NodeEvent::Dial { peer, connection } => self.dial(node, peer, connection),
            NodeEvent::Clocks { peer, link } => self.tell_clocks(node, peer, link),
            NodeEvent::Track => self.track(node),
            NodeEvent::Told(event) => self.step(node, event),
            NodeEvent::Become => {
                if let Some(process) = self.process(node) {
                    process.looking = false;
                }
                self.go_on_becoming(node);
            }
            NodeEvent::CopyEnds {
                peer,
                connection,
                task,
                copies,
            } => self.copy_ends(node, (peer, connection), task, copies),
            _ => {}
        }
    }

    /// Who was heard of since the last tick.
    fn tell_heard(&mut self, node: usize) {
        let heard = self.process(node).map(|it| std::mem::take(&mut it.heard));
        let heard = heard.filter(|it| !it.is_empty());
        if let Some(heard) = heard {
            let peers = heard.into_iter().map(node_id).collect();
            self.step(node, Event::Heard { peers });
        }
    }

    /// Whether a replica is gone for good, and the others hold what nobody else has.
    fn is_fragile(&self) -> bool {
        let gone = (0..self.machines.len()).filter(|&it| self.machines[it].removed);
        gone.map(node_id).any(|gone| {
            let several = |it: &Configuration| it.replicas.majority() > 1;
            let mut newest = self.newest.values();
            newest.any(|it| several(it) && it.replicas.contains(gone))
        })
    }

    fn opened(&mut self, node: usize, peer: usize, connection: u64) {
        if self.links.open(node, peer) == Some(connection) {
            return;
        }
        if let Some(old) = self.links.open(node, peer) {
            self.closed(node, peer, old);
        }
        self.open_end(node, peer, connection);
        self.meet(node, peer);
        let peer_id = node_id(peer);
        if let Some(process) = self.process(node) {
            process.heard.insert(peer);
        }
        self.dial_soon(node, peer, connection);
        self.step(node, Event::Connected { peer: peer_id });
        self.retarget_soon(node);
    }

    fn closed(&mut self, node: usize, peer: usize, connection: u64) {
        if !self.close_end(node, peer, connection) {
            return;
        }
        let Some(process) = self.process(node) else {
            return;
        };
        process.copies.retain(|(to, _), _| *to != peer);
        process.visits.remove(&peer);
        for known in process.became.values_mut() {
            known.1.retain(|it| *it != node_id(peer));
        }
        self.unlink(node, peer);
        self.step(
            node,
            Event::Lost {
                peer: node_id(peer),
            },
        );
        self.transfers_are_cut(node, peer, connection);
        self.retarget_soon(node);
        self.reconnect(node, peer);
        let node_lost = node_id(peer);
        self.sight(node, SwimEvent::Doubt { node: node_lost });
    }

    fn delivered(&mut self, node: usize, peer: usize, connection: u64, wire: Wire) {
        match self.belongs(node, peer, connection) {
            Belongs::Here => {}
            Belongs::Newer => self.opened(node, peer, connection),
            Belongs::Elsewhere => return self.arrived_too_late(node, &wire),
        }
        if let Some(process) = self.process(node) {
            process.heard.insert(peer);
        }
        match wire {
            Wire::Ownership(message) => self.received(node, peer, message),
            Wire::Datagram(bytes) => {
                let from = node_id(peer);
                self.sight(node, SwimEvent::Datagram { from, bytes });
            }
            Wire::Ask { request, ask } => {
                let asker = Asker::Peer {
                    node: peer,
                    connection,
                };
                self.asked(node, (asker, request), ask, 0);
            }
            Wire::Answer { request, answer } => self.pass_back(node, request, answer),
            Wire::CopyAsked { task, slots } => self.copy_asked(node, peer, task, &slots),
            Wire::Copied { task, states } => self.copied(node, peer, task, states),
            Wire::RestAsked { task, slots } => self.rest_asked(node, peer, task, &slots),
            Wire::Rest { task, rests } => self.rest_came(node, peer, task, rests),
            Wire::CatchUpAsked { task, slots } => self.catch_up_asked(node, peer, task, &slots),
            Wire::CaughtUp { task, slots } => self.caught_up(node, peer, task, slots),
            Wire::FromOwner { link, said } => self.owner_said(node, peer, link, said),
            Wire::FromReplica { link, said } => self.replica_said(node, peer, link, &said),
        }
    }
}
