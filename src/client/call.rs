//! One check on its way, without an allocation or a task of its own.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::batch::ASK_BYTES_MAX;
use super::check::Check;
use super::core::{Core, Waiting};
use super::error::CheckError;
use super::settings::Settings;
use super::waiters::Outcome;
use crate::types::Decision;

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
            sends_left: self.settings.sends(),
            deadline: Duration::MAX,
            call: self,
            waiting: None,
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
    waiting: Option<Waiting<'a>>,
    /// Since the client's beginning; known from the first poll on.
    deadline: Duration,
    sends_left: u8,
}

impl CheckFuture<'_> {
    fn send(&mut self, cx: &Context<'_>) -> Result<(), CheckError> {
        let CheckCall {
            core,
            settings,
            check,
        } = &self.call;
        if self.deadline == Duration::MAX {
            self.deadline = core.now().saturating_add(settings.deadline);
        }
        let mut room = [0; ASK_BYTES_MAX];
        let ask = check.encode(&mut room)?;
        self.sends_left = self.sends_left.saturating_sub(1);
        self.waiting = Some(core.check(ask, self.deadline, cx.waker())?);
        Ok(())
    }

    fn conclude(&self, outcome: Outcome) -> Result<Decision, CheckError> {
        match outcome {
            Outcome::Decided(Ok(decision)) => Ok(decision.decision(self.call.check.asked())),
            other => match other.into_answer(self.call.settings.deadline) {
                Ok(_) => Err(CheckError::UnexpectedAnswer),
                Err(error) => Err(error),
            },
        }
    }
}

impl Future for CheckFuture<'_> {
    type Output = Result<Decision, CheckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let settings = self.call.settings;
        let Some(waiting) = &mut self.waiting else {
            return match self.send(cx) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(settings.settle_for(Err(error))),
            };
        };
        let Poll::Ready(outcome) = Pin::new(waiting).poll(cx) else {
            return Poll::Pending;
        };
        if matches!(outcome, Outcome::Lost) && self.sends_left > 0 && self.send(cx).is_ok() {
            return Poll::Pending;
        }
        Poll::Ready(settings.settle_for(self.conclude(outcome)))
    }
}
