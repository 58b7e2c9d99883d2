//! What the model of a store holds, and the writes that change it.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::storage::meta;
use crate::storage::store::{SlotInstall, StateRow};
use crate::types::{Slot, SlotSet, StateId};

/// What is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) meta: BTreeMap<String, Vec<u8>>,
    pub(super) journal: BTreeMap<u64, Vec<u8>>,
    pub(super) floor: u64,
    pub(super) states: BTreeMap<StateId, Vec<u8>>,
}

/// A write, all or nothing.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Meta(String, Vec<u8>),
    Metas(Vec<(String, Vec<u8>)>),
    Commit(u64, Vec<u8>),
    States(Vec<StateRow>),
    Install(Vec<SlotInstall>),
    DropSlots(Box<SlotSet>, Vec<u8>),
    Drop(u64),
}

impl Image {
    pub(super) fn apply(&mut self, write: Write) {
        match write {
            Write::Meta(name, value) => drop(self.meta.insert(name, value)),
            Write::Metas(values) => self.meta.extend(values),
            Write::Commit(number, record) => drop(self.journal.insert(number, record)),
            Write::States(rows) => self.states.extend(rows),
            Write::Install(slots) => slots.into_iter().for_each(|slot| self.install(slot)),
            Write::DropSlots(slots, mark) => {
                self.states.retain(|id, _| !slots.contains(id.slot()));
                let marks = slots
                    .iter()
                    .map(|slot| (meta::slot_name(meta::SLOT, slot), mark.clone()));
                self.meta.extend(marks);
            }
            Write::Drop(through) => {
                self.floor = self.floor.max(through);
                self.journal = self.journal.split_off(&through.saturating_add(1));
            }
        }
    }

    fn install(&mut self, install: SlotInstall) {
        let slot = install.slot;
        let values = [
            (meta::REGISTER, install.register),
            (meta::SLOT, install.mark),
        ];
        let values = values.map(|(prefix, value)| (meta::slot_name(prefix, slot), value));
        self.meta.extend(values);
        if let Some(rows) = install.rows {
            self.states.retain(|id, _| id.slot() != slot);
            self.states.extend(rows);
        }
    }

    /// The values of slots whose names begin with `prefix`.
    pub(super) fn of_slots(&self, prefix: &str) -> Vec<(Slot, Vec<u8>)> {
        let values = self.meta.range(prefix.to_owned()..);
        values
            .map_while(|(name, value)| Some((meta::slot_of(prefix, name)?, value.clone())))
            .collect()
    }

    pub(super) fn slot_rows(
        &self,
        slot: Slot,
        after: Option<StateId>,
        bytes_max: usize,
    ) -> Vec<StateRow> {
        let first = Bound::Included(StateId::first_of(slot));
        let from = after.map_or(first, Bound::Excluded);
        let mut bytes = 0;
        self.states
            .range((from, Bound::Unbounded))
            .take_while(|(id, row)| {
                let fits = bytes == 0 || bytes + row.len() + 16 <= bytes_max;
                bytes += row.len() + 16;
                fits && id.slot() == slot
            })
            .map(|(id, row)| (*id, row.clone()))
            .collect()
    }
}
