//! Which slots this node should move to itself: those that the targets give to it and another
//! reachable node owns. Gossip proposes, records decide: this only starts attempts.

use std::collections::{BTreeMap, BTreeSet};

use super::candidate::Candidate;
use super::ledger::Ledger;
use super::owner::Owner;
use crate::types::{MonoTime, NodeId, Replicas, Slot, SlotSet};

/// The targets, as last told.
#[derive(Debug, Default)]
pub(super) struct Rebalance {
    targets: Vec<Replicas>,
    /// The slots that this node should own.
    mine: Vec<Slot>,
    reachable: BTreeSet<NodeId>,
    /// No move before the targets have settled.
    settled_at: MonoTime,
}

/// Slots to move from one owner, each with who shall hold it then.
pub(super) type Batch = Vec<(Slot, Replicas)>;

impl Rebalance {
    /// Takes new targets; returns when they count.
    pub(super) fn retarget(
        &mut self,
        ledger: &Ledger,
        targets: Vec<Replicas>,
        reachable: Vec<NodeId>,
    ) -> MonoTime {
        let is_mine = |it: &(Slot, &Replicas)| it.1.as_slice().first() == Some(&ledger.me);
        let mine = Slot::all().zip(&targets).filter(is_mine);
        self.mine = mine.map(|it| it.0).collect();
        // The same ones again need not settle again.
        if targets != self.targets {
            self.settled_at = ledger.now.plus(ledger.settings.settle);
        }
        self.targets = targets;
        self.reachable = reachable.into_iter().collect();
        self.settled_at
    }

    /// Who should own a slot.
    pub(super) fn target(&self, slot: Slot) -> Option<NodeId> {
        let replicas = self.targets.get(slot.index())?;
        replicas.as_slice().first().copied()
    }

    /// From whom this node should move a slot to itself, and who shall hold it then.
    pub(super) fn move_of(&self, ledger: &Ledger, slot: Slot) -> Option<(NodeId, Replicas)> {
        if self.target(slot) != Some(ledger.me) || ledger.is_owner(slot) {
            return None;
        }
        let wanted = *self.targets.get(slot.index())?;
        let base = ledger.chosen(slot)?;
        let reached = self.reachable.contains(&base.owner) && ledger.peers.contains(&base.owner);
        let possible = Candidate::one_install_is_enough(base, &wanted, ledger.me);
        (reached && possible).then_some((base.owner, wanted))
    }

    /// The next batches: one from each owner that none is `moving` from, at most `batches`.
    pub(super) fn plan(
        &self,
        ledger: &Ledger,
        owner: &Owner,
        busy: &SlotSet,
        moving: &[NodeId],
    ) -> Vec<(NodeId, Batch)> {
        let batches = ledger.settings.batches_max.saturating_sub(moving.len());
        if ledger.now < self.settled_at || batches == 0 {
            return Vec::new();
        }
        let mut planned: BTreeMap<NodeId, Batch> = BTreeMap::new();
        for &slot in &self.mine {
            let Some((from, wanted)) = self.move_of(ledger, slot) else {
                continue;
            };
            if busy.contains(slot) || moving.contains(&from) || !owner.may_try(ledger.now, slot) {
                continue;
            }
            let batch = planned.entry(from).or_default();
            if batch.len() < ledger.settings.batch_slots_max {
                batch.push((slot, wanted));
            }
        }
        planned.into_iter().take(batches).collect()
    }
}
