//! The engine: finds each check's policy, hashes its key, asks the table, and knows what must be
//! kept before the answer may leave. It never waits but in [`Engine::kept`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::clock;
use super::cluster::Cluster;
use super::journal::Journal;
use super::policies::{ActivePolicy, ActiveSet, Policies};
use super::upkeep::Upkeep;
use crate::limiter::policy::{Durability, OnFailure};
use crate::limiter::table::{Asked, Outcome, Table, Thawed};
use crate::limiter::{SlotClock, SlotClocks, Verdict, real_ms};
use crate::protocol::client::{WireDecision, WireSource};
use crate::protocol::error::WireError;
pub(super) use crate::server::Mode;
use crate::server::{Answer, Wait};
use crate::storage::committer::Committer;
use crate::storage::fence::{Fence, StorageFailed};
use crate::storage::replace::RowTurn;
use crate::storage::store::Store;
use crate::types::{MonoTime, NodeId, Slot, SlotTime, StateId, check_key};

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
    /// The cluster that the node is part of; none for a limiter in process.
    pub(crate) cluster: OnceLock<Arc<Cluster>>,
    /// Since when all keys are denied, by the node's clock in ms; `u64::MAX`: they are not.
    pub(super) quarantined_since: AtomicU64,
    /// The slots' clocks as the store's compactions see them.
    pub(super) slot_clocks: Arc<SlotClocks>,
    /// Held by whoever writes rows of states.
    pub(super) row_turn: RowTurn,
    /// The registers that the start found, in order of their slots; none on a new directory, and
    /// where no cluster ever was.
    pub(crate) found_registers: Vec<(Slot, Vec<u8>)>,
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
        Ok(Asked {
            id: self.state_id(policy, key),
            limits: &plan.limits,
            shape: plan.shape,
            cost,
            journaled: self.about.keeps && policy.policy.durability != Durability::None,
            absent_at: None,
        })
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

    /// The answer to an outcome.
    pub(super) fn answer(&self, outcome: Outcome, policy: &ActivePolicy, mode: Mode) -> Answer {
        match outcome {
            Outcome::Decided {
                verdict,
                at,
                ticket,
            } => decided(verdict, at, ticket, policy, mode),
            Outcome::CostAboveLimit(error) => self.refuse(WireError::CostAboveLimit {
                cost: error.cost,
                limit: error.limit,
            }),
            Outcome::NotServed => not_here(),
            Outcome::Quarantined { retry_after_ms } => self.without_counts(policy, retry_after_ms),
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

    /// What the policy's `on_failure` says.
    #[inline(never)]
    pub(super) fn without_counts(&self, policy: &ActivePolicy, retry_after_ms: u64) -> Answer {
        Counts::add(&self.counts.degraded);
        let retry_after_ms = real_ms(retry_after_ms);
        let allowed = policy.policy.on_failure == OnFailure::Allow || policy.policy.shadow;
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

    /// Since when the whole node is in quarantine; ends it once the longest window has passed.
    pub(super) fn quarantine(&self, now: SlotTime, set: &ActiveSet) -> Option<SlotTime> {
        let since = self.quarantined_since.load(Ordering::Acquire);
        if since == u64::MAX {
            return None;
        }
        let since = SlotTime::from_ms(since);
        if since.plus_ms(set.longest_window_ms()).plus_ms(1) <= now {
            self.quarantined_since.store(u64::MAX, Ordering::Release);
            tracing::info!("the quarantine of all keys has ended: the longest window has passed");
            return None;
        }
        Some(since)
    }

    /// Resolves when `wait` holds.
    pub(crate) async fn kept(&self, wait: Wait) -> Result<(), StorageFailed> {
        self.committer.kept(wait.ticket, wait.durability).await
    }
}

/// The answer when the limits decided.
#[inline]
pub(super) fn decided(
    verdict: Verdict,
    at: SlotTime,
    ticket: Option<u64>,
    policy: &ActivePolicy,
    mode: Mode,
) -> Answer {
    let shadow_denied = policy.policy.shadow && !verdict.granted;
    let counted = verdict.granted && mode == Mode::Count;
    let retry_after_ms = if shadow_denied {
        0
    } else {
        real_ms(verdict.retry_after_ms)
    };
    let durability = policy.policy.durability;
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
        wait: ticket.map(|ticket| Wait { ticket, durability }),
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
