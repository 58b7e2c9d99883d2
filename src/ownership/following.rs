//! R1: whose commits this node takes in, of each slot that it holds for another, and in which reign.
//!
//! A slot follows from the time when its state is whole until something higher is promised, something
//! newer is chosen, a commit was missed, or the connection to its owner is lost (R6). Nothing of it is
//! durable: after a start nothing follows.

use super::ledger::Ledger;
use crate::types::{Epoch, NodeId, SLOT_COUNT, Slot};

/// See the module.
#[derive(Debug)]
pub(super) struct Following {
    epochs: Vec<Option<Epoch>>,
}

impl Following {
    pub(super) fn new() -> Self {
        Self {
            epochs: vec![None; usize::from(SLOT_COUNT)],
        }
    }

    /// The reign whose commits are taken in.
    pub(super) fn epoch(&self, slot: Slot) -> Option<Epoch> {
        self.epochs.get(slot.index()).copied().flatten()
    }

    /// Whether the commits of the present owner are taken in.
    pub(super) fn is_current(&self, ledger: &Ledger, slot: Slot) -> bool {
        let epoch = self.epoch(slot);
        epoch.is_some() && epoch == ledger.chosen(slot).map(|it| it.epoch)
    }

    /// Whole at `epoch`, and from now on taking in its commits.
    pub(super) fn follow(&mut self, ledger: &mut Ledger, slot: Slot, epoch: Epoch) {
        if let Some(followed) = self.epochs.get_mut(slot.index()) {
            *followed = Some(epoch);
            ledger.out.follow(slot, epoch);
        }
    }

    pub(super) fn clear(&mut self, slot: Slot) {
        if let Some(followed) = self.epochs.get_mut(slot.index()) {
            *followed = None;
        }
    }

    /// A register has changed: what is below its promise or older than what is chosen is over.
    pub(super) fn obey(&mut self, ledger: &Ledger, slot: Slot) {
        let register = ledger.register(slot);
        let chosen = register.chosen.map_or(Epoch::ZERO, |it| it.epoch);
        let newest = register.promised.max(chosen);
        if self.epoch(slot).is_some_and(|it| it < newest) {
            self.clear(slot);
        }
    }

    /// R6: the connection to `owner` is lost.
    pub(super) fn lose(&mut self, owner: NodeId) {
        for followed in &mut self.epochs {
            if followed.is_some_and(|it| it.node == owner) {
                *followed = None;
            }
        }
    }
}
