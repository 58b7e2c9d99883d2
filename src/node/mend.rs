//! What recovery cannot vouch for: it is put in quarantine as narrowly as it can be named, durably,
//! and then the damage is mended, so that the next start finds a whole directory.
//!
//! - A row that cannot be used: its key. The row that says so takes its place.
//! - Rows that cannot be read at all: the slots that they may have been in, which are those between
//!   the rows before and behind them. The files are written anew, with a row that says so for each
//!   slot.
//! - Commits that are lost may have been of any key: all keys of the node. What is there is then
//!   written as rows, and the journal begins anew.

use super::error::StartError;
use super::incomplete::Held;
use super::journal::Journal;
use super::quarantine::Quarantine;
use crate::config::AfterPowerLoss;
use crate::limiter::codec::quarantine_row;
use crate::limiter::table::Table;
use crate::storage::checkpoint::checkpoint;
use crate::storage::fence::Fence;
use crate::storage::recovery::Recovery;
use crate::storage::replace::RowTurn;
use crate::storage::store::{StateRow, Store};
use crate::types::{Slot, SlotTime, StateId};

/// What is mended, before anything else uses it.
pub(super) struct Mending<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) journal: &'a Journal,
    pub(super) fence: &'a Fence,
    /// Which slots the node holds alone, and which with others.
    pub(super) held: &'a Held,
    pub(super) now: SlotTime,
}

impl Mending<'_> {
    /// Puts in quarantine what `recovery` could not vouch for, and mends what is damaged. Returns the
    /// quarantine of the whole node.
    ///
    /// # Errors
    /// [`StartError`]: the store could not be written. Nothing was granted meanwhile, and the next
    /// start does it again.
    pub(super) fn judge(
        &self,
        recovery: &Recovery,
        after_power_loss: AfterPowerLoss,
    ) -> Result<Quarantine, StartError> {
        let quarantine = Quarantine::read(self.store)?;
        self.held
            .resume_quarantine(self.store, self.table(), self.now)?;
        if let Some(why) = why_all(recovery, after_power_loss) {
            self.deny_all(&quarantine, &why)?;
        }
        self.mend_states(recovery)?;
        if recovery.lost_commits.is_some() {
            self.mend_journal(recovery)?;
        }
        Ok(quarantine)
    }

    /// Denies all keys whose counts nobody else has: those of the whole node, unless other nodes hold
    /// some of its slots too, which are copied anew from there (R5).
    fn deny_all(&self, quarantine: &Quarantine, why: &str) -> Result<(), StartError> {
        let (store, table, now) = (self.store, self.table(), self.now);
        if self.held.quarantine_alone(store, table, now)? {
            tracing::error!(
                why,
                "counts may be missing; every key of a slot that no other node holds is denied until \
                 its window has passed"
            );
            return Ok(());
        }
        tracing::error!(
            why,
            "counts may be missing; every key is denied until its window has passed"
        );
        quarantine.begin(store, now)?;
        Ok(())
    }

    fn mend_states(&self, recovery: &Recovery) -> Result<(), StartError> {
        let mut rows: Vec<StateRow> = Vec::new();
        for &id in &recovery.bad_rows {
            tracing::error!(state = %id, "the stored state is damaged; its key is denied for one window");
            self.table().quarantine(id, self.now);
            rows.push(self.row(id));
        }
        if let Some((after, before)) = recovery.unreadable {
            let slots = slots_between(after, before).filter(|slot| self.table().holds(*slot));
            let slots: Vec<Slot> = slots.collect();
            tracing::error!(
                first = slots.first().map(ToString::to_string),
                last = slots.last().map(ToString::to_string),
                slots = slots.len(),
                "part of the stored states cannot be read; all keys of these slots are denied until \
                 their window has passed"
            );
            for slot in slots {
                let since = self.table().slot_now(slot, self.now);
                self.table().quarantine_slot(slot, since);
                rows.push(self.row(StateId::first_of(slot)));
            }
            self.store.mend_states(&rows)?;
            tracing::warn!("the stored states were written anew; the damage is mended");
        } else if !rows.is_empty() {
            self.store.put_states(&rows)?;
            self.store.sync()?;
        }
        Ok(())
    }

    /// Writes all that was recovered as rows, so that no commit record is needed any more.
    fn mend_journal(&self, recovery: &Recovery) -> Result<(), StartError> {
        let through = recovery.next_commit.saturating_sub(1);
        let turn = RowTurn::default();
        checkpoint(self.store, self.journal, &turn, self.fence, through)?;
        if recovery.journal_is_broken {
            self.store.mend_journal()?;
            tracing::warn!("the journal begins anew; the damage is mended");
        }
        Ok(())
    }

    /// The row that says that the counts of `id` are lost.
    fn row(&self, id: StateId) -> StateRow {
        let since = self.table().slot_now(id.slot(), self.now);
        (id, quarantine_row(id, since))
    }

    fn table(&self) -> &Table {
        &self.journal.table
    }
}

/// The slots of the ids strictly between these two; `None` is either end.
fn slots_between(after: Option<StateId>, before: Option<StateId>) -> impl Iterator<Item = Slot> {
    Slot::all().filter(move |slot| {
        after.is_none_or(|after| after.slot() <= *slot)
            && before.is_none_or(|before| *slot <= before.slot())
    })
}

/// Why all keys are to be denied, if they are.
fn why_all(recovery: &Recovery, after_power_loss: AfterPowerLoss) -> Option<String> {
    if let Some(lost) = &recovery.lost_commits {
        return Some(lost.to_string());
    }
    if !recovery.may_have_lost_power() {
        return None;
    }
    tracing::warn!(
        ?after_power_loss,
        "the machine restarted and this node had not been stopped: up to the last second's \
         grants of policies with durability `process` may be missing"
    );
    let quarantines = after_power_loss == AfterPowerLoss::Quarantine;
    quarantines.then(|| "the machine may have lost power".to_owned())
}
