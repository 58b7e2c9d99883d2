//! What can go wrong for a caller: while connecting, and with a single call.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::protocol::error::WireError;
use crate::transport::CertError;
use crate::types::KeyError;

/// Why a call got no decision: a variant for each thing a caller can do about it.
///
/// [`CheckError::maybe_counted`] tells whether a permit may have been counted all the same;
/// [`CheckError::is_unavailable`] whether it is the kind that
/// [`OnUnavailable`](super::OnUnavailable) answers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The key cannot be one; nothing was sent. A mistake of the caller.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// As many calls as [`Builder::waiting_max`](super::Builder::waiting_max) allows wait already;
    /// nothing was sent. Normal under overload: shed work, or try again a little later.
    #[error("too many calls of this client wait for an answer; try again later")]
    Overloaded,
    /// The deadline passed. Normal if the node is slow or its network fails. If the request had
    /// been sent, it may have been counted.
    #[error("no answer within {} ms", after.as_millis())]
    Timeout {
        /// The deadline that was given.
        after: Duration,
        /// Whether the request had been sent.
        maybe_counted: bool,
    },
    /// The connection was lost while the request was on its way: it may have been counted. Normal
    /// when a node is stopped or killed.
    #[error("the connection was lost before the answer came")]
    ConnectionLost,
    /// No seed can be reached at present; the client goes on trying in the background. Nothing was
    /// sent.
    #[error("no node can be reached; the client goes on trying")]
    Unreachable(#[source] Arc<ConnectError>),
    /// The node answered with an error; the error says what was counted.
    #[error(transparent)]
    Refused(#[from] WireError),
    /// The node answered with something else than was asked: a bug, on one side or the other. It
    /// may have been counted.
    #[error("the node's answer does not fit the request; check that both are of one version")]
    UnexpectedAnswer,
    /// Of a [`check_all`](super::Client::check_all) one part failed with `source`, and what was
    /// counted for other parts could not be given back for certain: up to `permits` stay counted.
    /// Nothing is given back twice.
    #[error("a part of the request failed, and up to {permits} permits of others stay counted")]
    LeftCounted {
        /// Permits of all parts that may be counted.
        permits: u64,
        /// Why the part failed.
        #[source]
        source: Arc<Self>,
    },
    /// The client's background tasks have ended, with the tokio runtime that ran them: connect
    /// again on a living one. What had been sent before may have been counted.
    #[error("the client's runtime has ended; connect again on a living one")]
    Closed,
}

impl CheckError {
    /// Whether a permit may have been counted although there is no decision.
    pub const fn maybe_counted(&self) -> bool {
        match self {
            Self::Timeout { maybe_counted, .. } => *maybe_counted,
            Self::ConnectionLost
            | Self::UnexpectedAnswer
            | Self::LeftCounted { .. }
            | Self::Closed => true,
            Self::Refused(error) => {
                matches!(error, WireError::StorageFailed | WireError::AnswerLost)
            }
            Self::Key(_) | Self::Overloaded | Self::Unreachable(_) => false,
        }
    }

    /// Whether nobody who knows the counts could be asked, so that another attempt may succeed and
    /// [`OnUnavailable`](super::OnUnavailable) applies; false for a caller's own mistakes.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Overloaded
            | Self::Timeout { .. }
            | Self::ConnectionLost
            | Self::Unreachable(_)
            | Self::UnexpectedAnswer
            | Self::Closed => true,
            Self::LeftCounted { source, .. } => source.is_unavailable(),
            Self::Key(_) => false,
            Self::Refused(error) => match error {
                WireError::Overloaded { .. }
                | WireError::DeadlineExceeded
                | WireError::Unavailable
                | WireError::StorageFailed
                | WireError::NotOwner { .. }
                | WireError::AnswerLost => true,
                WireError::UnknownPolicy { .. }
                | WireError::KeyEmpty
                | WireError::KeyTooLong { .. }
                | WireError::CostAboveLimit { .. }
                | WireError::VersionMismatch { .. }
                | WireError::Malformed { .. }
                | WireError::RequestLimitsOff
                | WireError::BadRequestLimit { .. }
                | WireError::TooManyPolicies { .. }
                | WireError::TooManyReservations { .. }
                | WireError::UnknownReservation
                | WireError::BatchTooLarge { .. }
                | WireError::RoleRefused { .. } => false,
            },
        }
    }
}

/// Why no connection could be made. Nothing was counted by any of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No seed was given.
    #[error("no seed was given; name at least one node as host:port")]
    NoSeeds,
    /// No TLS settings were given.
    #[error("no certificates were given; pass the cluster's CA and a client certificate to tls()")]
    NoTls,
    /// The seed is not of the form `host:port`.
    #[error("`{seed}` is not an address; write host:port, such as limits.example:7400")]
    BadSeed {
        /// The seed as given.
        seed: String,
    },
    /// The seed's name could not be resolved.
    #[error("cannot find the address of `{seed}`")]
    Resolve {
        /// The seed as given.
        seed: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No UDP socket could be opened.
    #[error("cannot open a UDP socket")]
    Socket(#[source] io::Error),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] CertError),
    /// Nothing answered in time.
    #[error(
        "nothing answers at {address} within {} ms; check that ratelimitd listens there and that \
         UDP passes the firewall", after.as_millis()
    )]
    Silent {
        /// Where.
        address: SocketAddr,
        /// How long was waited.
        after: Duration,
    },
    /// The node's certificate is not one of a node of this cluster.
    #[error(
        "the node at {address} is not trusted ({reason}); check that the CA certificate is its \
         cluster's and that the name is in the node's certificate"
    )]
    NodeNotTrusted {
        /// Where.
        address: SocketAddr,
        /// What TLS found.
        reason: String,
    },
    /// The node does not take this client's certificate.
    #[error(
        "the node at {address} refused this client's certificate ({reason}); use one of the role \
         that is needed, made by the cluster's CA with `ratelimitctl certs`"
    )]
    CertificateRefused {
        /// Where.
        address: SocketAddr,
        /// What the node said.
        reason: String,
    },
    /// What answers there does not speak this protocol.
    #[error(
        "what answers at {address} does not speak the limiter's protocol; check the port and the \
         version of ratelimitd"
    )]
    WrongProtocol {
        /// Where.
        address: SocketAddr,
    },
    /// The two sides have no protocol version in common.
    #[error(
        "the node at {address} speaks protocol versions {} to {}, this client {} to {}; upgrade \
         the older side", node.0, node.1, client.0, client.1
    )]
    VersionMismatch {
        /// Where.
        address: SocketAddr,
        /// Oldest and newest version that the node speaks.
        node: (u16, u16),
        /// Oldest and newest version that the client speaks.
        client: (u16, u16),
    },
    /// The node turned the client away.
    #[error("the node at {address} turned this client away")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// What it said.
        #[source]
        source: WireError,
    },
    /// The node is of another cluster than the one whose routes led to it.
    #[error(
        "the node at {address} is of another cluster; check the address that the cluster's node \
         advertises"
    )]
    OtherCluster {
        /// Where.
        address: SocketAddr,
    },
    /// The node's first answer could not be read.
    #[error(
        "the first answer of {address} cannot be read; check that it is a ratelimitd of a fitting \
         version"
    )]
    Garbled {
        /// Where.
        address: SocketAddr,
    },
    /// The connection broke while it was made.
    #[error("the connection to {address} broke while it was made")]
    Broken {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: quinn::ConnectionError,
    },
}
