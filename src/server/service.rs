//! The door between the server and the limiter behind it.

use std::future::Future;

use crate::limiter::policy::Durability;
use crate::protocol::admin::{AdminRequest, AdminResponse};
use crate::protocol::client::{Ask, RequestBody, ResponseBody, WireDecision};
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;

/// What must be so before an answer may leave: the commit numbered `ticket` is kept as
/// `durability` says. Of two waits the later in this order includes the other only if both its
/// fields do; see [`Wait::join`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Number of the commit that holds the change.
    pub(crate) ticket: u64,
    /// How it must be kept.
    pub(crate) durability: Durability,
}

impl Wait {
    /// The wait that includes both.
    pub(crate) fn join(self, other: Self) -> Self {
        Self {
            ticket: self.ticket.max(other.ticket),
            durability: self.durability.max(other.durability),
        }
    }
}

/// The answer to one check of a batch, and what must be so before it may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The decision or the error.
    pub(crate) decision: Result<WireDecision, WireError>,
    /// `None`: it may leave at once.
    pub(crate) wait: Option<Wait>,
}

/// What the server asks of the limiter. Everything but [`Service::kept`] returns at once.
pub(crate) trait Service: Send + Sync + 'static {
    /// The answer to a hello, once the versions agree on `version`.
    fn welcome(&self, version: u16) -> Welcome;

    /// Decides `asks` as one batch and appends one answer for each, in order.
    fn check(&self, asks: &[Ask<'_>], answers: &mut Vec<Answer>);

    /// Looks without counting; appends one answer for each, in order.
    fn peek(&self, asks: &[Ask<'_>], answers: &mut Vec<Answer>);

    /// Carries out any request but checks and peeks (which it answers with `Malformed`).
    fn command(&self, body: &RequestBody<'_>) -> (ResponseBody, Option<Wait>);

    /// Carries out an admin's request but `Client` (which it answers with `Malformed`).
    fn admin(&self, request: &AdminRequest<'_>) -> AdminResponse;

    /// Resolves when `wait` holds, or fails when the storage did: then no permit behind it may be
    /// granted. Cancel safe.
    fn kept(&self, wait: Wait) -> impl Future<Output = Result<(), WireError>> + Send;

    /// Counts connections, for the status.
    fn connections_changed(&self, open: usize);

    /// Counts a request turned away because of a bound, for the status.
    fn turned_away(&self);
}
