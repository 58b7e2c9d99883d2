//! The store on RocksDB.
//!
//! Every write goes through the write-ahead log, so that what survives a power loss is a prefix of
//! all writes, whichever column family they went to. Only `meta` values and the drop of the journal
//! wait for a sync of their own.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rocksdb::{ColumnFamily, DB, ErrorKind, Options, WriteBatch, WriteOptions};

use super::filer::Filer;
use super::meta::{self, Identity};
use super::rocks_error::{of_io, of_rocks};
use super::rocks_slots::Slots;
use super::scan::scan;
use super::settings::{JOURNAL, META, STATE};
use super::store::{Found, Operation, Scan, SlotInstall, StateRow, Store, StoreError};
use super::watermark::{Mark, Watermark};
use crate::limiter::SlotClocks;
use crate::types::{BootCounter, Slot, SlotSet, StateId};

/// The store of a node: one directory, one process.
pub(crate) struct RocksStore {
    /// Files `meta`; ended before the database is closed (fields drop in order).
    filer: Filer,
    /// Gone once closed. The lock is held for reading by every call, so closing waits for them.
    open: Arc<RwLock<Option<OpenDb>>>,
    found: Found,
    identity: Identity,
    boots: BootCounter,
}

pub(super) struct OpenDb {
    pub(super) db: DB,
    /// Absent if the database is open for reading only. Locked by the sync thread only, but for
    /// opening and closing.
    watermark: Option<Mutex<Watermark>>,
    /// Of families that were made since it was opened: RocksDB calls into them until it is closed
    /// (fields drop in order).
    pub(super) made_with: Vec<Options>,
    /// By which expired rows are dropped.
    pub(super) slot_clocks: Arc<SlotClocks>,
    /// Keeps other processes out; freed after the database is closed (fields drop in order).
    _lock: Option<File>,
}

/// What a store is made of.
pub(super) struct Parts {
    pub(super) db: DB,
    /// Absent, as the lock is, if the database is open for reading only.
    pub(super) watermark: Option<Watermark>,
    pub(super) lock: Option<File>,
    pub(super) found: Found,
    pub(super) identity: Identity,
    pub(super) slot_clocks: Arc<SlotClocks>,
}

impl RocksStore {
    pub(super) fn new(parts: Parts) -> Self {
        let open = OpenDb {
            db: parts.db,
            watermark: parts.watermark.map(Mutex::new),
            made_with: Vec::new(),
            slot_clocks: parts.slot_clocks,
            _lock: parts.lock,
        };
        Self {
            filer: Filer::default(),
            open: Arc::new(RwLock::new(Some(open))),
            found: parts.found,
            identity: parts.identity,
            boots: BootCounter::default(),
        }
    }

    /// Who the node of this directory is.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// How often a node was started on this directory, this time included.
    pub(crate) fn boots(&self) -> BootCounter {
        self.boots
    }

    pub(super) fn found_mut(&mut self) -> &mut Found {
        &mut self.found
    }

    pub(super) fn wake(&mut self, identity: Identity, boots: BootCounter) {
        self.identity = identity;
        self.boots = boots;
    }

    pub(super) fn with<T>(
        &self,
        call: impl FnOnce(&OpenDb) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        call(self.open.read().as_ref().ok_or(StoreError::Closed)?)
    }

    /// As `with`, while nobody else uses the database.
    pub(super) fn with_mut<T>(
        &self,
        call: impl FnOnce(&mut OpenDb) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        call(self.open.write().as_mut().ok_or(StoreError::Closed)?)
    }

    /// Carries out what is written of slots, and has their registers filed soon.
    fn write_slots_filed(
        &self,
        write: impl FnOnce(Slots<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.with(|open| write(open.slots()?))?;
        let open = Arc::clone(&self.open);
        self.filer.soon(move || {
            let filed = open.read().as_ref().map(|open| open.slots()?.file());
            if let Some(Err(error)) = filed {
                // The database takes no further write then, and the fence is closed by that.
                tracing::error!(%error, "registers cannot be put into a file");
            }
        });
        Ok(())
    }

    /// The writes of an installation without its sync.
    #[cfg(test)]
    pub(super) fn write_slots(&self, slots: &[SlotInstall]) {
        self.with(|open| open.slots()?.write(slots)).unwrap();
    }

    /// Files registers now, and not again by itself.
    #[cfg(test)]
    pub(super) fn file_now(&self) {
        self.filer.stop();
        self.with(|open| open.slots()?.file()).unwrap();
    }

    #[cfg(test)]
    pub(super) fn compact_states(&self) {
        let compacted = self.with(|open| {
            let family = open.family(STATE)?;
            open.db.flush_cf(family).unwrap();
            open.db.compact_range_cf::<&[u8], &[u8]>(family, None, None);
            Ok(())
        });
        compacted.unwrap();
    }
}

impl OpenDb {
    pub(super) fn family(&self, name: &'static str) -> Result<&ColumnFamily, StoreError> {
        // All three are opened with the database, so this is never `None`.
        self.db.cf_handle(name).ok_or(StoreError::Closed)
    }

    fn slots(&self) -> Result<Slots<'_>, StoreError> {
        Ok(Slots {
            db: &self.db,
            meta: self.family(META)?,
            state: self.family(STATE)?,
        })
    }
}

impl Store for RocksStore {
    fn found(&self) -> Found {
        self.found
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let unreadable = || StoreError::MetaUnreadable {
            name: name.to_owned(),
        };
        self.with(|open| match open.db.get_cf(open.family(META)?, name) {
            Ok(None) => Ok(None),
            Ok(Some(stored)) => meta::unwrap(name, &stored).ok_or_else(unreadable).map(Some),
            Err(error) if error.kind() == ErrorKind::Corruption => Err(unreadable()),
            Err(error) => Err(of_rocks(Operation::Read, error)),
        })
    }

    fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.with(|open| {
            let stored = meta::wrap(name, value);
            let put = open
                .db
                .put_cf_opt(open.family(META)?, name, stored, &synced());
            put.map_err(|error| of_rocks(Operation::PutMeta, error))
        })
    }

    fn append_commit(&self, number: u64, record: &[u8]) -> Result<(), StoreError> {
        self.with(|open| {
            let put = open
                .db
                .put_cf(open.family(JOURNAL)?, number.to_be_bytes(), record);
            put.map_err(|error| of_rocks(Operation::Append, error))
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.with(|open| {
            let flushed = open.db.flush_wal(true);
            flushed.map_err(|error| of_rocks(Operation::Sync, error))
        })
    }

    fn put_states(&self, rows: &[StateRow]) -> Result<(), StoreError> {
        self.with(|open| {
            let family = open.family(STATE)?;
            let mut batch = WriteBatch::default();
            for (id, row) in rows {
                batch.put_cf(family, id.to_bytes(), row);
            }
            let written = open.db.write(batch);
            written.map_err(|error| of_rocks(Operation::PutStates, error))
        })
    }

    fn state(&self, id: StateId) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|open| {
            let row = open.db.get_cf(open.family(STATE)?, id.to_bytes());
            row.map_err(|error| of_rocks(Operation::Read, error))
        })
    }

    fn surely_lacks(&self, id: StateId) -> bool {
        let looked = self.with(|open| {
            let may_exist = open.db.key_may_exist_cf(open.family(STATE)?, id.to_bytes());
            Ok(!may_exist)
        });
        // Closed: whoever reads it is told.
        looked.unwrap_or(false)
    }

    fn put_registers(&self, registers: &[(Slot, Vec<u8>)]) -> Result<(), StoreError> {
        self.write_slots_filed(|slots| slots.put_values(meta::REGISTER, registers))
    }

    fn registers(&self) -> Result<Vec<(Slot, Vec<u8>)>, StoreError> {
        self.with(|open| open.slots()?.values(meta::REGISTER))
    }

    fn slot_marks(&self) -> Result<Vec<(Slot, Vec<u8>)>, StoreError> {
        self.with(|open| open.slots()?.values(meta::SLOT))
    }

    fn put_marks(&self, marks: &[(Slot, Vec<u8>)]) -> Result<(), StoreError> {
        self.write_slots_filed(|slots| slots.put_values(meta::SLOT, marks))
    }

    fn install(&self, slots: &[SlotInstall]) -> Result<(), StoreError> {
        self.write_slots_filed(|all| all.install(slots))
    }

    fn drop_slots(&self, slots: &SlotSet, mark: &[u8]) -> Result<(), StoreError> {
        self.write_slots_filed(|all| all.drop_slots(slots, mark))
    }

    fn slot_rows(
        &self,
        slot: Slot,
        after: Option<StateId>,
        bytes_max: usize,
    ) -> Result<Vec<StateRow>, StoreError> {
        self.with(|open| open.slots()?.rows(slot, after, bytes_max))
    }

    fn scan_states(
        &self,
        visit: &mut dyn FnMut(StateId, &[u8]),
    ) -> Result<Scan<StateId>, StoreError> {
        self.with(|open| scan(&open.db, open.family(STATE)?, state_id, visit))
    }

    fn scan_journal(&self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<Scan<u64>, StoreError> {
        self.with(|open| scan(&open.db, open.family(JOURNAL)?, commit_number, visit))
    }

    fn drop_journal(&self, through: u64) -> Result<(), StoreError> {
        let floor = self.journal_floor()?;
        if through <= floor {
            return Ok(());
        }
        self.with(|open| {
            let failed = |error| of_rocks(Operation::DropJournal, error);
            let journal = open.family(JOURNAL)?;
            let stored = meta::wrap(meta::JOURNAL_FLOOR, &through.to_le_bytes());
            let (first, last) = (0_u64.to_be_bytes(), through.to_be_bytes());
            let mut batch = WriteBatch::default();
            batch.delete_range_cf(journal, first, through.saturating_add(1).to_be_bytes());
            batch.put_cf(open.family(META)?, meta::JOURNAL_FLOOR, stored);
            // Synced, and with it the rows that replace the records: deleting the files cannot be
            // undone by a power loss.
            open.db.write_opt(batch, &synced()).map_err(failed)?;
            open.db
                .delete_file_in_range_cf(journal, first, last)
                .map_err(failed)
        })
    }

    fn journal_floor(&self) -> Result<u64, StoreError> {
        let unreadable = || StoreError::MetaUnreadable {
            name: meta::JOURNAL_FLOOR.to_owned(),
        };
        match self.meta(meta::JOURNAL_FLOOR)? {
            None => Ok(0),
            Some(value) => Ok(u64::from_le_bytes(
                value.try_into().map_err(|_| unreadable())?,
            )),
        }
    }

    fn mend_states(&self, rows: &[StateRow]) -> Result<(), StoreError> {
        self.rewrite_states(rows)
    }

    fn mend_journal(&self) -> Result<(), StoreError> {
        self.rewrite_journal()
    }

    fn put_mark(&self, synced: u64, clean: bool) -> Result<(), StoreError> {
        let boot = self.found.boot;
        self.with(|open| {
            let watermark = open.watermark.as_ref().ok_or(StoreError::Closed)?;
            let put = watermark.lock().put(Mark {
                synced,
                clean,
                boot,
            });
            put.map_err(|error| of_io(Operation::PutMark, error))
        })
    }

    fn close(&self) -> Result<(), StoreError> {
        let unfiled = self.filer.stop();
        let file = || self.with(|open| open.slots()?.file());
        let filed = |()| if unfiled { file() } else { Ok(()) };
        let synced = self.sync().and_then(filed);
        let open = self.open.write().take();
        drop(open);
        match synced {
            Err(StoreError::Closed) => Ok(()),
            synced => synced,
        }
    }
}

pub(super) fn state_id(key: &[u8]) -> Option<StateId> {
    key.try_into().ok().map(StateId::from_bytes)
}

fn commit_number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

pub(super) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

impl fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksStore")
            .field("found", &self.found)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
