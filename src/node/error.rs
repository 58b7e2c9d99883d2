//! Why a node does not start.

use crate::limiter::shape::TooManyShapes;
use crate::storage::open::OpenError;
use crate::storage::store::StoreError;
use crate::transport::{CertError, TransportError};

/// Why a node, or a limiter in this process, does not start. Nothing serves then, and no count
/// has changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be opened.
    #[error(transparent)]
    DataDirectory(Box<dyn std::error::Error + Send + Sync>),
    /// The data directory can be opened but not read or written.
    #[error("the data directory cannot be used")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The configured policies have more combinations of windows than a node can hold.
    #[error("the policies cannot be put in force")]
    Policies(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The credentials are not a node's.
    #[error("the node's certificate cannot be used")]
    Credentials(#[source] CertError),
    /// The address cannot be listened on.
    #[error("cannot listen")]
    Listen(#[source] TransportError),
    /// The node was told to join a cluster, which this version cannot.
    #[error(
        "this version serves as a single node and cannot join a cluster; start it without join"
    )]
    CannotJoin,
    /// A thread or runtime could not be started.
    #[error("cannot start a thread; check the limits of the process")]
    Thread(#[source] std::io::Error),
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        Self::DataDirectory(Box::new(error))
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<TooManyShapes> for StartError {
    fn from(error: TooManyShapes) -> Self {
        Self::Policies(Box::new(error))
    }
}
