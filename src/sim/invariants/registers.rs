//! I4, second half: what a node has durably promised, and the version that it knows to be chosen,
//! never fall.

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::judge::Fact;
use crate::sim::ledger::Ledger;
use crate::types::{Epoch, Slot};

/// The highest of each node and slot.
#[derive(Debug, Default)]
pub(super) struct RegistersRise {
    highest: BTreeMap<(usize, Slot), (Epoch, u64)>,
}

impl Invariant for RegistersRise {
    fn name(&self) -> &'static str {
        "I4: promises and chosen versions never fall on a node"
    }

    fn see(&mut self, _: &Ledger, _: u64, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Registered {
            node,
            slot,
            register,
        } = fact
        else {
            return Ok(());
        };
        let version = register.chosen.map_or(0, |chosen| chosen.version);
        let (promised, chosen) = self.highest.entry((*node, *slot)).or_default();
        if register.promised < *promised {
            let now = register.promised;
            return Err(format!(
                "node {node} had promised {promised} of slot {slot}, and now {now}"
            ));
        }
        if version < *chosen {
            return Err(format!(
                "node {node} knew version {chosen} of slot {slot}, and now {version}"
            ));
        }
        (*promised, *chosen) = (register.promised, version);
        Ok(())
    }
}
