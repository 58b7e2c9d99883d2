//! The cluster's nodes: who they are, who answers, and who should hold each slot by that.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::control::{Control, Done};
use super::handle::Command;
use super::view::View;
use crate::membership::identity::Address;
use crate::membership::roster::{RosterEntry, Standing};
use crate::membership::swim::{Liveness, SwimEffect, SwimEvent};
use crate::node::peer_wire::{roster_entry, roster_frames};
use crate::node::peers::{PeerEvent, PeerKind};
use crate::ownership::Stage;
use crate::ownership::event::Event;
use crate::protocol::admin::{HandOff, NodeCommand, RingNode};
use crate::protocol::bulk::{BulkRefusal, BulkRequest};
use crate::protocol::peer::PeerFrame;
use crate::routing::ring::Ring;
use crate::types::{NodeId, Replicas, Slot, SlotSet};

/// Name of the roster in `meta`.
pub(super) const ROSTER: &str = "roster";

/// How often peers are told what this node knows of nodes and policies, in case they missed it.
const TELL_ROSTER: Duration = Duration::from_secs(1);

/// Most copies that are remembered for peers who have not asked for the rest yet.
const EXPORTS_MAX: usize = 32;

/// One replica a slot.
const REPLICAS: usize = 1;

impl Control {
    /// Takes notice of what came from a peer.
    pub(super) async fn peer(&mut self, event: PeerEvent) {
        let from = event.from;
        match event.kind {
            PeerKind::Connected { identity } => {
                self.connected.insert(from);
                self.swim(SwimEvent::Announce { to: identity }).await;
                self.tell_all_of(from);
                self.ownership(Event::Connected { peer: from }).await;
                self.retarget().await;
            }
            PeerKind::Lost => {
                self.connected.remove(&from);
                self.swim(SwimEvent::Doubt { node: from }).await;
                self.ownership(Event::Lost { peer: from }).await;
                self.retarget().await;
            }
            PeerKind::Frame(frame) => self.frame(from, frame).await,
            PeerKind::Datagram(bytes) => self.swim(SwimEvent::Datagram { from, bytes }).await,
            PeerKind::Bulk { request, send } => self.bulk(from, request, send),
        }
    }

    /// Lets the members take notice, and does what they want.
    pub(super) async fn swim(&mut self, event: SwimEvent) {
        for effect in self.swim.step(self.now(), event) {
            match effect {
                SwimEffect::Send { to, bytes } => self.net.datagram(to.node, bytes),
                SwimEffect::WakeAt(at) => self.wake_at = self.wake_at.min(at),
                SwimEffect::MemberUp { member } => {
                    tracing::info!(peer = %member.node, address = %member.address, "node is up");
                }
                SwimEffect::MemberSuspect { member } => {
                    tracing::info!(peer = %member.node, "node does not answer");
                }
                SwimEffect::MemberDown { member } => {
                    tracing::warn!(
                        peer = %member.node, address = %member.address,
                        "node is down; its slots wait for it, and on_failure answers their keys"
                    );
                }
                SwimEffect::Alone => {
                    if self.others() > 0 {
                        tracing::warn!("no other node answers; this node goes on with its own slots");
                    }
                }
                SwimEffect::Joined => tracing::info!("in touch with the cluster"),
                SwimEffect::Renewed { .. } => {
                    tracing::warn!("the others took this node for dead; it says that it lives");
                }
            }
        }
    }

    async fn frame(&mut self, from: NodeId, frame: PeerFrame) {
        match frame {
            PeerFrame::Ownership(message) => {
                match crate::node::peer_wire::ownership_message(&message) {
                    Ok(message) => self.ownership(Event::Received { from, message }).await,
                    Err(error) => tracing::warn!(peer = %from, %error, "a message is refused"),
                }
            }
            PeerFrame::Roster(nodes) => {
                let mut changed = false;
                for node in &nodes {
                    let merged = roster_entry(node)
                        .map_err(|error| error.to_string())
                        .and_then(|entry| {
                            self.roster.merge(entry).map_err(|error| error.to_string())
                        });
                    match merged {
                        Ok(merged) => changed |= merged,
                        Err(error) => tracing::warn!(peer = %from, error, "a node is not taken in"),
                    }
                }
                if changed {
                    self.roster_changed().await;
                    // What came together may be older than what we know.
                    if self.roster.digest() != self.told_roster {
                        self.tell_roster_now(None);
                    }
                }
            }
            PeerFrame::RosterDigest(digest) => {
                if digest != self.roster.digest() {
                    self.tell_roster_now(Some(from));
                }
            }
            PeerFrame::Policies { version, hash } => {
                if self.cluster.lacks_policies(version, hash) {
                    self.fetch_policies(from);
                }
            }
        }
    }

    fn bulk(&mut self, from: NodeId, request: BulkRequest, send: quinn::SendStream) {
        let hold = self.hold(send);
        match request {
            BulkRequest::PreCopy { slots } => {
                let Some(slots) = SlotSet::try_from(slots).ok() else {
                    return;
                };
                if self.exports.len() >= EXPORTS_MAX && !self.exports.contains_key(&from) {
                    self.tasks.spawn_local(hold.refuse_all(BulkRefusal::Busy));
                    return;
                }
                self.end_export(from);
                let export = self.engine.table.begin_export(slots);
                let done = self.done.clone();
                self.tasks.spawn_local(async move {
                    let export = hold.copy(export).await;
                    done.send(Done::Told { peer: from, export }).await.ok();
                });
            }
            BulkRequest::Rest {
                ballot,
                slots,
                copied,
            } => self.tell_rest(from, ballot.into(), &slots, copied, hold),
            BulkRequest::Policies => {
                let bytes = self.cluster.policies_in_force().encode();
                self.tasks
                    .spawn_local(async move { hold.policies(&bytes).await });
            }
        }
    }

    fn tell_rest(
        &mut self,
        from: NodeId,
        ballot: crate::types::Epoch,
        slots: &[(u16, crate::protocol::ownership::WirePosition)],
        copied: bool,
        hold: super::hold::Hold,
    ) {
        let set: SlotSet = slots.iter().filter_map(|(slot, _)| Slot::new(*slot)).collect();
        // R3: the state below a promised ballot cannot change, so it is told to who holds the ballot.
        let strange = set.iter().find(|slot| {
            let register = self.ownership.register(*slot);
            register.promised != ballot || ballot.node != from || self.engine.table.is_served(*slot)
        });
        let mut refusal = strange.map(|slot| BulkRefusal::NotHeld {
            slot: slot.number(),
        });
        let export = match self.exports.remove(&from) {
            Some(export) if copied && *export.slots() == set => Some(export),
            Some(export) => {
                self.engine.table.end_export(&export);
                None
            }
            None => None,
        };
        if refusal.is_none() && copied && export.is_none() {
            let first = set.iter().next().map_or(0, Slot::number);
            refusal = Some(BulkRefusal::NotHeld { slot: first });
        }
        if let Some(refusal) = refusal {
            self.tasks.spawn_local(hold.refuse_all(refusal));
            return;
        }
        let export = export.unwrap_or_else(|| self.engine.table.begin_export(set));
        self.tasks.spawn_local(hold.rest(export));
    }

    fn end_export(&mut self, peer: NodeId) {
        if let Some(export) = self.exports.remove(&peer) {
            self.engine.table.end_export(&export);
        }
    }

    fn fetch_policies(&mut self, from: NodeId) {
        let Ok(frame) = super::pull::request_frame(&BulkRequest::Policies) else {
            return;
        };
        let stream = self.net.open_bulk(from, frame);
        let (cluster, engine) = (
            std::sync::Arc::clone(&self.cluster),
            std::sync::Arc::clone(&self.engine),
        );
        self.tasks.spawn_local(async move {
            let set = match stream.await {
                Ok(stream) => super::pull::policies(stream).await,
                Err(error) => Err(error.into()),
            };
            match set {
                Ok(set) => {
                    if cluster.policies(&engine, |sets| sets.received(set)) {
                        cluster.command(Command::PoliciesChanged).ok();
                    }
                }
                Err(error) => {
                    tracing::warn!(peer = %from, %error, "the cluster's policies could not be fetched");
                }
            }
        });
    }

    /// Carries out a command; false if the loop is to end.
    pub(super) async fn command(&mut self, command: Command) -> bool {
        match command {
            Command::Node(command) => self.node_command(command).await,
            Command::PoliciesChanged => {
                self.publish_self().await;
                self.tell_policies(None);
            }
            Command::Drain(drained) => {
                self.waits_drained.push(drained);
                self.set_standing(Standing::Draining).await;
                self.note_drained();
            }
            Command::Stop(stopped) => {
                self.swim(SwimEvent::Leave).await;
                self.net.close().await;
                stopped.send(()).ok();
                return false;
            }
        }
        true
    }

    async fn node_command(&mut self, command: NodeCommand) {
        match command {
            NodeCommand::Drain => {
                tracing::info!("draining: this node gives its slots to the others");
                self.set_standing(Standing::Draining).await;
            }
            NodeCommand::Resume => {
                tracing::info!("this node takes slots again");
                self.set_standing(Standing::Active).await;
            }
            NodeCommand::Leave => {
                tracing::info!("leaving the cluster: this node gives its slots away first");
                self.leaving = true;
                self.set_standing(Standing::Draining).await;
            }
            NodeCommand::Weight(weight) => {
                self.settings.weight = weight;
                self.publish_self().await;
            }
            NodeCommand::Remove { node } => self.remove(NodeId(node)).await,
        }
    }

    async fn remove(&mut self, node: NodeId) {
        if node == self.engine.about.node {
            tracing::error!("a node cannot remove itself; use `node leave`");
            return;
        }
        if self.roster.remove(node) {
            tracing::warn!(removed = %node, "node removed on an operator's word: its slots start empty, in quarantine");
            self.roster_changed().await;
            self.tell_roster_now(None);
        }
    }

    async fn set_standing(&mut self, standing: Standing) {
        self.standing = standing;
        self.publish_self().await;
    }

    /// Says anew what this node is, and tells the others if that changed.
    pub(super) async fn publish_self(&mut self) {
        let entry = self.own_entry();
        match self.roster.publish(entry) {
            Ok(true) => {
                self.roster_changed().await;
                self.tell_roster_now(None);
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "this node cannot take part in the cluster"),
        }
    }

    fn own_entry(&self) -> RosterEntry {
        let about = &self.engine.about;
        RosterEntry {
            node: about.node,
            boot: crate::types::BootCounter(about.boots),
            revision: 0,
            standing: self.standing,
            weight: self.settings.weight,
            policies: self.cluster.policies_in_force().hash,
            addresses: Address::new(&self.settings.advertise).into_iter().collect(),
            certificate: self.settings.certificate.clone(),
            zone: String::new(),
        }
    }

    /// The roster is another one: store it, dial by it, and work out the targets.
    pub(super) async fn roster_changed(&mut self) {
        let put = self.engine.store.put_meta(ROSTER, &self.roster.to_bytes());
        if let Err(error) = put {
            self.engine.fence.close(error);
            return;
        }
        let me = self.engine.about.node;
        let removed: Vec<NodeId> = self
            .roster
            .entries()
            .filter(|entry| entry.standing == Standing::Removed)
            .map(|entry| entry.node)
            .collect();
        let part = |entry: &&RosterEntry| {
            matches!(entry.standing, Standing::Active | Standing::Draining)
        };
        let nodes: Vec<(NodeId, String)> = self
            .roster
            .entries()
            .filter(part)
            .filter_map(|entry| Some((entry.node, entry.addresses.first()?.as_str().to_owned())))
            .collect();
        self.cluster.forwarder.set_nodes(&nodes);
        let others = nodes.into_iter().filter(|(node, _)| *node != me);
        self.net.set_targets(others.collect());
        self.net.set_roster(self.roster.clone());
        let others = self.others();
        let peers = if others == 0 {
            crate::node::policy_sets::rule::Peers::Alone
        } else {
            crate::node::policy_sets::rule::Peers::Several
        };
        self.cluster.policies(&self.engine, |sets| sets.peers(peers));
        self.retarget().await;
        for gone in removed {
            if self.vouched.insert(gone) {
                self.ownership(Event::Vouched { gone }).await;
            }
        }
    }

    /// Works out who should hold each slot, and tells the ownership if that, or who can be reached,
    /// has changed.
    pub(super) async fn retarget(&mut self) {
        let members = self.roster.ring_members();
        let me = self.engine.about.node;
        let mut reachable: Vec<NodeId> = self.connected.iter().copied().collect();
        reachable.push(me);
        reachable.sort_unstable();
        if (&members, &reachable) == (&self.targeted.0, &self.targeted.1) {
            return;
        }
        if members != self.targeted.0 && !members.is_empty() {
            let ring = Ring::new(&members);
            let targets = Slot::all().map(|slot| ring.targets(slot, REPLICAS));
            self.targets = targets.collect();
        }
        self.targeted = (members, reachable.clone());
        let targets = self.targets.clone();
        self.ownership(Event::Retargeted { targets, reachable }).await;
    }

    /// Other nodes of the cluster.
    pub(super) fn others(&self) -> usize {
        let me = self.engine.about.node;
        let part = |entry: &&RosterEntry| {
            entry.node != me && matches!(entry.standing, Standing::Active | Standing::Draining)
        };
        self.roster.entries().filter(part).count()
    }

    fn tell_all_of(&mut self, peer: NodeId) {
        self.tell_roster_now(Some(peer));
        self.tell_policies(Some(peer));
    }

    /// Tells all, or one, what policies are in force here.
    fn tell_policies(&mut self, to: Option<NodeId>) {
        let set = self.cluster.policies_in_force();
        let frame = PeerFrame::Policies {
            version: set.version,
            hash: set.hash,
        };
        for peer in self.told(to) {
            self.net.send(peer, frame.clone());
        }
    }

    fn tell_roster_now(&mut self, to: Option<NodeId>) {
        self.told_roster = self.roster.digest();
        let frames: Vec<PeerFrame> = roster_frames(self.roster.entries()).collect();
        for peer in self.told(to) {
            for frame in &frames {
                self.net.send(peer, frame.clone());
            }
        }
    }

    fn told(&self, to: Option<NodeId>) -> Vec<NodeId> {
        match to {
            Some(peer) => vec![peer],
            None => self.connected.iter().copied().collect(),
        }
    }

    /// Every so often, tells digests of what all should know.
    pub(super) fn tell_roster(&mut self) {
        if self.now() < self.roster_next {
            return;
        }
        self.roster_next = self.now().plus(TELL_ROSTER);
        let frame = PeerFrame::RosterDigest(self.roster.digest());
        for peer in self.told(None) {
            self.net.send(peer, frame.clone());
        }
        self.tell_policies(None);
    }

    /// Tells those who wait that this node owns nothing, or that nobody could take it.
    pub(super) fn note_drained(&mut self) {
        if self.standing != Standing::Draining {
            return;
        }
        let owned = self.ownership.owned();
        let takers = self
            .roster
            .ring_members()
            .into_iter()
            .any(|(node, _)| self.connected.contains(&node));
        if owned == 0 || !takers {
            for waiting in self.waits_drained.drain(..) {
                waiting.send(()).ok();
            }
        }
    }

    /// After a drain that was to end in leaving: leave.
    pub(super) async fn leave_if_drained(&mut self) {
        if self.leaving && self.standing == Standing::Draining && self.ownership.owned() == 0 {
            tracing::info!("left the cluster; this node owns nothing and may be stopped");
            self.set_standing(Standing::Left).await;
        }
    }

    /// Shows admins what is known now.
    pub(super) fn publish(&self) {
        let me = self.engine.about.node;
        let nodes = self.roster.entries().map(|entry| RingNode {
            node: entry.node.0,
            address: entry
                .addresses
                .first()
                .map_or_else(String::new, |address| address.as_str().to_owned()),
            state: self.state_of(entry, me).to_owned(),
            boot_counter: entry.boot.0,
            weight: entry.weight,
            policies: entry.policies,
            round_trip_us: self.net.round_trip_us(entry.node),
        });
        let hand_offs = self.ownership.progress().into_iter().map(|it| HandOff {
            from: it.from.0,
            to: it.to.0,
            slots: u32::try_from(it.slots).unwrap_or(u32::MAX),
            step: step(it.stage).to_owned(),
            bytes: self.bytes.values().map(|bytes| bytes.load(Ordering::Relaxed)).sum(),
        });
        self.cluster.show(View {
            nodes: nodes.collect(),
            hand_offs: hand_offs.collect(),
            targets: self.targets.clone(),
        });
    }

    fn state_of(&self, entry: &RosterEntry, me: NodeId) -> &'static str {
        match entry.standing {
            Standing::Left => return "left",
            Standing::Removed => return "removed",
            Standing::Draining => return "draining",
            Standing::Active => {}
        }
        if entry.node == me {
            return "alive";
        }
        match self.swim.liveness(entry.node) {
            Some(Liveness::Up) => "alive",
            Some(Liveness::Suspect) => "suspect",
            Some(Liveness::Down) | None => "down",
        }
    }
}

const fn step(stage: Stage) -> &'static str {
    match stage {
        Stage::PreCopy => "pre-copy",
        Stage::Seal => "seal",
        Stage::Fetch => "fetch",
        Stage::Install => "install",
        Stage::Accept => "accept",
    }
}

/// Nobody's targets yet.
pub(super) fn no_targets() -> Vec<Replicas> {
    Slot::all().map(|_| Replicas::default()).collect()
}
