//! What the nodes of a cluster say of themselves and each other, and waiting until they say the right
//! thing.

use std::time::Duration;

use distributed_rate_limiter::client::{Admin, Ring, Status};

use super::cluster::Cluster;
use super::now_ns;

/// Far longer than all slots take to move, on a machine that does much else.
const SETTLES: Duration = Duration::from_secs(180);

/// Slots of any cluster.
const SLOTS: usize = 4096;

impl Cluster {
    /// Waits until all running nodes agree that each slot has the owner that it should have.
    pub(crate) async fn settled(&self) {
        let given_up = now_ns() + u64::try_from(SETTLES.as_nanos()).unwrap();
        loop {
            let views = self.views().await;
            if is_settled(&views) {
                return;
            }
            assert!(
                now_ns() < given_up,
                "the cluster never settled:\n{}",
                told(&views)
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until every slot is on as many nodes in sync as it should be.
    pub(crate) async fn in_sync(&self) {
        let given_up = now_ns() + u64::try_from(SETTLES.as_nanos()).unwrap();
        loop {
            let views = self.views().await;
            if are_in_sync(&views) {
                return;
            }
            assert!(
                now_ns() < given_up,
                "some slots were never in sync:\n{}",
                told(&views)
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How each running node is, by its place.
    pub(crate) async fn statuses(&self) -> Vec<(usize, Status)> {
        let mut statuses = Vec::new();
        for place in self.running() {
            let status = self.admin(place).await.status().await.unwrap();
            statuses.push((place, status));
        }
        statuses
    }

    /// An admin of each running node.
    pub(crate) async fn admins(&self) -> Vec<Admin> {
        let mut admins = Vec::new();
        for place in self.running() {
            admins.push(self.admin(place).await);
        }
        admins
    }

    /// What each running node thinks of the cluster.
    pub(crate) async fn views(&self) -> Vec<Ring> {
        let mut views = Vec::new();
        for place in self.running() {
            views.push(self.admin(place).await.ring().await.unwrap());
        }
        views
    }
}

/// What is wrong in these views, a line each.
fn told(views: &[Ring]) -> String {
    let lines = views.iter().map(|view| {
        let states = view.nodes.iter().map(|it| (it.address.as_str(), it.state.as_str()));
        let states: Vec<_> = states.collect();
        let astray = view.runs.iter().filter(|(_, owner, target)| owner != target);
        let astray: u32 = astray.map(|(slots, ..)| u32::from(*slots)).sum();
        let told = &view.replicas;
        let sets = told.sets.iter().filter(|it| it.in_sync.count_ones() < told.wanted.into());
        let thin: Vec<_> = sets.map(|it| (it.replicas.len(), it.in_sync)).collect();
        format!(
            "{:032x}: {states:?}, {astray} slots elsewhere than they should be, {:?}, sets not in sync \
             {thin:?}, {} of {} held slots behind",
            view.node, view.hand_offs, told.behind, told.held
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whether every slot is served by a node of these that reaches enough replicas to grant.
pub(crate) fn is_served(views: &[(Ring, Status)]) -> bool {
    let mut served = 0_usize;
    for (view, status) in views {
        let told = &view.replicas;
        for &(slots, set) in &told.runs {
            if let Some(set) = told.sets.get(usize::from(set)) {
                let majority = set.replicas.len() / 2 + 1;
                if usize::try_from(set.in_sync.count_ones()).unwrap() < majority {
                    return false;
                }
                served += usize::from(slots);
            }
        }
        if status.without_majority > 0 || status.storage != "ok" {
            return false;
        }
    }
    served >= SLOTS
}

/// Whether all views name the same owner of each slot, and the ring's target is that owner.
pub(crate) fn is_settled(views: &[Ring]) -> bool {
    let owners = |view: &Ring| -> Option<Vec<u128>> {
        let mut owners = Vec::new();
        for &(slots, owner, target) in &view.runs {
            let owner_id = view.nodes.get(usize::from(owner))?.node;
            if owner != target {
                return None;
            }
            owners.extend(std::iter::repeat_n(owner_id, usize::from(slots)));
        }
        Some(owners)
    };
    let first = views.first().and_then(owners);
    let alive = |view: &Ring| {
        view.nodes
            .iter()
            .filter(|node| node.state == "alive")
            .count()
    };
    first.is_some()
        && views.iter().all(|view| {
            owners(view) == first && view.hand_offs.is_empty() && alive(view) == views.len()
        })
}

/// Whether every slot is served on as many nodes in sync as are wanted.
pub(crate) fn are_in_sync(views: &[Ring]) -> bool {
    let mut whole = 0_usize;
    for view in views {
        let told = &view.replicas;
        for &(slots, set) in &told.runs {
            if let Some(set) = told.sets.get(usize::from(set)) {
                if set.in_sync.count_ones() < told.wanted.into() {
                    return false;
                }
                whole += usize::from(slots);
            }
        }
    }
    whole == SLOTS
}
