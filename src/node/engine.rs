//! The engine: finds each check's policy, hashes its key, asks the table, and knows what must be
//! kept before the answer may leave. It never waits but in [`Engine::kept`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::clock;
use super::journal::Journal;
use super::policies::{ActivePolicy, ActiveSet, Policies};
use super::upkeep::Upkeep;
use crate::limiter::policy::{Durability, OnFailure};
use crate::limiter::table::{Asked, Outcome, Table, Thawed, quarantine_left_ms};
use crate::limiter::{SlotClock, real_ms};
use crate::protocol::client::{Ask, PolicyRef, WireDecision, WireSource};
use crate::protocol::error::WireError;
use crate::server::{Answer, Wait};
use crate::storage::SharedSlotClock;
use crate::storage::committer::Committer;
use crate::storage::fence::{Fence, StorageFailed};
use crate::storage::store::Store;
use crate::types::{MonoTime, NodeId, SlotTime, StateId, check_key};

/// How often a question about an evicted state is asked again before the caller is turned away:
/// each time another eviction in its stripe came between reading and asking.
const THAWS_MAX: usize = 4;

/// When a caller whose key found no room should come back.
pub(super) const NO_ROOM_RETRY_MS: u32 = 100;

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
    /// Since when all keys are denied, in slot ms; `u64::MAX`: they are not.
    pub(super) quarantined_since: AtomicU64,
    /// The slot clock as the store's compactions see it.
    pub(super) slot_clock: SharedSlotClock,
}

/// What the node is, for answers.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) node: NodeId,
    pub(crate) cluster: u128,
    pub(crate) key_secret: [u8; 16],
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

/// Whether a batch counts or only looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Count,
    Look,
}

/// What holds for all decisions of a batch.
#[derive(Debug)]
struct Moment {
    now: SlotTime,
    mode: Mode,
    /// The storage failed: nothing is granted any more.
    fenced: bool,
    /// Since when the whole node is in quarantine.
    quarantined: Option<SlotTime>,
}

impl Moment {
    /// The table alone decides.
    const fn is_plain(&self) -> bool {
        !self.fenced && self.quarantined.is_none()
    }
}

impl Engine {
    /// The slot clock now.
    pub(crate) fn now(&self) -> SlotTime {
        self.clock.read(clock::mono_now())
    }

    /// Decides `asks` as one batch and appends one answer for each, in order. All states are on
    /// their way from memory before the first is looked at.
    pub(super) fn batch(&self, asks: &[Ask<'_>], mode: Mode, answers: &mut Vec<Answer>) {
        let carried = self.carried(asks);
        let set = self.policies.current();
        let mut last_named = None;
        let found = asks.iter().enumerate().map(|(n, ask)| {
            let found = self.find(&set, &carried, n, ask, &mut last_named)?;
            self.table.prefetch(found.0.id);
            Ok(found)
        });
        let found: Vec<_> = found.collect();
        let moment = self.moment(mode, &set);
        let near = |asked| match mode {
            Mode::Count if moment.is_plain() => self.table.check_near(moment.now, asked),
            Mode::Count | Mode::Look => None,
        };
        let near: Vec<_> = found
            .iter()
            .map(|found| near(&found.as_ref().ok()?.0))
            .collect();
        answers.extend(
            found
                .into_iter()
                .zip(near)
                .map(|(found, near)| match (found, near) {
                    (Ok((asked, policy)), None) => self.decide(asked, policy, &moment),
                    (Ok((asked, policy)), Some(outcome)) => {
                        self.settle(outcome, asked, policy, &moment)
                    }
                    (Err(error), _) => self.refuse(error),
                }),
        );
    }

    /// Decides one check of a named policy.
    pub(super) fn one(&self, policy: &str, key: &str, cost: u64) -> Answer {
        let set = self.policies.current();
        let found = set
            .named(policy)
            .and_then(|policy| Ok((self.asked(policy, key, cost)?, policy)));
        match found {
            Ok((asked, policy)) => self.decide(asked, policy, &self.moment(Mode::Count, &set)),
            Err(error) => self.refuse(error),
        }
    }

    /// What holds for all decisions that are made now.
    fn moment(&self, mode: Mode, set: &ActiveSet) -> Moment {
        let now = self.now();
        Moment {
            now,
            mode,
            fenced: self.fence.is_closed(),
            quarantined: self.quarantine(now, set),
        }
    }

    fn decide(&self, asked: Asked<'_>, policy: &ActivePolicy, moment: &Moment) -> Answer {
        if moment.fenced {
            return match policy.policy.on_failure {
                OnFailure::Allow => self.without_counts(policy, 0),
                OnFailure::Deny => self.refuse(WireError::StorageFailed),
            };
        }
        if let Some(since) = moment.quarantined {
            let left_ms = quarantine_left_ms(since, asked.limits, moment.now);
            if left_ms > 0 {
                return self.without_counts(policy, left_ms);
            }
        }
        let outcome = self.ask(&asked, moment);
        self.settle(outcome, asked, policy, moment)
    }

    /// The answer to an outcome, after a look into the store if need be.
    fn settle(
        &self,
        mut outcome: Outcome,
        asked: Asked<'_>,
        policy: &ActivePolicy,
        moment: &Moment,
    ) -> Answer {
        if let Outcome::Cold { .. } = outcome {
            outcome = self.settle_cold(outcome, asked, moment);
        }
        self.answer(outcome, policy, moment.mode)
    }

    fn ask(&self, asked: &Asked<'_>, moment: &Moment) -> Outcome {
        match moment.mode {
            Mode::Count => self.table.check(moment.now, asked),
            Mode::Look => self.table.peek(moment.now, asked),
        }
    }

    /// The policies that requests of a batch bring along, by their place in it.
    fn carried(&self, asks: &[Ask<'_>]) -> Vec<(usize, Result<Arc<ActivePolicy>, WireError>)> {
        let carried = asks
            .iter()
            .enumerate()
            .filter_map(|(n, ask)| match &ask.target.policy {
                PolicyRef::Named(_) => None,
                PolicyRef::Carried { name, limits } => {
                    Some((n, self.policies.carried(name, limits, &self.table.shapes)))
                }
            });
        carried.collect()
    }

    fn find<'a>(
        &self,
        set: &'a ActiveSet,
        carried: &'a [(usize, Result<Arc<ActivePolicy>, WireError>)],
        n: usize,
        ask: &Ask<'_>,
        last_named: &mut Option<&'a ActivePolicy>,
    ) -> Result<(Asked<'a>, &'a ActivePolicy), WireError> {
        let policy = match &ask.target.policy {
            // Most batches name one policy only.
            PolicyRef::Named(name) => match *last_named {
                Some(policy) if policy.name == *name => policy,
                _ => last_named.insert(set.named(name)?),
            },
            PolicyRef::Carried { .. } => match carried.binary_search_by_key(&n, |(n, _)| *n) {
                Ok(at) => carried[at].1.as_ref().map_err(WireError::clone)?,
                Err(_) => return Err(WireError::RequestLimitsOff),
            },
        };
        Ok((self.asked(policy, ask.target.key, ask.cost)?, policy))
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

    /// Reads the state of a cold outcome from the store and asks again.
    fn settle_cold(&self, mut outcome: Outcome, mut asked: Asked<'_>, moment: &Moment) -> Outcome {
        for _ in 0..THAWS_MAX {
            let Outcome::Cold { evictions } = outcome else {
                return outcome;
            };
            asked.absent_at = match self.thaw(asked.id, evictions, moment.now) {
                Ok(absent_at) => absent_at,
                Err(NoRoom) => return Outcome::Full,
            };
            outcome = self.ask(&asked, moment);
        }
        match outcome {
            Outcome::Cold { .. } => Outcome::Full,
            settled => settled,
        }
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

    pub(super) fn answer(&self, outcome: Outcome, policy: &ActivePolicy, mode: Mode) -> Answer {
        match outcome {
            Outcome::Decided {
                verdict,
                at,
                ticket,
            } => {
                let shadow_denied = policy.policy.shadow && !verdict.granted;
                let counted = verdict.granted && mode == Mode::Count;
                let decision = WireDecision {
                    allowed: verdict.granted || shadow_denied,
                    shadow_denied,
                    limit: verdict.limit,
                    remaining: verdict.remaining,
                    reset_after_ms: real_ms(verdict.reset_after_ms),
                    retry_after_ms: if shadow_denied {
                        0
                    } else {
                        real_ms(verdict.retry_after_ms)
                    },
                    source: WireSource::Owner,
                    granted_at_ms: counted.then(|| at.as_ms()),
                };
                let durability = policy.policy.durability;
                let wait = ticket.map(|ticket| Wait { ticket, durability });
                Answer {
                    decision: Ok(decision),
                    wait,
                }
            }
            Outcome::CostAboveLimit(error) => self.refuse(WireError::CostAboveLimit {
                cost: error.cost,
                limit: error.limit,
            }),
            Outcome::Quarantined { retry_after_ms } => self.without_counts(policy, retry_after_ms),
            Outcome::Cold { .. } | Outcome::Full => {
                self.upkeep.make_room();
                Counts::add(&self.counts.overloaded);
                self.refuse(WireError::Overloaded {
                    retry_ms: NO_ROOM_RETRY_MS,
                })
            }
        }
    }

    fn refuse(&self, error: WireError) -> Answer {
        Counts::add(&self.counts.errors);
        Answer {
            decision: Err(error),
            wait: None,
        }
    }

    /// What the policy's `on_failure` says.
    pub(super) fn without_counts(&self, policy: &ActivePolicy, retry_after_ms: u64) -> Answer {
        Counts::add(&self.counts.degraded);
        let retry_after_ms = real_ms(retry_after_ms);
        let allowed = policy.policy.on_failure == OnFailure::Allow || policy.policy.shadow;
        let limits = policy.policy.limits.as_slice();
        let decision = WireDecision {
            allowed,
            shadow_denied: policy.policy.shadow,
            limit: limits
                .iter()
                .map(|limit| limit.permits())
                .min()
                .unwrap_or(0),
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
