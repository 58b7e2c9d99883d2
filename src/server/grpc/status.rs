//! What each error is in gRPC. Envoy takes every status but `OK` for a failure of the service, and
//! then does what its `failure_mode_deny` says.
//!
//! | error | code |
//! |---|---|
//! | the request is wrong: key, cost, limit, too many checks | `INVALID_ARGUMENT` |
//! | no such policy, no such reservation | `NOT_FOUND` |
//! | request limits are off; versions differ | `FAILED_PRECONDITION` |
//! | overloaded, too many policies or reservations | `RESOURCE_EXHAUSTED` |
//! | does not serve, or not the owner | `UNAVAILABLE` |
//! | the deadline passed | `DEADLINE_EXCEEDED` |
//! | the answer was lost: it may have counted | `UNKNOWN` |
//! | the storage failed | `INTERNAL` |
//! | the role may not do this | `PERMISSION_DENIED` |

use tonic::{Code, Status};

use crate::protocol::error::WireError;

/// The status for an error.
pub(super) fn status(error: &WireError) -> Status {
    Status::new(code(error), error.to_string())
}

const fn code(error: &WireError) -> Code {
    match error {
        WireError::KeyEmpty
        | WireError::KeyTooLong { .. }
        | WireError::CostAboveLimit { .. }
        | WireError::Malformed { .. }
        | WireError::BadRequestLimit { .. }
        | WireError::BatchTooLarge { .. } => Code::InvalidArgument,
        WireError::UnknownPolicy { .. } | WireError::UnknownReservation => Code::NotFound,
        WireError::RequestLimitsOff | WireError::VersionMismatch { .. } => Code::FailedPrecondition,
        WireError::Overloaded { .. }
        | WireError::TooManyPolicies { .. }
        | WireError::TooManyReservations { .. } => Code::ResourceExhausted,
        WireError::Unavailable | WireError::NotOwner { .. } => Code::Unavailable,
        WireError::DeadlineExceeded => Code::DeadlineExceeded,
        WireError::AnswerLost => Code::Unknown,
        WireError::StorageFailed => Code::Internal,
        WireError::RoleRefused { .. } => Code::PermissionDenied,
    }
}
