//! Registers, marks and whole slots in RocksDB.
//!
//! All that is written of a slot goes in one batch: the deletion of the range of its ids, its new
//! rows, its register and its mark. A batch is one entry of the write-ahead log, which a crash keeps
//! or loses as a whole; the deletion comes first in it, so it hides only rows that are older.
//! Registers are synced with that log at once, and go into a file of their own soon after (see
//! [`super::filer`]), so that no later damage to a log makes a node forget what it promised.

use rocksdb::{ColumnFamily, DB, ReadOptions, WriteBatch};

use super::meta;
use super::rocks_error::of_rocks;
use super::store::{Operation, SlotInstall, StateRow, StoreError, writes_of};
use crate::types::{Slot, SlotSet, StateId};

/// The database's families that slots are written to.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    pub(super) db: &'a DB,
    pub(super) meta: &'a ColumnFamily,
    pub(super) state: &'a ColumnFamily,
}

impl Slots<'_> {
    /// Puts values of slots under names that begin with `prefix`.
    pub(super) fn put_values(
        self,
        prefix: &str,
        values: &[(Slot, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (slot, value) in values {
            self.put(&mut batch, prefix, *slot, value);
        }
        let failed = |error| of_rocks(Operation::PutMeta, error);
        let written = self.db.write_opt(batch, &super::rocks::synced());
        written.map_err(failed)
    }

    /// Puts all of `meta` into files of its own.
    pub(super) fn file(self) -> Result<(), StoreError> {
        let filed = self.db.flush_cf(self.meta);
        filed.map_err(|error| of_rocks(Operation::PutMeta, error))
    }

    pub(super) fn install(self, slots: &[SlotInstall]) -> Result<(), StoreError> {
        let failed = |error| of_rocks(Operation::ReplaceSlots, error);
        self.write(slots)?;
        self.db.flush_wal(true).map_err(failed)
    }

    /// Writes slots, each whole, without syncing them.
    pub(super) fn write(self, slots: &[SlotInstall]) -> Result<(), StoreError> {
        for slots in writes_of(slots) {
            let mut batch = WriteBatch::default();
            for install in slots {
                self.put(&mut batch, meta::REGISTER, install.slot, &install.register);
                self.put(&mut batch, meta::SLOT, install.slot, &install.mark);
                let Some(rows) = &install.rows else { continue };
                self.delete_rows(&mut batch, install.slot);
                for (id, row) in rows {
                    batch.put_cf(self.state, id.to_bytes(), row);
                }
            }
            let written = self.db.write(batch);
            written.map_err(|error| of_rocks(Operation::ReplaceSlots, error))?;
        }
        Ok(())
    }

    pub(super) fn drop_slots(self, slots: &SlotSet, mark: &[u8]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for slot in slots.iter() {
            self.delete_rows(&mut batch, slot);
            self.put(&mut batch, meta::SLOT, slot, mark);
        }
        let failed = |error| of_rocks(Operation::ReplaceSlots, error);
        let written = self.db.write_opt(batch, &super::rocks::synced());
        written.map_err(failed)
    }

    /// The values of slots whose names begin with `prefix`.
    pub(super) fn values(self, prefix: &str) -> Result<Vec<(Slot, Vec<u8>)>, StoreError> {
        let unreadable = |name: &str| StoreError::MetaUnreadable {
            name: name.to_owned(),
        };
        let mut values = Vec::new();
        let mut found = self.db.raw_iterator_cf(self.meta);
        found.seek(prefix);
        while let Some((name, stored)) = found.item() {
            let name = String::from_utf8_lossy(name);
            if !name.starts_with(prefix) {
                break;
            }
            let slot = meta::slot_of(prefix, &name);
            let value = meta::unwrap(&name, stored);
            let (Some(slot), Some(value)) = (slot, value) else {
                return Err(unreadable(&name));
            };
            values.push((slot, value));
            found.next();
        }
        found.status().map_err(|_| unreadable(prefix))?;
        Ok(values)
    }

    pub(super) fn rows(
        self,
        slot: Slot,
        after: Option<StateId>,
        bytes_max: usize,
    ) -> Result<Vec<StateRow>, StoreError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_upper_bound(end_of(slot));
        let mut stored = self.db.raw_iterator_cf_opt(self.state, options);
        let after = after.map(StateId::to_bytes);
        stored.seek(after.unwrap_or_else(|| StateId::first_of(slot).to_bytes()));
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some((key, row)) = stored.item() {
            let odd = || StoreError::Unreadable {
                source: "a key of the wrong length".into(),
            };
            let key: [u8; 16] = key.try_into().map_err(|_| odd())?;
            if after != Some(key) {
                bytes += row.len() + key.len();
                if bytes > bytes_max && !rows.is_empty() {
                    break;
                }
                rows.push((StateId::from_bytes(key), row.to_vec()));
            }
            stored.next();
        }
        let read = stored.status();
        read.map_err(|error| of_rocks(Operation::Read, error))?;
        Ok(rows)
    }

    fn put(self, batch: &mut WriteBatch, prefix: &str, slot: Slot, value: &[u8]) {
        let name = meta::slot_name(prefix, slot);
        batch.put_cf(self.meta, &name, meta::wrap(&name, value));
    }

    fn delete_rows(self, batch: &mut WriteBatch, slot: Slot) {
        let first = StateId::first_of(slot).to_bytes();
        batch.delete_range_cf(self.state, first.to_vec(), end_of(slot));
    }
}

/// A key behind all ids of `slot` and before all others.
fn end_of(slot: Slot) -> Vec<u8> {
    let next = Slot::new(slot.number() + 1).map(StateId::first_of);
    // Longer than any id, so behind the last one too.
    next.map_or_else(|| vec![0xff; 17], |next| next.to_bytes().to_vec())
}
