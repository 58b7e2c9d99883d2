//! The control loop: one thread that lets membership, roster, policies and ownership take notice of
//! what happens, and carries out what they want.
//!
//! It decides nothing: what it is told goes to the pure rooms, and what they want goes out. All that
//! is durable is written here, one step after the other, so that an effect is never overtaken by the
//! next. Checks are not held up by it: they read the slot map and the table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::handle::{Cluster, Command};
use super::hold::Hold;
use super::pull::{Staged, Whole};
use crate::limiter::table::SlotExport;
use crate::membership::roster::Roster;
use crate::membership::swim::{Swim, SwimEvent};
use crate::node::clock;
use crate::node::engine::Engine;
use crate::node::peers::{PeerEvent, PeerNet};
use crate::node::policy_sets::PolicySets;
use crate::ownership::Ownership;
use crate::ownership::event::{Event, TaskId};
use crate::types::{MonoTime, NodeId, Slot, SlotSet};

/// How often time is told to the rooms although nothing happened.
const TICK: Duration = Duration::from_millis(100);

/// Transfers that may have ended and not been noticed.
pub(super) const DONE_MAX: usize = 64;

/// A transfer that has ended.
#[derive(Debug)]
pub(super) enum Done {
    /// A pre-copy to this node; `None` if it failed.
    Copied {
        task: TaskId,
        staged: Option<Staged>,
    },
    /// The rest of sealed slots came to this node; those that are whole.
    Fetched { task: TaskId, whole: Whole },
    /// This node told a peer a copy, and can tell it the rest.
    Told {
        peer: NodeId,
        export: Option<SlotExport>,
    },
}

/// See the module.
pub(super) struct Control {
    pub(super) engine: Arc<Engine>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) ownership: Ownership,
    pub(super) swim: Swim,
    pub(super) roster: Roster,
    pub(super) policies: PolicySets,
    pub(super) net: PeerNet,
    pub(super) peer_events: mpsc::Receiver<PeerEvent>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) done: mpsc::Sender<Done>,
    pub(super) ended: mpsc::Receiver<Done>,
    /// Transfers under way.
    pub(super) tasks: JoinSet<()>,
    /// When the rooms want to be told the time.
    pub(super) wake_at: MonoTime,
    /// Slots that are coming to this node, as far as they were copied, and
    pub(super) staged: BTreeMap<Slot, crate::limiter::transfer::Staging>,
    /// those that are here whole and not yet installed.
    pub(super) whole: Whole,
    /// Copies under way, and
    pub(super) copying: BTreeMap<TaskId, (NodeId, SlotSet)>,
    /// those that are here, by their holder.
    pub(super) copied_from: BTreeMap<NodeId, SlotSet>,
    /// Bytes of transfers to this node.
    pub(super) bytes: BTreeMap<TaskId, Arc<AtomicU64>>,
    /// Copies told to peers, who may ask for the rest.
    pub(super) exports: BTreeMap<NodeId, SlotExport>,
    pub(super) settings: Settings,
    /// Peers with a connection in both directions.
    pub(super) connected: std::collections::BTreeSet<NodeId>,
    /// The targets that were told last, as their hash.
    pub(super) targets_of: Vec<(NodeId, u32)>,
    /// Whether slots were ever told to be served.
    pub(super) draining: bool,
    /// Who waits until this node owns nothing.
    pub(super) waits_drained: Vec<oneshot::Sender<()>>,
    pub(super) roster_next: MonoTime,
}

/// What the operator has said of the node's part in the cluster.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Its address, as others reach it.
    pub(super) advertise: String,
    /// Name in its certificate.
    pub(super) certificate: String,
    /// Its share of the slots.
    pub(super) weight: u32,
    /// Most bytes of copies a second.
    pub(super) hand_off_bytes_per_second: u64,
    /// Addresses of nodes to ask for the cluster when none is reached.
    pub(super) seeds: Vec<String>,
}

/// What the loop waits for.
enum Happened {
    Peer(PeerEvent),
    Command(Command),
    Ended(Done),
    Time,
    Over,
}

impl Control {
    /// Runs until it is told to stop, or everybody who could is gone.
    pub(super) async fn run(mut self) {
        loop {
            let happened = self.wait().await;
            match happened {
                Happened::Peer(event) => self.peer(event).await,
                Happened::Command(command) => {
                    if !self.command(command).await {
                        return;
                    }
                }
                Happened::Ended(done) => self.transferred(done).await,
                Happened::Time => self.time().await,
                Happened::Over => return,
            }
            while self.tasks.try_join_next().is_some() {}
        }
    }

    async fn wait(&mut self) -> Happened {
        let wake_in = self.wake_at.since(self.now()).min(TICK);
        tokio::select! {
            biased;
            command = self.commands.recv() => command.map_or(Happened::Over, Happened::Command),
            Some(done) = self.ended.recv() => Happened::Ended(done),
            Some(event) = self.peer_events.recv() => Happened::Peer(event),
            () = tokio::time::sleep(wake_in) => Happened::Time,
        }
    }

    async fn time(&mut self) {
        self.wake_at = self.now().plus(TICK);
        self.swim(SwimEvent::Tick).await;
        self.ownership(Event::Tick).await;
        self.tell_roster();
        self.note_drained();
        self.publish();
    }

    pub(super) fn now(&self) -> MonoTime {
        clock::mono_now()
    }

    /// A task that tells the state of slots to a peer.
    pub(super) fn hold(&self, send: quinn::SendStream) -> Hold {
        let rate = self.settings.hand_off_bytes_per_second;
        Hold::new(Arc::clone(&self.engine), send, rate)
    }
}
