//! I5: what a position (epoch, n) of a slot contains is unique and never changes.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::judge::Fact;
use crate::sim::ledger::Ledger;
use crate::sim::state::Digest;
use crate::types::{Position, Slot};

/// What each position contains.
#[derive(Debug, Default)]
pub(super) struct OneContent {
    known: BTreeMap<(Slot, Position), Digest>,
}

impl Invariant for OneContent {
    fn name(&self) -> &'static str {
        "I5: the contents of a position are unique"
    }

    fn see(&mut self, _: &Ledger, _: u64, fact: &Fact<'_>) -> Result<(), String> {
        let (Fact::Held { slot, state, .. } | Fact::Served { slot, state, .. }) = fact else {
            return Ok(());
        };
        // a copy is newer than its position until it has caught up with itself
        if state.fuzzy_below.is_some() {
            return Ok(());
        }
        let digest = state.digest();
        let known = self.known.entry((*slot, state.at)).or_insert(digest);
        if *known != digest {
            let at = state.at;
            return Err(format!(
                "slot {slot} at {}/{} is {digest:?} and was {known:?}",
                at.epoch, at.n
            ));
        }
        Ok(())
    }
}
