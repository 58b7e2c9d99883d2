//! The control loop: one thread that lets membership, roster, policies and ownership take notice of
//! what happens, and carries out what they want.
//!
//! It decides nothing: what it is told goes to the pure rooms, and what they want goes out. All that
//! is durable is written here, one step after the other, so that an effect is never overtaken by the
//! next. Checks are not held up by it: they read the slot map and the table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crossbeam::channel::Sender;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::handle::{Cluster, Command};
use super::pull::{CaughtUp, PullError, Rest, Staged, Whole};
use super::replicas::Becoming;
use super::seals::Seals;
use super::targets::Targeted;
use crate::limiter::table::SlotExport;
use crate::membership::cluster_settings::ClusterSettings;
use crate::membership::identity::Address;
use crate::membership::roster::{Roster, Standing};
use crate::membership::swim::{Swim, SwimEvent};
use crate::node::clock;
use crate::node::engine::Engine;
use crate::node::links::{LinkEvent, Links};
use crate::node::peers::{BulkLine, PeerEvent, PeerNet};
use crate::ownership::Ownership;
use crate::ownership::event::{Event, TaskId};
use crate::types::{Epoch, MonoTime, NodeId, Replicas, Slot, SlotSet};

/// How often time is told to the rooms although nothing happened.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Copies of served slots that are told to replicas at once, at most.
pub(super) const COPIES_MAX: usize = 16;

/// Transfers that may have ended and not been noticed.
pub(super) const DONE_MAX: usize = 64;

/// A transfer that has ended.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "few, each moved once")]
pub(super) enum Done {
    /// A pre-copy to this node.
    Copied {
        task: TaskId,
        staged: Result<(Staged, BulkLine), PullError>,
    },
    /// The rest of sealed slots came to this node; those that are whole.
    Fetched {
        task: TaskId,
        from: NodeId,
        whole: Result<(Rest, BulkLine), PullError>,
    },
    /// Slots that go on being served elsewhere came to this node.
    CaughtUp { task: TaskId, slots: Vec<CaughtUp> },
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
    pub(super) settings: Settings,
    pub(super) ownership: Ownership,
    pub(super) swim: Swim,
    pub(super) roster: Roster,
    /// What the operator wants of the whole cluster.
    pub(super) wanted: ClusterSettings,
    pub(super) net: PeerNet,
    pub(super) links: Arc<Links>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) done: mpsc::Sender<Done>,
    pub(super) ended: mpsc::Receiver<Done>,
    /// Transfers under way.
    pub(super) tasks: JoinSet<()>,
    /// When the rooms want to be told the time.
    pub(super) wake_at: MonoTime,
    /// When the ownership, too, is told the time although nothing happened.
    pub(super) tick_at: MonoTime,
    /// When peers are told digests of what all should know.
    pub(super) tell_at: MonoTime,
    /// Slots that are coming to this node, as far as they were copied, and
    pub(super) staged: Staged,
    /// those that are here whole and not yet installed.
    pub(super) whole: Whole,
    /// Copies under way, and
    pub(super) copying: BTreeMap<TaskId, (NodeId, SlotSet)>,
    /// those that are here, by their holder.
    pub(super) copied_from: BTreeMap<NodeId, SlotSet>,
    /// Connections on which slots came, for the next ones; only while slots move.
    pub(super) lines: BTreeMap<NodeId, BulkLine>,
    /// How long slots that leave this node are sealed.
    pub(super) seals: Seals,
    /// Bytes of transfers to this node.
    pub(super) bytes: BTreeMap<TaskId, Arc<AtomicU64>>,
    /// Copies told to peers, who may ask for the rest.
    pub(super) exports: BTreeMap<NodeId, SlotExport>,
    /// Copies of served slots that may be told to replicas at once.
    pub(super) copies: Arc<Semaphore>,
    /// States that wait for commits to be those of another epoch.
    pub(super) becoming: Vec<Becoming>,
    /// Whose states became a reign of this node that is not chosen yet.
    pub(super) became: BTreeMap<Slot, (Epoch, Vec<NodeId>)>,
    /// Peers with a session.
    pub(super) connected: BTreeSet<NodeId>,
    /// By what the ownership was told its targets last.
    pub(super) targeted: Targeted,
    /// Nodes that do not answer, and since when.
    pub(super) down_since: BTreeMap<NodeId, MonoTime>,
    /// Of each slot, who should hold it.
    pub(super) targets: Arc<Vec<Replicas>>,
    /// What this node wants to be to the cluster.
    pub(super) standing: Standing,
    /// Whether it leaves once it owns nothing.
    pub(super) leaving: bool,
    /// Who waits until this node owns nothing.
    pub(super) waits_drained: Vec<Sender<()>>,
    /// Why the cluster has shut this node out, if it has: it serves nothing any more.
    pub(super) shut_out: Option<String>,
    /// There is something new to show.
    pub(super) changed: bool,
}

/// What the operator has said of the node's part in the cluster.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Its address, as others reach it.
    pub(super) advertise: Address,
    /// Name in its certificate.
    pub(super) certificate: String,
    /// Its share of the slots.
    pub(super) weight: u32,
    /// Where it stands.
    pub(super) zone: String,
    /// How long a node may be down until its replicas are made elsewhere.
    pub(super) repair_after: Duration,
    /// Most bytes of copies a second.
    pub(super) hand_off_bytes_per_second: u64,
}

/// What the loop waits for.
enum Happened {
    Peer(PeerEvent),
    Command(Command),
    Ended(Done),
    Link(LinkEvent),
    Time,
    Over,
}

impl Control {
    /// Runs until it is told to stop, or everybody who could is gone.
    pub(super) async fn run(mut self, started: Sender<()>) {
        self.publish_self().await;
        self.ownership(Event::Start).await;
        self.show();
        // Nobody waits any more if the start was given up.
        started.send(()).ok();
        loop {
            match self.wait().await {
                Happened::Peer(event) => self.peer(event).await,
                Happened::Command(command) => {
                    if !self.command(command).await {
                        return;
                    }
                }
                Happened::Ended(done) => self.transferred(done).await,
                Happened::Link(event) => self.link(event).await,
                Happened::Time => {
                    self.time().await;
                    if self.stands_down() {
                        return;
                    }
                }
                Happened::Over => return,
            }
            while self.tasks.try_join_next().is_some() {}
            if std::mem::take(&mut self.changed) {
                self.show();
            }
        }
    }

    async fn wait(&mut self) -> Happened {
        let wake_in = self.wake_at.min(self.tick_at).since(clock::mono_now());
        // All arms are cancel safe.
        tokio::select! {
            biased;
            command = self.commands.recv() => command.map_or(Happened::Over, Happened::Command),
            Some(done) = self.ended.recv() => Happened::Ended(done),
            () = tokio::time::sleep(wake_in) => Happened::Time,
            event = self.links.next_event() => Happened::Link(event),
            event = self.net.next() => Happened::Peer(event),
        }
    }

    async fn time(&mut self) {
        let now = clock::mono_now();
        self.wake_at = now.plus(TICK);
        self.swim(SwimEvent::Tick);
        self.tell_heard().await;
        self.ownership(Event::Tick).await;
        self.go_on_becoming().await;
        if now >= self.tick_at {
            self.tick_at = now.plus(TICK);
            self.changed = true;
            let cut_off = self.engine.replication.is_cut_off();
            self.cluster.forwarder.set_cut_off(cut_off);
            if self.ownership.progress().is_empty() {
                self.lines.clear();
            }
            self.note_drained();
            self.retarget().await;
            self.leave_if_drained().await;
        }
        if now >= self.tell_at {
            self.tell_at = now.plus(super::members::TELL);
            self.tell_digests();
        }
    }
}
