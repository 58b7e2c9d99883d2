//! What comes to the world from outside: connections that are lost and made anew, nodes that crash, lose
//! power and come back, and who should hold what.

use super::super::event::Event;
use super::super::{Ownership, Settings};
use super::world::{World, node};
use crate::types::{NodeId, Replicas, Slot};

impl World {
    pub(super) fn connect_all(&mut self) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for a in &ids {
            for b in &ids {
                if a < b && self.nodes[a].up && self.nodes[b].up {
                    self.connect(*a, *b);
                }
            }
        }
    }

    pub(super) fn connect(&mut self, a: NodeId, b: NodeId) {
        self.messages
            .retain(|it| (it.0, it.1) != (a, b) && (it.0, it.1) != (b, a));
        self.links.extend([(a, b), (b, a)]);
        self.unlink_replicas(a, b);
        self.unlink_replicas(b, a);
        self.event(a.0, Event::Connected { peer: b });
        self.event(b.0, Event::Connected { peer: a });
    }

    /// The connection between two is lost, with all that is on its way.
    pub(super) fn cut_between(&mut self, a: u128, b: u128) {
        for (id, peer) in [(node(a), node(b)), (node(b), node(a))] {
            self.links.remove(&(id, peer));
            self.messages.retain(|it| (it.0, it.1) != (id, peer));
            self.unlink_replicas(id, peer);
            self.event(id.0, Event::Lost { peer });
            self.drop_copies(id, peer);
        }
    }

    /// The connections of a node are lost, with all that is on its way.
    pub(super) fn cut(&mut self, n: u128) {
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids.into_iter().filter(|id| *id != node(n)) {
            self.cut_between(id.0, n);
        }
    }

    pub(super) fn crash(&mut self, n: u128) {
        self.cut(n);
        let it = self.node_mut(node(n));
        it.up = false;
        it.forget();
    }

    /// R5: what was not synced is gone, and so what is there may be too little.
    pub(super) fn lose_power(&mut self, n: u128) {
        self.crash(n);
        let it = self.node_mut(node(n));
        for (slot, register) in Slot::all().zip(&mut it.registers) {
            let chosen = register.and_then(|it| it.chosen);
            let several = chosen.is_some_and(|it| it.replicas.majority() > 1);
            if let Some(register) = register.as_mut().filter(|_| several) {
                register.complete = false;
                match it.synced.get(&slot) {
                    Some(state) => it.states.insert(slot, state.clone()),
                    None => it.states.remove(&slot),
                };
            }
        }
    }

    pub(super) fn start(&mut self, n: u128) {
        let it = self.node_mut(node(n));
        it.up = true;
        it.life = Ownership::new(node(n), it.registers.clone(), Settings::default(), 8);
        self.event(n, Event::Start);
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            if id != node(n) && self.nodes[&id].up {
                self.connect(node(n), id);
            }
        }
        self.retarget();
    }

    /// Starts a node that was wrongly given up.
    pub(super) fn start_unchecked(&mut self, n: u128) {
        self.lenient = true;
        self.start(n);
    }

    /// Gives slots to several nodes each, and tells all.
    pub(super) fn target_all(&mut self, numbers: &[u16], nodes: &[u128]) {
        let nodes: Vec<NodeId> = nodes.iter().copied().map(node).collect();
        for number in numbers {
            self.targets[usize::from(*number)] = Replicas::of(&nodes);
        }
        self.retarget();
    }

    /// Gives slots to a node, and tells all.
    pub(super) fn target(&mut self, numbers: &[u16], n: u128) {
        for number in numbers {
            self.targets[usize::from(*number)] = Replicas::one(node(n));
        }
        self.retarget();
    }

    pub(super) fn retarget(&mut self) {
        let up = self.nodes.iter().filter(|it| it.1.up);
        let reachable: Vec<NodeId> = up.map(|it| *it.0).collect();
        for id in reachable.clone() {
            let event = Event::Retargeted {
                targets: self.targets.clone(),
                reachable: reachable.clone(),
            };
            self.event(id.0, event);
        }
    }
}
