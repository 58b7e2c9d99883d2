//! Why a node does not start.

use crate::limiter::shape::TooManyShapes;
use crate::storage::fence::StorageFailed;
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
    /// The policy file cannot be used, and no policies are stored that the node could start with.
    #[error("no policies are stored in the data directory; correct the policy file")]
    NoStoredPolicies,
    /// The credentials are not a node's.
    #[error("the node's certificate cannot be used")]
    Credentials(#[source] CertError),
    /// The address cannot be listened on.
    #[error("cannot listen")]
    Listen(#[source] TransportError),
    /// A limiter in process was given the directory of a cluster's node, whose slots may by now be
    /// another node's.
    #[error("the data directory is a cluster node's; give the limiter one of its own")]
    OfCluster,
    /// No address is known by which other nodes could reach this one.
    #[error("`{advertise}` cannot be advertised: it is not of the form host:port")]
    Advertise {
        /// What was to be advertised.
        advertise: String,
    },
    /// An address to join is not one.
    #[error("`{seed}` cannot be joined: it is not of the form host:port")]
    BadSeed {
        /// The address.
        seed: String,
    },
    /// A cluster cannot be created with so many replicas.
    #[error("a slot has 1 or 3 replicas, not {replicas}: with 2, the loss of either stops grants")]
    BadReplicas {
        /// How many were asked for.
        replicas: u8,
    },
    /// The node could not become one of the cluster.
    #[error("cannot join the cluster")]
    Join(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What the node has stored about its cluster cannot be read.
    #[error("what is stored about the cluster ({what}) is damaged; restore the data directory")]
    Damaged {
        /// Which part.
        what: String,
    },
    /// The slots that the node owns could not be taken up again in time.
    #[error("the node could not take up its slots; see the log")]
    NotReady,
    /// The cluster does not let this node grant any more.
    #[error("the cluster has shut this node out: {reason}")]
    ShutOut {
        /// Why, and what to do about it.
        reason: String,
    },
    /// The node cannot answer HTTP so.
    #[error("cannot answer HTTP")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
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

impl From<StorageFailed> for StartError {
    fn from(failed: StorageFailed) -> Self {
        Self::Storage(Box::new(failed))
    }
}

impl From<TooManyShapes> for StartError {
    fn from(error: TooManyShapes) -> Self {
        Self::Policies(Box::new(error))
    }
}
