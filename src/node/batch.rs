//! Batches of checks and peeks: every policy is found and every key hashed first, so that all
//! states are on their way from memory before the first is looked at. Each check is decided by
//! itself; the answers are in the order asked. What is not served here is left to the caller, and, if
//! it wants so, what only the store can tell: to read it would hold up all else that its thread does.

use std::sync::Arc;

use super::engine::{Engine, Mode, NoRoom, decided, not_here};
use super::policies::{ActivePolicy, ActiveSet};
use super::tally::Run;
use crate::limiter::policy::OnFailure;
use crate::limiter::table::{Asked, Outcome, quarantine_left_ms};
use crate::limiter::top_keys::Counted;
use crate::protocol::client::{Ask, PolicyRef};
use crate::protocol::error::WireError;
use crate::server::{Answer, Lack};
use crate::types::SlotTime;

/// How often a question about an evicted state is asked again before the caller is turned away:
/// each time another eviction in its stripe came between reading and asking.
const THAWS_MAX: usize = 4;

/// When who is denied since too few replicas can be reached should come back.
const MAJORITY_RETRY_MS: u64 = 1000;
/// What to do about a state that is only in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnCold {
    /// Read it. Blocks.
    Read,
    /// Leave it over.
    LeaveOver,
}

/// What holds for all decisions of a batch.
#[derive(Debug)]
struct Moment {
    now: SlotTime,
    mode: Mode,
    on_cold: OnCold,
    /// The storage failed: nothing is granted any more.
    fenced: bool,
    /// Since when the whole node is in quarantine.
    quarantined: Option<SlotTime>,
    /// Some slots have too few replicas that can be reached: nothing is granted in them.
    thin: bool,
}

impl Moment {
    /// The table alone decides.
    const fn is_plain(&self) -> bool {
        !self.fenced && self.quarantined.is_none() && !self.thin
    }
}

impl Engine {
    /// Decides `asks` as one batch and appends one answer for each, in order. All states are on
    /// their way from memory before the first is looked at. Returns the places of those whose slots
    /// are not served here, or that are left over as `on_cold` says: their answers stand for nothing.
    pub(super) fn batch(
        &self,
        asks: &[Ask<'_>],
        (mode, on_cold): (Mode, OnCold),
        answers: &mut Vec<Answer>,
    ) -> Vec<usize> {
        let carried = self.carried(asks);
        let set = self.policies.current();
        let mut last_named = None;
        let found = asks.iter().enumerate().map(|(n, ask)| {
            let found = self.find(&set, &carried, n, ask, &mut last_named)?;
            self.table.prefetch(found.0.id);
            Ok(found)
        });
        let found: Vec<Result<_, WireError>> = found.collect();
        let moment = self.moment(mode, on_cold);
        let first = answers.len();
        let mut left = Vec::with_capacity(asks.len());
        for (n, found) in found.iter().enumerate() {
            let answer = match found {
                Ok((asked, policy)) => self.decide_near(asked, policy, &moment),
                Err(error) => Some(self.refuse(error.clone())),
            };
            answers.push(answer.unwrap_or_else(|| {
                left.push(n);
                not_here()
            }));
        }
        left.retain(|&n| {
            let decided = match found.get(n) {
                Some(Ok((asked, policy))) => self.decide(asked, policy, &moment),
                Some(Err(_)) | None => None,
            };
            let place = answers.get_mut(first.saturating_add(n));
            match place.zip(decided) {
                Some((place, decided)) => *place = decided,
                None => return true,
            }
            false
        });
        if mode == Mode::Count {
            tally(&found, answers.get(first..).unwrap_or_default(), &left);
            self.counts.hot.sample(asks.len(), moment.now, |n| {
                let decided = answers.get(first.saturating_add(n))?;
                let decision = decided.decision.as_ref().ok()?;
                let (asked, policy) = found.get(n)?.as_ref().ok()?;
                Some(Counted {
                    id: asked.id,
                    policy: &policy.name,
                    key: asks.get(n)?.target.key,
                    marked: !decision.allowed || decision.shadow_denied,
                })
            });
        }
        left
    }

    /// Decides one check of a named policy; reads the store if need be.
    pub(super) fn one(&self, policy: &str, key: &str, cost: u64) -> Answer {
        let set = self.policies.current();
        let found = set
            .named(policy)
            .and_then(|policy| Ok((self.asked(policy, key, cost)?, policy)));
        match found {
            Ok((asked, policy)) => {
                self.table.prefetch(asked.id);
                let moment = self.moment(Mode::Count, OnCold::Read);
                self.decide(&asked, policy, &moment)
                    .unwrap_or_else(not_here)
            }
            Err(error) => self.refuse(error),
        }
    }

    /// What holds for all decisions that are made now.
    fn moment(&self, mode: Mode, on_cold: OnCold) -> Moment {
        let now = self.now();
        Moment {
            now,
            mode,
            on_cold,
            fenced: self.fence.is_closed(),
            quarantined: self.quarantined(now),
            thin: self.replication.some_without_majority(),
        }
    }

    /// The answer, if it takes no more than the state's record.
    #[inline]
    fn decide_near(
        &self,
        asked: &Asked<'_>,
        policy: &ActivePolicy,
        moment: &Moment,
    ) -> Option<Answer> {
        match moment.mode {
            Mode::Count if moment.is_plain() => {
                let outcome = self.table.check_near(moment.now, asked)?;
                self.settle(outcome, asked, policy, moment)
            }
            Mode::Count | Mode::Look => None,
        }
    }

    /// The answer; `None` if the slot is not served here, or the check is left over.
    fn decide(&self, asked: &Asked<'_>, policy: &ActivePolicy, moment: &Moment) -> Option<Answer> {
        if !moment.is_plain() && !self.serves(asked.id.slot()) {
            return None;
        }
        if moment.fenced {
            return Some(match policy.policy.on_failure {
                OnFailure::Allow => self.without_counts(policy, (Lack::Storage, 0)),
                OnFailure::Deny => self.refuse(WireError::StorageFailed),
            });
        }
        if let Some(since) = moment.quarantined {
            let left_ms = quarantine_left_ms(since, asked.limits, moment.now);
            if left_ms > 0 {
                return Some(self.without_counts(policy, (Lack::Quarantine, left_ms)));
            }
        }
        if moment.thin && self.lacks_majority(asked.id.slot()) {
            return self.look(asked, policy, moment);
        }
        let outcome = self.ask(asked, moment);
        self.settle(outcome, asked, policy, moment)
    }

    /// The answer to an outcome, after a look into the store if need be and wanted; `None` if the slot
    /// is not served here, or the check is left over.
    #[inline]
    fn settle(
        &self,
        outcome: Outcome,
        asked: &Asked<'_>,
        policy: &ActivePolicy,
        moment: &Moment,
    ) -> Option<Answer> {
        let slot = asked.id.slot();
        match outcome {
            Outcome::Decided {
                verdict,
                at,
                ticket,
            } => Some(decided((verdict, at, ticket), policy, slot, moment.mode)),
            Outcome::NotServed => None,
            Outcome::Cold { evictions } => self.settle_cold(evictions, *asked, policy, moment),
            Outcome::CostAboveLimit(_) | Outcome::Quarantined { .. } | Outcome::Full => {
                Some(self.answer((slot, outcome), policy, moment.mode))
            }
        }
    }

    /// The answer where nothing may be granted because too few replicas can be reached: what is over
    /// the limit is denied by the counts, and of the rest the policy says what is answered without
    /// them. `None` if the slot is not served here.
    fn look(&self, asked: &Asked<'_>, policy: &ActivePolicy, moment: &Moment) -> Option<Answer> {
        let looking = Moment {
            mode: Mode::Look,
            ..*moment
        };
        let counts = moment.mode == Mode::Count && asked.cost > 0;
        let outcome = self.ask(asked, &looking);
        let answer = self.settle(outcome, asked, policy, &looking)?;
        let grants = matches!(&answer.decision, Ok(decision) if decision.allowed);
        Some(if grants && counts {
            self.without_counts(policy, (Lack::Majority, MAJORITY_RETRY_MS))
        } else {
            answer
        })
    }

    /// Asks again about a state that the store certainly does not have: most keys of a slot that has
    /// evicted ones are just new. `None` if the store must be read.
    fn settle_absent(
        &self,
        evictions: u64,
        mut asked: Asked<'_>,
        moment: &Moment,
    ) -> Option<Outcome> {
        if !self.store.surely_lacks(asked.id) {
            return None;
        }
        asked.absent_at = Some(evictions);
        let outcome = self.ask(&asked, moment);
        (!matches!(outcome, Outcome::Cold { .. })).then_some(outcome)
    }

    fn ask(&self, asked: &Asked<'_>, moment: &Moment) -> Outcome {
        match moment.mode {
            Mode::Count => self.table.check(moment.now, asked),
            Mode::Look => self.table.peek(moment.now, asked),
        }
    }

    /// The policies that requests of a batch bring along, by their place in it.
    fn carried(&self, asks: &[Ask<'_>]) -> Vec<(usize, Result<Arc<ActivePolicy>, WireError>)> {
        // Most batches that bring limits along bring one, many times.
        let mut last: Option<(&PolicyRef<'_>, Result<Arc<ActivePolicy>, WireError>)> = None;
        let carried = asks.iter().enumerate().filter_map(|(n, ask)| {
            let PolicyRef::Carried { name, limits } = &ask.target.policy else {
                return None;
            };
            if let Some((policy, found)) = &last
                && *policy == &ask.target.policy
            {
                return Some((n, found.clone()));
            }
            let found = self.carried_policy(name, limits);
            last = Some((&ask.target.policy, found.clone()));
            Some((n, found))
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

    /// The answer about a state that is only in the store, or not even there.
    #[cold]
    fn settle_cold(
        &self,
        evictions: u64,
        asked: Asked<'_>,
        policy: &ActivePolicy,
        moment: &Moment,
    ) -> Option<Answer> {
        let slot = asked.id.slot();
        let outcome = match moment.on_cold {
            OnCold::Read => self.read_cold(evictions, asked, moment),
            OnCold::LeaveOver => self.settle_absent(evictions, asked, moment)?,
        };
        (outcome != Outcome::NotServed).then(|| self.answer((slot, outcome), policy, moment.mode))
    }

    /// Reads a state from the store and asks again.
    fn read_cold(&self, evictions: u64, mut asked: Asked<'_>, moment: &Moment) -> Outcome {
        let mut outcome = Outcome::Cold { evictions };
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
}

/// Counts for the metrics how a batch was answered, but for what is left over.
fn tally(
    found: &[Result<(Asked<'_>, &ActivePolicy), WireError>],
    answers: &[Answer],
    left: &[usize],
) {
    let mut left = left.iter().peekable();
    let mut run = Run::default();
    for (n, (found, answer)) in found.iter().zip(answers).enumerate() {
        if left.next_if_eq(&&n).is_none()
            && let (Ok((_, policy)), Ok(decision)) = (found, &answer.decision)
        {
            run.add(policy, decision);
        }
    }
    run.tell();
}
