//! Who is not believed. What peers send and what cannot be is left aside by the rooms that it was for,
//! and counted and logged here. And this node itself, if its peers say that it is none of them any
//! more: it grants nothing from then on.

use super::control::Control;
use super::pull::PullError;
use crate::membership::swim::SwimEvent;
use crate::node::peer_wire::ownership_message;
use crate::ownership::event::Event;
use crate::ownership::{Refusal, Refusals};
use crate::protocol::ownership::WireMessage;
use crate::protocol::peer::PeerRefusal;
use crate::types::{NodeId, Slot, SlotSet};

/// Messages about slots that were refused, so far.
#[derive(Debug, Clone, Copy)]
struct Refused {
    /// Those that cannot be.
    senseless: u64,
    /// Those that come too late, or too many at once.
    unawaited: u64,
}

impl Control {
    /// Takes in a message about slots.
    pub(super) async fn hear(&mut self, from: NodeId, message: &WireMessage) {
        let message = match ownership_message(message) {
            Ok(message) => message,
            Err(error) => return self.net.senseless(from, &error.to_string()),
        };
        self.note_became(from, &message);
        let before = self.messages_refused();
        self.ownership(Event::Received { from, message }).await;
        let after = self.messages_refused();
        if after.senseless > before.senseless {
            self.net
                .senseless(from, "a message about slots that cannot be");
        } else if after.unawaited > before.unawaited {
            self.net.senseless(
                from,
                "an answer about slots that nobody waits for; the third of three is one when slots move",
            );
        }
    }

    /// Takes in gossip.
    pub(super) fn overhear(&mut self, from: NodeId, bytes: Vec<u8>) {
        let before = self.gossip_refused();
        self.swim(SwimEvent::Datagram { from, bytes });
        if self.gossip_refused() > before {
            self.net.senseless(from, "gossip that cannot be");
        }
    }

    /// Takes notice of a transfer that failed, if what was told cannot be.
    pub(super) fn judge_transfer(&self, from: NodeId, error: &PullError) {
        if let PullError::Senseless(_) | PullError::Staging(_) = error {
            self.net.senseless(from, &error.to_string());
        }
    }

    /// A peer does not let this node in. If it says that this node is none of the cluster any more,
    /// or not the one that it was, others may by now grant what this one would: it must not.
    pub(super) async fn turned_away(&mut self, peer: NodeId, refusal: &PeerRefusal) {
        match refusal {
            PeerRefusal::Removed { .. } => {
                // Remembered, so that the next start does not even begin to serve.
                if self.roster.remove(self.engine.about.node) {
                    self.roster_changed().await;
                }
                self.shut_out(&refusal.to_string()).await;
            }
            PeerRefusal::OldCopy { .. } => self.shut_out(&refusal.to_string()).await,
            PeerRefusal::VersionMismatch { .. }
            | PeerRefusal::Malformed { .. }
            | PeerRefusal::OtherCluster { .. }
            | PeerRefusal::OtherSlotCount { .. }
            | PeerRefusal::NotAdmitted { .. }
            | PeerRefusal::SameNode { .. }
            | PeerRefusal::Unavailable => {
                tracing::error!(%peer, %refusal, "a node does not let this one in");
            }
        }
    }

    /// Ceases to grant, for the rest of this life.
    pub(super) async fn shut_out(&mut self, reason: &str) {
        if self.shut_out.is_some() {
            return;
        }
        self.shut_out = Some(reason.to_owned());
        self.cluster.forwarder.shut_out();
        // A failure has closed the fence, and nothing is granted either.
        let all: SlotSet = Slot::all().collect();
        self.engine.freeze(&all).await.ok();
        self.engine.replication.stop(&all);
        self.links.close(&all);
        tracing::error!(
            reason,
            "the cluster has shut this node out: it grants nothing any more"
        );
        self.changed = true;
    }

    fn messages_refused(&self) -> Refused {
        let refusals = self.ownership.refusals();
        let (senseless, unawaited): (Vec<Refusal>, Vec<Refusal>) =
            Refusals::ALL.into_iter().partition(|it| it.is_misconduct());
        let count = |kinds: Vec<Refusal>| kinds.into_iter().map(|it| refusals.count(it)).sum();
        Refused {
            senseless: count(senseless),
            unawaited: count(unawaited),
        }
    }

    fn gossip_refused(&self) -> u64 {
        let it = self.swim.refusals();
        let kinds = [it.forged, it.unreadable, it.crowded, it.senseless];
        kinds.into_iter().fold(0, u64::saturating_add)
    }
}
