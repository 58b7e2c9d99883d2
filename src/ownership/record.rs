//! The register of a slot, as each of its replicas keeps it.

use crate::types::{Configuration, Epoch};

/// What a node has promised and accepted about a slot, and what it knows to be chosen. Durable and
/// synced before anything that rests on it is said (R3, R4). It is never deleted: for a slot that
/// the node no longer holds it is the tombstone (R8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Register {
    /// No message of a lower epoch is taken any more.
    pub(crate) promised: Epoch,
    /// The newest configuration known to be chosen.
    pub(crate) chosen: Option<Configuration>,
    /// A configuration of the version behind `chosen` that this node has accepted, and under which
    /// ballot. Accepted is not chosen.
    pub(crate) accepted: Option<(Epoch, Configuration)>,
    /// Whether the state that goes with the register is all there (R5).
    pub(crate) complete: bool,
}
