//! What arrives at a node's control thread, and what is made of it for one peer: the session.
//!
//! A session is one outgoing and one incoming connection of the same life of the peer. When either
//! ends or is made anew, the other one is closed as well, so that the peer begins anew too. A frame
//! that comes before this side has its outgoing connection waits for it.

use std::collections::VecDeque;

use quinn::Connection;
use tokio::sync::mpsc;

use super::admission::Known;
use super::dial::{DialError, close};
use super::event::PeerEvent;
use crate::membership::identity::Identity;
use crate::protocol::peer::PeerFrame;
use crate::transport::CloseCode;
use crate::types::NodeId;

/// Frames that wait for the session to begin, at most: the peer has just begun to talk.
const HELD_MAX: usize = 256;

/// What connections bring, in the one queue to the control thread.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A peer has connected to talk.
    Incoming {
        number: u64,
        known: Known,
        connection: Connection,
    },
    /// That connection is gone.
    IncomingGone { number: u64, from: NodeId },
    /// A frame came on it.
    Frame {
        number: u64,
        from: NodeId,
        frame: PeerFrame,
    },
    /// A peer was reached.
    Outgoing {
        /// The task that dialled.
        keeper: u64,
        number: u64,
        known: Known,
        connection: Connection,
        queue: mpsc::Sender<Vec<u8>>,
    },
    /// That connection is gone.
    OutgoingGone { number: u64, node: NodeId },
    /// A peer was not reached; it is dialled again.
    NotReached { node: NodeId, error: DialError },
    /// A seed has said which node it is.
    Found { identity: Identity },
    /// Gossip, or a request for bulk, which are told as they are.
    Event(PeerEvent),
}

/// A connection that is dialled by this node.
#[derive(Debug)]
pub(super) struct Outgoing {
    number: u64,
    pub(super) identity: Identity,
    pub(super) connection: Connection,
    pub(super) queue: mpsc::Sender<Vec<u8>>,
}

/// A connection that is dialled by the peer.
#[derive(Debug)]
struct Incoming {
    number: u64,
    identity: Identity,
    connection: Connection,
}

/// What has become of the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has ended, with all that was on its way.
    Lost,
    /// It has begun.
    Begun { peer: Identity, session: u64 },
    /// A frame belongs to it.
    Frame { session: u64, frame: PeerFrame },
}

/// Both connections with one peer.
#[derive(Debug, Default)]
pub(super) struct Session {
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
    held: VecDeque<PeerFrame>,
    /// The number of the connection that completed the session, while there is one.
    number: Option<u64>,
}

impl Session {
    /// The outgoing connection, session or not.
    pub(super) const fn outgoing(&self) -> Option<&Outgoing> {
        self.outgoing.as_ref()
    }

    /// Who the peer says it is on its own connection.
    pub(super) fn visitor(&self) -> Option<&Identity> {
        self.incoming.as_ref().map(|it| &it.identity)
    }

    /// Whether both connections work.
    pub(super) const fn is_on(&self) -> bool {
        self.number.is_some()
    }

    /// The peer was reached.
    pub(super) fn reached(&mut self, outgoing: Outgoing, turns: &mut Vec<Turn>) {
        self.end(turns);
        self.hang_up();
        let stale = |it: &Incoming| it.identity.boot != outgoing.identity.boot;
        if self.incoming.as_ref().is_some_and(stale) {
            self.hang_up_on_visitor();
        }
        self.outgoing = Some(outgoing);
        self.begin(turns);
    }

    /// The peer has connected.
    pub(super) fn visited(
        &mut self,
        (number, identity, connection): (u64, Identity, Connection),
        turns: &mut Vec<Turn>,
    ) {
        self.end(turns);
        self.hang_up_on_visitor();
        let stale = |it: &Outgoing| it.identity.boot != identity.boot;
        if self.outgoing.as_ref().is_some_and(stale) {
            self.hang_up();
        }
        self.incoming = Some(Incoming {
            number,
            identity,
            connection,
        });
        self.begin(turns);
    }

    /// An outgoing connection is gone.
    pub(super) fn lost(&mut self, number: u64, turns: &mut Vec<Turn>) {
        if self.outgoing.as_ref().is_some_and(|it| it.number == number) {
            self.end(turns);
            self.outgoing = None;
        }
    }

    /// An incoming connection is gone.
    pub(super) fn left(&mut self, number: u64, turns: &mut Vec<Turn>) {
        if self.incoming.as_ref().is_some_and(|it| it.number == number) {
            self.end(turns);
            self.incoming = None;
            self.held.clear();
        }
    }

    /// A frame came; whether it was taken.
    pub(super) fn heard(&mut self, number: u64, frame: PeerFrame, turns: &mut Vec<Turn>) -> bool {
        if self.incoming.as_ref().is_none_or(|it| it.number != number) {
            return false;
        }
        match self.number {
            Some(session) => turns.push(Turn::Frame { session, frame }),
            None if self.held.len() < HELD_MAX => self.held.push_back(frame),
            None => return false,
        }
        true
    }

    /// Gives up both connections.
    pub(super) fn close(&mut self, turns: &mut Vec<Turn>) {
        self.end(turns);
        self.hang_up();
        self.hang_up_on_visitor();
    }

    /// Gives up the outgoing connection, since it leads to where the peer is no more.
    pub(super) fn abandon(&mut self, turns: &mut Vec<Turn>) {
        if self.outgoing.is_some() {
            self.end(turns);
            self.hang_up();
        }
    }

    fn begin(&mut self, turns: &mut Vec<Turn>) {
        let (Some(outgoing), Some(incoming)) = (&self.outgoing, &self.incoming) else {
            return;
        };
        let session = outgoing.number.max(incoming.number);
        self.number = Some(session);
        turns.push(Turn::Begun {
            peer: incoming.identity.clone(),
            session,
        });
        let held = self.held.drain(..);
        turns.extend(held.map(|frame| Turn::Frame { session, frame }));
    }

    /// Ends the session, if there is one, so that neither connection is used again.
    fn end(&mut self, turns: &mut Vec<Turn>) {
        if self.number.take().is_some() {
            self.hang_up();
            self.hang_up_on_visitor();
            turns.push(Turn::Lost);
        }
    }

    fn hang_up(&mut self) {
        if let Some(outgoing) = self.outgoing.take() {
            close(&outgoing.connection, CloseCode::Renewed);
        }
    }

    fn hang_up_on_visitor(&mut self) {
        self.held.clear();
        if let Some(incoming) = self.incoming.take() {
            close(&incoming.connection, CloseCode::Renewed);
        }
    }
}

impl Outgoing {
    pub(super) const fn new(
        number: u64,
        identity: Identity,
        connection: Connection,
        queue: mpsc::Sender<Vec<u8>>,
    ) -> Self {
        Self {
            number,
            identity,
            connection,
            queue,
        }
    }
}
