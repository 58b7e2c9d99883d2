//! Errors as they travel: a closed list of typed answers, appended to and never reordered.

use serde::{Deserialize, Serialize};

use crate::types::{KEY_BYTES_MAX, KeyError};

/// Why a request was not decided. Unless a variant says otherwise, nothing was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// No policy of this name exists on the node.
    #[error("no policy is named `{name}`; `ratelimitctl policies` lists them")]
    UnknownPolicy {
        /// The name as sent.
        name: String,
    },
    /// The key is empty.
    #[error("{}", KeyError::Empty)]
    KeyEmpty,
    /// The key is longer than 256 bytes.
    #[error("{}", KeyError::TooLong { bytes: *bytes as usize })]
    KeyTooLong {
        /// Its length.
        bytes: u32,
    },
    /// The cost exceeds a limit of the policy, so that it can never be granted.
    #[error("a cost of {cost} can never pass a limit of {limit}; send a smaller cost")]
    CostAboveLimit {
        /// The cost as sent.
        cost: u64,
        /// The limit it exceeds.
        limit: u64,
    },
    /// The node has more work than it takes; normal under overload.
    #[error("the node is overloaded; try again in {retry_ms} ms")]
    Overloaded {
        /// When to try again.
        retry_ms: u32,
    },
    /// The deadline passed before the request was looked at.
    #[error("the deadline passed before the request was decided")]
    DeadlineExceeded,
    /// The node does not serve: it starts, drains or stops.
    #[error("the node does not serve now; try again or ask another node")]
    Unavailable,
    /// The node could not write or sync and has stopped granting; the permit may have been counted.
    #[error("the node's storage failed and it has stopped granting; see its log")]
    StorageFailed,
    /// The two sides have no protocol version in common.
    #[error("this node speaks protocol versions {oldest} to {newest}; upgrade the older side")]
    VersionMismatch {
        /// Oldest version that the node speaks.
        oldest: u16,
        /// Newest version that the node speaks.
        newest: u16,
    },
    /// The frame could not be decoded, or came out of order.
    #[error("the node could not read the request: {reason}")]
    Malformed {
        /// What was wrong, in a few words.
        reason: String,
    },
    /// The policy set does not let requests carry a limit of their own.
    #[error("requests may not carry their own limit here; set allow_request_limits in limits.toml")]
    RequestLimitsOff,
    /// The limit carried by the request is not a valid one, or its name is a configured policy's.
    #[error("the limit carried under `{name}` cannot be used: {reason}")]
    BadRequestLimit {
        /// The name as sent.
        name: String,
        /// What is wrong with it, in a few words.
        reason: String,
    },
    /// As many policies are known as `max_policies` allows.
    #[error("{max} policies are known already; raise max_policies or use fewer names")]
    TooManyPolicies {
        /// The bound.
        max: u64,
    },
    /// The key holds as many open reservations as it may.
    #[error("the key has {max} open reservations already; settle or cancel some")]
    TooManyReservations {
        /// The bound.
        max: u32,
    },
    /// No open reservation has this id: it was settled, cancelled or has expired. Nothing changed.
    #[error("no open reservation has this id; it was settled, cancelled or has expired")]
    UnknownReservation,
    /// More checks in one request than a node takes.
    #[error("the request holds {items} checks, at most {max} are allowed; send several requests")]
    BatchTooLarge {
        /// Checks in the request.
        items: u32,
        /// The bound.
        max: u32,
    },
    /// The certificate does not have the role that this request needs.
    #[error("the certificate's role may not do this; use one with the role `{needed}`")]
    RoleRefused {
        /// The role that is needed.
        needed: String,
    },
    /// Another node owns the key's slot (a cluster of several nodes only).
    #[error("slot {slot} is owned by node {owner:032x} at epoch {epoch}")]
    NotOwner {
        /// The key's slot.
        slot: u16,
        /// Epoch of the newest record known.
        epoch: u64,
        /// The owner it names.
        owner: u128,
    },
    /// The request was passed on to the key's owner, whose answer did not come; or it was decided, and
    /// not enough replicas have said that they know of it. It may have been carried out, and must not
    /// be repeated if it gives permits back.
    #[error("the answer was lost; the request may have been carried out")]
    AnswerLost,
}

impl From<KeyError> for WireError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Empty => Self::KeyEmpty,
            KeyError::TooLong { bytes } => {
                debug_assert!(bytes > KEY_BYTES_MAX);
                Self::KeyTooLong {
                    bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                }
            }
        }
    }
}
