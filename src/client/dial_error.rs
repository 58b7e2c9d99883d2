//! What QUIC and TLS say when a connection fails, in words that help.

use std::net::SocketAddr;

use quinn::{ConnectionError, TransportErrorCode};

use super::dial::ADDRESS_WAIT_MAX;
use super::error::ConnectError;
use crate::protocol::error::WireError;
use crate::transport::CloseCode;

/// QUIC's range for TLS alerts.
const ALERTS: std::ops::Range<u64> = 0x100..0x200;

/// The TLS alert `no_application_protocol`.
const NO_COMMON_ALPN: u64 = 120;

/// When a node that has as many connections as it takes may be tried again.
const REFUSED_RETRY_MS: u32 = 1000;

/// Why the connection to `address` failed while it was made.
pub(super) fn broken(address: SocketAddr, error: ConnectionError) -> ConnectError {
    match error {
        ConnectionError::TimedOut => ConnectError::Silent {
            address,
            after: ADDRESS_WAIT_MAX,
        },
        ConnectionError::VersionMismatch => ConnectError::WrongProtocol { address },
        // Found on this side: the node's certificate, or what it speaks.
        ConnectionError::TransportError(error) => match alert(error.code) {
            Some(NO_COMMON_ALPN) => ConnectError::WrongProtocol { address },
            Some(_) => ConnectError::NodeNotTrusted {
                address,
                reason: error.reason,
            },
            None => ConnectError::Broken {
                address,
                source: ConnectionError::TransportError(error),
            },
        },
        // Told by the node: this client's certificate, or what it speaks.
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code) {
            Some(NO_COMMON_ALPN) => ConnectError::WrongProtocol { address },
            Some(_) => ConnectError::CertificateRefused {
                address,
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            None if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                ConnectError::Refused {
                    address,
                    source: WireError::Overloaded {
                        retry_ms: REFUSED_RETRY_MS,
                    },
                }
            }
            None => ConnectError::Broken {
                address,
                source: ConnectionError::ConnectionClosed(close),
            },
        },
        ConnectionError::ApplicationClosed(close) => {
            match CloseCode::from_number(close.error_code) {
                Some(code @ CloseCode::RoleRefused) => ConnectError::CertificateRefused {
                    address,
                    reason: code.to_string(),
                },
                Some(CloseCode::ShuttingDown) => ConnectError::Refused {
                    address,
                    source: WireError::Unavailable,
                },
                Some(
                    CloseCode::Done
                    | CloseCode::NoHello
                    | CloseCode::VersionMismatch
                    | CloseCode::SlowReader
                    | CloseCode::SlowFrame
                    | CloseCode::BadFrame
                    | CloseCode::Interrupted
                    | CloseCode::NotAdmitted
                    | CloseCode::Renewed,
                )
                | None => ConnectError::Broken {
                    address,
                    source: ConnectionError::ApplicationClosed(close),
                },
            }
        }
        source @ (ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted) => ConnectError::Broken { address, source },
    }
}

fn alert(code: TransportErrorCode) -> Option<u64> {
    let code = u64::from(code);
    ALERTS.contains(&code).then(|| code - ALERTS.start)
}

/// Of the failures of several addresses, the one that tells the most: that nothing answers, or a
/// name is not known, tells less than what an answer said. Of equals, the first.
pub(super) fn more_telling(worst: Option<ConnectError>, error: ConnectError) -> ConnectError {
    match worst {
        Some(worst) if tells(&worst) >= tells(&error) => worst,
        Some(_) | None => error,
    }
}

const fn tells(error: &ConnectError) -> u8 {
    match error {
        ConnectError::NoSeeds | ConnectError::NoTls => 0,
        ConnectError::Resolve { .. } => 1,
        ConnectError::Silent { .. } | ConnectError::Socket(_) => 2,
        ConnectError::Broken { .. } => 3,
        ConnectError::BadSeed { .. }
        | ConnectError::Tls(_)
        | ConnectError::NodeNotTrusted { .. }
        | ConnectError::CertificateRefused { .. }
        | ConnectError::WrongProtocol { .. }
        | ConnectError::VersionMismatch { .. }
        | ConnectError::Refused { .. }
        | ConnectError::Garbled { .. } => 4,
    }
}
