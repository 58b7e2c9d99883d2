//! The door between the server and the limiter behind it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::limiter::descriptors::DescriptorRules;
use crate::limiter::policy::{Durability, Limits};
use crate::protocol::admin::{AdminRequest, AdminResponse};
use crate::protocol::client::{Ask, RequestBody, ResponseBody, WireDecision};
use crate::protocol::error::WireError;
use crate::protocol::hello::Welcome;
use crate::types::Slot;

/// What must be so before an answer may leave: the commit numbered `ticket` is kept as
/// `durability` says, here and on a majority of the slot's replicas. Of two waits the later includes
/// the other only if both its ticket and its durability do; see [`Wait::join`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Number of the commit that holds the change.
    pub(crate) ticket: u64,
    /// How it must be kept.
    pub(crate) durability: Durability,
    /// The slot of what has changed; of a joined wait, that of its highest ticket.
    pub(crate) slot: Slot,
}

/// What is kept of what a wait was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All of it.
    All,
    /// All but what [`Service::is_lost`] says: too few replicas of its slot could be reached. It may
    /// stay counted, and is not granted.
    Some,
}

impl Wait {
    /// The wait that includes both.
    pub(crate) fn join(self, other: Self) -> Self {
        let later = if self.ticket >= other.ticket {
            self
        } else {
            other
        };
        Self {
            durability: self.durability.max(other.durability),
            ..later
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

/// What a check is answered in the end.
pub(crate) type Decided = Result<WireDecision, WireError>;

/// Work that goes on beside a stream and belongs to it: dropped with it.
pub(crate) type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How a request came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// From who wants to know: it may be passed on.
    Caller,
    /// Another node passed it on: it is answered here, if only that this node does not own its slot.
    Proxy,
}

/// Whether a check counts or only looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It counts if it is granted.
    Count,
    /// It only looks.
    Look,
}

/// A check that cannot be decided here and now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Postponed<'a> {
    /// What is asked.
    pub(crate) ask: &'a Ask<'a>,
    /// Whether it counts.
    pub(crate) mode: Mode,
    /// Time left until nobody waits for the answer any more.
    pub(crate) left: Duration,
}

/// What a task of [`Service::later`] has decided.
#[derive(Default)]
pub(crate) struct Settled {
    /// Checks by their places in the list, and their answers; what was granted is kept.
    pub(crate) decided: Vec<(usize, Decided)>,
    /// Tasks that decide those that the task has left over.
    pub(crate) more: Vec<Task<Self>>,
}

impl std::fmt::Debug for Settled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settled")
            .field("decided", &self.decided)
            .field("more", &self.more.len())
            .finish()
    }
}

/// Runs a wait for a commit in a task of its own.
///
/// Who waits may be given the turn to commit for everybody. Work that belongs to a stream rests while
/// the stream waits or writes, and a turn given to it then would hold everybody up.
pub(crate) async fn kept_apart(
    kept: impl Future<Output = Result<Kept, WireError>> + Send + 'static,
) -> Result<Kept, WireError> {
    // A task that did not end has a panic or the runtime's end to answer for.
    tokio::spawn(kept)
        .await
        .unwrap_or(Err(WireError::StorageFailed))
}

/// How a command was carried out.
pub(crate) enum Carried {
    /// It is, and the answer may leave once this is kept.
    Now(ResponseBody, Option<Wait>),
    /// It is decided elsewhere or later; the answer may leave when it is there.
    Later(Task<ResponseBody>),
    /// The answer may take as long as the request lets it, and is not worth waiting for when the
    /// node stops.
    Open(Task<ResponseBody>),
}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Now(body, wait) => f.debug_tuple("Now").field(body).field(wait).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::Open(_) => f.write_str("Open"),
        }
    }
}

/// What the server asks of the limiter. Everything but [`Service::kept`] returns at once.
pub(crate) trait Service: Send + Sync + 'static {
    /// The answer to a hello, once the versions agree on `version`.
    fn welcome(&self, version: u16) -> Welcome;

    /// Decides `asks` as one batch and appends one answer for each, in order. Returns the places, in
    /// order, of those that cannot be decided here and now: their answers stand for nothing, and
    /// [`Service::later`] takes them on.
    fn check(&self, asks: &[Ask<'_>], answers: &mut Vec<Answer>) -> Vec<usize>;

    /// Looks without counting; otherwise as [`Service::check`].
    fn peek(&self, asks: &[Ask<'_>], answers: &mut Vec<Answer>) -> Vec<usize>;

    /// Has what [`Service::check`] and [`Service::peek`] left over decided. Each task decides some
    /// of `asks`, and together they decide each once. What one task waits for holds up no other.
    fn later(self: &Arc<Self>, asks: &[Postponed<'_>], via: Via) -> Vec<Task<Settled>>;

    /// Carries out any request but checks and peeks (which it answers with `Malformed`); the caller
    /// waits for as long as `left`.
    fn command(self: &Arc<Self>, body: &RequestBody<'_>, left: Duration, via: Via) -> Carried;

    /// What the policy of this name allows a key.
    fn limits(&self, policy: &str, key: &str) -> Result<Limits, WireError>;

    /// Which policies Envoy's descriptors are held to.
    fn descriptors(&self) -> Arc<DescriptorRules>;

    /// Carries out an admin's request but `Client` (which it answers with `Malformed`).
    fn admin(&self, request: &AdminRequest<'_>) -> impl Future<Output = AdminResponse> + Send;

    /// Resolves when `wait` holds, but for what is lost; or fails when the storage did: then no permit
    /// behind it may be granted. Cancel safe.
    fn kept(&self, wait: Wait) -> impl Future<Output = Result<Kept, WireError>> + Send;

    /// Whether what a single answer waits for is lost, once [`Service::kept`] has resolved for it, or
    /// for a wait that includes it, with [`Kept::Some`]. Returns at once.
    fn is_lost(&self, wait: Wait) -> bool;

    /// Counts connections, for the status.
    fn connections_changed(&self, open: usize);

    /// Counts a request turned away because of a bound, for the status.
    fn turned_away(&self);
}
