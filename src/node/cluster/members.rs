//! The cluster's nodes: who they are, who answers, and who should hold each slot by that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::control::Control;
use super::view::View;
use crate::membership::roster::{RosterEntry, RosterError, Standing};
use crate::membership::swim::{Liveness, SwimEffect, SwimEvent};
use crate::node::clock;
use crate::node::peer_wire::roster_frames;
use crate::node::policy_sets::rule::Peers;
use crate::ownership::Stage;
use crate::protocol::admin::{HandOff, RingNode};
use crate::protocol::peer::PeerFrame;
use crate::types::{BootCounter, NodeId};

/// Name of the roster in `meta`.
pub(super) const ROSTER: &str = "roster";

/// How often peers are told digests of what this node knows, in case they missed it.
pub(super) const TELL: Duration = Duration::from_secs(1);

impl Control {
    /// Lets the members take notice, and does what they want.
    pub(super) fn swim(&mut self, event: SwimEvent) {
        for effect in self.swim.step(clock::mono_now(), event) {
            match effect {
                SwimEffect::Send { to, bytes } => {
                    // Gossip that is lost is made good by the next.
                    self.net.send_datagram(to.node, bytes);
                }
                SwimEffect::WakeAt(at) => self.wake_at = self.wake_at.min(at),
                SwimEffect::MemberUp { member } => {
                    self.changed = true;
                    self.down_since.remove(&member.node);
                    tracing::info!(peer = %member.node, address = member.address.as_str(), "node is up");
                }
                SwimEffect::MemberSuspect { member } => {
                    self.changed = true;
                    tracing::info!(peer = %member.node, "node does not answer");
                }
                SwimEffect::MemberDown { member } => {
                    self.changed = true;
                    let now = clock::mono_now();
                    self.down_since.entry(member.node).or_insert(now);
                    tracing::warn!(
                        peer = %member.node, address = member.address.as_str(),
                        "node is down; slots that only it holds wait for it, and on_failure answers their keys; others are taken over"
                    );
                }
                SwimEffect::Alone if self.others() > 0 => {
                    tracing::warn!("no other node answers; this one goes on with its own slots");
                }
                SwimEffect::Alone => {}
                SwimEffect::Joined => tracing::info!("in touch with the cluster"),
                SwimEffect::Renewed { .. } => {
                    tracing::warn!(
                        "the others took this node for dead; it tells them that it lives"
                    );
                }
            }
        }
    }

    /// Changes what this node is to the cluster.
    pub(super) async fn set_standing(&mut self, standing: Standing) {
        self.standing = standing;
        self.publish_self().await;
    }

    /// Says anew what this node is, and tells the others if that changed.
    pub(super) async fn publish_self(&mut self) {
        let about = &self.engine.about;
        let entry = RosterEntry {
            node: about.node,
            boot: BootCounter(about.boots),
            revision: 0,
            standing: self.standing,
            weight: self.settings.weight,
            policies: self.cluster.policies_in_force().hash,
            addresses: vec![self.settings.advertise.clone()],
            certificate: self.settings.certificate.clone(),
            zone: self.settings.zone.clone(),
        };
        match self.roster.publish(entry) {
            Ok(true) => {
                self.roster_changed().await;
                self.tell_roster(None);
            }
            Ok(false) => {}
            Err(error @ RosterError::Removed { .. }) => self.shut_out(&error.to_string()).await,
            Err(error) => tracing::error!(%error, "this node cannot take part in the cluster"),
        }
    }

    /// The roster is another one: store it, dial by it, and work out the targets.
    pub(super) async fn roster_changed(&mut self) {
        self.changed = true;
        let put = self.engine.store.put_meta(ROSTER, &self.roster.to_bytes());
        if let Err(error) = put {
            self.engine.fence.close(error);
            return;
        }
        let part = self.roster.entries().filter(|entry| is_part(entry));
        let addresses = part.filter_map(|it| Some((it.node, it.addresses.first()?.clone())));
        let addresses: Vec<_> = addresses.collect();
        let texts = addresses.iter();
        let texts: Vec<_> = texts
            .map(|(node, address)| (*node, address.as_str().to_owned()))
            .collect();
        self.cluster.forwarder.set_nodes(&texts);
        self.net.set_targets(addresses);
        self.net.set_roster(self.roster.clone());
        let peers = if self.others() == 0 {
            Peers::Alone
        } else {
            Peers::Several
        };
        self.cluster
            .policies(&self.engine, |sets| sets.peers(peers));
        self.retarget().await;
    }

    /// How many other nodes the cluster has.
    pub(super) fn others(&self) -> usize {
        let me = self.engine.about.node;
        let others = self.roster.entries();
        others
            .filter(|entry| entry.node != me && is_part(entry))
            .count()
    }

    /// Tells the roster to one peer, or to all.
    pub(super) fn tell_roster(&mut self, to: Option<NodeId>) {
        for frame in roster_frames(self.roster.entries()) {
            self.tell(to, &frame);
        }
    }

    /// Tells one peer, or all, which policies are in force here.
    pub(super) fn tell_policies(&mut self, to: Option<NodeId>) {
        let set = self.cluster.policies_in_force();
        let frame = PeerFrame::Policies {
            version: set.version,
            hash: set.hash,
        };
        self.tell(to, &frame);
    }

    /// Tells all peers digests of what all should know.
    pub(super) fn tell_digests(&mut self) {
        let frame = PeerFrame::RosterDigest(self.roster.digest());
        self.tell(None, &frame);
        self.tell_policies(None);
        self.tell_settings(None);
    }

    pub(super) fn tell(&mut self, to: Option<NodeId>, frame: &PeerFrame) {
        let peers: Vec<NodeId> = match to {
            Some(peer) => vec![peer],
            None => self.connected.iter().copied().collect(),
        };
        for peer in peers {
            self.net.send(peer, frame);
        }
    }

    /// Tells those who wait that this node owns nothing, or that nobody could take what it owns.
    pub(super) fn note_drained(&mut self) {
        let gives_away = matches!(self.standing, Standing::Draining | Standing::Stopping);
        if !gives_away || self.waits_drained.is_empty() {
            return;
        }
        let mut members = self.roster.ring_members();
        let takers = members.any(|it| self.connected.contains(&it.node));
        if self.ownership.owned() == 0 || !takers {
            for waiting in self.waits_drained.drain(..) {
                // Who waited may have given up.
                waiting.send(()).ok();
            }
        }
    }

    /// After a drain that was to end in leaving: leave.
    pub(super) async fn leave_if_drained(&mut self) {
        let drained = self.standing == Standing::Draining && self.ownership.owned() == 0;
        if self.leaving && drained {
            tracing::info!("left the cluster: this node owns nothing and may be stopped");
            self.set_standing(Standing::Left).await;
        }
    }

    /// Shows admins what is known now.
    pub(super) fn show(&self) {
        let trips = self.net.round_trips();
        let trip = |node| {
            let trip = trips.iter().find(|(of, _)| *of == node);
            trip.map_or(0, |(_, trip)| {
                u64::try_from(trip.as_micros()).unwrap_or(u64::MAX)
            })
        };
        let nodes = self.roster.entries().map(|entry| RingNode {
            node: entry.node.0,
            address: entry
                .addresses
                .first()
                .map_or_else(String::new, |address| address.as_str().to_owned()),
            state: self.state_of(entry).to_owned(),
            boot_counter: entry.boot.0,
            weight: entry.weight,
            policies: entry.policies,
            round_trip_us: trip(entry.node),
        });
        let bytes = self.bytes.values().map(|it| it.load(Ordering::Relaxed));
        let bytes: u64 = bytes.sum();
        let moves = self.ownership.progress().into_iter();
        let hand_offs = moves.filter(|it| it.from != it.to).map(|it| HandOff {
            from: it.from.0,
            to: it.to.0,
            slots: u32::try_from(it.slots).unwrap_or(u32::MAX),
            step: step(it.step).to_owned(),
            bytes,
        });
        self.cluster.show(View {
            nodes: nodes.collect(),
            hand_offs: hand_offs.collect(),
            refused: self.net.counts().refused(),
            seals: self.seals.told(),
            shut_out: self.shut_out.clone(),
            targets: Arc::clone(&self.targets),
        });
    }

    fn state_of(&self, entry: &RosterEntry) -> &'static str {
        match entry.standing {
            Standing::Left => return "left",
            Standing::Removed => return "removed",
            Standing::Draining => return "draining",
            Standing::Stopping => return "stopping",
            Standing::Active => {}
        }
        if entry.node == self.engine.about.node {
            return "alive";
        }
        match self.swim.liveness(entry.node) {
            Some(Liveness::Up) => "alive",
            Some(Liveness::Suspect) => "suspect",
            Some(Liveness::Down) | None => "down",
        }
    }
}

pub(super) fn is_part(entry: &RosterEntry) -> bool {
    let part = [Standing::Active, Standing::Draining, Standing::Stopping];
    part.contains(&entry.standing)
}

const fn step(stage: Stage) -> &'static str {
    match stage {
        Stage::CatchUp => "catch-up",
        Stage::PreCopy => "pre-copy",
        Stage::Seal => "seal",
        Stage::Fetch => "fetch",
        Stage::Install => "install",
        Stage::Become => "become",
        Stage::Accept => "accept",
        Stage::Finish => "finish",
    }
}
