//! What the control thread makes of what arrives: sessions begin and end, peers are dialled where
//! they are.

use std::sync::Arc;

use quinn::Connection;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::counts::add;
use super::dial::{DialError, close};
use super::event::PeerEvent;
use super::net::PeerNet;
use super::outgoing::Keeper;
use super::session::{Arrival, Outgoing, Session, Turn};
use crate::membership::identity::{Address, Identity};
use crate::membership::roster::NODES_MAX;
use crate::protocol::peer::PeerRefusal;
use crate::transport::CloseCode;
use crate::types::NodeId;

/// What is known of a peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Where the roster says it is.
    pub(super) wanted: Option<Address>,
    /// Where a seed has said it is.
    pub(super) found: Option<Address>,
    pub(super) keeper: Option<Kept>,
    pub(super) session: Session,
    /// Why it was not reached, as told last.
    pub(super) refusal: Option<PeerRefusal>,
}

/// A task that keeps the connection to a peer.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) number: u64,
    pub(super) task: AbortHandle,
    pub(super) address: Address,
    pub(super) sooner: Arc<Notify>,
}

impl Peer {
    /// Where to dial it: where it says itself, else where the roster or a seed says.
    fn address(&self) -> Option<Address> {
        let visitor = self.session.visitor().map(|it| &it.address);
        visitor
            .or(self.wanted.as_ref())
            .or(self.found.as_ref())
            .cloned()
    }
}

impl PeerNet {
    /// Makes of an arrival what is to be told.
    pub(super) fn take(&mut self, arrival: Arrival) {
        self.bury_tasks();
        let mut turns = Vec::new();
        let node = match arrival {
            Arrival::Incoming {
                number,
                known,
                connection,
            } => self.visited((number, known.identity, connection), &mut turns),
            Arrival::Outgoing {
                keeper,
                number,
                known,
                connection,
                queue,
            } => {
                let outgoing = Outgoing::new(number, known.identity, connection, queue);
                self.reached(keeper, outgoing, &mut turns)
            }
            Arrival::IncomingGone { number, from } => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.session.left(number, &mut turns);
                }
                from
            }
            Arrival::OutgoingGone { number, node } => {
                if let Some(peer) = self.peers.get_mut(&node) {
                    peer.session.lost(number, &mut turns);
                }
                node
            }
            Arrival::Frame {
                number,
                from,
                frame,
            } => {
                let peer = self.peers.get_mut(&from);
                if !peer.is_some_and(|it| it.session.heard(number, frame, &mut turns)) {
                    add(&self.admission.counters.frames_dropped);
                }
                return self.tell(from, turns);
            }
            Arrival::NotReached { node, error } => {
                self.not_reached(node, error);
                node
            }
            Arrival::Found { identity } => {
                let node = identity.node;
                if self.has_room(node) {
                    self.peers.entry(node).or_default().found = Some(identity.address);
                }
                node
            }
            Arrival::Event(event) => return self.ready.push_back(event),
        };
        self.tell(node, turns);
        self.keep(node);
    }

    /// A peer has connected to talk.
    fn visited(&mut self, visitor: (u64, Identity, Connection), turns: &mut Vec<Turn>) -> NodeId {
        let node = visitor.1.node;
        if self.has_room(node) {
            let session = &mut self.peers.entry(node).or_default().session;
            session.visited(visitor, turns);
            self.hurry(node);
        } else {
            close(&visitor.2, CloseCode::NotAdmitted);
        }
        node
    }

    /// A peer was reached by the task numbered `keeper`.
    fn reached(&mut self, keeper: u64, outgoing: Outgoing, turns: &mut Vec<Turn>) -> NodeId {
        let node = outgoing.identity.node;
        let peer = self.peers.get_mut(&node);
        let kept = |it: &&mut Peer| it.keeper.as_ref().is_some_and(|it| it.number == keeper);
        if let Some(peer) = peer.filter(kept) {
            peer.refusal = None;
            peer.session.reached(outgoing, turns);
        } else {
            // It was made by a task that has been stopped since.
            close(&outgoing.connection, CloseCode::Done);
        }
        node
    }

    /// Whether a peer is known, or may be.
    fn has_room(&self, node: NodeId) -> bool {
        self.peers.len() < NODES_MAX || self.peers.contains_key(&node)
    }

    fn bury_tasks(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a connection's task failed; this is a bug");
            }
        }
    }

    /// Hands on what has become of a session.
    pub(super) fn tell(&mut self, node: NodeId, turns: Vec<Turn>) {
        let changed = turns.iter().any(|turn| !matches!(turn, Turn::Frame { .. }));
        for turn in turns {
            self.ready.push_back(match turn {
                Turn::Lost => PeerEvent::Lost { peer: node },
                Turn::Begun { peer, .. } => {
                    add(&self.admission.counters.sessions);
                    PeerEvent::Connected { peer }
                }
                Turn::Frame { frame, .. } => PeerEvent::Frame { from: node, frame },
            });
        }
        if changed {
            let alone = self.connected().next().is_none();
            self.alone.send_if_modified(|was| {
                let turned = *was != alone;
                *was = alone;
                turned
            });
        }
    }

    fn not_reached(&mut self, node: NodeId, error: DialError) {
        tracing::debug!(peer = %node, error = &error as &dyn std::error::Error, "not reached");
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        // What a seed has said is worth one attempt; it says it again while the node is alone.
        peer.found = None;
        let (refusal, by_peer) = match error {
            DialError::Refused { refusal, .. } => (refusal, true),
            DialError::NotAccepted { refusal, .. } => (refusal, false),
            DialError::Resolve { .. }
            | DialError::Silent { .. }
            | DialError::Transport(_)
            | DialError::Connect { .. }
            | DialError::Broken { .. }
            | DialError::Garbled { .. }
            | DialError::OtherNode { .. } => return,
        };
        if peer.refusal.as_ref() != Some(&refusal) {
            peer.refusal = Some(refusal.clone());
            self.ready.push_back(PeerEvent::Refused {
                peer: node,
                refusal,
                by_peer,
            });
        }
    }

    /// Has a peer dialled at once, if there is no connection to it.
    fn hurry(&self, node: NodeId) {
        let peer = self.peers.get(&node);
        let peer = peer.filter(|it| it.session.outgoing().is_none());
        if let Some(kept) = peer.and_then(|it| it.keeper.as_ref()) {
            kept.sooner.notify_one();
        }
    }

    /// Sees to it that a peer is dialled where it is, or not at all.
    pub(super) fn keep(&mut self, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        let address = peer.address();
        // A connection that there is leads to the node, wherever it says that it is.
        let astray = address.is_none() || peer.session.outgoing().is_none();
        if let Some(kept) = &peer.keeper
            && address.as_ref() != Some(&kept.address)
            && astray
        {
            kept.task.abort();
            peer.keeper = None;
            let mut turns = Vec::new();
            peer.session.abandon(&mut turns);
            self.tell(node, turns);
        }
        if let Some(address) = address {
            self.dial(node, address);
        } else {
            self.peers.remove(&node);
            self.addresses.write().remove(&node);
        }
    }

    /// Has a peer dialled at `address`, unless it already is dialled.
    fn dial(&mut self, node: NodeId, address: Address) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        if peer.keeper.is_some() {
            return;
        }
        let number = self.admission.number();
        let sooner = Arc::new(Notify::new());
        let keeper = Keeper {
            number,
            dialer: Arc::clone(&self.dialer),
            node,
            address: address.clone(),
            sooner: Arc::clone(&sooner),
            arrivals: self.arrive.clone(),
        };
        peer.keeper = Some(Kept {
            number,
            task: self.tasks.spawn(keeper.keep()),
            address: address.clone(),
            sooner,
        });
        self.addresses.write().insert(node, address);
    }
}
