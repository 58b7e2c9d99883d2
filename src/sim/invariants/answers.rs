//! An answer belongs to its request: no grant is acknowledged for another key, and none twice.

use std::collections::BTreeSet;

use super::Invariant;
use crate::sim::judge::{Fact, GrantId};
use crate::sim::ledger::Ledger;

/// What was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Answers {
    seen: BTreeSet<GrantId>,
}

impl Invariant for Answers {
    fn name(&self) -> &'static str {
        "an answer belongs to its request"
    }

    fn see(&mut self, ledger: &Ledger, _: u64, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Acknowledged { grant, key } = fact else {
            return Ok(());
        };
        let Some(granted) = ledger.grants().get(*grant) else {
            return Err(format!("grant {grant} was never decided"));
        };
        if granted.key != *key {
            return Err(format!(
                "grant {grant} of key {} of slot {} was acknowledged as one of key {} of slot {}",
                granted.key.n, granted.key.slot, key.n, key.slot
            ));
        }
        if !self.seen.insert(*grant) {
            return Err(format!("grant {grant} was acknowledged twice"));
        }
        Ok(())
    }
}
