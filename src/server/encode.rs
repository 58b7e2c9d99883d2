//! Answers to frames, without building the messages first.

use serde::ser::{Serialize, SerializeTuple, Serializer};

use super::service::Answer;
use crate::protocol::client::{Response, ResponseBody};
use crate::protocol::error::WireError;
use crate::protocol::frame::{FrameError, encode};

/// Place of [`ResponseBody::Decisions`] among the variants; pinned by a test against
/// [`Response`] itself.
const DECISIONS: u32 = 0;

impl Answer {
    /// Whether it may not be sent if what it waits for is lost: it grants something.
    pub(crate) fn is_withheld(&self) -> bool {
        let grants = matches!(&self.decision, Ok(decision) if decision.allowed);
        grants && self.wait.is_some()
    }
}

/// What became of the changes behind answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    /// They are kept as their policies ask.
    Kept,
    /// They may be lost: what they granted is not granted.
    Lost(&'a WireError),
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
        match (&self.answer.decision, self.frame.outcome) {
            (Ok(_), Outcome::Lost(error)) if self.answer.is_withheld() => {
                Err::<(), _>(error).serialize(to)
            }
            (Err(error), Outcome::Kept | Outcome::Lost(_)) if self.frame.brief => {
                Err::<(), _>(without_text(error)).serialize(to)
            }
            (decision, Outcome::Kept | Outcome::Lost(_)) => decision.serialize(to),
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
