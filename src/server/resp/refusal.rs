//! Errors as Redis clients read them: a word that programs can tell apart, then what to do. One table.

use super::reply::error;
use crate::protocol::error::WireError;

/// What a command cannot be carried out for, but for what the limiter says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// No command is called so.
    #[error("ERR unknown command '{0}'; COMMAND lists those there are")]
    UnknownCommand(String),
    /// Too few or too many words.
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(&'static str),
    /// A word that must be a number.
    #[error("ERR value is not an integer or out of range")]
    NotANumber,
    /// A parameter of `CL.THROTTLE`.
    #[error("ERR {0}")]
    BadParameter(#[from] super::throttle::BadParameter),
    /// An argument of this command makes no sense.
    #[error("ERR syntax error in '{0}'")]
    Syntax(&'static str),
    /// Keys and names of policies are text.
    #[error("BADKEY a key or policy must be valid UTF-8")]
    NotText,
    /// The password must be given first.
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    /// It was not the password.
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPassword,
    /// There is no password.
    #[error("ERR AUTH called without any password configured; none is needed")]
    NoPassword,
    /// A version of the protocol that is not spoken.
    #[error("NOPROTO unsupported protocol version; 2 and 3 are spoken")]
    NoProtocol,
    /// There are no databases to choose from.
    #[error("ERR DB index is out of range; there is only 0")]
    NoDatabase,
}

impl Refusal {
    /// Appends it as an answer.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        error(out, format_args!("{self}"));
    }
}

/// Appends an error of the limiter as an answer.
pub(super) fn refuse(refused: &WireError, out: &mut Vec<u8>) {
    match refused {
        WireError::Overloaded { retry_ms } => {
            error(out, format_args!("OVERLOADED retry in {retry_ms} ms"));
        }
        other => error(out, format_args!("{} {other}", word(other))),
    }
}

/// The word that tells an error apart.
const fn word(error: &WireError) -> &'static str {
    match error {
        WireError::UnknownPolicy { .. } => "NOPOLICY",
        WireError::KeyEmpty | WireError::KeyTooLong { .. } => "BADKEY",
        WireError::CostAboveLimit { .. } => "COSTABOVELIMIT",
        WireError::Overloaded { .. } => "OVERLOADED",
        WireError::DeadlineExceeded => "TIMEOUT",
        // A caller is not told of owners: what moved meanwhile can be asked again.
        WireError::Unavailable | WireError::NotOwner { .. } => "UNAVAILABLE",
        WireError::StorageFailed => "STORAGEFAILED",
        WireError::RequestLimitsOff => "NOREQUESTLIMITS",
        WireError::BadRequestLimit { .. } => "BADLIMIT",
        WireError::TooManyPolicies { .. } => "TOOMANYPOLICIES",
        WireError::RoleRefused { .. } => "NOPERM",
        WireError::AnswerLost => "ANSWERLOST",
        WireError::VersionMismatch { .. }
        | WireError::Malformed { .. }
        | WireError::TooManyReservations { .. }
        | WireError::UnknownReservation
        | WireError::BatchTooLarge { .. } => "ERR",
    }
}
