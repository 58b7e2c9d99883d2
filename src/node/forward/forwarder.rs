//! What the forwarding knows: the slot map, who waits for it to change, the connections to owners,
//! and what was counted.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::pace::Pace;
use super::peers::{Peers, Unanswered};
use crate::client::ResendLost;
use crate::client::peer::PeerSetup;
use crate::client::peer_request::PeerRequest;
use crate::node::clock;
use crate::protocol::client::ResponseBody;
use crate::protocol::error::WireError;
use crate::protocol::routes::{NOBODY, ReplicaRoutes, RouteNode};
use crate::routing::router::{Route, Router};
use crate::routing::slot_map::SlotMap;
use crate::types::{Epoch, NodeId, Slot, SlotRecord};

/// Longest wait for an owner's answer, whatever the caller's deadline: an owner that takes longer is
/// as good as gone.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// When to come back after a slot had no owner for as long as was waited.
const SEALED_RETRY_MS: u32 = 100;

/// When to come back after an owner's queue was full.
const QUEUE_RETRY_MS: u32 = 20;

/// How long checks may be kept waiting, and whether they are sent again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    /// For a slot that is sealed, or has no known owner, to get one. 250 ms: a hand-off's seal takes
    /// some milliseconds, and a caller's own deadline is seldom below it.
    pub(crate) seal: Duration,
    /// For news, when a node that was named as the owner does not know of it yet.
    pub(crate) news: Duration,
    /// For more changes, before a change of the routes is told to clients: a hand-off is many.
    pub(crate) routes: Duration,
    /// Whether a check is sent again whose connection was lost on its way. It may then be counted
    /// twice, which costs its key permits; commands are never sent again.
    pub(crate) resend_lost: ResendLost,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            seal: Duration::from_millis(250),
            news: Duration::from_millis(25),
            routes: Duration::from_millis(20),
            resend_lost: ResendLost::Once,
        }
    }
}

/// What the forwarding has counted since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ForwardCounts {
    /// Checks and commands passed on to their owners.
    pub(crate) proxied: u64,
    /// Checks answered by `on_failure` since their owner could not be reached.
    pub(crate) degraded: u64,
    /// Checks that another node passed on to this one in vain, and those that this one did.
    pub(crate) not_owner: u64,
    /// Checks that waited for a slot in vain.
    pub(crate) sealed_out: u64,
}

/// See the module. One for all workers of a node.
#[derive(Debug)]
pub(crate) struct Forwarder {
    router: Router,
    /// Counts changes of the map and the gates; who waits is woken by it.
    changes: watch::Sender<u64>,
    peers: Peers,
    pace: Mutex<Pace>,
    proxied: AtomicU64,
    degraded: AtomicU64,
    not_owner: AtomicU64,
    sealed_out: AtomicU64,
    /// The cluster has shut this node out: it neither grants nor can ask who does.
    shut_out: AtomicBool,
    /// This node reaches none of the others: what it knows of owners may be old.
    cut_off: AtomicBool,
    pub(super) waits: Waits,
}

impl Forwarder {
    /// The forwarding of node `me`, which knows of no other node and no owner yet.
    pub(crate) fn new(me: NodeId, setup: PeerSetup, waits: Waits) -> Self {
        Self {
            router: Router::new(Arc::new(SlotMap::new(me))),
            changes: watch::Sender::new(0),
            peers: Peers::new(setup),
            pace: Mutex::default(),
            proxied: AtomicU64::new(0),
            degraded: AtomicU64::new(0),
            not_owner: AtomicU64::new(0),
            sealed_out: AtomicU64::new(0),
            shut_out: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
            waits,
        }
    }

    /// The slot map, to read.
    pub(crate) const fn map(&self) -> &Arc<SlotMap> {
        self.router.map()
    }

    /// Takes in chosen configurations. Who has become an owner lives.
    pub(crate) fn apply(&self, records: &[SlotRecord]) {
        if self.map().apply(records) {
            let owners: BTreeSet<NodeId> = records.iter().map(|it| it.chosen.owner).collect();
            for owner in owners {
                self.peers.hurry(owner);
            }
            self.changed();
        }
    }

    /// Says that a node can be reached, as far as this one knows.
    pub(crate) fn reached(&self, node: NodeId) {
        self.peers.hurry(node);
    }

    /// Closes the connections that this thread has asked over, of which it needs none any more.
    pub(super) fn leave(&self) {
        self.peers.leave();
    }

    /// Says where the nodes of the cluster are found, this one included. Connections to others are
    /// closed.
    pub(crate) fn set_nodes(&self, nodes: &[(NodeId, String)]) {
        if self.map().set_nodes(nodes) {
            let map = self.map();
            self.peers.retain(|node| map.address(node).is_some());
            self.changed();
        }
    }

    /// Sets the hash of the policy set in force, which clients learn with the routes.
    pub(crate) fn set_policies(&self, hash: u64) {
        if self.map().set_policies(hash) {
            self.changed();
        }
    }

    /// To be called after slots have begun to be served here, or ceased to: checks that wait for
    /// them look again.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// From now on every key is answered as one whose owner cannot be reached.
    pub(crate) fn shut_out(&self) {
        self.shut_out.store(true, Ordering::Release);
        self.changed();
    }

    /// Says whether this node reaches none of the others. While it does not, clients are told no routes:
    /// others may have taken over what it still takes for its own, and tell them so.
    pub(crate) fn set_cut_off(&self, cut_off: bool) {
        if self.cut_off.swap(cut_off, Ordering::AcqRel) != cut_off {
            self.changed();
        }
    }

    /// Whether [`Forwarder::shut_out`] was called; counts one check or command that is not decided
    /// because of it.
    pub(super) fn is_shut_out(&self) -> bool {
        let shut_out = self.shut_out.load(Ordering::Acquire);
        if shut_out {
            self.degraded.fetch_add(1, Ordering::Relaxed);
        }
        shut_out
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> ForwardCounts {
        ForwardCounts {
            proxied: self.proxied.load(Ordering::Relaxed),
            degraded: self.degraded.load(Ordering::Relaxed),
            not_owner: self.not_owner.load(Ordering::Relaxed),
            sealed_out: self.sealed_out.load(Ordering::Relaxed),
        }
    }

    /// The routes as clients are told.
    pub(crate) fn routes(&self) -> ReplicaRoutes {
        let directory = self.map().directory();
        let nodes = directory.nodes.iter().map(|(node, address)| RouteNode {
            node: node.0,
            address: address.to_string(),
        });
        let sets = directory.sets.iter();
        ReplicaRoutes {
            tag: directory.tag,
            policies: directory.policies,
            nodes: nodes.collect(),
            sets: sets
                .map(|set| set.map(|place| place.unwrap_or(NOBODY)))
                .collect(),
            runs: directory.runs.clone(),
        }
    }

    pub(super) fn route(&self, slot: Slot) -> Route {
        self.router.route(slot)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The answer to who asks this node for a slot of another one's.
    pub(super) fn not_owner(&self, slot: Slot) -> WireError {
        self.not_owner.fetch_add(1, Ordering::Relaxed);
        match self.map().known(slot) {
            Some(owner) => WireError::NotOwner {
                slot: slot.number(),
                epoch: owner.epoch.counter,
                owner: owner.node.0,
            },
            None => sealed(),
        }
    }

    /// Takes in that another node answered `NotOwner`; whether it named an owner that is news.
    pub(super) fn learn(&self, slot: Slot, epoch: u64, owner: u128) -> bool {
        self.not_owner.fetch_add(1, Ordering::Relaxed);
        let epoch = Epoch {
            counter: epoch,
            node: NodeId(owner),
        };
        let is_news = self.map().hint(slot, epoch);
        if is_news {
            self.changed();
        }
        is_news
    }

    /// Asks a node; an answer comes a little before `left` is over, so that it can be passed on in
    /// time.
    pub(super) async fn ask(
        &self,
        node: NodeId,
        (request, checks): (PeerRequest, usize),
        left: Duration,
    ) -> Result<ResponseBody, Unanswered> {
        let address = self.map().address(node).ok_or(Unanswered::NoAddress)?;
        let checks = u64::try_from(checks).unwrap_or(u64::MAX);
        self.proxied.fetch_add(checks, Ordering::Relaxed);
        let after = in_time(left.min(ANSWER_WAIT_MAX));
        self.peers.ask((node, address), request, after).await
    }

    /// Counts and tells that a node could not answer so many checks.
    pub(super) fn unanswered(&self, node: NodeId, checks: usize, why: &Unanswered) {
        let checks = u64::try_from(checks).unwrap_or(u64::MAX);
        self.degraded.fetch_add(checks, Ordering::Relaxed);
        let line = self.pace.lock().count(node, checks, clock::mono_now());
        if let Some(checks) = line {
            let cause = std::error::Error::source(why).map(tracing::field::display);
            tracing::warn!(
                peer = %node, %why, cause, checks,
                "owner cannot be reached; its keys are answered by on_failure"
            );
        }
    }

    /// Counts checks that waited in vain, and says what they are answered.
    pub(super) fn sealed_out(&self, checks: usize) -> WireError {
        let checks = u64::try_from(checks).unwrap_or(u64::MAX);
        self.sealed_out.fetch_add(checks, Ordering::Relaxed);
        sealed()
    }

    /// The routes, as soon as they are not those of tag `known`, or when `left` is nearly over.
    ///
    /// # Errors
    /// [`WireError::Unavailable`] as soon as this node is cut off: it does not know them.
    pub(super) fn later_routes(
        self: &Arc<Self>,
        known: u64,
        left: Duration,
    ) -> impl Future<Output = Result<ReplicaRoutes, WireError>> + Send + use<> {
        let forwarder = Arc::clone(self);
        async move {
            let mut changes = forwarder.subscribe();
            let mut over = pin!(tokio::time::sleep(in_time(left)));
            loop {
                changes.borrow_and_update();
                if forwarder.cut_off.load(Ordering::Acquire) {
                    return Err(WireError::Unavailable);
                }
                if forwarder.map().tag() != known {
                    // Who has none gets them at once.
                    if known != 0 {
                        tokio::time::sleep(forwarder.waits.routes.min(in_time(left))).await;
                    }
                    return Ok(forwarder.routes());
                }
                tokio::select! {
                    // Both arms are cancel safe.
                    changed = changes.changed() => if changed.is_err() {
                        return Ok(forwarder.routes());
                    },
                    () = over.as_mut() => return Ok(forwarder.routes()),
                }
            }
        }
    }
}

/// A little less than `left`, so that what comes then can still be passed on before a caller's
/// deadline: a tenth less, but at most 50 ms.
pub(super) fn in_time(left: Duration) -> Duration {
    let margin = (left / 10).clamp(Duration::from_millis(1), Duration::from_millis(50));
    left.saturating_sub(margin).max(Duration::from_millis(1))
}

const fn sealed() -> WireError {
    WireError::Overloaded {
        retry_ms: SEALED_RETRY_MS,
    }
}

pub(super) const fn queue_full() -> WireError {
    WireError::Overloaded {
        retry_ms: QUEUE_RETRY_MS,
    }
}
