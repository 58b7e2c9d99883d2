//! How a lane is, and why it takes no request.

use std::sync::Arc;
use std::time::Duration;

use super::error::ConnectError;
use crate::types::NodeId;

/// Whether a lane can carry requests now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Health {
    /// The client's tasks have ended.
    Closed = 0,
    /// No node could be reached at the last attempt.
    Down = 1,
    /// No attempt has failed yet: requests may wait for its end.
    Connecting = 2,
    /// There is a stream.
    Up = 3,
    /// It belongs to no node at present.
    Vacant = 4,
    /// There is a stream, and for a while the node has not even acknowledged what came on it.
    Quiet = 5,
}

impl Health {
    /// The reverse of `as u8`.
    pub(super) const fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Down,
            2 => Self::Connecting,
            3 => Self::Up,
            4 => Self::Vacant,
            5 => Self::Quiet,
            _ => Self::Closed,
        }
    }
}

/// A node one of whose connections was lost, so that the others may be dead too: a lane to it is
/// good only if it has heard from the node since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    /// `None`: connections to two nodes were found dead, so that all may be: the cluster has
    /// restarted.
    pub(super) node: Option<NodeId>,
    pub(super) since: Duration,
}

/// Why a lane takes no request.
#[derive(Debug, Clone)]
pub(super) enum Turned {
    /// As many callers wait as may.
    Full,
    /// No node can be reached.
    Down(Arc<ConnectError>),
    /// The stream may be dead; see [`Doubt`].
    Doubted,
    /// It belongs to no node.
    Vacant,
    /// The client's tasks have ended.
    Closed,
}

impl Turned {
    /// How much it tells a caller whom nobody takes.
    pub(super) const fn tells(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Vacant | Self::Doubted => 1,
            Self::Down(_) => 2,
            Self::Full => 3,
        }
    }
}
