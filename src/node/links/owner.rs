//! The owner's side of all links: one thread, which gives each replica a [`Keeper`] at one of the
//! berths.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::event::Events;
use super::heard::Heard;
use super::keeper::Keeper;
use super::outbox::Outboxes;
use crate::membership::identity::Identity;
use crate::node::clock;
use crate::node::engine::Engine;
use crate::node::peers::{LinkDialer, Misconduct};
use crate::protocol::frame::encode_within;
use crate::protocol::replicate::{LINK_FRAME_BYTES_MAX, OwnerFrame};
use crate::replication::Report;
use crate::types::NodeId;

/// How often the replication is told that time has passed.
const TICK: Duration = Duration::from_millis(50);

/// Where links are driven.
#[derive(Debug)]
pub(crate) struct Berth {
    /// Drives their tasks, and
    pub(crate) runtime: Handle,
    /// dials there alone.
    pub(crate) dialer: LinkDialer,
}

/// What the owner's ends of all links share.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) engine: Arc<Engine>,
    /// At least one.
    pub(super) berths: Vec<Berth>,
    pub(super) misconduct: Misconduct,
    pub(super) outboxes: Arc<Outboxes>,
    pub(super) events: Arc<Events>,
    pub(super) heard: Arc<Heard>,
}

/// To whom there is to be a link.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Each peer, and which session with it: each has a link of its own.
    pub(super) peers: BTreeMap<NodeId, (u64, Identity)>,
    /// Sessions so far.
    pub(super) sessions: u64,
    /// The thread is to end.
    pub(super) over: bool,
}

/// A task that keeps a link.
struct Kept {
    session: u64,
    task: AbortHandle,
}

impl Owner {
    /// Keeps the links that are wanted, until all is over.
    pub(super) async fn run(self: Arc<Self>, mut wanted: watch::Receiver<Wanted>) {
        let mut keepers: BTreeMap<NodeId, Kept> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        let mut tick_at = clock::mono_now();
        loop {
            let wait = tick_at.since(clock::mono_now());
            // All arms are cancel safe.
            tokio::select! {
                changed = wanted.changed() => {
                    let wanted = wanted.borrow_and_update();
                    if changed.is_err() || wanted.over {
                        return;
                    }
                    self.keep(&wanted, &mut keepers, &mut tasks);
                }
                () = tokio::time::sleep(wait) => {
                    let now = clock::mono_now();
                    tick_at = now.plus(TICK);
                    self.engine.replication.tick(now);
                    self.report();
                }
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!(%error, "a link's task failed; this is a bug");
                    }
                }
            }
        }
    }

    /// Begins and ends keepers, so that there is one for each session that is wanted.
    fn keep(
        self: &Arc<Self>,
        wanted: &Wanted,
        keepers: &mut BTreeMap<NodeId, Kept>,
        tasks: &mut JoinSet<()>,
    ) {
        keepers.retain(|peer, kept| {
            let session = wanted.peers.get(peer).map(|it| it.0);
            let stays = session == Some(kept.session) && !kept.task.is_finished();
            if !stays {
                kept.task.abort();
            }
            stays
        });
        for (node, (session, peer)) in &wanted.peers {
            let session = *session;
            if keepers.contains_key(node) {
                continue;
            }
            // In turn, so that many links are spread over all berths.
            let turn = usize::try_from(session).unwrap_or(0);
            let berth = turn.checked_rem(self.berths.len()).unwrap_or(0);
            let Some(Berth { runtime, .. }) = self.berths.get(berth) else {
                continue;
            };
            let keeper = Keeper {
                peer: peer.clone(),
                owner: Arc::clone(self),
                berth,
            };
            let task = tasks.spawn_on(keeper.keep(), runtime);
            keepers.insert(*node, Kept { session, task });
        }
    }

    /// Tells what the replication has to tell: the peers that they are behind, the control loop all
    /// else.
    pub(super) fn report(&self) {
        for report in self.engine.replication.reports() {
            match report {
                Report::Behind { peer, link, slots } => {
                    let slots = (&slots).into();
                    self.push(peer, link, &OwnerFrame::Behind { slots });
                }
                Report::InSync { .. } | Report::OutOfSync { .. } | Report::Deaf { .. } => {
                    self.events.report(report);
                }
            }
        }
    }

    /// What the clocks show of the slots whose commits go to a peer.
    pub(super) fn clocks(&self, peer: NodeId, link: u64) -> Vec<(u16, u64, u64)> {
        let (engine, now) = (&self.engine, self.engine.now());
        let given = engine.replication.given(peer, link).into_iter();
        let clocks = given.map(|(slot, epoch)| {
            let clock = engine.table.slot_now(slot, now);
            (slot.number(), epoch.counter, clock.as_ms())
        });
        clocks.collect()
    }

    /// Queues a frame for just this link.
    pub(super) fn push(&self, peer: NodeId, link: u64, frame: &OwnerFrame<'_>) {
        let mut bytes = Vec::new();
        match encode_within(LINK_FRAME_BYTES_MAX, frame, &mut bytes) {
            // If it is not taken, the link has ended or ends.
            Ok(()) => drop(self.outboxes.push(peer, link, bytes)),
            Err(error) => {
                tracing::error!(%error, "a frame for a replica is too long; please report this");
            }
        }
    }
}
