//! Which slots this node serves: all, unless it is one of several; then those that the slot map says
//! are its own.

use super::engine::Engine;
use super::policies::ActivePolicy;
use crate::limiter::table::Asked;
use crate::protocol::error::WireError;
use crate::routing::router::Route;
use crate::server::Answer;
use crate::types::Slot;

impl Engine {
    /// Whether the slot is served here.
    pub(super) fn serves(&self, slot: Slot) -> bool {
        let router = self.router.get();
        router.is_none_or(|router| router.route(slot) == Route::Local)
    }

    /// The places of the checks whose slots are not served here.
    pub(super) fn not_served(
        &self,
        found: &[Result<(Asked<'_>, &ActivePolicy), WireError>],
    ) -> Vec<usize> {
        if self.router.get().is_none() {
            return Vec::new();
        }
        let each = found.iter().enumerate();
        each.filter(|(_, found)| match found {
            Ok((asked, _)) => !self.serves(asked.id.slot()),
            Err(_) => false,
        })
        .map(|(n, _)| n)
        .collect()
    }
}

/// Stands where a check is decided elsewhere.
pub(super) const fn not_here() -> Answer {
    Answer {
        decision: Err(WireError::Unavailable),
        wait: None,
    }
}
