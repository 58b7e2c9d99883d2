//! I4, first half: one configuration is chosen per version of a slot, and epochs rise with
//! versions.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::judge::Fact;
use crate::sim::ledger::Ledger;
use crate::types::{Configuration, Slot};

/// What was chosen, by version.
#[derive(Debug, Default)]
pub(super) struct OneChoice {
    chosen: BTreeMap<(Slot, u64), Configuration>,
}

impl Invariant for OneChoice {
    fn name(&self) -> &'static str {
        "I4: one configuration is chosen per version"
    }

    fn see(&mut self, _: &Ledger, _: u64, fact: &Fact<'_>) -> Result<(), String> {
        let (slot, chosen) = match fact {
            Fact::Chosen { slot, chosen } => (*slot, *chosen),
            Fact::Registered { slot, register, .. } => match &register.chosen {
                Some(chosen) => (*slot, chosen),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let known = self.chosen.entry((slot, chosen.version)).or_insert(*chosen);
        if known != chosen {
            return Err(format!(
                "slot {slot}: {} at epoch {} and {} at epoch {} are both chosen as version {}",
                known.owner, known.epoch, chosen.owner, chosen.epoch, chosen.version
            ));
        }
        let earlier = self.chosen.range((slot, 0)..(slot, chosen.version));
        let later = self
            .chosen
            .range((slot, chosen.version + 1)..=(slot, u64::MAX));
        let falls = earlier
            .rev()
            .take(1)
            .any(|(_, it)| it.epoch >= chosen.epoch)
            || later.take(1).any(|(_, it)| it.epoch <= chosen.epoch);
        if falls {
            return Err(format!(
                "slot {slot}: version {} is at epoch {}, out of order with its neighbours",
                chosen.version, chosen.epoch
            ));
        }
        Ok(())
    }
}
