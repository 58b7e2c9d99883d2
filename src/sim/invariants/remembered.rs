//! I2, and no acknowledged grant forgotten: whoever begins to serve holds every grant that was
//! acknowledged and not refunded, unless a higher epoch has served already; and so does every
//! state at a position of the same epoch or a later one, whether committed or found after a start.
//! Only what the durability of the run does not keep, or what an operator vouched for, is excused.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::judge::Fact;
use crate::sim::ledger::Ledger;
use crate::types::{Epoch, Slot};

/// The highest epoch that has served each slot.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    served: BTreeMap<Slot, Epoch>,
}

impl Invariant for Remembered {
    fn name(&self) -> &'static str {
        "I2: no acknowledged grant is forgotten"
    }

    fn see(&mut self, ledger: &Ledger, _: u64, fact: &Fact<'_>) -> Result<(), String> {
        let missing = match fact {
            Fact::Served {
                slot, epoch, state, ..
            } => {
                let highest = self.served.entry(*slot).or_default();
                if *epoch < *highest {
                    return Ok(());
                }
                *highest = *epoch;
                ledger.missing(*slot, state, *epoch)
            }
            Fact::Held { slot, state } => ledger.missing(*slot, state, state.at.epoch),
            _ => None,
        };
        missing.map_or(Ok(()), Err)
    }
}
