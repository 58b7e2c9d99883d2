//! Who should hold each slot, by the roster, by what the operator wants of the cluster, and by who has
//! been down for too long.

use std::sync::Arc;

use super::control::Control;
use crate::membership::cluster_settings::{ClusterSettings, NotReplicas};
use crate::membership::roster::Standing;
use crate::node::clock;
use crate::ownership::event::Event;
use crate::protocol::peer::PeerFrame;
use crate::routing::placement::{self, Member};
use crate::types::NodeId;

/// Name of the cluster's settings in `meta`.
pub(super) const CLUSTER_SETTINGS: &str = "cluster_settings";

/// What targets follow from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Targeted {
    members: Vec<Member>,
    replicas: usize,
    reachable: Vec<NodeId>,
}

impl Targeted {
    /// How many nodes take slots.
    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    /// How many replicas each slot should have.
    pub(super) fn replicas(&self) -> usize {
        placement::replicas_among(self.members.len(), self.replicas)
    }
}

impl Control {
    /// Works out who should hold each slot, and tells the ownership if that, or who can be reached,
    /// has changed.
    pub(super) async fn retarget(&mut self) {
        let replicas = usize::from(self.wanted.replicas());
        let mut reachable: Vec<NodeId> = self.connected.iter().copied().collect();
        reachable.push(self.engine.about.node);
        let targeted = Targeted {
            members: self.members(replicas),
            replicas,
            reachable,
        };
        if targeted == self.targeted {
            return;
        }
        let by_members = (&targeted.members, targeted.replicas);
        if by_members != (&self.targeted.members, self.targeted.replicas) {
            self.tell_of_replicas(&targeted);
            // Without any member to take them, slots stay where they are.
            if let Some(targets) = placement::targets(&targeted.members, replicas) {
                self.targets = Arc::new(targets);
            }
        }
        let reachable = targeted.reachable.clone();
        self.targeted = targeted;
        self.changed = true;
        let targets = self.targets.to_vec();
        let event = Event::Retargeted { targets, reachable };
        self.ownership(event).await;
    }

    /// The nodes that slots should be on. With one replica a node that is down keeps its slots, since
    /// nobody else has them; with more, those are made elsewhere once it has been down for long, if
    /// there are nodes enough without it.
    fn members(&self, replicas: usize) -> Vec<Member> {
        let (now, patience) = (clock::mono_now(), self.settings.repair_after);
        let given_up = |node: &NodeId| {
            let down = self.down_since.get(node);
            replicas > 1 && down.is_some_and(|since| now.since(*since) >= patience)
        };
        let entries = self.roster.ring_members();
        let members = entries.map(|it| Member {
            node: it.node,
            weight: it.weight,
            zone: it.zone.clone(),
            stopping: it.standing == Standing::Stopping,
        });
        let (gone, there): (Vec<Member>, Vec<Member>) = members.partition(|it| given_up(&it.node));
        // Without these the others would give up the copies that they have.
        let too_few = there.len() < placement::NODES_MIN;
        let kept = if too_few { gone } else { Vec::new() };
        let mut members: Vec<Member> = there.into_iter().chain(kept).collect();
        members.sort_by_key(|it| it.node);
        members
    }

    fn tell_of_replicas(&self, targeted: &Targeted) {
        let (wanted, possible) = (targeted.replicas, targeted.replicas());
        if wanted != possible {
            tracing::warn!(
                wanted,
                nodes = targeted.members.len(),
                "each slot is on one node only until {} nodes take slots: the loss of a node stops \
                 its keys",
                placement::NODES_MIN,
            );
        } else if possible != self.targeted.replicas() {
            tracing::info!(replicas = possible, "replicas of each slot");
        }
    }

    /// Takes over what the operator wants of the cluster, as another node has told it.
    pub(super) async fn learn_settings(&mut self, from: NodeId, version: u64, replicas: u8) {
        match ClusterSettings::new(version, replicas) {
            Ok(settings) => self.adopt(settings).await,
            Err(error) => {
                tracing::warn!(peer = %from, %error, "the cluster's settings are not taken over");
            }
        }
    }

    /// Has each slot on so many nodes, on the operator's word.
    ///
    /// # Errors
    /// [`NotReplicas`]; nothing has changed.
    pub(super) async fn set_replicas(&mut self, replicas: u8) -> Result<(), NotReplicas> {
        let settings = self.wanted.with_replicas(replicas)?;
        tracing::info!(replicas, "the operator wants another number of replicas");
        self.adopt(settings).await;
        Ok(())
    }

    async fn adopt(&mut self, settings: ClusterSettings) {
        if !self.wanted.merge(settings) {
            return;
        }
        let put = self
            .engine
            .store
            .put_meta(CLUSTER_SETTINGS, &settings.to_bytes());
        if let Err(error) = put {
            self.engine.fence.close(error);
            return;
        }
        self.tell_settings(None);
        self.retarget().await;
    }

    /// Tells one peer, or all, what the operator wants of the cluster.
    pub(super) fn tell_settings(&mut self, to: Option<NodeId>) {
        let frame = PeerFrame::Settings {
            version: self.wanted.version(),
            replicas: self.wanted.replicas(),
        };
        self.tell(to, &frame);
    }
}
