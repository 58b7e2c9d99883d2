//! Who is in sight: the real SWIM of each node, over datagrams that are lost, doubled and reordered.

use super::machine::{node_id, node_of};
use super::queue::NodeEvent;
use super::wire::Wire;
use super::world::World;
use crate::membership::identity::{Address, Identity};
use crate::membership::swim::{Liveness, Swim, SwimConfig, SwimEffect, SwimEvent};
use crate::types::{BootCounter, MonoTime};

/// The SWIM of a node that starts for the `boots`th time.
pub(super) fn swim_of(node: usize, boots: u64, seed: u64) -> Option<Swim> {
    let address = Address::new(&format!("10.0.0.{}:7000", node + 1))?;
    let identity = Identity::new(node_id(node), address, BootCounter(boots));
    Some(Swim::new(identity, SwimConfig::default(), seed))
}

impl World {
    /// Something happens to a node among members.
    pub(super) fn sight(&mut self, node: usize, event: SwimEvent) {
        let mono = self.machines[node].clocks.mono(self.now);
        let Some(swim) = self.process(node).and_then(|it| it.swim.as_mut()) else {
            return;
        };
        for effect in swim.step(mono, event) {
            self.sighted(node, effect);
        }
    }

    fn sighted(&mut self, node: usize, effect: SwimEffect) {
        match effect {
            SwimEffect::Send { to, bytes } => self.gossip(node, node_of(to.node), &bytes),
            SwimEffect::MemberUp { .. } => self.retarget_soon(node),
            SwimEffect::MemberSuspect { .. } => self.coverage.note(("member", "suspected")),
            SwimEffect::MemberDown { .. } => {
                self.coverage.note(("member", "down"));
                self.retarget_soon(node);
            }
            SwimEffect::Renewed { .. } => self.coverage.note(("member", "renewed")),
            SwimEffect::Alone => self.coverage.note(("member", "alone")),
            SwimEffect::Joined => {}
            SwimEffect::WakeAt(at) => self.look_again_at(node, at),
        }
    }

    fn gossip(&mut self, node: usize, to: usize, bytes: &[u8]) {
        let copies = match self.random.below(if self.calm { 1 } else { 40 }) {
            1 => 0,
            2 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let wire = Wire::Datagram(bytes.to_vec());
            self.send(node, to, wire);
        }
    }

    fn look_again_at(&mut self, node: usize, at: MonoTime) {
        let wait_ns = self.machines[node].clocks.true_wait_ns(self.now, at);
        if let Some(process) = self.process(node)
            && process.look.is_none_or(|it| at < it)
        {
            process.look = Some(at);
            self.plan_node(node, wait_ns, NodeEvent::Look(at));
        }
    }

    pub(super) fn look(&mut self, node: usize, at: MonoTime) {
        if let Some(process) = self.process(node)
            && process.look == Some(at)
        {
            process.look = None;
            self.sight(node, SwimEvent::Tick);
        }
    }

    /// A new connection: the peer has introduced itself.
    pub(super) fn meet(&mut self, node: usize, peer: usize) {
        let process = self.machines[peer].process.as_ref();
        let identity = process
            .and_then(|it| it.swim.as_ref())
            .map(|it| it.identity().clone());
        if let Some(to) = identity {
            self.sight(node, SwimEvent::Announce { to });
        }
    }

    /// Whether a node takes another for a member that is there.
    pub(super) fn sees(&self, node: usize, peer: usize) -> bool {
        let swim = self.machines[node]
            .process
            .as_ref()
            .and_then(|it| it.swim.as_ref());
        node == peer
            || swim
                .and_then(|it| it.liveness(node_id(peer)))
                .is_some_and(|it| it != Liveness::Down)
    }
}
