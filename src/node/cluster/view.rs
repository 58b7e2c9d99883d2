//! What the control loop last saw of the cluster, for admins.

use std::sync::Arc;
use std::time::Duration;

use super::handle::Cluster;
use crate::node::clock;
use crate::node::engine::Engine;
use crate::protocol::admin::{HandOff, NodeLoad, Owner, Ring, RingNode};
use crate::types::{NodeId, Replicas, Slot};

/// Stands for a node that is not among those of a [`Ring`].
const NOBODY: u16 = u16::MAX;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// All nodes, by id.
    pub(crate) nodes: Vec<RingNode>,
    /// Hand-offs to this node.
    pub(crate) hand_offs: Vec<HandOff>,
    /// What was refused of all that other nodes said or claimed.
    pub(crate) refused: u64,
    /// Seals that have ended here, slot by slot, and the longest of them.
    pub(crate) seals: (u64, Duration),
    /// Why the cluster has shut this node out, if it has.
    pub(crate) shut_out: Option<String>,
    /// Of each slot, who should hold it.
    pub(crate) targets: Arc<Vec<Replicas>>,
}

impl View {
    fn target(&self, slot: Slot) -> Option<NodeId> {
        self.targets.get(slot.index())?.as_slice().first().copied()
    }

    fn place(&self, node: Option<NodeId>) -> u16 {
        let place = node.and_then(|node| self.nodes.iter().position(|it| it.node == node.0));
        place
            .and_then(|at| u16::try_from(at).ok())
            .unwrap_or(NOBODY)
    }
}

/// The cluster as this node sees it.
pub(crate) async fn ring(engine: &Engine, cluster: &Cluster) -> Ring {
    // A control loop that has no time to tell of replicas hides nothing of the rest.
    let replicas = cluster.replicas().await.unwrap_or_default();
    let view = cluster.view();
    let map = cluster.forwarder.map();
    let mut runs: Vec<(u16, u16, u16)> = Vec::new();
    for slot in Slot::all() {
        let owner = view.place(map.owner(slot));
        let target = view.place(view.target(slot));
        match runs.last_mut() {
            Some((slots, of, to)) if (*of, *to) == (owner, target) => {
                *slots = slots.saturating_add(1);
            }
            Some(_) | None => runs.push((1, owner, target)),
        }
    }
    Ring {
        node: engine.about.node.0,
        nodes: view.nodes.clone(),
        runs,
        hand_offs: view.hand_offs.clone(),
        load: load(engine, cluster),
        replicas,
    }
}

/// What this node holds and does.
pub(crate) fn load(engine: &Engine, cluster: &Cluster) -> NodeLoad {
    let counters = engine.table.counters();
    let counts = cluster.forwarder.counts();
    let slots = Slot::all()
        .filter(|slot| engine.table.is_served(*slot))
        .count();
    let committer = &engine.committer;
    let uptime = clock::mono_now().since(engine.about.started);
    NodeLoad {
        slots: u32::try_from(slots).unwrap_or(u32::MAX),
        keys: counters.keys,
        checks: counters.grants.saturating_add(counters.denials),
        proxied: counts.proxied,
        degraded: counts.degraded,
        unsynced_commits: committer.committed().saturating_sub(committer.synced()),
        uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Who owns a key.
pub(crate) async fn owner(engine: &Engine, cluster: &Cluster, key: &str) -> Owner {
    let slot = engine.slot_of(key);
    let seen = cluster.slot(slot).await.unwrap_or_default();
    let map = cluster.forwarder.map();
    let known = map.known(slot);
    let node = known.map(|known| known.node);
    let address = node.and_then(|node| map.address(node));
    Owner {
        slot: slot.number(),
        epoch: known.map_or(0, |known| known.epoch.counter),
        version: known.map_or(0, |known| known.version),
        owner: node.map_or(0, |node| node.0),
        owner_address: address.map_or_else(String::new, |address| address.to_string()),
        target: cluster.view().target(slot).map_or(0, |node| node.0),
        replicas: seen.chosen.map_or_else(Vec::new, |it| it.replicas),
        served: seen.serves,
        in_sync: seen.in_sync,
    }
}
