//! Requests and answers on `drl-client/1` (an admin may send them too).

use serde::{Deserialize, Serialize};

use super::bounded;
use super::error::WireError;
use super::routes::{ReplicaRoutes, Routes};

/// Most checks in one request.
pub(crate) const BATCH_MAX: usize = 1024;

/// One request; several are in flight on a stream at once.
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "both ends write and read it in pieces; tests hold them against it"
    )
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request<'a> {
    /// Chosen by the client, unique among its open requests on the stream.
    pub(crate) id: u64,
    /// Time left until nobody waits for the answer any more.
    pub(crate) deadline_ms: u32,
    /// What is asked.
    #[serde(borrow)]
    pub(crate) body: RequestBody<'a>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RequestBody<'a> {
    /// Decide each of these by itself; answered by `Decisions` of the same length and order.
    Check(#[serde(borrow, deserialize_with = "bounded::batch")] Vec<Ask<'a>>),
    /// Like `Check`, but nothing is ever counted.
    Peek(#[serde(borrow, deserialize_with = "bounded::batch")] Vec<Ask<'a>>),
    /// Give back what a check counted; answered by `Refunded`. Never sent twice.
    Refund {
        /// Whose state.
        #[serde(borrow)]
        target: Target<'a>,
        /// Slot time of the grant; [`u64::MAX`] if it is not known: then the oldest are given back.
        at_ms: u64,
        /// Permits to give back.
        cost: u64,
    },
    /// Count an estimate now, to be settled later; answered by `Reserved`.
    Reserve {
        /// Policy, key and estimated cost.
        #[serde(borrow)]
        ask: Ask<'a>,
        /// How long the reservation stays open.
        ttl_ms: u64,
    },
    /// Replace a reservation's estimate by what was really used; answered by `Done`.
    Settle {
        /// Whose state.
        #[serde(borrow)]
        target: Target<'a>,
        /// Which reservation.
        reservation: u64,
        /// Permits really used.
        actual: u64,
    },
    /// Give all of a reservation back; answered by `Done`.
    Cancel {
        /// Whose state.
        #[serde(borrow)]
        target: Target<'a>,
        /// Which reservation.
        reservation: u64,
    },
    /// Forget all counts of a key under a policy; answered by `Done`.
    Reset {
        /// Whose state.
        #[serde(borrow)]
        target: Target<'a>,
    },
    /// Who owns which slot; answered by `Routes`, see [`super::routes`].
    Routes {
        /// Tag of the routes that the client has; 0 if it has none.
        known: u64,
    },
    /// Who owns which slot, and who else holds it; answered by `ReplicaRoutes`, see
    /// [`super::routes`].
    ReplicaRoutes {
        /// Tag of the routes that the client has; 0 if it has none.
        known: u64,
    },
}

/// A check: policy, key, cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ask<'a> {
    /// Whose state.
    #[serde(borrow)]
    pub(crate) target: Target<'a>,
    /// Permits asked for; 0 only looks.
    pub(crate) cost: u64,
}

/// A key under a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target<'a> {
    /// Which policy.
    #[serde(borrow)]
    pub(crate) policy: PolicyRef<'a>,
    /// The key that is limited.
    pub(crate) key: &'a str,
}

/// A policy by name, or with the limits that the request brings along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PolicyRef<'a> {
    /// A policy of the node's set.
    Named(&'a str),
    /// The request's own limits under its own name, where the set allows it.
    Carried {
        /// Name under which the counts are kept.
        name: &'a str,
        /// One to four (permits, `window_ms`).
        #[serde(deserialize_with = "bounded::batch")]
        limits: Vec<(u64, u64)>,
    },
}

/// The answer to the request of the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Response {
    /// The request's id.
    pub(crate) id: u64,
    /// The answer.
    pub(crate) body: ResponseBody,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ResponseBody {
    /// One answer a check, in the order asked.
    Decisions(#[serde(deserialize_with = "bounded::batch")] Vec<Result<WireDecision, WireError>>),
    /// How much of a refund was given back; 0 if its bucket no longer counts.
    Refunded {
        /// Permits given back.
        permits: u64,
    },
    /// The decision, and if it was granted the reservation's id.
    Reserved {
        /// As for a check.
        decision: WireDecision,
        /// Names the reservation; absent when denied.
        reservation: Option<u64>,
    },
    /// It is done, and kept as the policy's durability says.
    Done,
    /// The request as a whole was not carried out.
    Failed(WireError),
    /// Who owns which slot.
    Routes(Box<Routes>),
    /// Who owns which slot, and who else holds it.
    ReplicaRoutes(Box<ReplicaRoutes>),
}

/// A [`crate::types::Decision`] as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireDecision {
    /// Whether it may pass.
    pub(crate) allowed: bool,
    /// A policy in shadow mode would have denied.
    pub(crate) shadow_denied: bool,
    /// The limit that decided.
    pub(crate) limit: u64,
    /// Permits left of it.
    pub(crate) remaining: u64,
    /// Until the window is empty.
    pub(crate) reset_after_ms: u64,
    /// Until the same request is granted.
    pub(crate) retry_after_ms: u64,
    /// Who answered.
    pub(crate) source: WireSource,
    /// Slot time under which the cost was counted, if it was.
    pub(crate) granted_at_ms: Option<u64>,
}

/// A [`crate::types::Source`] as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WireSource {
    /// See [`crate::types::Source::Owner`].
    Owner,
    /// See [`crate::types::Source::Proxied`].
    Proxied,
    /// See [`crate::types::Source::Cached`].
    Cached,
    /// See [`crate::types::Source::Degraded`].
    Degraded,
}
