//! The control thread's end of all connections to other nodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::admission::Admission;
use super::arrivals::Peer;
use super::bulk::Fetcher;
use super::counts::{PeerCounts, Refused, add};
use super::dial::{Caller, Dialer, close};
use super::door::Door;
use super::event::PeerEvent;
use super::link::LinkDialer;
use super::own::Own;
use super::seeds::seek;
use super::session::{Arrival, Session};
use crate::membership::identity::Address;
use crate::membership::roster::{NODES_MAX, Roster};
use crate::protocol::frame::encode;
use crate::protocol::peer::PeerFrame;
use crate::transport::tls::Credentials;
use crate::transport::{CertError, CloseCode};
use crate::types::NodeId;

/// Things that wait for the control thread, of all peers together: with frames of 64 KiB at most
/// 16 MiB. When it is full, nothing more is read from any peer.
const ARRIVALS_MAX: usize = 256;

/// See the room. Everything is done on the runtime that it is used on.
#[derive(Debug)]
pub(crate) struct PeerNet {
    pub(super) admission: Arc<Admission>,
    pub(super) dialer: Arc<Dialer>,
    pub(super) addresses: Arc<RwLock<BTreeMap<NodeId, Address>>>,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) ready: VecDeque<PeerEvent>,
    arrivals: mpsc::Receiver<Arrival>,
    pub(super) arrive: mpsc::Sender<Arrival>,
    pub(super) alone: watch::Sender<bool>,
    pub(super) tasks: JoinSet<()>,
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
            caller: Caller::new(credentials)?.from(admission.own.from),
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

    /// Dials links, on whatever runtime it is used on, and on that one alone.
    ///
    /// # Errors
    /// [`CertError`], if the credentials cannot be used.
    pub(crate) fn link_dialer(&self, credentials: &Credentials) -> Result<LinkDialer, CertError> {
        let caller = Caller::new(credentials)?.from(self.admission.own.from);
        let admission = Arc::clone(&self.admission);
        Ok(LinkDialer::new(Dialer { admission, caller }))
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

    /// Counts that a peer sent what cannot be, and logs it unless another such line was a moment ago.
    pub(crate) fn senseless(&self, peer: NodeId, reason: &str) {
        let counters = &self.admission.counters;
        counters.refused(Refused::Senseless, &peer, reason);
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
}
