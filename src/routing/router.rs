//! The router: where a check of a slot goes, from one node's point of view.

use std::sync::Arc;

use super::slot_map::SlotMap;
use crate::types::{NodeId, Slot};

/// Where a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// This node owns the slot.
    Local,
    /// Another node does.
    Proxy(NodeId),
    /// No owner is known (yet).
    Unknown,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    map: Arc<SlotMap>,
}

impl Router {
    /// A router by this map.
    pub(crate) const fn new(map: Arc<SlotMap>) -> Self {
        Self { map }
    }

    /// Where a check of the slot goes. Takes no lock if the slot is the node's own.
    #[inline]
    pub(crate) fn route(&self, slot: Slot) -> Route {
        if self.map.is_mine(slot) {
            return Route::Local;
        }
        match self.map.owner(slot) {
            Some(node) => Route::Proxy(node),
            None => Route::Unknown,
        }
    }

    /// The map.
    pub(crate) const fn map(&self) -> &Arc<SlotMap> {
        &self.map
    }
}
