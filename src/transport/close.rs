//! The application codes with which connections are closed and streams reset.
//!
//! | code | name | meaning | what the other side does |
//! |---|---|---|---|
//! | 0 | `Done` | the sender needs the connection no more | nothing |
//! | 1 | `ShuttingDown` | the node stops; all that it read was answered | connects again, elsewhere or later |
//! | 2 | `NoHello` | no hello in time | a bug, or not a client of ours |
//! | 3 | `VersionMismatch` | no common protocol version | tells its operator to upgrade |
//! | 4 | `RoleRefused` | the certificate's role may not use this ALPN | tells its operator |
//! | 5 | `SlowReader` | answers were not read in time | connects again |
//! | 6 | `SlowFrame` | a frame's end did not arrive in time | opens a new stream |
//! | 7 | `BadFrame` | bytes that are no frame of the protocol | a bug; opens a new stream |
//! | 8 | `Interrupted` | the node stopped before it could answer all that it read | connects again; what is unanswered may have counted |
//! | 9 | `NotAdmitted` | a node is not let in as what it claims to be; it was told why | tells its operator, and tries again later |
//! | 10 | `Renewed` | between nodes: another connection has taken the place of this one | connects again |
//!
//! A node that has as many connections as it takes refuses before the handshake, with QUIC's own
//! `CONNECTION_REFUSED`.

use std::fmt;

use quinn::VarInt;

/// Why a connection was closed or a stream reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CloseCode {
    /// The sender needs it no more.
    Done,
    /// The node stops; what it had read was answered. Connect again, elsewhere or later.
    ShuttingDown,
    /// No hello came in time, or another message came first.
    NoHello,
    /// The two sides have no protocol version in common.
    VersionMismatch,
    /// The certificate's role may not use this ALPN.
    RoleRefused,
    /// The other side did not read its answers in time.
    SlowReader,
    /// A frame's end did not arrive in time.
    SlowFrame,
    /// The bytes are no frame of the protocol.
    BadFrame,
    /// The node stopped before it could answer all that it had read.
    Interrupted,
    /// A node is not let in as what it claims to be.
    NotAdmitted,
    /// Another connection between the two nodes has taken the place of this one.
    Renewed,
}

impl CloseCode {
    const ALL: [Self; 11] = [
        Self::Done,
        Self::ShuttingDown,
        Self::NoHello,
        Self::VersionMismatch,
        Self::RoleRefused,
        Self::SlowReader,
        Self::SlowFrame,
        Self::BadFrame,
        Self::Interrupted,
        Self::NotAdmitted,
        Self::Renewed,
    ];

    /// The number on the wire.
    pub(crate) const fn number(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Done => 0,
            Self::ShuttingDown => 1,
            Self::NoHello => 2,
            Self::VersionMismatch => 3,
            Self::RoleRefused => 4,
            Self::SlowReader => 5,
            Self::SlowFrame => 6,
            Self::BadFrame => 7,
            Self::Interrupted => 8,
            Self::NotAdmitted => 9,
            Self::Renewed => 10,
        })
    }

    /// The code of a number from the wire, if this build knows it.
    pub(crate) fn from_number(number: VarInt) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }

    /// What the other side finds in its log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ShuttingDown => "the node is shutting down",
            Self::NoHello => "the first message must be a hello, within its time limit",
            Self::VersionMismatch => "no common protocol version",
            Self::RoleRefused => "the certificate's role may not do this",
            Self::SlowReader => "answers were not read in time",
            Self::SlowFrame => "a frame did not arrive in time",
            Self::BadFrame => "not a frame of this protocol",
            Self::Interrupted => "the node stopped before it could answer",
            Self::NotAdmitted => "the node is not let in as what it claims to be",
            Self::Renewed => "another connection has taken the place of this one",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_keeps_its_number() {
        for (number, code) in (0_u32..).zip(CloseCode::ALL) {
            let number = VarInt::from_u32(number);
            assert_eq!(code.number(), number);
            assert_eq!(CloseCode::from_number(number), Some(code));
        }
        assert_eq!(CloseCode::from_number(VarInt::from_u32(11)), None);
    }
}
