//! Which slots this node should move to itself: those that the targets give to it and another
//! reachable node owns. Gossip proposes, records decide: this only starts attempts.

use std::collections::{BTreeMap, BTreeSet};

use super::candidate::Wanted;
use super::following::Following;
use super::ledger::Ledger;
use super::owner::Owner;
use crate::types::{MonoTime, NodeId, Replicas, Slot, SlotSet};

/// The targets of this node, as last told.
#[derive(Debug, Default)]
pub(super) struct Rebalance {
    /// The slots that this node should own.
    mine: Vec<Slot>,
    reachable: BTreeSet<NodeId>,
    /// No move before the targets have settled.
    settled_at: MonoTime,
}

/// How a slot comes to this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Move {
    /// From this owner.
    pub(super) from: NodeId,
    /// Whether its state is here already, as that of a replica.
    pub(super) held: bool,
    wanted: Wanted,
}

/// Slots to move from one owner, each with who shall hold it then.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) from: NodeId,
    pub(super) held: bool,
    pub(super) slots: Vec<(Slot, Wanted)>,
}

impl Rebalance {
    /// Takes new targets; returns when they count.
    pub(super) fn retarget(
        &mut self,
        ledger: &mut Ledger,
        targets: Vec<Replicas>,
        reachable: Vec<NodeId>,
    ) -> MonoTime {
        let is_mine = |it: &(Slot, &Replicas)| it.1.as_slice().first() == Some(&ledger.me);
        let mine = Slot::all().zip(&targets).filter(is_mine);
        self.mine = mine.map(|it| it.0).collect();
        // The same ones again need not settle again.
        if targets != ledger.targets {
            self.settled_at = ledger.now.plus(ledger.settings.settle);
        }
        ledger.targets = targets;
        ledger.note_targets();
        self.reachable = reachable.into_iter().collect();
        self.settled_at
    }

    /// Whether the targets are as they were for a while.
    pub(super) fn is_settled(&self, now: MonoTime) -> bool {
        now >= self.settled_at
    }

    /// How this node should move a slot to itself, if it should: one of a single replica whole, and
    /// one of several once it is one of them itself and has all that the owner has. (Before, it
    /// learns, until the owner makes it a replica.)
    pub(super) fn move_of(
        &self,
        ledger: &Ledger,
        following: &Following,
        slot: Slot,
    ) -> Option<Move> {
        let targets = *ledger.targets.get(slot.index())?;
        let first = targets.as_slice().first().copied();
        if first != Some(ledger.me) || ledger.is_owner(slot) {
            return None;
        }
        let base = ledger.chosen(slot)?;
        let from = base.owner;
        let reached = self.reachable.contains(&from) && ledger.peers.contains(&from);
        let held = base.replicas.contains(ledger.me) && following.is_current(ledger, slot);
        let alone = targets.as_slice().len() == 1;
        let wanted = if alone {
            Wanted::These(targets)
        } else {
            Wanted::Same
        };
        (reached && (held || alone)).then_some(Move { from, held, wanted })
    }

    /// The next batches: one from each owner that none is `moving` from, at most `batches`.
    pub(super) fn plan(
        &self,
        ledger: &Ledger,
        (owner, following): (&Owner, &Following),
        busy: &SlotSet,
        moving: &[NodeId],
    ) -> Vec<Batch> {
        let batches = ledger.settings.batches_max.saturating_sub(moving.len());
        if !self.is_settled(ledger.now) || batches == 0 {
            return Vec::new();
        }
        let mut planned: BTreeMap<NodeId, Batch> = BTreeMap::new();
        for &slot in &self.mine {
            let Some(Move { from, held, wanted }) = self.move_of(ledger, following, slot) else {
                continue;
            };
            if busy.contains(slot) || moving.contains(&from) || !owner.may_try(ledger.now, slot) {
                continue;
            }
            let batch = planned.entry(from).or_insert_with(|| Batch {
                from,
                held,
                slots: Vec::new(),
            });
            let room = batch.slots.len() < ledger.settings.batch_slots_max;
            if room && batch.held == held {
                batch.slots.push((slot, wanted));
            }
        }
        planned.into_values().take(batches).collect()
    }
}
