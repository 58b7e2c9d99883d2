//! What the status page is told: the ring, the nodes, the hand-offs and the figures of one node. The
//! names of the fields are those that the page reads; a test holds the two together.

use serde::Serialize;

use crate::protocol::admin::{AdminRequest, AdminResponse, PolicyLine, Ring, Status};
use crate::server::Service;
use crate::server::http::edge::Edge;
use crate::server::http::metrics::PolicyFigures;

/// A place in [`Ring::runs`] and [`crate::protocol::replicas::RingReplicas::runs`] of nobody.
const NOBODY: u16 = u16::MAX;

/// How the node is.
#[derive(Debug, Serialize)]
struct View<'a> {
    node: String,
    version: &'a str,
    uptime_ms: u64,
    nodes: Vec<NodeView<'a>>,
    /// How many slots, their owner's place in `nodes`, and that of who should own them.
    runs: &'a [(u16, u16, u16)],
    hand_offs: Vec<HandOffView<'a>>,
    checks: u64,
    denials: u64,
    proxied: u64,
    degraded: u64,
    keys: u64,
    table_bytes: u64,
    connections: u64,
    under_replicated: u64,
    without_majority: u64,
    storage: &'a str,
    shut_out: &'a str,
    policy_file_error: &'a str,
    policies: Vec<PolicyView<'a>>,
}

#[derive(Debug, Serialize)]
struct NodeView<'a> {
    node: String,
    address: &'a str,
    state: &'a str,
    me: bool,
    slots: u64,
    target_slots: u64,
    round_trip_us: u64,
}

#[derive(Debug, Serialize)]
struct HandOffView<'a> {
    from: String,
    to: String,
    slots: u32,
    step: &'a str,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct PolicyView<'a> {
    name: &'a str,
    limits: &'a [String],
    allowed: u64,
    denied: u64,
}

impl<S: Service> Edge<S> {
    /// The node's view as JSON; none if it does not tell how it is.
    pub(super) async fn view(&self) -> Option<String> {
        let (status, ring) = self.look().await;
        let status = status?;
        let lines = match self.desk.admin(&AdminRequest::Policies).await {
            AdminResponse::Policies(lines) => lines,
            _none => Vec::new(),
        };
        let figures = self.rules.figures.figures().policies;
        serde_json::to_string(&view(&status, &ring, &lines, &figures)).ok()
    }
}

fn view<'a>(
    status: &'a Status,
    ring: &'a Ring,
    lines: &'a [PolicyLine],
    figures: &'a [PolicyFigures],
) -> View<'a> {
    let hand_offs = ring.hand_offs.iter().map(|it| HandOffView {
        from: id(it.from),
        to: id(it.to),
        slots: it.slots,
        step: &it.step,
        bytes: it.bytes,
    });
    View {
        node: id(ring.node),
        version: &status.version,
        uptime_ms: status.uptime_ms,
        nodes: nodes(ring),
        runs: &ring.runs,
        hand_offs: hand_offs.collect(),
        checks: status.checks,
        denials: status.denials,
        proxied: ring.load.proxied,
        degraded: status.degraded,
        keys: status.keys,
        table_bytes: status.table_bytes,
        connections: status.connections,
        under_replicated: under_replicated(ring),
        without_majority: status.without_majority,
        storage: &status.storage,
        shut_out: &status.shut_out,
        policy_file_error: &status.policy_file_error,
        policies: policies(lines, figures),
    }
}

fn nodes(ring: &Ring) -> Vec<NodeView<'_>> {
    let mut views: Vec<NodeView<'_>> = ring
        .nodes
        .iter()
        .map(|it| NodeView {
            node: id(it.node),
            address: &it.address,
            state: &it.state,
            me: it.node == ring.node,
            slots: 0,
            target_slots: 0,
            round_trip_us: it.round_trip_us,
        })
        .collect();
    for &(slots, owner, target) in &ring.runs {
        if let Some(owner) = views.get_mut(usize::from(owner)) {
            owner.slots = owner.slots.saturating_add(slots.into());
        }
        if let Some(target) = views.get_mut(usize::from(target)) {
            target.target_slots = target.target_slots.saturating_add(slots.into());
        }
    }
    views
}

/// Slots that the node serves and that fewer nodes have in sync than could.
fn under_replicated(ring: &Ring) -> u64 {
    let replicas = &ring.replicas;
    let runs = replicas.runs.iter().filter(|run| run.1 != NOBODY);
    let under = runs.filter(|run| {
        let set = replicas.sets.get(usize::from(run.1));
        set.is_some_and(|set| set.in_sync.count_ones() < u32::from(replicas.wanted))
    });
    under.map(|run| u64::from(run.0)).sum()
}

fn policies<'a>(lines: &'a [PolicyLine], figures: &'a [PolicyFigures]) -> Vec<PolicyView<'a>> {
    let limits = |name: &str| {
        let line = lines.iter().find(|line| line.name == name);
        line.map_or(&[][..], |line| &line.limits)
    };
    let views = figures.iter().map(|it| PolicyView {
        name: &it.policy,
        limits: limits(&it.policy),
        allowed: it.allowed.saturating_add(it.shadow_denied),
        denied: it.denied,
    });
    views.collect()
}

fn id(node: u128) -> String {
    format!("{node:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::{HandOff, RingNode};
    use crate::protocol::replicas::ReplicaSet;

    fn node(node: u128, state: &str) -> RingNode {
        RingNode {
            node,
            state: state.into(),
            address: format!("node-{node}:7400"),
            ..RingNode::default()
        }
    }

    fn ring() -> Ring {
        let mut ring = Ring {
            node: 1,
            nodes: vec![node(1, "alive"), node(2, "down")],
            runs: vec![(4000, 0, 0), (90, 1, 0), (6, NOBODY, 1)],
            hand_offs: vec![HandOff {
                from: 2,
                to: 1,
                slots: 90,
                step: "seal".into(),
                bytes: 7,
            }],
            ..Ring::default()
        };
        ring.replicas.wanted = 3;
        let set = |in_sync| ReplicaSet {
            replicas: vec![1, 2, 3],
            in_sync,
        };
        ring.replicas.sets = vec![set(0b111), set(0b011)];
        ring.replicas.runs = vec![(3000, 0), (1000, 1), (96, NOBODY)];
        ring
    }

    #[test]
    fn shares_and_what_lacks_copies_are_counted() {
        let ring = ring();
        let shares: Vec<_> = nodes(&ring)
            .iter()
            .map(|it| (it.slots, it.target_slots, it.me))
            .collect();
        assert_eq!(shares, [(4000, 4090, true), (90, 6, false)]);
        assert_eq!(under_replicated(&ring), 1000);
    }

    /// Names that the page's script reads of an object that it calls so.
    fn read_of(object: &str) -> Vec<String> {
        let html = super::super::HTML;
        let start = format!("{object}.");
        let pieces = html.split(&start).skip(1);
        let word = |piece: &str| -> String {
            let end = piece.find(|it: char| !it.is_ascii_lowercase() && it != '_');
            piece[..end.unwrap_or(piece.len())].to_owned()
        };
        pieces.map(word).collect()
    }

    #[test]
    fn the_page_reads_nothing_that_it_is_not_told() {
        let (ring, status) = (ring(), Status::default());
        let figures = [PolicyFigures::default()];
        let value = serde_json::to_value(view(&status, &ring, &[], &figures)).unwrap();
        let of_page = [("view", &value), ("node", &value["nodes"][0])];
        for (object, told) in of_page {
            let read = read_of(&format!(" {object}"));
            assert!(read.len() > 3, "{object}: {read:?}");
            for name in read {
                assert!(told.get(&name).is_some(), "{object}.{name}");
            }
        }
        for name in ["from", "to", "slots", "step", "bytes"] {
            assert!(value["hand_offs"][0].get(name).is_some(), "{name}");
        }
        for name in ["name", "limits", "allowed", "denied"] {
            assert!(value["policies"][0].get(name).is_some(), "{name}");
        }
    }
}
