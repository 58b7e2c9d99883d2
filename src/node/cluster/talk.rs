//! What peers say and ask, and what operators command.

use std::sync::Arc;

use super::control::{Control, Done};
use super::effects::told;
use super::handle::Command;
use super::hold::{Hold, Served};
use super::pull::{self, Asked};
use crate::membership::roster::Standing;
use crate::membership::swim::SwimEvent;
use crate::node::peer_wire::roster_entry;
use crate::node::peers::{BulkSender, PeerEvent};
use crate::ownership::event::Event;
use crate::protocol::admin::NodeCommand;
use crate::protocol::bulk::{BulkRefusal, BulkRequest};
use crate::protocol::ownership::{WireEpoch, WirePosition};
use crate::protocol::peer::{PeerFrame, WireNode};
use crate::types::{Epoch, NodeId, Position, Slot, SlotSet};

/// What a replica asks for of a slot.
type WireAsked = (u16, WireEpoch, Option<WirePosition>);

/// Most copies that are remembered for peers who have not asked for the rest yet.
const EXPORTS_MAX: usize = 32;

impl Control {
    /// Takes notice of what came from a peer.
    pub(super) async fn peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Connected { peer } => {
                let node = peer.node;
                self.links.heard().note(node);
                self.links.connect(&peer);
                self.cluster.forwarder.reached(node);
                self.connected.insert(node);
                self.changed = true;
                self.swim(SwimEvent::Announce { to: peer });
                self.tell_roster(Some(node));
                self.tell_policies(Some(node));
                self.tell_settings(Some(node));
                self.ownership(Event::Connected { peer: node }).await;
                self.retarget().await;
            }
            PeerEvent::Lost { peer } => {
                self.links.lost(peer);
                self.forget_became(peer);
                self.connected.remove(&peer);
                self.lines.remove(&peer);
                self.changed = true;
                self.swim(SwimEvent::Doubt { node: peer });
                self.ownership(Event::Lost { peer }).await;
                self.retarget().await;
            }
            PeerEvent::Frame { from, frame } => {
                self.links.heard().note(from);
                self.frame(from, frame).await;
            }
            PeerEvent::Datagram { from, bytes } => {
                self.links.heard().note(from);
                self.overhear(from, bytes);
            }
            PeerEvent::Bulk {
                from,
                request,
                chunks,
            } => self.bulk(from, request, chunks),
            PeerEvent::Refused {
                peer,
                refusal,
                by_peer: true,
            } => self.turned_away(peer, &refusal).await,
            PeerEvent::Refused { peer, refusal, .. } => {
                tracing::warn!(%peer, %refusal, "a node is not let in");
            }
        }
    }

    async fn frame(&mut self, from: NodeId, frame: PeerFrame) {
        match frame {
            PeerFrame::Ownership(message) => self.hear(from, &message).await,
            PeerFrame::Roster(nodes) => self.learn_nodes(from, &nodes).await,
            PeerFrame::RosterDigest(digest) => {
                if digest != self.roster.digest() {
                    self.tell_roster(Some(from));
                }
            }
            PeerFrame::Settings { version, replicas } => {
                self.learn_settings(from, version, replicas).await;
            }
            PeerFrame::Policies { version, hash } => {
                if self.cluster.lacks_policies(version, hash) {
                    self.fetch_policies(from);
                }
            }
        }
    }

    async fn learn_nodes(&mut self, from: NodeId, nodes: &[WireNode]) {
        let mut changed = false;
        for node in nodes {
            let entry = match roster_entry(node) {
                Ok(entry) => entry,
                Err(error) => {
                    self.net.senseless(from, &error.to_string());
                    continue;
                }
            };
            match self.roster.merge(entry) {
                Ok(merged) => changed |= merged,
                Err(error) => self.net.senseless(from, &error.to_string()),
            }
        }
        if changed {
            self.roster_changed().await;
            // What others think that this node is may be of an earlier life.
            self.publish_self().await;
            self.tell_roster(None);
        }
    }

    fn bulk(&mut self, from: NodeId, request: BulkRequest, chunks: BulkSender) {
        let rate = self.settings.hand_off_bytes_per_second;
        let hold = Hold::new(Arc::clone(&self.engine), chunks, rate);
        match request {
            BulkRequest::PreCopy { slots } => {
                if self.exports.len() >= EXPORTS_MAX && !self.exports.contains_key(&from) {
                    self.tasks.spawn_local(hold.refuse(BulkRefusal::Busy));
                    return;
                }
                self.end_export(from);
                let export = self.engine.table.begin_export(SlotSet::from(&slots));
                let done = self.done.clone();
                self.tasks.spawn_local(async move {
                    let export = hold.copy(export).await;
                    // Fails only when the node stops.
                    done.send(Done::Told { peer: from, export }).await.ok();
                });
            }
            BulkRequest::Rest {
                ballot,
                slots,
                copied,
            } => {
                let slots = slots.iter().filter_map(|(slot, _)| Slot::new(*slot));
                self.tell_rest(from, ballot.into(), slots.collect(), copied, hold);
            }
            BulkRequest::CatchUp { slots } => self.tell_served(from, slots, hold),
            BulkRequest::Policies => {
                let bytes = self.cluster.policies_in_force().encode();
                self.tasks
                    .spawn_local(async move { hold.policies(&bytes).await });
            }
        }
    }

    /// Tells the rest of sealed slots to the node that sealed them.
    fn tell_rest(&mut self, from: NodeId, ballot: Epoch, slots: SlotSet, copied: bool, hold: Hold) {
        let mut export = self.exports.remove(&from);
        if export
            .as_ref()
            .is_some_and(|it| !copied || *it.slots() != slots)
            && let Some(unfit) = export.take()
        {
            self.engine.table.end_export(&unfit);
        }
        // R3: the state below a promised ballot cannot change, so it is told to who holds the ballot.
        let refused = slots.iter().find(|slot| {
            let promised = self.ownership.register(*slot).promised;
            promised != ballot || ballot.node != from || self.engine.table.is_served(*slot)
        });
        let first = slots.iter().next().filter(|_| copied && export.is_none());
        if let Some(slot) = refused.or(first) {
            if refused.is_some() {
                self.net
                    .senseless(from, "a request for slots that it has not sealed");
            }
            let slot = slot.number();
            self.tasks
                .spawn_local(hold.refuse(BulkRefusal::NotHeld { slot }));
            return;
        }
        let export = export.unwrap_or_else(|| self.engine.table.begin_export(slots));
        self.tasks.spawn_local(hold.rest(export));
    }

    /// Tells a replica slots that go on being served here, and feeds it their commits.
    fn tell_served(&mut self, from: NodeId, asked: Vec<WireAsked>, hold: Hold) {
        let known = asked.into_iter().map(|(slot, epoch, at)| {
            let own = at.map(Position::from);
            Some((Slot::new(slot)?, (Epoch::from(epoch), own)))
        });
        let Some(asked) = known.collect::<Option<Asked>>() else {
            let reason = "there is no such slot".to_owned();
            let refusal = BulkRefusal::Malformed { reason };
            self.tasks.spawn_local(hold.refuse(refusal));
            return;
        };
        let place = Arc::clone(&self.copies).try_acquire_owned().ok();
        let told = place.and_then(|place| {
            let feed = |slots: &SlotSet| self.links.feed(from, slots);
            Some((place, Served::as_asked(&self.engine, &asked, feed)?))
        });
        let Some((place, served)) = told else {
            self.tasks.spawn_local(hold.refuse(BulkRefusal::Busy));
            return;
        };
        self.tasks.spawn_local(async move {
            hold.catch_up(served).await;
            drop(place);
        });
    }

    fn end_export(&mut self, peer: NodeId) {
        if let Some(export) = self.exports.remove(&peer) {
            self.engine.table.end_export(&export);
        }
    }

    fn fetch_policies(&mut self, from: NodeId) {
        let fetcher = self.net.fetcher();
        let (cluster, engine) = (Arc::clone(&self.cluster), Arc::clone(&self.engine));
        self.tasks.spawn_local(async move {
            let set = match fetcher.fetch(from, &BulkRequest::Policies).await {
                Ok(reader) => pull::policies(reader).await,
                Err(error) => Err(error.into()),
            };
            match set {
                Ok(set) => {
                    if cluster.policies(&engine, |sets| sets.received(set)) {
                        // If the loop has no time now, its next round tells the others.
                        cluster.command(Command::PoliciesChanged).ok();
                    }
                }
                Err(error) => {
                    let error = told(&error);
                    tracing::warn!(peer = %from, error, "the cluster's policies were not fetched");
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
            // Who asked may have given up.
            Command::Slot(slot, told) => drop(told.send(self.slot_view(slot))),
            Command::Replicas(told) => drop(told.send(self.ring_replicas())),
            Command::Drain(drained) => {
                self.waits_drained.push(drained);
                // Who has copies elsewhere hands over who decides, and keeps the copies it has.
                let standing = if self.targeted.replicas() > 1 {
                    Standing::Stopping
                } else {
                    Standing::Draining
                };
                self.set_standing(standing).await;
                self.note_drained();
            }
            Command::Stop(stopped) => {
                self.swim(SwimEvent::Leave);
                self.net.shut_down();
                // Who asked may have given up.
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
                self.leaving = false;
                self.set_standing(Standing::Active).await;
            }
            NodeCommand::Leave => {
                tracing::info!("leaving the cluster: this node gives its slots away first");
                self.leaving = true;
                self.set_standing(Standing::Draining).await;
            }
            NodeCommand::Weight(weight) => {
                tracing::info!(weight, "this node has another weight, until it restarts");
                self.settings.weight = weight;
                self.publish_self().await;
            }
            NodeCommand::Replicas(replicas) => {
                if let Err(error) = self.set_replicas(replicas).await {
                    tracing::error!(%error, "the number of replicas stays as it is");
                }
            }
            NodeCommand::Remove { node } => self.remove(NodeId(node)).await,
        }
    }

    /// Only the node that the operator asked takes the slots of one that is gone: of two that did,
    /// both would serve them.
    async fn remove(&mut self, node: NodeId) {
        if node == self.engine.about.node || self.connected.contains(&node) {
            tracing::error!(%node, "a node that is there is not removed; tell it to leave");
            return;
        }
        tracing::warn!(
            removed = %node,
            "node removed on an operator's word: its slots start empty, in quarantine"
        );
        if self.roster.remove(node) {
            self.roster_changed().await;
            self.tell_roster(None);
        }
        self.ownership(Event::Vouched { gone: node }).await;
    }
}
