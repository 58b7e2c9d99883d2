//! Answers to frames, without building the messages first.

use serde::ser::{Serialize, SerializeTuple, Serializer};

use super::service::{Answer, Decided, Kept, Wait};
use crate::protocol::client::{Response, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::frame::{FrameError, encode};

/// Place of [`ResponseBody::Decisions`] among the variants; pinned by a test against
/// [`Response`] itself.
const DECISIONS: u32 = 0;

impl Answer {
    /// Whether it may not be sent if what it waits for is lost: it grants something.
    fn is_withheld(&self) -> bool {
        let grants = matches!(&self.decision, Ok(decision) if decision.allowed);
        grants && self.wait.is_some()
    }

    /// The decision as it may be told once it was waited for; see [`Outcome::of`].
    pub(crate) fn released(
        self,
        kept: &Result<Kept, WireError>,
        is_lost: impl Fn(Wait) -> bool,
    ) -> Decided {
        match self.instead(Outcome::of(kept, &is_lost)) {
            Some(error) => Err(error.clone()),
            None => self.decision,
        }
    }
}

/// What became of the changes behind answers.
#[derive(Clone, Copy)]
pub(super) enum Outcome<'a> {
    /// They are kept as their policies ask.
    Kept,
    /// All are but those that this says are lost: what they granted is not granted.
    Partly(&'a dyn Fn(Wait) -> bool),
    /// They may be lost: what they granted is not granted.
    Lost(&'a WireError),
}

/// What is answered instead of a grant that too few replicas have.
const TOO_FEW: WireError = WireError::AnswerLost;

impl<'a> Outcome<'a> {
    /// What became of them as [`Service::kept`](super::service::Service::kept) says; `is_lost` is
    /// that of the service.
    pub(super) const fn of(
        kept: &'a Result<Kept, WireError>,
        is_lost: &'a dyn Fn(Wait) -> bool,
    ) -> Self {
        match kept {
            Ok(Kept::All) => Self::Kept,
            Ok(Kept::Some) => Self::Partly(is_lost),
            Err(error) => Self::Lost(error),
        }
    }

    /// The error to answer instead of what is withheld until `wait` holds.
    pub(super) fn instead(self, wait: Wait) -> Option<&'a WireError> {
        match self {
            Self::Kept => None,
            Self::Partly(is_lost) => is_lost(wait).then_some(&TOO_FEW),
            Self::Lost(error) => Some(error),
        }
    }
}

impl Answer {
    /// The error to answer instead; none if the answer may leave as it is.
    pub(super) fn instead<'a>(&self, outcome: Outcome<'a>) -> Option<&'a WireError> {
        let wait = self.wait.filter(|_| self.is_withheld())?;
        outcome.instead(wait)
    }
}

/// Appends the answer to a request of checks or peeks.
pub(super) fn decisions(id: u64, answers: &[Answer], outcome: Outcome<'_>, out: &mut Vec<u8>) {
    let mut frame = Decisions {
        id,
        answers,
        outcome,
        brief: false,
    };
    if matches!(encode(&frame, out), Err(FrameError::TooLarge { .. })) {
        // Only long texts of errors can make it so. Without them every batch fits.
        frame.brief = true;
        append(&frame, out);
    }
}

/// Appends any other answer.
pub(super) fn response(id: u64, body: ResponseBody, out: &mut Vec<u8>) {
    append(&Response { id, body }, out);
}

/// Appends the answer to a request that was not carried out.
pub(super) fn failed(id: u64, error: WireError, out: &mut Vec<u8>) {
    response(id, ResponseBody::Failed(error), out);
}

fn append(frame: &impl Serialize, out: &mut Vec<u8>) {
    if let Err(error) = encode(frame, out) {
        tracing::error!(%error, "an answer cannot be sent");
    }
}

/// Written as `Response { id, body: ResponseBody::Decisions(..) }` is.
struct Decisions<'a> {
    id: u64,
    answers: &'a [Answer],
    outcome: Outcome<'a>,
    brief: bool,
}

impl Serialize for Decisions<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut parts = to.serialize_tuple(3)?;
        parts.serialize_element(&self.id)?;
        parts.serialize_element(&DECISIONS)?;
        parts.serialize_element(&Items(self))?;
        parts.end()
    }
}

struct Items<'a>(&'a Decisions<'a>);

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.answers.iter().map(|answer| Item {
            answer,
            frame: self.0,
        }))
    }
}

struct Item<'a> {
    answer: &'a Answer,
    frame: &'a Decisions<'a>,
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if let Some(error) = self.answer.instead(self.frame.outcome) {
            return Err::<(), _>(error).serialize(to);
        }
        match &self.answer.decision {
            Err(error) if self.frame.brief => Err::<(), _>(without_text(error)).serialize(to),
            decision => decision.serialize(to),
        }
    }
}

/// The error without the texts that the request itself brought along.
fn without_text(error: &WireError) -> WireError {
    let mut error = error.clone();
    match &mut error {
        WireError::UnknownPolicy { name: text }
        | WireError::Malformed { reason: text }
        | WireError::RoleRefused { needed: text } => text.clear(),
        WireError::BadRequestLimit { name, reason } => {
            name.clear();
            reason.clear();
        }
        WireError::KeyEmpty
        | WireError::KeyTooLong { .. }
        | WireError::CostAboveLimit { .. }
        | WireError::Overloaded { .. }
        | WireError::DeadlineExceeded
        | WireError::Unavailable
        | WireError::StorageFailed
        | WireError::VersionMismatch { .. }
        | WireError::RequestLimitsOff
        | WireError::TooManyPolicies { .. }
        | WireError::TooManyReservations { .. }
        | WireError::UnknownReservation
        | WireError::BatchTooLarge { .. }
        | WireError::NotOwner { .. }
        | WireError::AnswerLost => {}
    }
    error
}
