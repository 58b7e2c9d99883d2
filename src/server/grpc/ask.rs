//! Checks that own what they ask, since they outlive the message that they came in; and giving back.

use std::fmt::Write;
use std::time::Duration;

use ring::digest::{SHA256, digest};

use crate::protocol::client::{Ask, PolicyRef, RequestBody, ResponseBody, Target, WireDecision};
use crate::protocol::error::WireError;
use crate::server::service::Service;
use crate::server::{Decided, Desk, Mode};
use crate::types::{KEY_BYTES_MAX, SlotTime};

/// What a key that is too long begins with, before the SHA-256 of it in hexadecimal digits.
const HASHED: &str = "sha256:";

/// Which policy counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Policy {
    /// One of the set.
    Named(String),
    /// The request's own.
    Carried {
        /// Name under which it counts.
        name: String,
        /// Permits and window in milliseconds.
        limit: (u64, u64),
    },
}

/// A check, or permits to give back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) policy: Policy,
    /// At most [`KEY_BYTES_MAX`]; see [`state_key`].
    pub(super) key: String,
    /// Permits asked for, or to give back.
    pub(super) cost: u64,
}

impl Part {
    /// Whose state.
    pub(super) fn target(&self) -> Target<'_> {
        let policy = match &self.policy {
            Policy::Named(name) => PolicyRef::Named(name),
            Policy::Carried { name, limit } => PolicyRef::Carried {
                name,
                limits: vec![*limit],
            },
        };
        Target {
            policy,
            key: &self.key,
        }
    }

    /// The check.
    pub(super) fn ask(&self) -> Ask<'_> {
        Ask {
            target: self.target(),
            cost: self.cost,
        }
    }

    /// The same with another cost.
    pub(super) fn costing(&self, cost: u64) -> Self {
        Self {
            cost,
            ..self.clone()
        }
    }

    /// What is left, without counting.
    pub(super) async fn look<S: Service>(&self, desk: &Desk<S>, left: Duration) -> Decided {
        let ask = Ask {
            cost: 0,
            ..self.ask()
        };
        one(desk.decide(&[ask], Mode::Look, left).await)
    }

    /// Gives its cost back from what still counts, the oldest first; returns how much.
    pub(super) async fn give_back<S: Service>(
        &self,
        desk: &Desk<S>,
        left: Duration,
    ) -> Result<u64, WireError> {
        self.refund(desk, SlotTime::MAX.as_ms(), left).await
    }

    /// Gives back what `decision` counted for it; returns how much.
    pub(super) async fn undo<S: Service>(
        &self,
        desk: &Desk<S>,
        decision: &WireDecision,
        left: Duration,
    ) -> Result<u64, WireError> {
        match decision.granted_at_ms {
            Some(at_ms) if self.cost > 0 => self.refund(desk, at_ms, left).await,
            Some(_) | None => Ok(0),
        }
    }

    async fn refund<S: Service>(
        &self,
        desk: &Desk<S>,
        at_ms: u64,
        left: Duration,
    ) -> Result<u64, WireError> {
        let body = RequestBody::Refund {
            target: self.target(),
            at_ms,
            cost: self.cost,
        };
        match desk.command(&body, left).await {
            ResponseBody::Refunded { permits } => Ok(permits),
            other => Err(failure(other)),
        }
    }

    /// Forgets all that is counted.
    pub(super) async fn reset<S: Service>(
        &self,
        desk: &Desk<S>,
        left: Duration,
    ) -> Result<(), WireError> {
        let target = self.target();
        match desk.command(&RequestBody::Reset { target }, left).await {
            ResponseBody::Done => Ok(()),
            other => Err(failure(other)),
        }
    }
}

/// The only answer of a batch of one.
pub(super) fn one(mut decided: Vec<Decided>) -> Decided {
    decided.pop().unwrap_or(Err(WireError::Unavailable))
}

fn failure(answer: ResponseBody) -> WireError {
    match answer {
        ResponseBody::Failed(error) => error,
        ResponseBody::Decisions(_)
        | ResponseBody::Refunded { .. }
        | ResponseBody::Reserved { .. }
        | ResponseBody::Done
        | ResponseBody::Routes(_)
        | ResponseBody::ReplicaRoutes(_) => WireError::Unavailable,
    }
}

/// The key that stands for a text of any length: the text itself if it is no longer than a key may
/// be, else [`HASHED`] and its SHA-256.
pub(super) fn state_key(text: String) -> String {
    if text.len() <= KEY_BYTES_MAX {
        return text;
    }
    hashed(HASHED, &text)
}

/// `prefix` and the SHA-256 of `text`.
pub(super) fn hashed(prefix: &str, text: &str) -> String {
    let mut out = prefix.to_owned();
    for byte in digest(&SHA256, text.as_bytes()).as_ref() {
        // Writing to a string cannot fail.
        write!(out, "{byte:02x}").unwrap_or_default();
    }
    out
}
