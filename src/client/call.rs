//! One check on its way, without an allocation or a task of its own.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::aim::Aim;
use super::attempt::{Again, Attempt};
use super::batch::ASK_BYTES_MAX;
use super::check::Check;
use super::core::Core;
use super::denial_cache::Asked;
use super::error::CheckError;
use super::rest::Rest;
use super::settings::Settings;
use super::waiters::Outcome;
use super::waiting::Waiting;
use crate::types::{Decision, NodeId};

/// A check to be awaited; see [`Client::check`](super::Client::check).
#[derive(Debug, Clone)]
#[must_use = "nothing is asked until it is awaited"]
pub struct CheckCall<'a> {
    core: &'a Core,
    settings: Settings,
    check: Check<'a>,
}

impl<'a> CheckCall<'a> {
    pub(super) const fn new(core: &'a Core, settings: Settings, check: Check<'a>) -> Self {
        Self {
            core,
            settings,
            check,
        }
    }

    /// Permits asked for; 1 unless told, 0 only looks.
    pub const fn cost(mut self, cost: u64) -> Self {
        self.check.set_cost(cost);
        self
    }

    /// Another deadline than the client's.
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }
}

impl<'a> IntoFuture for CheckCall<'a> {
    type Output = Result<Decision, CheckError>;
    type IntoFuture = CheckFuture<'a>;

    fn into_future(self) -> CheckFuture<'a> {
        CheckFuture {
            call: self,
            began: None,
            stage: Stage::New,
        }
    }
}

/// The future of a [`CheckCall`]. Its deadline begins when it is first polled.
///
/// Cancel safe: dropped before it was sent, it is not sent; dropped later, it may be counted.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct CheckFuture<'a> {
    call: CheckCall<'a>,
    began: Option<Began>,
    stage: Stage<'a>,
}

/// What it waits for.
#[derive(Debug)]
enum Stage<'a> {
    /// The first poll.
    New,
    /// An answer.
    Waiting(Waiting<'a>),
    /// The time to come again.
    Resting(Rest<'a>),
}

/// What is known from the first poll on.
#[derive(Debug)]
struct Began {
    aim: Option<Aim>,
    asked: Asked,
    attempt: Attempt,
}

impl CheckFuture<'_> {
    /// Answers from an earlier denial, or queues the check for the first time.
    fn begin(&mut self, cx: &Context<'_>) -> Result<Option<Decision>, CheckError> {
        let CheckCall {
            core,
            settings,
            check,
        } = &self.call;
        let aim = core.aim(check);
        let now = core.now();
        if let Some(denial) = core.denial(check, aim, now) {
            return Ok(Some(denial));
        }
        let began = self.began.insert(Began {
            aim,
            asked: core.denials.asked(now),
            attempt: Attempt::new(now, aim, settings.sends(), settings.deadline),
        });
        self.stage = Stage::Waiting(queue(&self.call, &began.attempt, cx)?);
        Ok(None)
    }

    /// The answer, if the outcome is one; else the check is queued again.
    fn end(
        &mut self,
        outcome: Outcome,
        node: NodeId,
        cx: &Context<'_>,
    ) -> Option<Result<Decision, CheckError>> {
        let CheckCall { core, check, .. } = &self.call;
        let Some(Began {
            aim,
            asked,
            attempt,
        }) = &mut self.began
        else {
            return Some(Err(CheckError::Closed));
        };
        if let Outcome::Decided(Ok(decision)) = outcome {
            let decision = decision.decision(check.asked());
            core.keep_denial(check, *aim, *asked, &decision);
            return Some(Ok(decision));
        }
        match attempt.again(core, node, &outcome) {
            Again::No => {
                let answer = attempt.conclude(outcome);
                Some(answer.and(Err(CheckError::UnexpectedAnswer)))
            }
            Again::Now => self.queue(cx).map(Err),
            Again::After(rest) => {
                self.stage = Stage::Resting(Rest::new(core, rest));
                None
            }
        }
    }

    /// Queues the check again; why not, if not.
    fn queue(&mut self, cx: &Context<'_>) -> Option<CheckError> {
        let Some(Began { attempt, .. }) = &self.began else {
            return Some(CheckError::Closed);
        };
        match queue(&self.call, attempt, cx) {
            Ok(waiting) => {
                self.stage = Stage::Waiting(waiting);
                None
            }
            Err(error) => Some(attempt.told(error)),
        }
    }

    /// Goes on until it waits for something, or there is an answer.
    fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<Result<Decision, CheckError>> {
        loop {
            let answer = match &mut self.stage {
                Stage::New => self.begin(cx).transpose(),
                Stage::Resting(rest) => match Pin::new(rest).poll(cx) {
                    Poll::Ready(()) => self.queue(cx).map(Err),
                    Poll::Pending => return Poll::Pending,
                },
                Stage::Waiting(waiting) => match Pin::new(&mut *waiting).poll(cx) {
                    Poll::Ready(outcome) => {
                        let node = waiting.node();
                        self.end(outcome, node, cx)
                    }
                    Poll::Pending => return Poll::Pending,
                },
            };
            match (answer, &self.stage) {
                (Some(answer), _) => return Poll::Ready(answer),
                // It was queued just now, with this waker.
                (None, Stage::Waiting(_)) => return Poll::Pending,
                (None, Stage::New | Stage::Resting(_)) => {}
            }
        }
    }
}

fn queue<'a>(
    call: &CheckCall<'a>,
    attempt: &Attempt,
    cx: &Context<'_>,
) -> Result<Waiting<'a>, CheckError> {
    let mut room = [0; ASK_BYTES_MAX];
    let ask = call.check.encode(&mut room)?;
    call.core.queue_check(attempt, ask, cx.waker())
}

impl Future for CheckFuture<'_> {
    type Output = Result<Decision, CheckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let settings = self.call.settings;
        self.go_on(cx).map(|answer| settings.settle_for(answer))
    }
}
