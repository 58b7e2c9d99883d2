//! I2, and no acknowledged grant forgotten: whoever begins to serve holds every grant that was
//! acknowledged and not refunded, unless a higher epoch has served already; and so does every
//! state of an owner or candidate at a position of the same epoch or a later one.
//!
//! I3: what is acknowledged while a higher epoch has served already is in the state with which that
//! one began.
//!
//! Only what the durability of the run does not keep, or what an operator vouched for, is excused.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Invariant;
use crate::sim::judge::Fact;
use crate::sim::judge::GrantId;
use crate::sim::ledger::Ledger;
use crate::sim::state::SlotState;
use crate::types::{Epoch, Slot};

/// With what each epoch has begun to serve each slot.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    served: BTreeMap<Slot, BTreeMap<Epoch, SlotState>>,
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
                let served = self.served.entry(*slot).or_default();
                let highest = served.last_key_value().is_none_or(|it| it.0 <= epoch);
                served.entry(*epoch).or_insert_with(|| (*state).clone());
                if !highest {
                    return Ok(());
                }
                ledger.missing(*slot, state, *epoch)
            }
            Fact::Acknowledged { grant, .. } => self.late(ledger, *grant),
            Fact::Held {
                slot,
                state,
                all: true,
            } => ledger.missing(*slot, state, state.at.epoch),
            _ => None,
        };
        missing.map_or(Ok(()), Err)
    }
}

impl Remembered {
    /// I3.
    fn late(&self, ledger: &Ledger, grant: GrantId) -> Option<String> {
        let granted = ledger.grants().get(grant)?;
        let served = self.served.get(&granted.key.slot)?;
        let above = (Bound::Excluded(granted.epoch), Bound::Unbounded);
        let mut later = served.range(above);
        later.find_map(|(_, state)| ledger.missing(granted.key.slot, state, granted.epoch))
    }
}
