//! R5: what a replica may have lost it does not vouch for, so that a state that others have whole is
//! never taken from here.
//!
//! Where the node holds the only state of a slot, lost counts put it in quarantine. Where other nodes
//! hold it too, the state here counts for nothing until it is copied anew: those slots are named
//! ([`Engine::incomplete`]) so that their registers are told first of all. They are kept in the store
//! until that is done, since what told of the loss is overwritten by the start.

use super::engine::Engine;
use super::error::StartError;
use crate::limiter::table::Table;
use crate::ownership::record::Register;
use crate::storage::fence::StorageFailed;
use crate::storage::recovery::Recovery;
use crate::storage::store::Store;
use crate::types::{SLOT_COUNT, Slot, SlotSet, SlotTime, StateId};

/// Name of the meta value that says whose registers are still to be told: a bit a slot.
const INCOMPLETE: &str = "incomplete";

/// Name of the meta value that says which slots are in quarantine, and since when by the node's clock:
/// milliseconds (u64 LE), a bit a slot.
const QUARANTINED: &str = "quarantined_slots";

const SET_BYTES: usize = SLOT_COUNT as usize / 8;

/// Which slots the node holds, alone and with others.
#[derive(Debug)]
pub(super) struct Held {
    alone: SlotSet,
    replicated: SlotSet,
}

impl Held {
    /// By the registers, as they are stored.
    pub(super) fn by(registers: &[(Slot, Vec<u8>)], table: &Table) -> Self {
        let (mut alone, mut replicated) = (table.held(), SlotSet::EMPTY);
        for (slot, register) in registers {
            // One that is damaged is refused by the ownership, before anything is served.
            let shared = Register::decode(register).is_ok_and(|register| has_others(&register));
            if shared && alone.contains(*slot) {
                alone.remove(*slot);
                replicated.insert(*slot);
            }
        }
        Self { alone, replicated }
    }

    /// The slots held with others whose state may not be whole, by what recovery found and by earlier
    /// starts; it is stored when this returns.
    pub(super) fn incomplete(
        &self,
        store: &dyn Store,
        recovery: &Recovery,
    ) -> Result<SlotSet, StartError> {
        let stored = store.meta(INCOMPLETE)?;
        let before = stored.as_deref().map_or(SlotSet::EMPTY, decode_set);
        let incomplete: SlotSet = Slot::all()
            .filter(|slot| self.replicated.contains(*slot))
            .filter(|slot| before.contains(*slot) || may_lack(recovery, *slot))
            .collect();
        if incomplete != before {
            store.put_meta(INCOMPLETE, &encode_set(&incomplete))?;
        }
        if !incomplete.is_empty() {
            tracing::error!(
                slots = incomplete.len(),
                "counts of slots that other nodes hold too may be missing here; they are copied anew"
            );
        }
        Ok(incomplete)
    }

    /// Denies the keys of the slots that nobody else holds from `now` on, over restarts, where others
    /// are held with other nodes; false if none are, so that the whole node may be meant.
    pub(super) fn quarantine_alone(
        &self,
        store: &dyn Store,
        table: &Table,
        now: SlotTime,
    ) -> Result<bool, StartError> {
        if self.replicated.is_empty() {
            return Ok(false);
        }
        let mut value = now.as_ms().to_le_bytes().to_vec();
        value.extend(encode_set(&self.alone));
        store.put_meta(QUARANTINED, &value)?;
        self.resume_quarantine(store, table, now)?;
        Ok(true)
    }

    /// Goes on with a quarantine of slots that an earlier start began.
    pub(super) fn resume_quarantine(
        &self,
        store: &dyn Store,
        table: &Table,
        now: SlotTime,
    ) -> Result<(), StartError> {
        let stored = store.meta(QUARANTINED)?.unwrap_or_default();
        let Some((since, slots)) = stored.split_first_chunk() else {
            return Ok(());
        };
        let ago_ms = now.ms_since(SlotTime::from_ms(u64::from_le_bytes(*since)));
        for slot in decode_set(slots).iter() {
            if self.alone.contains(slot) {
                let since = table.slot_now(slot, now).minus_ms(ago_ms);
                table.quarantine_slot(slot, since);
            }
        }
        Ok(())
    }
}

impl Engine {
    /// The registers of all [`Engine::incomplete`] slots are stored, and say so.
    ///
    /// # Errors
    /// [`StorageFailed`].
    pub(crate) fn incomplete_is_stored(&self) -> Result<(), StorageFailed> {
        self.fence.check()?;
        let put = self.store.put_meta(INCOMPLETE, &[]);
        put.map_err(|error| self.fence.close(error))
    }
}

/// Whether other nodes hold the slot too, or are about to.
fn has_others(register: &Register) -> bool {
    let accepted = register.accepted.map(|(_, accepted)| accepted);
    let known = [register.chosen, accepted].into_iter().flatten();
    known
        .map(|it| it.replicas.as_slice().len())
        .any(|len| len > 1)
}

/// Whether changes of the slot may be missing.
fn may_lack(recovery: &Recovery, slot: Slot) -> bool {
    let in_range = |(after, before): (Option<StateId>, Option<StateId>)| {
        after.is_none_or(|after| after.slot() <= slot)
            && before.is_none_or(|before| slot <= before.slot())
    };
    recovery.lost_commits.is_some()
        || recovery.may_have_lost_power()
        || recovery.unreadable.is_some_and(in_range)
        || recovery.bad_rows.iter().any(|id| id.slot() == slot)
}

fn encode_set(slots: &SlotSet) -> Vec<u8> {
    let mut bytes = vec![0; SET_BYTES];
    for slot in slots.iter() {
        if let Some(byte) = bytes.get_mut(slot.index() / 8) {
            *byte |= 1 << (slot.index() % 8);
        }
    }
    bytes
}

fn decode_set(bytes: &[u8]) -> SlotSet {
    let is_set = |slot: &Slot| {
        let byte = bytes.get(slot.index() / 8);
        byte.is_some_and(|byte| byte & (1 << (slot.index() % 8)) != 0)
    };
    Slot::all().filter(is_set).collect()
}

#[cfg(test)]
#[path = "incomplete_tests.rs"]
mod tests;
