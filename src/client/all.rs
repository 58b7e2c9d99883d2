//! Checks across keys: all or nothing, by reserve and undo.
//!
//! Every part is reserved at its owner, all at the same time: one round trip. Parallel rather than
//! in a fixed order, which would cost a round trip a part; the price is that two requests over the
//! same nearly spent keys may each get one key, and both be denied. Never more is granted than a
//! limit, since each part is counted before anything is answered.
//!
//! If all parts are granted they stay counted as they are; the settlements that close the
//! reservations change no count, and nobody waits for them. Else what was granted is cancelled: one
//! round trip more. Each cancellation is sent once; the node gives back into the bucket that the
//! part was counted in, and only while it remembers the reservation. If its answer is lost, the part
//! is taken for counted.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::aim::Aim;
use super::attempt::{Again, Attempt};
use super::check::{Check, encode_body};
use super::client::Client;
use super::core::Core;
use super::error::CheckError;
use super::reservation::reserve_one;
use super::rest::Rest;
use super::waiting::Waiting;
use crate::protocol::client::{RequestBody, ResponseBody};
use crate::protocol::error::WireError;
use crate::types::Decision;

/// Most parts of one [`Client::check_all`].
pub const ALL_MAX: usize = 16;

/// What a reservation lives longer than both its round trips may take.
const TTL_MARGIN: Duration = Duration::from_secs(1);

/// The answer to a [`Client::check_all`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllDecision {
    /// Whether all parts may pass: then each is counted. Else none is, but for
    /// [`AllDecision::left_counted`].
    pub allowed: bool,
    /// Which parts were denied, by their place in the request.
    pub denied: Vec<usize>,
    /// Zero if allowed; else the longest time to come back of those that were denied.
    pub retry_after: Duration,
    /// Whether a part was answered without the key's counts.
    pub degraded: bool,
    /// If denied, the permits of other parts that could not be given back for certain. Zero in
    /// normal operation.
    pub left_counted: u64,
}

impl Client {
    /// Asks whether all of these may pass, and counts all of them if so, else none.
    ///
    /// The parts may have different owners. A part that stands there twice, with the same policy and
    /// key, is asked once, with the sum of the costs. At most [`ALL_MAX`] parts; none are allowed.
    ///
    /// If a part is denied, or cannot be decided, what was counted for the others is given back, each
    /// at most once and in its own bucket. A part whose answer was lost stays counted, or may: that
    /// is told by [`AllDecision::left_counted`] and [`CheckError::LeftCounted`]. Until it is given
    /// back, a part counts for everyone else, so that two such requests at the same moment may both
    /// be denied although one of them alone would have passed.
    ///
    /// One deadline holds for all of it. Dropped midway, what is known to be counted is given back,
    /// and what is on its way stays counted.
    ///
    /// # Errors
    /// [`CheckError`] of the first part that failed if none was denied; unless
    /// [`OnUnavailable`](super::OnUnavailable) answers for such a part.
    ///
    /// ```no_run
    /// # async fn example(client: distributed_rate_limiter::client::Client)
    /// # -> Result<(), distributed_rate_limiter::client::CheckError> {
    /// let decision = client
    ///     .check_all([
    ///         ("requests", "user-7", 1),
    ///         ("requests", "team-3", 1),
    ///         ("bytes", "user-7", 20_000),
    ///     ])
    ///     .await?;
    /// if !decision.allowed {
    ///     println!("denied by {:?}, come back in {:?}", decision.denied, decision.retry_after);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn check_all<'a>(
        &self,
        parts: impl IntoIterator<Item = impl Into<Check<'a>>>,
    ) -> Result<AllDecision, CheckError> {
        let parts = Part::all(parts.into_iter().map(Into::into))?;
        let asked = Asked {
            core: self.core(),
            client: self,
            until: self.core().now().saturating_add(self.settings().deadline),
        };
        if let Some(denied) = asked.known_denials(&parts) {
            return Ok(denied);
        }
        let outcomes = join_all(parts.iter().map(|part| asked.reserve(part))).await;
        asked.conclude(&parts, outcomes).await
    }
}

/// A check, and the places in the request that it stands for.
struct Part<'a> {
    check: Check<'a>,
    places: Vec<usize>,
}

impl<'a> Part<'a> {
    /// The parts of a request, those of one key and policy put together.
    fn all(checks: impl Iterator<Item = Check<'a>>) -> Result<Vec<Self>, CheckError> {
        let mut parts: Vec<Self> = Vec::new();
        let mut items: u32 = 0;
        for (n, check) in checks.enumerate() {
            items = items.saturating_add(1);
            if n >= ALL_MAX {
                continue;
            }
            check.target()?;
            let same = parts.iter_mut().find(|part| part.check.is_of_same(&check));
            if let Some(part) = same {
                let cost = part.check.asked().saturating_add(check.asked());
                part.check.set_cost(cost);
                part.places.push(n);
            } else {
                parts.push(Self {
                    check,
                    places: vec![n],
                });
            }
        }
        let max = u32::try_from(ALL_MAX).unwrap_or(u32::MAX);
        if items > max {
            return Err(WireError::BatchTooLarge { items, max }.into());
        }
        Ok(parts)
    }
}

/// A part's answer, and what is to be undone if it comes to that.
type Outcome<'a> = (Result<Decision, CheckError>, Option<Held<'a>>);

/// A request on its way.
struct Asked<'a> {
    core: &'a Core,
    client: &'a Client,
    /// Its deadline, since the client's beginning.
    until: Duration,
}

impl<'a> Asked<'a> {
    /// The denial of those parts that earlier denials answer, if any are.
    fn known_denials(&self, parts: &[Part<'_>]) -> Option<AllDecision> {
        let now = self.core.now();
        let mut denied = AllDecision::allowed();
        for Part { check, places } in parts {
            if let Some(decision) = self.core.denial(check, self.core.aim(check), now) {
                denied.deny(places, &decision);
            }
        }
        (!denied.allowed).then_some(denied)
    }

    async fn reserve(&self, part: &Part<'_>) -> Outcome<'a> {
        let settings = self.client.settings();
        let ttl = settings
            .deadline
            .saturating_mul(2)
            .saturating_add(TTL_MARGIN);
        match reserve_one(self.core, settings.deadline, &part.check, ttl).await {
            Ok((decision, id)) => {
                let held = id.and_then(|id| Held::new(self.core, settings.deadline, part, id));
                (Ok(decision), held)
            }
            Err(error) => (settings.settle_for(Err(error)), None),
        }
    }

    /// Keeps what was reserved if all parts were granted; else undoes it.
    async fn conclude(
        &self,
        parts: &[Part<'_>],
        outcomes: Vec<Outcome<'a>>,
    ) -> Result<AllDecision, CheckError> {
        let mut decision = AllDecision::allowed();
        let (mut failed, mut held, mut left_counted) = (None, Vec::new(), 0_u64);
        for (part, (answer, reserved)) in parts.iter().zip(outcomes) {
            held.extend(reserved);
            match answer {
                Ok(answer) => {
                    decision.degraded |= answer.is_degraded();
                    if !answer.allowed {
                        decision.deny(&part.places, &answer);
                    }
                }
                Err(error) => {
                    if error.maybe_counted() {
                        left_counted = left_counted.saturating_add(part.check.asked());
                    }
                    failed.get_or_insert(error);
                }
            }
        }
        if decision.allowed && failed.is_none() {
            held.into_iter().for_each(Held::keep);
            return Ok(decision);
        }
        let undone = join_all(held.into_iter().map(|held| held.undo(self.until))).await;
        left_counted = undone.into_iter().fold(left_counted, u64::saturating_add);
        decision.left_counted = left_counted;
        match failed {
            Some(error) if decision.allowed => Err(failure(error, left_counted)),
            Some(_) | None => Ok(decision),
        }
    }
}

/// The error for a part that failed, while so many permits may be counted.
fn failure(error: CheckError, left_counted: u64) -> CheckError {
    if left_counted == 0 {
        return error;
    }
    CheckError::LeftCounted {
        permits: left_counted,
        source: error.into(),
    }
}

impl AllDecision {
    const fn allowed() -> Self {
        Self {
            allowed: true,
            denied: Vec::new(),
            retry_after: Duration::ZERO,
            degraded: false,
            left_counted: 0,
        }
    }

    fn deny(&mut self, places: &[usize], decision: &Decision) {
        self.allowed = false;
        self.denied.extend_from_slice(places);
        self.denied.sort_unstable();
        self.retry_after = self.retry_after.max(decision.retry_after);
    }
}

/// A part that is counted. Dropped, it is undone, and nobody waits for that.
struct Held<'a> {
    core: &'a Core,
    aim: Option<Aim>,
    cost: u64,
    deadline: Duration,
    settle: Bytes,
    /// Taken by whoever undoes it, so that it is undone once.
    cancel: Option<Bytes>,
}

impl<'a> Held<'a> {
    /// `None` if its requests cannot be written, which no part that was sent can cause.
    fn new(core: &'a Core, deadline: Duration, part: &Part<'_>, id: u64) -> Option<Self> {
        let (target, cost) = (part.check.target().ok()?, part.check.asked());
        let settle = RequestBody::Settle {
            target: target.clone(),
            reservation: id,
            actual: cost,
        };
        let cancel = RequestBody::Cancel {
            target,
            reservation: id,
        };
        Some(Self {
            core,
            aim: core.aim(&part.check),
            cost,
            deadline,
            settle: encode_body(&settle).ok()?,
            cancel: Some(encode_body(&cancel).ok()?),
        })
    }

    /// It stays counted: closes the reservation, and does not wait.
    fn keep(mut self) {
        if self.cancel.take().is_some() {
            self.send(&self.settle);
        }
    }

    /// Has `body` sent without waiting for its answer.
    fn send(&self, body: &Bytes) {
        let attempt = self.attempt();
        match self.core.queue_request(&attempt, body, 1) {
            Ok(waiting) => waiting.detach(),
            Err(error) => tracing::debug!(%error, "a reservation stays open until it expires"),
        }
    }

    fn attempt(&self) -> Attempt {
        Attempt::new(self.core.now(), self.aim, 1, self.deadline)
    }

    /// Gives it back. Returns the permits of which that is not certain by `until`.
    async fn undo(mut self, until: Duration) -> u64 {
        let Some(body) = self.cancel.take() else {
            return self.cost;
        };
        let _given_back = self.core.giving_back(self.aim);
        let mut attempt = self.attempt();
        let mut queued = self.core.queue_request(&attempt, &body, 1);
        loop {
            let Ok(mut waiting) = queued else {
                return self.cost;
            };
            let left = until.saturating_sub(self.core.now());
            let Ok(outcome) = timeout(left, &mut waiting).await else {
                waiting.detach();
                return self.cost;
            };
            let node = Waiting::node(&waiting);
            match attempt.again(self.core, node, &outcome) {
                Again::No => {
                    return match attempt.conclude(outcome) {
                        Ok(ResponseBody::Done) => 0,
                        Ok(_) | Err(_) => self.cost,
                    };
                }
                Again::Now => {}
                Again::After(rest) => Rest::new(self.core, rest).await,
            }
            queued = self.core.queue_request(&attempt, &body, 1);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(body) = self.cancel.take() {
            let _given_back = self.core.giving_back(self.aim);
            self.send(&body);
        }
    }
}
