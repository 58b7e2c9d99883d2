//! Nodes in one process, with a network between them that delays and loses; and what they find out.

use std::collections::{BTreeMap, BTreeSet};

use crate::membership::identity::{Address, Identity};
use crate::membership::swim::{Liveness, Swim, SwimConfig, SwimEffect, SwimEvent};
use crate::types::{BootCounter, MonoTime, NodeId};

pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) fn identity(node: u128, boot: u64) -> Identity {
    let address = Address::new(&format!("10.0.0.{node}:7400")).unwrap();
    Identity::new(NodeId(node), address, BootCounter(boot))
}

/// What the network carries, or a node's wish to be woken.
enum Coming {
    Datagram {
        from: NodeId,
        to: NodeId,
        bytes: Vec<u8>,
    },
    Wake(NodeId),
}

/// The whole of it. All choices come from one seed.
pub(super) struct Network {
    pub(super) now_ns: u64,
    nodes: BTreeMap<NodeId, Swim>,
    coming: BTreeMap<(u64, u64), Coming>,
    wake_at: BTreeMap<NodeId, u64>,
    count: u64,
    random: u64,
    /// Of 1000 datagrams, how many are lost.
    loss: u64,
    /// Nodes that do nothing and get nothing until they are resumed.
    paused: BTreeSet<NodeId>,
    /// Pairs between which nothing passes.
    pub(super) cut: BTreeSet<(NodeId, NodeId)>,
    /// When each node declared which other down.
    pub(super) downs: Vec<(u64, NodeId, NodeId)>,
    /// How often a node began to suspect another.
    pub(super) suspicions: u64,
}

impl Network {
    /// `count` nodes, numbered from 1, of which all but the first announce to the first.
    pub(super) fn new(count: u128, loss: u64, seed: u64) -> Self {
        let mut network = Self {
            now_ns: SECOND,
            nodes: BTreeMap::new(),
            coming: BTreeMap::new(),
            wake_at: BTreeMap::new(),
            count: 0,
            random: seed | 1,
            loss,
            paused: BTreeSet::new(),
            cut: BTreeSet::new(),
            downs: Vec::new(),
            suspicions: 0,
        };
        for node in 1..=count {
            network.start(node, 1);
            if node > 1 {
                network.step(NodeId(node), SwimEvent::Announce { to: identity(1, 1) });
            }
        }
        network
    }

    /// Starts a node, or starts it again.
    pub(super) fn start(&mut self, node: u128, boot: u64) {
        let seed = self.random_below(u64::MAX);
        let swim = Swim::new(identity(node, boot), SwimConfig::default(), seed);
        self.nodes.insert(NodeId(node), swim);
    }

    pub(super) fn kill(&mut self, node: u128) {
        self.nodes.remove(&NodeId(node));
        self.wake_at.remove(&NodeId(node));
    }

    pub(super) fn pause(&mut self, node: u128) {
        self.paused.insert(NodeId(node));
    }

    pub(super) fn resume(&mut self, node: u128) {
        self.paused.remove(&NodeId(node));
        self.step(NodeId(node), SwimEvent::Tick);
    }

    pub(super) fn node(&self, node: u128) -> &Swim {
        &self.nodes[&NodeId(node)]
    }

    /// Whom `node` takes for living.
    pub(super) fn living(&self, node: u128) -> Vec<u128> {
        let members = self.node(node).members();
        let living = members.filter(|(_, it)| *it != Liveness::Down);
        living.map(|(id, _)| id.node.0).collect()
    }

    /// Whether all nodes take just each other for living.
    pub(super) fn agrees(&self) -> bool {
        self.nodes.keys().all(|node| {
            let others = self.nodes.keys().filter(|it| *it != node).map(|it| it.0);
            self.living(node.0) == others.collect::<Vec<_>>()
        })
    }

    /// Lets time pass until `stop` says so or so many seconds are over; whether it said so.
    pub(super) fn run(&mut self, seconds: u64, stop: impl Fn(&Self) -> bool) -> bool {
        let end = self.now_ns + seconds * SECOND;
        while !stop(self) {
            let Some((&(at, n), _)) = self.coming.first_key_value() else {
                break;
            };
            if at > end {
                break;
            }
            let coming = self.coming.remove(&(at, n)).unwrap();
            self.now_ns = self.now_ns.max(at);
            self.deliver(at, coming);
        }
        let stopped = stop(self);
        if !stopped {
            self.now_ns = end;
        }
        stopped
    }

    fn deliver(&mut self, at: u64, coming: Coming) {
        match coming {
            Coming::Wake(node) => {
                if self.wake_at.get(&node) == Some(&at) && !self.paused.contains(&node) {
                    self.step(node, SwimEvent::Tick);
                }
            }
            Coming::Datagram { from, to, bytes } => {
                if self.paused.contains(&to) {
                    // It waits in the socket.
                    self.push(at + SECOND / 10, Coming::Datagram { from, to, bytes });
                } else if !self.cut.contains(&(from, to)) {
                    self.step(to, SwimEvent::Datagram { from, bytes });
                }
            }
        }
    }

    pub(super) fn step(&mut self, node: NodeId, event: SwimEvent) {
        let Some(swim) = self.nodes.get_mut(&node) else {
            return;
        };
        for effect in swim.step(MonoTime::from_ns(self.now_ns), event) {
            match effect {
                SwimEffect::Send { to, bytes } => self.send(node, to.node, bytes),
                SwimEffect::MemberDown { member } => {
                    self.downs.push((self.now_ns, node, member.node));
                }
                SwimEffect::WakeAt(at) => {
                    self.wake_at.insert(node, at.as_ns());
                    self.push(at.as_ns(), Coming::Wake(node));
                }
                SwimEffect::MemberSuspect { .. } => self.suspicions += 1,
                SwimEffect::MemberUp { .. }
                | SwimEffect::Joined
                | SwimEffect::Alone
                | SwimEffect::Renewed { .. } => {}
            }
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, bytes: Vec<u8>) {
        assert!(bytes.len() <= crate::membership::swim::PACKET_BYTES_MAX);
        let delay = SECOND / 1000 + self.random_below(SECOND / 50);
        if self.random_below(1000) >= self.loss {
            self.push(self.now_ns + delay, Coming::Datagram { from, to, bytes });
        }
    }

    fn push(&mut self, at: u64, coming: Coming) {
        self.count += 1;
        self.coming.insert((at, self.count), coming);
    }

    fn random_below(&mut self, bound: u64) -> u64 {
        // xorshift64.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}
