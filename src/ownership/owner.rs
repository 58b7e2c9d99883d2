//! What this node serves in this life of the process, and when it takes back what it owns but does
//! not serve (O1, O4, O5, liveness).
//!
//! Nothing of it is durable: after a start nothing is served before the procedure has run (O5).

use std::time::Duration;

use super::ledger::Ledger;
use crate::types::{Epoch, MonoTime, SLOT_COUNT, Slot};

/// What a slot waits for.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    /// When the owner that does not serve runs the procedure.
    due: Option<MonoTime>,
    /// How often trying has failed in a row.
    failures: u8,
    /// No attempt before this time.
    not_before: MonoTime,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Owner {
    serving: Vec<Option<Epoch>>,
    waits: Vec<Wait>,
    /// The earliest of all that are due.
    next_due: Option<MonoTime>,
}

impl Owner {
    pub(super) fn new() -> Self {
        Self {
            serving: vec![None; usize::from(SLOT_COUNT)],
            waits: vec![Wait::default(); usize::from(SLOT_COUNT)],
            next_due: None,
        }
    }

    /// The epoch at which a slot is served.
    pub(super) fn serving(&self, slot: Slot) -> Option<Epoch> {
        self.serving.get(slot.index()).copied().flatten()
    }

    fn wait(&mut self, slot: Slot) -> Option<&mut Wait> {
        self.waits.get_mut(slot.index())
    }

    /// T8.
    pub(super) fn serve(&mut self, slot: Slot, epoch: Epoch) {
        if let Some(serving) = self.serving.get_mut(slot.index()) {
            *serving = Some(epoch);
        }
        self.calm(slot);
    }

    /// O4: stops granting where a higher epoch was promised, or another configuration was chosen.
    /// Returns whether it did.
    pub(super) fn obey(&mut self, ledger: &Ledger, slot: Slot) -> bool {
        let Some(epoch) = self.serving(slot) else {
            return false;
        };
        let register = ledger.register(slot);
        let chosen = register.chosen.map(|it| it.epoch);
        let superseded = register.promised > epoch || chosen != Some(epoch);
        if superseded && let Some(serving) = self.serving.get_mut(slot.index()) {
            *serving = None;
        }
        superseded
    }

    /// Forgets failures and what was due.
    pub(super) fn calm(&mut self, slot: Slot) {
        if let Some(wait) = self.wait(slot) {
            *wait = Wait::default();
        }
    }

    /// An attempt on the slot has failed: the next comes later, `stretch` longer.
    pub(super) fn failed(&mut self, ledger: &Ledger, slot: Slot, stretch: Duration) {
        if let Some(wait) = self.wait(slot) {
            wait.failures = wait.failures.saturating_add(1);
            let after = ledger.settings.retry_after(wait.failures);
            wait.not_before = ledger.now.plus(after.saturating_add(stretch));
        }
    }

    /// Whether an attempt on the slot may begin.
    pub(super) fn may_try(&self, now: MonoTime, slot: Slot) -> bool {
        let wait = self.waits.get(slot.index());
        wait.is_none_or(|it| it.not_before <= now)
    }

    /// Whether taking it back is on the agenda.
    pub(super) fn is_due_some_time(&self, slot: Slot) -> bool {
        self.waits
            .get(slot.index())
            .is_some_and(|it| it.due.is_some())
    }

    /// Puts taking a slot back on the agenda, unless it is; returns when.
    pub(super) fn take_back_at(&mut self, slot: Slot, at: MonoTime) -> Option<MonoTime> {
        let wait = self.waits.get_mut(slot.index())?;
        if wait.due.is_some() {
            return None;
        }
        let at = at.max(wait.not_before);
        wait.due = Some(at);
        self.next_due = Some(self.next_due.map_or(at, |earlier| earlier.min(at)));
        Some(at)
    }

    /// The slots that are due and for which `may_begin`; they leave the agenda. The others stay
    /// due, and are looked at again `later`.
    pub(super) fn take_due(
        &mut self,
        now: MonoTime,
        later: MonoTime,
        may_begin: impl Fn(Slot) -> bool,
    ) -> Vec<Slot> {
        if self.next_due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        self.next_due = None;
        for (slot, wait) in Slot::all().zip(&mut self.waits) {
            let Some(due) = wait.due else {
                continue;
            };
            if due <= now && may_begin(slot) {
                wait.due = None;
                taken.push(slot);
                continue;
            }
            let next = if due <= now { later } else { due };
            wait.due = Some(next);
            self.next_due = Some(self.next_due.map_or(next, |earlier| earlier.min(next)));
        }
        taken
    }
}
