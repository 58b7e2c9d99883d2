//! What the client library reports, as a word for statistics and as the end of a command.

use distributed_rate_limiter::WireError;
use distributed_rate_limiter::client::{CheckError, ConnectError};

use crate::outcome::{Exit, Failure};

/// One word for why a call got no decision.
pub(crate) const fn word(error: &CheckError) -> &'static str {
    match error {
        CheckError::Key(_) => "key",
        CheckError::Overloaded => "client_overloaded",
        CheckError::Timeout { .. } => "timeout",
        CheckError::ConnectionLost => "connection_lost",
        CheckError::Unreachable(_) => "unreachable",
        CheckError::Refused(refused) => wire_word(refused),
        CheckError::UnexpectedAnswer => "unexpected_answer",
        CheckError::Closed => "closed",
        _ => "other",
    }
}

/// Whether a [`word`] says that no node could be reached.
pub(crate) fn is_unreachable(word: &str) -> bool {
    ["timeout", "connection_lost", "unreachable"].contains(&word)
}

const fn wire_word(error: &WireError) -> &'static str {
    match error {
        WireError::UnknownPolicy { .. } => "unknown_policy",
        WireError::KeyEmpty | WireError::KeyTooLong { .. } => "key",
        WireError::CostAboveLimit { .. } => "cost_above_limit",
        WireError::Overloaded { .. } => "overloaded",
        WireError::DeadlineExceeded => "deadline_exceeded",
        WireError::Unavailable => "unavailable",
        WireError::StorageFailed => "storage_failed",
        WireError::VersionMismatch { .. } => "version_mismatch",
        WireError::Malformed { .. } => "malformed",
        WireError::RequestLimitsOff => "request_limits_off",
        WireError::BadRequestLimit { .. } => "bad_request_limit",
        WireError::TooManyPolicies { .. } => "too_many_policies",
        WireError::TooManyReservations { .. } => "too_many_reservations",
        WireError::UnknownReservation => "unknown_reservation",
        WireError::BatchTooLarge { .. } => "batch_too_large",
        WireError::RoleRefused { .. } => "role_refused",
        WireError::NotOwner { .. } => "not_owner",
        WireError::AnswerLost => "answer_lost",
        _ => "refused",
    }
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        let exit = match &error {
            CheckError::Key(_) => Exit::Usage,
            CheckError::Refused(_) => Exit::Refused,
            CheckError::Timeout { .. }
            | CheckError::ConnectionLost
            | CheckError::Unreachable(_) => Exit::Unreachable,
            _ => Exit::Internal,
        };
        Self::new(exit, error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let exit = match &error {
            ConnectError::NoSeeds
            | ConnectError::NoTls
            | ConnectError::BadSeed { .. }
            | ConnectError::Tls { .. } => Exit::Usage,
            ConnectError::CertificateRefused { .. }
            | ConnectError::VersionMismatch { .. }
            | ConnectError::Refused { .. } => Exit::Refused,
            ConnectError::Socket(_) => Exit::Internal,
            _ => Exit::Unreachable,
        };
        Self::new(exit, error)
    }
}
