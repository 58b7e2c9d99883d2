//! R2, how a replica or learner that lacks what the owner has comes to have it: a copy from the owner,
//! which goes on serving, and from there on its commits (R1).
//!
//! It leaves out the copy itself. Invariant: a copy is installed only if nothing above its reign was
//! promised or chosen since, and only the one that was asked for in this life (R5) and on this
//! connection (R6); what was missed in between makes it start anew.

use std::collections::{BTreeMap, BTreeSet};

use super::coordinator::{Progress, Stage};
use super::event::{Copied, TaskId};
use super::ledger::Ledger;
use super::message::{Message, Refused};
use super::outbox::ToInstall;
use super::ownership::Ownership;
use super::settings::MESSAGE_SLOTS_MAX;
use crate::types::{Epoch, MonoTime, NodeId, SLOT_COUNT, Slot, SlotSet};

/// A copy under way.
#[derive(Debug)]
struct Copying {
    from: NodeId,
    /// Each slot and the reign whose state is copied.
    slots: BTreeMap<Slot, Epoch>,
    /// Those of which a commit was missed meanwhile.
    spoiled: SlotSet,
}

/// Since when a slot waits, and for what.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    failures: u8,
    /// No copy before this time.
    not_before: MonoTime,
    /// When its owner is told that this node has promised more than its reign.
    deaf_at: Option<MonoTime>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct CatchUps {
    copying: BTreeMap<TaskId, Copying>,
    installing: BTreeMap<TaskId, Vec<(Slot, Epoch)>>,
    /// The slots of both.
    busy: SlotSet,
    waits: Vec<Wait>,
}

impl CatchUps {
    pub(super) fn new() -> Self {
        Self {
            copying: BTreeMap::new(),
            installing: BTreeMap::new(),
            busy: SlotSet::EMPTY,
            waits: vec![Wait::default(); usize::from(SLOT_COUNT)],
        }
    }

    /// Whether a state is being installed.
    pub(super) fn is_installing(&self, slot: Slot) -> bool {
        let installing = self.installing.values().flatten();
        self.busy.contains(slot) && installing.map(|it| it.0).any(|it| it == slot)
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.copying.is_empty() && self.installing.is_empty()
    }

    pub(super) fn progress(&self, me: NodeId) -> impl Iterator<Item = Progress> {
        self.copying.values().map(move |it| Progress {
            from: it.from,
            to: me,
            slots: it.slots.len(),
            step: Stage::CatchUp,
        })
    }

    /// R6: what was asked of `peer` does not come any more.
    pub(super) fn lose(&mut self, peer: NodeId) {
        let lost: Vec<Copying> = self
            .copying
            .extract_if(.., |_, it| it.from == peer)
            .map(|it| it.1)
            .collect();
        for slot in lost.iter().flat_map(|it| it.slots.keys()) {
            self.busy.remove(*slot);
        }
    }

    /// A register has changed: a copy of an older reign is of no use.
    pub(super) fn obey(&mut self, ledger: &Ledger, slot: Slot) {
        if !self.busy.contains(slot) {
            return;
        }
        let chosen = ledger.chosen(slot).map(|it| it.epoch);
        for copying in self.copying.values_mut() {
            if copying
                .slots
                .get(&slot)
                .is_some_and(|it| Some(*it) != chosen)
            {
                copying.slots.remove(&slot);
                self.busy.remove(slot);
            }
        }
    }

    /// A commit was missed.
    fn spoil(&mut self, slot: Slot) {
        for copying in self.copying.values_mut() {
            if copying.slots.contains_key(&slot) {
                copying.spoiled.insert(slot);
            }
        }
    }

    fn failed(&mut self, ledger: &mut Ledger, slot: Slot) {
        let Some(wait) = self.waits.get_mut(slot.index()) else {
            return;
        };
        wait.failures = wait.failures.saturating_add(1);
        let after = ledger.settings.retry_after(wait.failures);
        let after = ledger.jitter.stretch(after);
        wait.not_before = ledger.now.plus(after);
        ledger.out.wake(wait.not_before);
    }

    fn calm(&mut self, slot: Slot) {
        if let Some(wait) = self.waits.get_mut(slot.index()) {
            *wait = Wait::default();
        }
    }

    fn may_begin(&self, now: MonoTime, slot: Slot) -> bool {
        let wait = self.waits.get(slot.index());
        !self.busy.contains(slot) && wait.is_none_or(|it| it.not_before <= now)
    }

    /// Whether the owner of a slot is to be told that this node is deaf to it, and now.
    fn is_deaf_for_long(&mut self, ledger: &Ledger, slot: Slot) -> bool {
        let Some(wait) = self.waits.get_mut(slot.index()) else {
            return false;
        };
        let next = ledger.now.plus(ledger.settings.deaf);
        let due = *wait.deaf_at.get_or_insert(next) <= ledger.now;
        if due {
            wait.deaf_at = Some(next);
        }
        due
    }
}

impl Ownership {
    /// Slots that do not follow their owners any more.
    pub(super) fn on_behind(&mut self, slots: &SlotSet) {
        for slot in slots.iter() {
            self.following.clear(slot);
            self.catch_ups.spoil(slot);
        }
        self.recheck = true;
    }

    /// Copies have come: those that still count are installed.
    pub(super) fn on_caught_up(&mut self, task: TaskId, slots: &[Copied]) {
        let Some(copying) = self.catch_ups.copying.remove(&task) else {
            return;
        };
        for (slot, epoch) in copying.slots {
            self.catch_ups.busy.remove(slot);
            let copied = slots.iter().find(|it| it.slot == slot);
            let copied = copied.filter(|it| it.at.epoch == epoch);
            let Some(copied) = copied.filter(|_| !copying.spoiled.contains(slot)) else {
                self.catch_ups.failed(&mut self.ledger, slot);
                continue;
            };
            if !self.may_install(slot, epoch) {
                continue;
            }
            let ledger = &mut self.ledger;
            ledger.take_in(slot, epoch);
            let task = ledger.out.install(
                epoch,
                ToInstall {
                    slot,
                    origin: copied.origin,
                    n: copied.at.n,
                    clock: copied.clock,
                    vouched: None,
                },
            );
            self.catch_ups.busy.insert(slot);
            // Those of several reigns are several effects.
            let installing = self.catch_ups.installing.entry(task).or_default();
            installing.push((slot, epoch));
        }
        self.recheck = true;
    }

    /// R2: nothing higher is promised, and this is still the owner's reign.
    fn may_install(&self, slot: Slot, epoch: Epoch) -> bool {
        let register = self.ledger.register(slot);
        register.promised <= epoch
            && register.chosen.is_some_and(|it| it.epoch == epoch)
            && self.ledger.should_hold(slot)
            && !self.is_busy(slot)
    }

    /// The states are whole: their slots follow.
    pub(super) fn on_caught_up_installed(&mut self, task: TaskId) {
        let Some(installed) = self.catch_ups.installing.remove(&task) else {
            return;
        };
        for (slot, epoch) in installed {
            self.catch_ups.busy.remove(slot);
            let ledger = &mut self.ledger;
            // What does not hold any more is drawn from the register anew.
            ledger.changed.insert(slot);
            let register = ledger.register(slot);
            let current = register.promised <= epoch
                && register.complete
                && register.chosen.is_some_and(|it| it.epoch == epoch)
                && ledger.peers.contains(&epoch.node);
            if current {
                self.catch_ups.calm(slot);
                self.following.follow(ledger, slot, epoch);
            }
            if !ledger.should_hold(slot) {
                ledger.leaving.insert(slot);
            }
        }
        self.recheck = true;
    }

    /// Begins the copies that are due: of the replicas before the learners, one from an owner at a
    /// time.
    pub(super) fn begin_catch_ups(&mut self) {
        let mut due: BTreeMap<NodeId, [Vec<(Slot, Epoch)>; 2]> = BTreeMap::new();
        let mut deaf: BTreeMap<(NodeId, Epoch), Vec<Refused>> = BTreeMap::new();
        for slot in self.ledger.replicated.clone().iter() {
            let Some((owner, epoch)) = self.lacks(slot) else {
                continue;
            };
            let register = self.ledger.register(slot);
            if register.promised > epoch {
                let refused = Refused {
                    slot,
                    promised: register.promised,
                    chosen: register.chosen,
                };
                if self.catch_ups.is_deaf_for_long(&self.ledger, slot) {
                    deaf.entry((owner, epoch)).or_default().push(refused);
                }
            } else if self.catch_ups.may_begin(self.ledger.now, slot) {
                let member = register
                    .chosen
                    .is_some_and(|it| it.replicas.contains(self.ledger.me));
                let [members, learners] = due.entry(owner).or_default();
                if member { members } else { learners }.push((slot, epoch));
            }
        }
        self.tell_deaf(deaf);
        for (owner, [members, learners]) in due {
            self.copy_from(owner, members.into_iter().chain(learners));
        }
    }

    /// From whom this node lacks what it should hold, and of which reign.
    fn lacks(&self, slot: Slot) -> Option<(NodeId, Epoch)> {
        let ledger = &self.ledger;
        let chosen = ledger.chosen(slot)?;
        let lacks = chosen.owner != ledger.me
            && ledger.should_hold(slot)
            && self.following.epoch(slot) != Some(chosen.epoch)
            && ledger.peers.contains(&chosen.owner)
            && !self.is_busy(slot)
            && !self.becoming.iter().any(|it| it.has(slot));
        lacks.then_some((chosen.owner, chosen.epoch))
    }

    fn copy_from(&mut self, owner: NodeId, slots: impl Iterator<Item = (Slot, Epoch)>) {
        let catch_ups = &mut self.catch_ups;
        let running: BTreeSet<NodeId> = catch_ups.copying.values().map(|it| it.from).collect();
        let settings = &self.ledger.settings;
        if running.contains(&owner) || running.len() >= settings.catch_ups_max {
            return;
        }
        let slots: Vec<(Slot, Epoch)> = slots.take(settings.catch_up_slots_max).collect();
        if slots.is_empty() {
            return;
        }
        slots.iter().for_each(|it| catch_ups.busy.insert(it.0));
        let task = self.ledger.out.catch_up(owner, slots.clone());
        let copying = Copying {
            from: owner,
            slots: slots.into_iter().collect(),
            spoiled: SlotSet::EMPTY,
        };
        catch_ups.copying.insert(task, copying);
    }

    /// Tells owners that this node has promised more than their reigns, as a refused seal would: only
    /// a new reign of theirs will be heard here (liveness).
    fn tell_deaf(&mut self, deaf: BTreeMap<(NodeId, Epoch), Vec<Refused>>) {
        for ((owner, ballot), refused) in deaf {
            for refused in refused.chunks(MESSAGE_SLOTS_MAX) {
                let message = Message::Sealed {
                    ballot,
                    slots: Vec::new(),
                    refused: refused.to_vec(),
                };
                self.ledger.out.answer(owner, message);
            }
        }
    }
}
