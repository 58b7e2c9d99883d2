//! At most one owner serves a slot: one life of one node for each epoch, for ever; and, with one
//! replica, one at any moment at all. (With several, one that has not heard of another's reign may
//! serve on; nothing that it grants can be complete.)

use std::collections::BTreeMap;

use super::Invariant;
use crate::sim::judge::Fact;
use crate::sim::ledger::Ledger;
use crate::types::{Epoch, Slot};

/// Who has served, and who serves.
#[derive(Debug, Default)]
pub(super) struct OneOwner {
    reigns: BTreeMap<(Slot, Epoch), (usize, u64)>,
    /// By the only replica.
    serving: BTreeMap<Slot, (usize, Epoch)>,
}

impl Invariant for OneOwner {
    fn name(&self) -> &'static str {
        "one owner serves a slot"
    }

    fn see(&mut self, _: &Ledger, _: u64, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Served {
                node,
                life,
                slot,
                epoch,
                alone,
                state,
            } => {
                let reign = *self.reigns.entry((*slot, *epoch)).or_insert((*node, *life));
                if reign != (*node, *life) {
                    return Err(format!(
                        "slot {slot}: epoch {epoch} of life {} of node {} is served by life \
                         {life} of node {node}",
                        reign.1, reign.0
                    ));
                }
                let before = if *alone {
                    self.serving.insert(*slot, (*node, *epoch))
                } else {
                    self.serving.remove(slot)
                };
                if let Some((other, at)) = before.filter(|it| it.0 != *node) {
                    return Err(format!(
                        "slot {slot}: node {node} serves epoch {epoch} while node {other} \
                         serves {at}"
                    ));
                }
                if state.at.epoch != *epoch {
                    return Err(format!(
                        "slot {slot}: node {node} serves epoch {epoch} on a state of {}",
                        state.at.epoch
                    ));
                }
            }
            Fact::Stopped { node, slot }
                if self.serving.get(slot).is_some_and(|(it, _)| it == node) =>
            {
                self.serving.remove(slot);
            }
            _ => {}
        }
        Ok(())
    }
}
