//! I6: between two acknowledged grants of a slot its clock advances by at most the real time, and
//! does not run backwards.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::judge::{Fact, GrantId};
use crate::sim::ledger::Ledger;
use crate::types::{Slot, SlotTime};

/// True time and slot time of every acknowledged grant, by slot.
#[derive(Debug, Default)]
pub(super) struct SlotClocks {
    seen: BTreeMap<Slot, BTreeMap<u64, SlotTime>>,
}

impl Invariant for SlotClocks {
    fn name(&self) -> &'static str {
        "I6: the slot clock never outruns real time"
    }

    fn see(&mut self, ledger: &Ledger, _: u64, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Vouched { slot } => {
                self.seen.remove(slot);
            }
            Fact::LostWithPower { grant, .. } => self.forget(ledger, *grant),
            _ => {}
        }
        let Fact::Acknowledged { grant, .. } = fact else {
            return Ok(());
        };
        let Some(granted) = ledger.grants().get(*grant).filter(|it| !it.lost) else {
            return Ok(());
        };
        let of_slot = self.seen.entry(granted.key.slot).or_default();
        let new = (granted.at_ns, granted.at_slot);
        let (earlier, later) = (of_slot.range(..new.0), of_slot.range(new.0 + 1..));
        let earlier = earlier.last().map(|(&at, &slot)| (at, slot));
        let later = later.take(1).next().map(|(&at, &slot)| (at, slot));
        of_slot.insert(new.0, new.1);
        let pairs = [(earlier, Some(new)), (Some(new), later)];
        for pair in pairs {
            let (Some(earlier), Some(later)) = pair else {
                continue;
            };
            judge(granted.key.slot, earlier, later)?;
        }
        Ok(())
    }
}

impl SlotClocks {
    /// The reading of a lost grant is lost with it.
    fn forget(&mut self, ledger: &Ledger, grant: GrantId) {
        if let Some(lost) = ledger.grants().get(grant)
            && let Some(of_slot) = self.seen.get_mut(&lost.key.slot)
        {
            of_slot.remove(&lost.at_ns);
        }
    }
}

fn judge(slot: Slot, earlier: (u64, SlotTime), later: (u64, SlotTime)) -> Result<(), String> {
    // both readings are cut to whole milliseconds
    let real_ms = (later.0 - earlier.0).div_ceil(1_000_000) + 1;
    let advanced = later.1.ms_since(earlier.1);
    if later.1 < earlier.1 {
        let (from, to) = (earlier.1, later.1);
        return Err(format!("the clock of slot {slot} fell from {from} to {to}"));
    }
    if advanced > real_ms {
        return Err(format!(
            "the clock of slot {slot} advanced by {advanced} ms within {real_ms} ms, to {}",
            later.1
        ));
    }
    Ok(())
}
