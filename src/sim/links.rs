//! Connections between nodes. One belongs to one life of each end (R6): what it carries comes in
//! order or not at all, and what was on its way is gone with it. A cut holds messages back; a
//! connection on which one side hears nothing for long is lost, at each end at its own time.
//!
//! In a rough network, messages about slots are also dropped, doubled and reordered one by one,
//! which the protocol must bear as well.

use std::collections::BTreeMap;

use super::mutations::Mutation;
use super::queue::{Happening, NodeEvent};
use super::wire::{Answer, Wire};
use super::world::{MS, World};

/// All of them.
#[derive(Debug)]
pub(super) struct Links {
    of: BTreeMap<(usize, usize), Link>,
    connections: u64,
    /// Answers that were on their way to a life of a node that is over, for the mutation that
    /// delivers them to a later one.
    stray: Vec<(usize, u64, Answer)>,
}

/// Two nodes and what is between them; ends and directions are those of the lower and the higher.
#[derive(Debug, Default)]
struct Link {
    /// The newest connection; it may not be known at the ends yet.
    newest: u64,
    /// The connection that each end believes in.
    open: [Option<u64>; 2],
    /// No message gets through any more, though an end may not know it.
    broken: bool,
    cut: [bool; 2],
    /// What a cut holds back, from each end.
    held: [Vec<(u64, Wire)>; 2],
    /// When the last message from each end arrives.
    arrives_ns: [[u64; 3]; 2],
    connecting: bool,
}

impl Links {
    pub(super) fn new(nodes: usize) -> Self {
        let pairs = (0..nodes).flat_map(|b| (0..b).map(move |a| (a, b)));
        Self {
            of: pairs.map(|pair| (pair, Link::default())).collect(),
            connections: 0,
            stray: Vec::new(),
        }
    }

    fn link(&mut self, a: usize, b: usize) -> &mut Link {
        self.of.entry((a.min(b), a.max(b))).or_default()
    }

    /// The connection that `node` believes to have to `peer`.
    pub(super) fn open(&self, node: usize, peer: usize) -> Option<u64> {
        let link = self.of.get(&(node.min(peer), node.max(peer)))?;
        link.open[end(node, peer)]
    }
}

/// Which connection a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belongs {
    /// The one that its receiver believes in.
    Here,
    /// A newer one.
    Newer,
    /// One that is lost.
    Elsewhere,
}

/// Which end of its link to `peer` a node is.
fn end(node: usize, peer: usize) -> usize {
    usize::from(node > peer)
}

impl World {
    /// Sends on the connection that the sender believes in, if any.
    pub(super) fn send(&mut self, from: usize, to: usize, wire: Wire) {
        let Some(connection) = self.links.open(from, to) else {
            return;
        };
        let rough = self.options.rough && !self.calm && matches!(wire, Wire::Ownership(_));
        if rough && self.random.permille(30) {
            self.coverage.note(("message", "dropped"));
            return;
        }
        if rough && self.random.permille(30) {
            self.coverage.note(("message", "doubled"));
            self.carry(from, to, connection, wire.clone(), true);
        }
        let reordered = rough && self.random.permille(50);
        if reordered {
            self.coverage.note(("message", "reordered"));
        }
        // datagrams have no order
        let reordered = reordered || matches!(wire, Wire::Datagram(_));
        self.carry(from, to, connection, wire, reordered);
    }

    fn carry(&mut self, from: usize, to: usize, connection: u64, wire: Wire, reordered: bool) {
        let mut delay_ns = self.delay_ns();
        let late = !matches!(wire, Wire::Datagram(_)) || self.random.permille(50);
        if reordered && late && !self.calm {
            delay_ns += self.random.below(800 * MS);
        }
        let (way, stream) = (end(from, to), wire.stream());
        let now = self.now;
        let link = self.links.link(from, to);
        if link.broken {
            self.coverage.note(("message", "lost with its connection"));
            return;
        }
        if link.cut[way] {
            link.held[way].push((connection, wire));
            self.coverage.note(("message", "held back by a cut"));
            return;
        }
        let mut at_ns = now + delay_ns;
        if !reordered {
            at_ns = at_ns.max(link.arrives_ns[way][stream] + 1);
            link.arrives_ns[way][stream] = at_ns;
        }
        let event = NodeEvent::Delivered {
            peer: from,
            connection,
            wire,
        };
        self.plan_node(to, at_ns - now, event);
    }

    /// Whether a frame that arrives belongs to the connection that the node believes in, or to one
    /// that it is just about to hear of.
    pub(super) fn belongs(&mut self, node: usize, peer: usize, connection: u64) -> Belongs {
        let link = self.links.link(node, peer);
        if link.open[end(node, peer)] == Some(connection) {
            return Belongs::Here;
        }
        if link.newest == connection && !link.broken {
            return Belongs::Newer;
        }
        Belongs::Elsewhere
    }

    /// A frame has come to a node that does not know its connection any more.
    pub(super) fn arrived_too_late(&mut self, node: usize, wire: &Wire) {
        self.coverage.note(("message", "lost with its connection"));
        if self.mutated(Mutation::BootCounterForgotten)
            && let Wire::Answer { request, answer } = wire
        {
            self.links.stray.push((node, *request, *answer));
        }
    }

    /// Cuts one direction for a while.
    pub(super) fn cut(&mut self, from: usize, to: usize, for_ns: u64) {
        let (a, b) = (from.min(to), from.max(to));
        let link = self.links.link(from, to);
        link.cut[end(from, to)] = true;
        let connection = link.open[0].or(link.open[1]).unwrap_or(0);
        self.plan(for_ns, Happening::Heal { from, to });
        let silence_ns = self.random.between(800, 2000) * MS;
        self.plan(silence_ns, Happening::Silence { a, b, connection });
    }

    /// Ends a cut: what it held back arrives now, in order.
    pub(super) fn heal(&mut self, from: usize, to: usize) {
        let way = end(from, to);
        let link = self.links.link(from, to);
        link.cut[way] = false;
        for (connection, wire) in std::mem::take(&mut link.held[way]) {
            self.carry(from, to, connection, wire, false);
        }
    }

    pub(super) fn heal_all(&mut self) {
        let cut: Vec<(usize, usize)> = self.links.of.keys().copied().collect();
        for (a, b) in cut {
            self.heal(a, b);
            self.heal(b, a);
        }
    }

    /// A connection on which one side has heard nothing for long.
    pub(super) fn silence(&mut self, a: usize, b: usize, connection: u64) {
        let link = self.links.link(a, b);
        let same = link.open.contains(&Some(connection));
        if same && (link.cut[0] || link.cut[1]) {
            self.break_link(a, b);
        }
    }

    /// The connection is lost, and with it what is on its way; each end learns it in its own time.
    pub(super) fn break_link(&mut self, a: usize, b: usize) {
        let (a, b) = (a.min(b), a.max(b));
        let link = self.links.link(a, b);
        link.broken = true;
        link.held = Default::default();
        let open = link.open;
        for (node, peer, connection) in [(a, b, open[0]), (b, a, open[1])] {
            if let Some(connection) = connection {
                let after_ns = self.random.below(600 * MS);
                self.plan_node(node, after_ns, NodeEvent::Closed { peer, connection });
            }
        }
        self.reconnect(a, b);
    }

    /// The end of a node that is no more; its peer learns of it later.
    pub(super) fn end_is_gone(&mut self, node: usize, peer: usize) {
        let gone = end(node, peer);
        let link = self.links.link(node, peer);
        link.open[gone] = None;
        self.break_link(node, peer);
    }

    /// A node learns that its connection is lost; false if it had another one already.
    pub(super) fn close_end(&mut self, node: usize, peer: usize, connection: u64) -> bool {
        let end = end(node, peer);
        let link = self.links.link(node, peer);
        let known = link.open[end] == Some(connection);
        if known {
            link.open[end] = None;
        }
        known
    }

    pub(super) fn reconnect(&mut self, a: usize, b: usize) {
        let after_ns = self.random.between(30, 500) * MS;
        let link = self.links.link(a, b);
        if !link.connecting {
            link.connecting = true;
            let (a, b) = (a.min(b), a.max(b));
            self.plan(after_ns, Happening::Connect { a, b });
        }
    }

    /// Two nodes try to connect; they try again until they are.
    pub(super) fn connect(&mut self, a: usize, b: usize) {
        let up = |it: usize| {
            let machine = &self.machines[it];
            machine.process.is_some() && machine.paused.is_none()
        };
        let gone = self.machines[a].removed || self.machines[b].removed;
        let both = up(a) && up(b);
        let link = self.links.link(a, b);
        link.connecting = false;
        let healthy = link.open[0].is_some() && link.open[0] == link.open[1] && !link.broken;
        if healthy || gone {
            return;
        }
        if !both || link.cut[0] || link.cut[1] {
            self.reconnect(a, b);
            return;
        }
        self.links.connections += 1;
        let connection = self.links.connections;
        let link = self.links.link(a, b);
        link.newest = connection;
        link.broken = false;
        link.held = Default::default();
        link.arrives_ns = [[self.now; 3]; 2];
        for (node, peer) in [(a, b), (b, a)] {
            let after_ns = self.random.between(1, 20 * MS);
            self.plan_node(node, after_ns, NodeEvent::Opened { peer, connection });
        }
    }

    /// A node has a new connection. If it is broken by now, the node will learn that too.
    pub(super) fn open_end(&mut self, node: usize, peer: usize, connection: u64) {
        let end = end(node, peer);
        let link = self.links.link(node, peer);
        link.open[end] = Some(connection);
        if link.broken || link.newest != connection {
            let after_ns = self.random.below(600 * MS);
            self.plan_node(node, after_ns, NodeEvent::Closed { peer, connection });
        }
    }

    /// The mutation that nothing keeps from its worst: a stray answer comes just when a request of
    /// its number is open again.
    pub(super) fn let_stray_in(&mut self, node: usize, request: u64) {
        let stray = &mut self.links.stray;
        if let Some(place) = stray.iter().position(|it| (it.0, it.1) == (node, request)) {
            let (_, request, answer) = stray.swap_remove(place);
            self.plan_node(node, 1, NodeEvent::Stray { request, answer });
        }
    }
}
