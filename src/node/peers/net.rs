//! The control thread's end of all connections to other nodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::admission::Admission;
use super::bulk::{BulkSender, Fetcher};
use super::counts::{PeerCounts, add};
use super::dial::{Caller, DialError, Dialer, close};
use super::door::Door;
use super::outgoing::Keeper;
use super::own::Own;
use super::seeds::seek;
use super::session::{Arrival, Outgoing, Session, Turn};
use crate::membership::identity::{Address, Identity};
use crate::membership::roster::{NODES_MAX, Roster};
use crate::protocol::bulk::BulkRequest;
use crate::protocol::frame::encode;
use crate::protocol::peer::{PeerFrame, PeerRefusal};
use crate::transport::tls::Credentials;
use crate::transport::{CertError, CloseCode};
use crate::types::NodeId;

/// Things that wait for the control thread, of all peers together: with frames of 64 KiB at most
/// 16 MiB. When it is full, nothing more is read from any peer.
const ARRIVALS_MAX: usize = 256;

/// What the control thread gets to know.
#[derive(Debug)]
pub(crate) enum PeerEvent {
    /// A session with a peer has begun: both can talk, and nothing is on its way.
    Connected {
        /// Who, as it has said itself.
        peer: Identity,
        /// Names the session; never used twice.
        connection: u64,
    },
    /// The session with a peer has ended; what was on its way is lost, in both directions.
    Lost {
        /// Who.
        peer: NodeId,
    },
    /// A peer says something, in the session that was begun last.
    Frame {
        /// Who.
        from: NodeId,
        /// The session.
        connection: u64,
        /// What.
        frame: PeerFrame,
    },
    /// Gossip, session or not.
    Datagram {
        /// Whose connection it came on.
        from: NodeId,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// A peer asks for bulk. Hand both to a task: dropped, the transfer is cut off.
    Bulk {
        /// Who.
        from: NodeId,
        /// What it asks for.
        request: BulkRequest,
        /// Where the chunks go.
        chunks: BulkSender,
    },
    /// A peer does not let this node in, or is not let in by it; said when the reason changes. The
    /// node goes on trying.
    Refused {
        /// Who.
        peer: NodeId,
        /// Why, and what to do about it.
        refusal: PeerRefusal,
        /// Whether this node was refused by the peer.
        by_peer: bool,
    },
}

/// What is known of a peer.
#[derive(Debug, Default)]
struct Peer {
    /// Where the roster says it is.
    wanted: Option<Address>,
    /// Where a seed has said it is.
    found: Option<Address>,
    keeper: Option<Kept>,
    session: Session,
    /// Why it was not reached, as told last.
    refusal: Option<PeerRefusal>,
}

/// A task that keeps the connection to a peer.
#[derive(Debug)]
struct Kept {
    number: u64,
    task: AbortHandle,
    address: Address,
    sooner: Arc<Notify>,
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

/// See the room. Everything is done on the runtime that it is used on.
#[derive(Debug)]
pub(crate) struct PeerNet {
    admission: Arc<Admission>,
    dialer: Arc<Dialer>,
    addresses: Arc<RwLock<BTreeMap<NodeId, Address>>>,
    peers: BTreeMap<NodeId, Peer>,
    ready: VecDeque<PeerEvent>,
    arrivals: mpsc::Receiver<Arrival>,
    arrive: mpsc::Sender<Arrival>,
    alone: watch::Sender<bool>,
    tasks: JoinSet<()>,
    seeking: Option<AbortHandle>,
}

impl PeerNet {
    /// A node that talks to nobody yet.
    ///
    /// # Errors
    /// [`CertError`], if the credentials cannot be used.
    pub(crate) fn new(
        own: Own,
        roster: Roster,
        credentials: &Credentials,
    ) -> Result<Self, CertError> {
        let admission = Admission::new(own, roster);
        let (arrive, arrivals) = mpsc::channel(ARRIVALS_MAX);
        let dialer = Dialer {
            admission: Arc::clone(&admission),
            caller: Caller::new(credentials)?,
        };
        Ok(Self {
            admission,
            dialer: Arc::new(dialer),
            addresses: Arc::default(),
            peers: BTreeMap::new(),
            ready: VecDeque::new(),
            arrivals,
            arrive,
            alone: watch::Sender::new(true),
            tasks: JoinSet::new(),
            seeking: None,
        })
    }

    /// The door through which the workers let other nodes in, for `Server::open_to_peers`.
    pub(crate) fn door(&self) -> Arc<Door> {
        let admission = Arc::clone(&self.admission);
        Arc::new(Door::new(admission, self.arrive.clone()))
    }

    /// Opens bulk streams; for the tasks of this runtime.
    pub(crate) fn fetcher(&self) -> Fetcher {
        Fetcher {
            dialer: Arc::clone(&self.dialer),
            addresses: Arc::clone(&self.addresses),
        }
    }

    /// What has been counted since the process began.
    pub(crate) fn counts(&self) -> PeerCounts {
        self.admission.counters.snapshot()
    }

    /// By whom nodes are judged from now on; connections that there are stay.
    pub(crate) fn set_roster(&self, roster: Roster) {
        self.admission.set_roster(roster);
    }

    /// Which nodes to keep a connection to, at most [`NODES_MAX`]. A node that connects by itself is
    /// dialled back without being named here, as long as its connection lasts.
    ///
    /// Must be called inside the runtime.
    pub(crate) fn set_targets(&mut self, targets: Vec<(NodeId, Address)>) {
        let own = self.admission.own.identity.node;
        let targets = targets.into_iter().filter(|(node, _)| *node != own);
        let targets: BTreeMap<_, _> = targets.take(NODES_MAX).collect();
        let mut touched: BTreeSet<NodeId> = self.peers.keys().copied().collect();
        touched.extend(targets.keys());
        for node in touched {
            let wanted = targets.get(&node).cloned();
            let peer = self.peers.entry(node).or_default();
            if wanted.is_none() && peer.wanted.is_some() {
                // It is of the cluster no more; if it thinks otherwise, it comes again.
                peer.found = None;
                let mut turns = Vec::new();
                peer.session.close(&mut turns);
                peer.wanted = None;
                self.tell(node, turns);
            } else {
                peer.wanted = wanted;
            }
            self.keep(node);
        }
    }

    /// Where to look for other nodes while there is no session with any. Names are resolved anew at
    /// every attempt, all their addresses.
    ///
    /// Must be called inside the runtime.
    pub(crate) fn set_seeds(&mut self, seeds: Vec<Address>) {
        if let Some(seeking) = self.seeking.take() {
            seeking.abort();
        }
        if !seeds.is_empty() {
            let seek = seek(
                Arc::clone(&self.dialer),
                seeds,
                self.alone.subscribe(),
                self.arrive.clone(),
            );
            self.seeking = Some(self.tasks.spawn(seek));
        }
    }

    /// The nodes that there is a session with.
    pub(crate) fn connected(&self) -> impl Iterator<Item = NodeId> + '_ {
        let on = self.peers.iter().filter(|(_, peer)| peer.session.is_on());
        on.map(|(node, _)| *node)
    }

    /// How long a packet to each node and back takes now, of all that are reached.
    pub(crate) fn round_trips(&self) -> Vec<(NodeId, Duration)> {
        let reached = self.peers.iter();
        let reached = reached.filter_map(|(node, peer)| Some((node, peer.session.outgoing()?)));
        reached
            .map(|(node, it)| (*node, it.connection.rtt()))
            .collect()
    }

    /// Queues a frame for a peer; `false` if there is no session, and the frame is lost. A queue that
    /// is full ends the session: the peer does not read.
    pub(crate) fn send(&mut self, to: NodeId, frame: &PeerFrame) -> bool {
        let session = self.peers.get(&to).map(|peer| &peer.session);
        let session = session.filter(|session| session.is_on());
        let Some(outgoing) = session.and_then(Session::outgoing) else {
            return false;
        };
        let counters = &self.admission.counters;
        let mut bytes = Vec::new();
        if let Err(error) = encode(frame, &mut bytes) {
            tracing::error!(%error, "a frame for another node is too long; please report this");
            return false;
        }
        match outgoing.queue.try_send(bytes) {
            Ok(()) => {
                add(&counters.frames_sent);
                true
            }
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(_)) => {
                add(&counters.queues_full);
                tracing::warn!(peer = %to, "a peer does not read what it is sent; connecting anew");
                close(&outgoing.connection, CloseCode::SlowReader);
                false
            }
        }
    }

    /// Sends gossip to a peer that is reached; `false` if it is not, or the packet does not fit.
    pub(crate) fn send_datagram(&self, to: NodeId, bytes: Vec<u8>) -> bool {
        let counters = &self.admission.counters;
        let peer = self.peers.get(&to);
        let Some(outgoing) = peer.and_then(|peer| peer.session.outgoing()) else {
            return false;
        };
        let connection = &outgoing.connection;
        let fits = connection.max_datagram_size().unwrap_or(0) >= bytes.len();
        let sent = fits && connection.send_datagram(Bytes::from(bytes)).is_ok();
        add(if sent {
            &counters.datagrams_sent
        } else {
            &counters.datagrams_dropped
        });
        sent
    }

    /// The next thing that happens. Cancel safe.
    pub(crate) async fn next(&mut self) -> PeerEvent {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return event;
            }
            match self.arrivals.recv().await {
                Some(arrival) => self.take(arrival),
                // It holds a sender itself.
                None => std::future::pending().await,
            }
        }
    }

    /// Ends all connections; the peers are told that the node stops.
    pub(crate) fn shut_down(&mut self) {
        self.tasks.abort_all();
        for peer in self.peers.values_mut() {
            if let Some(outgoing) = peer.session.outgoing() {
                close(&outgoing.connection, CloseCode::ShuttingDown);
            }
            peer.session.close(&mut Vec::new());
        }
        self.peers.clear();
        self.addresses.write().clear();
    }

    fn take(&mut self, arrival: Arrival) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a connection's task failed; this is a bug");
            }
        }
        let mut turns = Vec::new();
        let node = match arrival {
            Arrival::Incoming {
                number,
                known,
                connection,
            } => {
                let node = known.identity.node;
                if !self.peers.contains_key(&node) && self.peers.len() >= NODES_MAX {
                    close(&connection, CloseCode::NotAdmitted);
                    return;
                }
                let session = &mut self.peers.entry(node).or_default().session;
                session.visited((number, known.identity, connection), &mut turns);
                self.hurry(node);
                node
            }
            Arrival::IncomingGone { number, from } => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.session.left(number, &mut turns);
                }
                from
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
                from
            }
            Arrival::Outgoing {
                keeper,
                number,
                known,
                connection,
                queue,
            } => {
                let node = known.identity.node;
                let peer = self.peers.get_mut(&node);
                let kept =
                    |it: &&mut Peer| it.keeper.as_ref().is_some_and(|it| it.number == keeper);
                let Some(peer) = peer.filter(kept) else {
                    // It was made by a task that has been stopped since.
                    close(&connection, CloseCode::Done);
                    return;
                };
                peer.refusal = None;
                let outgoing = Outgoing::new(number, known.identity, connection, queue);
                peer.session.reached(outgoing, &mut turns);
                node
            }
            Arrival::OutgoingGone { number, node } => {
                if let Some(peer) = self.peers.get_mut(&node) {
                    peer.session.lost(number, &mut turns);
                }
                node
            }
            Arrival::NotReached { node, error } => {
                self.not_reached(node, error);
                node
            }
            Arrival::Found { identity } => {
                let node = identity.node;
                if self.peers.len() < NODES_MAX || self.peers.contains_key(&node) {
                    self.peers.entry(node).or_default().found = Some(identity.address);
                }
                node
            }
            Arrival::Datagram { from, bytes } => {
                self.ready.push_back(PeerEvent::Datagram { from, bytes });
                return;
            }
            Arrival::Bulk {
                from,
                request,
                chunks,
            } => {
                self.ready.push_back(PeerEvent::Bulk {
                    from,
                    request,
                    chunks,
                });
                return;
            }
        };
        self.tell(node, turns);
        self.keep(node);
    }

    /// Hands on what has become of a session.
    fn tell(&mut self, node: NodeId, turns: Vec<Turn>) {
        let changed = turns.iter().any(|turn| !matches!(turn, Turn::Frame { .. }));
        for turn in turns {
            self.ready.push_back(match turn {
                Turn::Lost => PeerEvent::Lost { peer: node },
                Turn::Begun { peer, session } => {
                    add(&self.admission.counters.sessions);
                    PeerEvent::Connected {
                        peer,
                        connection: session,
                    }
                }
                Turn::Frame { session, frame } => PeerEvent::Frame {
                    from: node,
                    connection: session,
                    frame,
                },
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

    /// Has a peer dialled at once.
    fn hurry(&self, node: NodeId) {
        let kept = self.peers.get(&node).and_then(|peer| peer.keeper.as_ref());
        if let Some(kept) = kept {
            kept.sooner.notify_one();
        }
    }

    /// Sees to it that a peer is dialled where it is, or not at all.
    fn keep(&mut self, node: NodeId) {
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
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        match address {
            Some(address) => {
                if peer.keeper.is_none() {
                    let sooner = Arc::new(Notify::new());
                    let number = self.admission.number();
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
            None => {
                self.peers.remove(&node);
                self.addresses.write().remove(&node);
            }
        }
    }
}
