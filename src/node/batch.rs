//! Batches of checks and peeks: every policy is found and every key hashed first, so that all
//! states are on their way from memory before the first is looked at. Each check is decided by
//! itself; the answers are in the order asked. What is not served here is left to the caller.

use std::sync::Arc;

use super::engine::{Engine, Mode, NoRoom, decided, not_here};
use super::policies::{ActivePolicy, ActiveSet};
use crate::limiter::policy::OnFailure;
use crate::limiter::table::{Asked, Outcome, quarantine_left_ms};
use crate::protocol::client::{Ask, PolicyRef};
use crate::protocol::error::WireError;
use crate::server::Answer;
use crate::types::SlotTime;

/// How often a question about an evicted state is asked again before the caller is turned away:
/// each time another eviction in its stripe came between reading and asking.
const THAWS_MAX: usize = 4;

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
    /// Decides `asks` as one batch and appends one answer for each, in order. All states are on
    /// their way from memory before the first is looked at. Returns the places of those whose slots
    /// are not served here: their answers stand for nothing.
    pub(super) fn batch(
        &self,
        asks: &[Ask<'_>],
        mode: Mode,
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
        let moment = self.moment(mode, &set);
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
        left
    }

    /// Decides one check of a named policy.
    pub(super) fn one(&self, policy: &str, key: &str, cost: u64) -> Answer {
        let set = self.policies.current();
        let found = set
            .named(policy)
            .and_then(|policy| Ok((self.asked(policy, key, cost)?, policy)));
        match found {
            Ok((asked, policy)) => {
                self.table.prefetch(asked.id);
                let moment = self.moment(Mode::Count, &set);
                self.decide(&asked, policy, &moment)
                    .unwrap_or_else(not_here)
            }
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

    /// The answer; `None` if the slot is not served here.
    fn decide(&self, asked: &Asked<'_>, policy: &ActivePolicy, moment: &Moment) -> Option<Answer> {
        if !moment.is_plain() && !self.serves(asked.id.slot()) {
            return None;
        }
        if moment.fenced {
            return Some(match policy.policy.on_failure {
                OnFailure::Allow => self.without_counts(policy, 0),
                OnFailure::Deny => self.refuse(WireError::StorageFailed),
            });
        }
        if let Some(since) = moment.quarantined {
            let left_ms = quarantine_left_ms(since, asked.limits, moment.now);
            if left_ms > 0 {
                return Some(self.without_counts(policy, left_ms));
            }
        }
        let outcome = self.ask(asked, moment);
        self.settle(outcome, asked, policy, moment)
    }

    /// The answer to an outcome, after a look into the store if need be; `None` if the slot is not
    /// served here.
    #[inline]
    fn settle(
        &self,
        outcome: Outcome,
        asked: &Asked<'_>,
        policy: &ActivePolicy,
        moment: &Moment,
    ) -> Option<Answer> {
        match outcome {
            Outcome::Decided {
                verdict,
                at,
                ticket,
            } => Some(decided(verdict, at, ticket, policy, moment.mode)),
            Outcome::NotServed => None,
            Outcome::Cold { .. } => self.settle_cold(outcome, *asked, policy, moment),
            Outcome::CostAboveLimit(_) | Outcome::Quarantined { .. } | Outcome::Full => {
                Some(self.answer(outcome, policy, moment.mode))
            }
        }
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

    /// Reads the state of a cold outcome from the store and asks again.
    #[cold]
    fn settle_cold(
        &self,
        mut outcome: Outcome,
        mut asked: Asked<'_>,
        policy: &ActivePolicy,
        moment: &Moment,
    ) -> Option<Answer> {
        for _ in 0..THAWS_MAX {
            let Outcome::Cold { evictions } = outcome else {
                break;
            };
            asked.absent_at = match self.thaw(asked.id, evictions, moment.now) {
                Ok(absent_at) => absent_at,
                Err(NoRoom) => return Some(self.answer(Outcome::Full, policy, moment.mode)),
            };
            outcome = self.ask(&asked, moment);
        }
        match outcome {
            Outcome::NotServed => None,
            settled => Some(self.answer(settled, policy, moment.mode)),
        }
    }
}
