//! The way of one call: where it may still be sent, and what its end means.
//!
//! A call is sent to its slot's owner, or anywhere else. It is sent again when it certainly was not
//! counted (it was never sent; a node said that it is not the owner: once; or was overloaded: after
//! a rest, a few times), and once more when its connection was lost, if that is allowed. From then
//! on it may have been counted, whatever is answered.
//!
//! A client that was idle while a whole cluster restarted finds out one by one that its connections
//! are dead. So if the second one had been silent since before the call too, that costs no sending,
//! once, and the third is made on a connection that is known to live. What is lost on the way can
//! cost a key up to two permits; it never lets more through.

use std::time::Duration;

use super::aim::Aim;
use super::core::Core;
use super::error::CheckError;
use super::health::Doubt;
use super::rest::Rests;
use super::waiters::Outcome;
use crate::protocol::client::ResponseBody;
use crate::protocol::error::WireError;
use crate::types::{NodeId, Slot};

/// What became of connections that a call was sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    /// None was lost.
    Never,
    /// At least one was.
    Yes,
    /// Two were found dead: all may be.
    Restarted,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// The slot whose owner is to be asked; `None` if it is not known.
    pub(super) slot: Option<Slot>,
    /// Since the client's beginning.
    pub(super) deadline: Duration,
    /// Which lanes may be dead.
    pub(super) doubt: Option<Doubt>,
    /// Rather wait for the owner's connection than ask somebody else.
    pub(super) insist: bool,
    /// The deadline as it was given.
    after: Duration,
    queued_at: Duration,
    /// When the call began.
    began: Duration,
    sends_left: u8,
    lost: Lost,
    redirected: bool,
    rests: Rests,
}

/// Whether a call is to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It has ended.
    No,
    /// At once.
    Now,
    /// After a rest.
    After(Duration),
}

impl Attempt {
    /// A call that begins now, ends `after` that, and may be sent `sends` times though its
    /// connections are lost.
    pub(super) fn new(now: Duration, aim: Option<Aim>, sends: u8, after: Duration) -> Self {
        Self {
            slot: aim.map(|aim| aim.slot),
            deadline: now.saturating_add(after),
            doubt: None,
            insist: false,
            after,
            queued_at: now,
            began: now,
            sends_left: sends,
            lost: Lost::Never,
            redirected: false,
            rests: Rests::of(sends),
        }
    }

    /// The same for some checks of a list, which follow a [`WireError::NotOwner`] one by one, and
    /// rest together.
    pub(super) fn part(&self, slot: Option<Slot>) -> Self {
        Self {
            slot,
            redirected: true,
            rests: Rests::SPENT,
            ..self.clone()
        }
    }

    /// Whether it is to be queued again after this outcome on a lane to `node`.
    pub(super) fn again(&mut self, core: &Core, node: NodeId, outcome: &Outcome) -> Again {
        let now = core.now();
        let again = match outcome {
            Outcome::Lost { heard } => self.resend(node, *heard),
            Outcome::Unsent | Outcome::Unreachable(_) => {
                self.insist = false;
                Again::Now
            }
            Outcome::Decided(Err(error)) | Outcome::Answered(ResponseBody::Failed(error)) => {
                self.follow(core, now, error)
            }
            Outcome::Decided(Ok(_))
            | Outcome::Answered(_)
            | Outcome::TimedOut { .. }
            | Outcome::Misfit
            | Outcome::Closed => Again::No,
        };
        if again == Again::No || now >= self.deadline {
            return Again::No;
        }
        self.queued_at = now;
        again
    }

    /// Follows a node that says who the owner is (once, though each is believed), or when to come
    /// back.
    fn follow(&mut self, core: &Core, now: Duration, error: &WireError) -> Again {
        if core.redirect(error) && !self.redirected {
            self.redirected = true;
            self.insist = true;
            return Again::Now;
        }
        let left = self.deadline.saturating_sub(now);
        let Some(rest) = self.rests.next(error, left, rand::random()) else {
            return Again::No;
        };
        if matches!(error, WireError::AnswerLost) {
            self.note_lost();
        }
        self.redirected = false;
        self.insist = false;
        Again::After(rest)
    }

    /// `heard`: when something last came over the connection that was lost.
    fn resend(&mut self, node: NodeId, heard: Duration) -> Again {
        let was_dead = heard < self.began;
        self.lost = match self.lost {
            Lost::Yes if was_dead && self.sends_left > 0 => Lost::Restarted,
            lost => {
                self.sends_left = self.sends_left.saturating_sub(1);
                if lost == Lost::Restarted {
                    lost
                } else {
                    Lost::Yes
                }
            }
        };
        self.doubt = Some(match self.lost {
            Lost::Restarted => Doubt {
                node: None,
                since: self.began,
            },
            Lost::Never | Lost::Yes => Doubt {
                node: Some(node),
                since: self.queued_at,
            },
        });
        self.insist = false;
        if self.sends_left > 0 {
            Again::Now
        } else {
            Again::No
        }
    }

    /// It may have been counted, although no answer says so.
    pub(super) fn note_lost(&mut self) {
        if self.lost == Lost::Never {
            self.lost = Lost::Yes;
        }
    }

    /// What the outcome means to the caller.
    pub(super) fn conclude(&self, outcome: Outcome) -> Result<ResponseBody, CheckError> {
        let answer = match outcome {
            Outcome::Answered(body) => Ok(body),
            Outcome::Decided(Ok(_)) | Outcome::Misfit => Err(CheckError::UnexpectedAnswer),
            Outcome::Decided(Err(error)) => Err(error.into()),
            Outcome::TimedOut { sent } => Err(self.timeout(sent)),
            Outcome::Unsent => Err(self.timeout(false)),
            Outcome::Lost { .. } => Err(CheckError::ConnectionLost),
            Outcome::Unreachable(error) => Err(CheckError::Unreachable(error)),
            Outcome::Closed => Err(CheckError::Closed),
        };
        answer.map_err(|error| self.told(error))
    }

    /// The error of a call of which an earlier sending may have been counted.
    pub(super) fn told(&self, error: CheckError) -> CheckError {
        if self.lost == Lost::Never || !error.is_unavailable() || error.maybe_counted() {
            return error;
        }
        match error {
            CheckError::Timeout { .. } => self.timeout(true),
            _ => CheckError::ConnectionLost,
        }
    }

    const fn timeout(&self, maybe_counted: bool) -> CheckError {
        CheckError::Timeout {
            after: self.after,
            maybe_counted,
        }
    }
}
