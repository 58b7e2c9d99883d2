//! The cluster as the rest of the node sees it: what is known is read here, what is wanted is sent to
//! the control loop.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Sender;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::view::View;
use crate::node::engine::Engine;
use crate::node::forward::Forwarder;
use crate::node::policy_sets::rule::{ApplyError, FileState, PolicyEffect, PolicySets};
use crate::node::policy_sets::versioned::{META_NAME, VersionedSet};
use crate::protocol::admin::{AdminResponse, NodeCommand, PolicyFile};
use crate::protocol::error::WireError;
use crate::protocol::replicas::{RingReplicas, SlotView};
use crate::types::Slot;

/// Commands that may wait for the control loop; it takes them within milliseconds.
pub(super) const COMMANDS_MAX: usize = 64;

/// How long the control loop may take to tell something: it may be in the middle of a synced write.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// What the control loop is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// An operator's change of a node's part in the cluster.
    Node(NodeCommand),
    /// The policy set in force is another one: tell all other nodes.
    PoliciesChanged,
    /// Tell how the replicas of a slot stand, and what is here of it.
    Slot(Slot, oneshot::Sender<SlotView>),
    /// Tell how the replicas of all slots stand, as far as this node serves or holds them.
    Replicas(oneshot::Sender<RingReplicas>),
    /// Hand all slots to other nodes; answered when this node owns none, or cannot hand any over.
    Drain(Sender<()>),
    /// Tell the others that this node goes, and end the loop; answered when it has.
    Stop(Sender<()>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The way of checks to other nodes.
    pub(crate) forwarder: Arc<Forwarder>,
    /// Which policy set is in force.
    policies: Mutex<PolicySets>,
    view: RwLock<Arc<View>>,
    commands: mpsc::Sender<Command>,
    stood_down: watch::Sender<bool>,
}

impl Cluster {
    pub(super) fn new(
        forwarder: Arc<Forwarder>,
        policies: PolicySets,
        view: View,
        commands: mpsc::Sender<Command>,
    ) -> Self {
        Self {
            forwarder,
            policies: Mutex::new(policies),
            view: RwLock::new(Arc::new(view)),
            commands,
            stood_down: watch::Sender::new(false),
        }
    }

    /// The control loop ends, and other nodes take over what this one has.
    pub(super) fn note_stood_down(&self) {
        self.stood_down.send_replace(true);
    }

    /// Resolves when it has ended so. Cancel safe.
    pub(crate) fn stood_down(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stood_down = self.stood_down.subscribe();
        async move {
            if stood_down.wait_for(|it| *it).await.is_err() {
                // It has ended otherwise.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What the control loop last saw of the cluster.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read())
    }

    pub(super) fn show(&self, view: View) {
        *self.view.write() = Arc::new(view);
    }

    /// Asks the control loop for something.
    ///
    /// # Errors
    /// [`WireError::Unavailable`] if it has ended, or has too much to do.
    pub(crate) fn command(&self, command: Command) -> Result<(), WireError> {
        let sent = self.commands.try_send(command);
        sent.map_err(|_full_or_ended| WireError::Unavailable)
    }

    /// How the replicas of a slot stand, and what is here of it.
    ///
    /// # Errors
    /// [`WireError::Unavailable`] if the control loop has ended, or has too much to do.
    pub(crate) async fn slot(&self, slot: Slot) -> Result<SlotView, WireError> {
        let (told, view) = oneshot::channel();
        self.command(Command::Slot(slot, told))?;
        answered(view).await
    }

    /// How the replicas of all slots stand.
    ///
    /// # Errors
    /// As [`Cluster::slot`].
    pub(super) async fn replicas(&self) -> Result<RingReplicas, WireError> {
        let (told, replicas) = oneshot::channel();
        self.command(Command::Replicas(told))?;
        answered(replicas).await
    }

    /// The set in force.
    pub(crate) fn policies_in_force(&self) -> VersionedSet {
        self.policies.lock().in_force().clone()
    }

    /// What the node's own file is to the set in force.
    pub(crate) fn file_state(&self) -> FileState {
        self.policies.lock().file_state()
    }

    /// Whether a set that another node has told of is worth fetching.
    pub(super) fn lacks_policies(&self, version: u64, hash: u64) -> bool {
        self.policies.lock().lacks(version, hash)
    }

    /// Has the policy room take notice of something, and does what it wants. Blocks for a synced
    /// write where the set in force changes. Whether it did.
    pub(crate) fn policies(
        &self,
        engine: &Engine,
        notice: impl FnOnce(&mut PolicySets) -> Vec<PolicyEffect>,
    ) -> bool {
        // Under the lock, so that sets are stored and enforced in the order in which they won.
        let mut policies = self.policies.lock();
        let effects = notice(&mut policies);
        self.enforce(engine, effects)
    }

    /// As [`Cluster::policies`], for an admin's text.
    ///
    /// # Errors
    /// [`ApplyError`]; nothing has changed.
    pub(crate) fn apply_policies(
        &self,
        engine: &Engine,
        text: &str,
    ) -> Result<PolicyFile, ApplyError> {
        let mut policies = self.policies.lock();
        let effects = policies.apply(text)?;
        let changed = self.enforce(engine, effects);
        let applied = policies.in_force().to_admin();
        drop(policies);
        if changed {
            // If the loop cannot take it now, the next of its rounds tells the others.
            self.command(Command::PoliciesChanged).ok();
        }
        Ok(applied)
    }

    /// Does what the policy room wants at the start.
    pub(super) fn begin_policies(&self, engine: &Engine, effects: Vec<PolicyEffect>) {
        self.enforce(engine, effects);
        self.forwarder.set_policies(self.policies_in_force().hash);
    }

    fn enforce(&self, engine: &Engine, effects: Vec<PolicyEffect>) -> bool {
        let mut changed = false;
        for effect in effects {
            match effect {
                PolicyEffect::Store(set) => {
                    let put = engine.store.put_meta(META_NAME, &set.encode());
                    if let Err(error) = put {
                        engine.fence.close(error);
                    }
                }
                PolicyEffect::Enforce(set) => {
                    let replaced = engine.put_in_force(&set);
                    match replaced {
                        Ok(()) => {
                            tracing::info!(policies = set.policies.len(), "policies in force");
                        }
                        Err(error) => {
                            tracing::error!(%error, "policies cannot be enforced; the old ones are");
                        }
                    }
                }
                PolicyEffect::Spread(set) => {
                    self.forwarder.set_policies(set.hash);
                    changed = true;
                }
                PolicyEffect::TellFile(FileState::Differs) => tracing::warn!(
                    "the policy file differs from the set that is in force in the cluster; \
                     `ratelimitctl policy diff` shows it, `policy apply` puts it in force"
                ),
                PolicyEffect::TellFile(FileState::Broken(why)) => tracing::error!(
                    %why,
                    "the policy file cannot be used; the stored set stays in force until the file \
                     can be"
                ),
                PolicyEffect::TellFile(FileState::Same) => {
                    tracing::info!("the policy file says what is in force in the cluster");
                }
            }
        }
        changed
    }

    /// Carries out an operator's command.
    pub(crate) fn node_command(&self, command: &NodeCommand) -> AdminResponse {
        match self.command(Command::Node(*command)) {
            Ok(()) => AdminResponse::Done,
            Err(error) => AdminResponse::Failed(error),
        }
    }
}

/// What the control loop tells, if it does soon.
async fn answered<T>(told: oneshot::Receiver<T>) -> Result<T, WireError> {
    let told = timeout(ANSWER_WAIT, told).await;
    told.ok().and_then(Result::ok).ok_or(WireError::Unavailable)
}
