//! The door for edges of other protocols (HTTP, gRPC, RESP): the same path as a stream's round,
//! for callers that wait for their own answers.
//!
//! Nothing is decided, counted or cached by an edge: it reads its protocol, asks here, and writes
//! what it is told.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::yield_now;
use tokio::time::timeout;

use super::admission::Admission;
use super::quic::Server;
use super::service::{
    Answer, Carried, Decided, Kept, Mode, Postponed, Service, Settled, Task, Via, Wait,
};
use crate::limiter::descriptors::DescriptorRules;
use crate::limiter::policy::Limits;
use crate::protocol::admin::{AdminRequest, AdminResponse};
use crate::protocol::client::{Ask, RequestBody, ResponseBody};
use crate::protocol::error::WireError;
use crate::types::MonoTime;

/// Where an edge asks. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Desk<S> {
    server: Arc<Server<S>>,
}

impl<S> Clone for Desk<S> {
    fn clone(&self) -> Self {
        Self {
            server: Arc::clone(&self.server),
        }
    }
}

impl<S: Service> Desk<S> {
    /// The desk of a node's server.
    pub(crate) const fn new(server: Arc<Server<S>>) -> Self {
        Self { server }
    }

    /// What is in progress on the node, and its bounds.
    pub(super) fn admission(&self) -> &Admission {
        self.server.admission()
    }

    /// Decides `asks` as one batch, by this node or by those that own the keys, and resolves once
    /// everything that was granted is kept as its policy asks. Returns one answer for each, in order;
    /// the caller waits for as long as `left`.
    ///
    /// Dropping it does not take back what was counted. It must be polled until it resolves or be
    /// dropped: who waits for a commit may be the one who is to do it for everybody.
    pub(crate) async fn decide(
        &self,
        asks: &[Ask<'_>],
        mode: Mode,
        left: Duration,
    ) -> Vec<Decided> {
        if asks.is_empty() {
            return Vec::new();
        }
        let (service, admission) = (self.server.service(), self.server.admission());
        if asks.len() > admission.bounds.in_flight_max || !admission.may_wait() {
            service.turned_away();
            return asks.iter().map(|_| Err(admission.overloaded())).collect();
        }
        let mut answers = Vec::with_capacity(asks.len());
        let late = match mode {
            Mode::Count => service.check(asks, &mut answers),
            Mode::Look => service.peek(asks, &mut answers),
        };
        // To send the answers to other checks would be worse than to stop.
        assert_eq!(answers.len(), asks.len(), "one answer a check");
        let tasks = self.postpone(asks, mode, left, &late, &mut answers);
        let wait = answers
            .iter()
            .filter_map(|answer| answer.wait)
            .reduce(Wait::join);
        if wait.is_none() && late.is_empty() {
            return answers.into_iter().map(|answer| answer.decision).collect();
        }
        let _counted = admission.waiting(asks.len());
        let (kept, settled) = tokio::join!(self.kept(wait, left), settle(tasks, late.len()));
        for (place, decided) in late.into_iter().zip(settled) {
            if let Some(answer) = answers.get_mut(place) {
                answer.decision = decided;
            }
        }
        let released = answers.into_iter();
        released
            .map(|answer| answer.released(&kept, |wait| service.is_lost(wait)))
            .collect()
    }

    /// Carries out any request but checks, peeks and routes; the caller waits for as long as `left`.
    pub(crate) async fn command(&self, body: &RequestBody<'_>, left: Duration) -> ResponseBody {
        let (service, admission) = (self.server.service(), self.server.admission());
        if !admission.may_wait() {
            service.turned_away();
            return ResponseBody::Failed(admission.overloaded());
        }
        let _counted = admission.waiting(1);
        match service.command(body, left, Via::Caller) {
            Carried::Now(body, None) => body,
            Carried::Now(body, Some(wait)) => match self.kept(Some(wait), left).await {
                Ok(Kept::Some) if service.is_lost(wait) => {
                    ResponseBody::Failed(WireError::AnswerLost)
                }
                Ok(Kept::All | Kept::Some) => body,
                Err(error) => ResponseBody::Failed(error),
            },
            Carried::Later(task) | Carried::Open(task) => task.await,
        }
    }

    /// Carries out an admin's request; the edge has made sure that it comes from one.
    pub(crate) async fn admin(&self, request: &AdminRequest<'_>) -> AdminResponse {
        self.server.service().admin(request).await
    }

    /// The clock by which edges take the time.
    pub(crate) fn now(&self) -> MonoTime {
        self.server.now()
    }

    /// What a policy allows a key.
    pub(crate) fn limits(&self, policy: &str, key: &str) -> Result<Limits, WireError> {
        self.server.service().limits(policy, key)
    }

    /// Which policies Envoy's descriptors are held to.
    pub(crate) fn descriptors(&self) -> Arc<DescriptorRules> {
        self.server.service().descriptors()
    }

    /// Has what is decided elsewhere or later decided; until then nothing is granted.
    fn postpone(
        &self,
        asks: &[Ask<'_>],
        mode: Mode,
        left: Duration,
        late: &[usize],
        answers: &mut [Answer],
    ) -> Vec<Task<Settled>> {
        if late.is_empty() {
            return Vec::new();
        }
        for &place in late {
            if let Some(answer) = answers.get_mut(place) {
                answer.decision = Err(WireError::Unavailable);
                answer.wait = None;
            }
        }
        let postponed: Vec<Postponed<'_>> = late
            .iter()
            .filter_map(|&place| asks.get(place))
            .map(|ask| Postponed { ask, mode, left })
            .collect();
        self.server.service().later(&postponed, Via::Caller)
    }

    async fn kept(&self, wait: Option<Wait>, left: Duration) -> Result<Kept, WireError> {
        let Some(wait) = wait else {
            return Ok(Kept::All);
        };
        // Others on this thread who are ready decide first: one commit is for all of them.
        yield_now().await;
        let kept = timeout(left, self.server.service().kept(wait));
        // It is counted, and nobody waits to hear whether it is kept.
        kept.await.unwrap_or(Err(WireError::AnswerLost))
    }
}

/// Runs tasks until each of `count` checks has an answer.
async fn settle(tasks: Vec<Task<Settled>>, count: usize) -> Vec<Decided> {
    if tasks.is_empty() {
        return vec![Err(WireError::Unavailable); count];
    }
    let mut answers = vec![Err(WireError::Unavailable); count];
    let mut work: FuturesUnordered<_> = tasks.into_iter().collect();
    while let Some(settled) = work.next().await {
        work.extend(settled.more);
        for (n, decided) in settled.decided {
            if let Some(answer) = answers.get_mut(n) {
                *answer = decided;
            }
        }
    }
    answers
}
