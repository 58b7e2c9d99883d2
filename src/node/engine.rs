//! The engine: finds each check's policy, hashes its key, asks the table, and knows what must be
//! kept before the answer may leave. It never waits but in [`Engine::kept`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::clock;
use super::cluster::Cluster;
use super::hot::Hot;
use super::journal::Journal;
use super::policies::{ActivePolicy, Policies};
use super::quarantine::Quarantine;
use super::replication::Replication;
use super::upkeep::Upkeep;
use crate::limiter::policy::{Durability, OnFailure};
use crate::limiter::table::{Asked, Outcome, Table, Thawed};
use crate::limiter::{SlotClock, SlotClocks, Verdict, real_ms};
use crate::protocol::client::{WireDecision, WireSource};
use crate::protocol::error::WireError;
pub(super) use crate::server::Mode;
use crate::server::{Answer, Kept, Lack, Wait};
use crate::storage::committer::Committer;
use crate::storage::fence::{Fence, StorageFailed};
use crate::storage::replace::RowTurn;
use crate::storage::store::Store;
use crate::types::{MonoTime, NodeId, Slot, SlotSet, SlotTime, StateId, check_key};

/// When a caller whose key found no room should come back.
const NO_ROOM_RETRY_MS: u32 = 100;

/// Everything that decides, behind one door.
pub(crate) struct Engine {
    pub(super) table: Arc<Table>,
    pub(super) clock: SlotClock,
    pub(super) policies: Policies,
    pub(super) store: Arc<dyn Store>,
    pub(super) committer: Committer<Journal, dyn Store>,
    pub(super) fence: Arc<Fence>,
    pub(super) upkeep: Upkeep,
    pub(super) counts: Counts,
    pub(super) about: About,
    /// Which commits are on a majority of their slots' replicas.
    pub(crate) replication: Arc<Replication>,
    /// The cluster that the node is part of; none for a limiter in process.
    pub(crate) cluster: OnceLock<Arc<Cluster>>,
    pub(super) quarantine: Quarantine,
    /// The slots' clocks as the store's compactions see them.
    pub(super) slot_clocks: Arc<SlotClocks>,
    /// Held by whoever writes rows of states.
    pub(super) row_turn: RowTurn,
    /// The registers that the start found, in order of their slots; none on a new directory, and
    /// where no cluster ever was.
    pub(crate) found_registers: Vec<(Slot, Vec<u8>)>,
    /// The slots held with other nodes whose state here may lack something (R5): their registers must
    /// say so, synced, before anything else is done. Then [`Engine::incomplete_is_stored`].
    pub(crate) incomplete: SlotSet,
}

/// What the node is, for answers.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) node: NodeId,
    pub(crate) cluster: u128,
    pub(crate) key_secret: [u8; 16],
    /// Whether it created its cluster, and so owns all slots of which nothing else is known.
    pub(crate) founder: bool,
    pub(crate) boots: u64,
    pub(crate) started: MonoTime,
    pub(crate) data_dir: String,
    pub(crate) in_flight_max: u32,
    /// Whether anything is kept on disk; if not, all policies count in memory only.
    pub(crate) keeps: bool,
}

/// What the table does not count by itself.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) degraded: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) overloaded: AtomicU64,
    pub(crate) connections: AtomicU64,
    /// Which keys are asked for most.
    pub(super) hot: Hot,
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// The node's clock now; each slot's is this, moved by its offset.
    pub(crate) fn now(&self) -> SlotTime {
        self.clock.read(clock::mono_now())
    }

    /// Whether the slot was served here a moment ago. What counts is what the table says under its
    /// lock.
    pub(super) fn serves(&self, slot: Slot) -> bool {
        self.table.is_served(slot)
    }

    /// The slot of a key.
    pub(crate) fn slot_of(&self, key: &str) -> Slot {
        self.policies.hasher().key(key).slot()
    }

    /// The question about a key's state under a policy.
    pub(super) fn asked<'a>(
        &self,
        policy: &'a ActivePolicy,
        key: &str,
        cost: u64,
    ) -> Result<Asked<'a>, WireError> {
        check_key(key)?;
        let plan = policy.plan_for(key);
        let id = self.state_id(policy, key);
        Ok(Asked {
            id,
            limits: &plan.limits,
            shape: plan.shape,
            cost,
            journaled: self.is_journaled(policy, id.slot()),
            absent_at: None,
        })
    }

    /// Whether changes go into the journal. Where a slot has several replicas they always do, since it
    /// is commits that the replicas get: `none` is kept like `process` there.
    fn is_journaled(&self, policy: &ActivePolicy, slot: Slot) -> bool {
        (self.about.keeps && policy.policy.durability != Durability::None)
            || self.replication.is_replicated(slot)
    }

    /// What the change under `ticket` of a policy's key waits for. What is journaled is waited for.
    pub(super) fn wait_for(ticket: u64, policy: &ActivePolicy, slot: Slot) -> Wait {
        Wait {
            ticket,
            durability: policy.policy.durability.max(Durability::Process),
            slot,
        }
    }

    /// The name of a key's state under a policy.
    pub(super) fn state_id(&self, policy: &ActivePolicy, key: &str) -> StateId {
        self.policies.hasher().key(key).state_id(policy.hash)
    }

    /// Brings an evicted state back from the store; says if there is none. A row that cannot be
    /// used puts its key in quarantine.
    pub(super) fn thaw(
        &self,
        id: StateId,
        evictions: u64,
        now: SlotTime,
    ) -> Result<Option<u64>, NoRoom> {
        let thawed = match self.store.state(id) {
            Ok(row) => self
                .table
                .thaw(id, row.as_deref(), evictions, now)
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match thawed {
            Ok(Thawed::Here) => Ok(None),
            Ok(Thawed::Absent) => Ok(Some(evictions)),
            Ok(Thawed::NoRoom) => Err(NoRoom),
            Err(error) => {
                tracing::error!(state = %id, %error, "stored state cannot be used; its key is denied for one window");
                self.table.quarantine(id, now);
                Ok(Some(evictions))
            }
        }
    }

    /// The answer to an outcome about a state of `slot`.
    pub(super) fn answer(
        &self,
        (slot, outcome): (Slot, Outcome),
        policy: &ActivePolicy,
        mode: Mode,
    ) -> Answer {
        match outcome {
            Outcome::Decided {
                verdict,
                at,
                ticket,
            } => decided((verdict, at, ticket), policy, slot, mode),
            Outcome::CostAboveLimit(error) => self.refuse(WireError::CostAboveLimit {
                cost: error.cost,
                limit: error.limit,
            }),
            Outcome::NotServed => not_here(),
            Outcome::Quarantined { retry_after_ms } => {
                self.without_counts(policy, (Lack::Quarantine, retry_after_ms))
            }
            Outcome::Cold { .. } | Outcome::Full => self.refuse(self.no_room()),
        }
    }

    /// Has room made; what a caller is answered meanwhile.
    #[cold]
    pub(super) fn no_room(&self) -> WireError {
        self.upkeep.make_room();
        Counts::add(&self.counts.overloaded);
        WireError::Overloaded {
            retry_ms: NO_ROOM_RETRY_MS,
        }
    }

    #[inline(never)]
    pub(super) fn refuse(&self, error: WireError) -> Answer {
        Counts::add(&self.counts.errors);
        Answer {
            decision: Err(error),
            wait: None,
        }
    }

    /// What the policy's `on_failure` says, since `lack` keeps the counts from deciding.
    #[inline(never)]
    pub(super) fn without_counts(
        &self,
        policy: &ActivePolicy,
        (lack, retry_after_ms): (Lack, u64),
    ) -> Answer {
        Counts::add(&self.counts.degraded);
        let retry_after_ms = real_ms(retry_after_ms);
        let allowed = policy.policy.on_failure == OnFailure::Allow || policy.policy.shadow;
        policy.tally.without_counts(lack, allowed);
        let decision = WireDecision {
            allowed,
            shadow_denied: policy.policy.shadow,
            limit: policy.policy.limits.least_permits(),
            remaining: 0,
            reset_after_ms: retry_after_ms,
            retry_after_ms: if allowed { 0 } else { retry_after_ms },
            source: WireSource::Degraded,
            granted_at_ms: None,
        };
        Answer {
            decision: Ok(decision),
            wait: None,
        }
    }

    /// Resolves when `wait` holds: here, and on a majority of the replicas of each slot that has
    /// several. Cancel safe.
    pub(crate) async fn kept(&self, wait: Wait) -> Result<Kept, StorageFailed> {
        // Before the commit is taken, so that the replicas sync it while this node does.
        let wants_sync = self.replication.is_active() && wait.durability == Durability::Fsync;
        let _wanted = wants_sync.then(|| self.replication.wants_sync());
        self.committer.kept(wait.ticket, wait.durability).await?;
        Ok(self.replication.kept(wait).await)
    }

    /// Whether nothing may be granted in the slot: it has several replicas, and too few of them can be
    /// reached. What is looked at may still be denied.
    pub(super) fn lacks_majority(&self, slot: Slot) -> bool {
        self.replication.some_without_majority() && !self.replication.has_majority(slot)
    }
}

/// The answer when the limits decided.
#[inline]
pub(super) fn decided(
    (verdict, at, ticket): (Verdict, SlotTime, Option<u64>),
    policy: &ActivePolicy,
    slot: Slot,
    mode: Mode,
) -> Answer {
    let shadow_denied = policy.policy.shadow && !verdict.granted;
    let counted = verdict.granted && mode == Mode::Count;
    let retry_after_ms = if shadow_denied {
        0
    } else {
        real_ms(verdict.retry_after_ms)
    };
    Answer {
        decision: Ok(WireDecision {
            allowed: verdict.granted || shadow_denied,
            shadow_denied,
            limit: verdict.limit,
            remaining: verdict.remaining,
            reset_after_ms: real_ms(verdict.reset_after_ms),
            retry_after_ms,
            source: WireSource::Owner,
            granted_at_ms: counted.then(|| at.as_ms()),
        }),
        wait: ticket.map(|ticket| Engine::wait_for(ticket, policy, slot)),
    }
}

/// Stands where a check is decided elsewhere.
pub(super) const fn not_here() -> Answer {
    Answer {
        decision: Err(WireError::Unavailable),
        wait: None,
    }
}

/// The table has no room for a state that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}
