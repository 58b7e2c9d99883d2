//! Mends damaged files: what can be read of them is written anew, and they are dropped.
//!
//! A damaged file would otherwise be found at every start, and break the compaction that comes to
//! it. Its family of rows is copied to one beside it, then made anew from the copy. From the
//! copy being whole and synced (`mending` in `meta`) until it is dropped, a start goes on from it;
//! before that, the start finds the damage again. So a crash anywhere leaves all that could be read.

use std::sync::Arc;

use rocksdb::{DB, Options, WriteBatch, WriteOptions};

use super::meta;
use super::rocks::{OpenDb, RocksStore, state_id, synced};
use super::rocks_error::of_rocks;
use super::scan::scan;
use super::settings::{self, JOURNAL, META, STATE};
use super::store::{Operation, StateRow, Store as _, StoreError};

/// The family that rows are copied to.
const COPY: &str = "mended_state";

/// Name of the meta value that says whether the copy counts (1) or not.
const MENDING: &str = "mending";

/// Bytes of one write.
const WRITE_BYTES: usize = 1 << 20;

impl RocksStore {
    /// What an interrupted mending has left to do.
    pub(super) fn finish_mending(&self) -> Result<(), StoreError> {
        let copied = self.meta(MENDING)?.is_some_and(|value| value == [1]);
        self.with_mut(|open| {
            if copied {
                open.states_from_copy()?;
            }
            open.drop_copy()
        })
    }

    /// See [`super::store::Store::mend_states`].
    pub(super) fn rewrite_states(&self, rows: &[StateRow]) -> Result<(), StoreError> {
        self.copy_states(rows)?;
        self.with_mut(|open| open.put_mending(true))?;
        self.finish_mending()
    }

    /// Copies all states that can be read, and `rows`; the copy does not count yet.
    pub(super) fn copy_states(&self, rows: &[StateRow]) -> Result<(), StoreError> {
        self.with_mut(|open| {
            open.drop_copy()?;
            open.make(COPY, Options::default())?;
            open.copy(STATE, COPY, rows)
        })
    }

    /// See [`super::store::Store::mend_journal`].
    pub(super) fn rewrite_journal(&self) -> Result<(), StoreError> {
        self.with_mut(|open| {
            // Between the two it is missing, and a start makes it anew.
            open.db.drop_cf(JOURNAL).map_err(failed)?;
            open.make(JOURNAL, settings::journal())
        })
    }
}

impl OpenDb {
    /// Makes the states anew from their copy, which is whole.
    fn states_from_copy(&mut self) -> Result<(), StoreError> {
        self.db.drop_cf(STATE).map_err(failed)?;
        self.make(STATE, settings::states(Arc::clone(&self.slot_clocks)))?;
        self.copy(COPY, STATE, &[])?;
        self.put_mending(false)
    }

    fn make(&mut self, family: &str, options: Options) -> Result<(), StoreError> {
        let made = self.db.create_cf(family, &options);
        self.made_with.push(options);
        made.map_err(failed)
    }

    fn drop_copy(&mut self) -> Result<(), StoreError> {
        if self.db.cf_handle(COPY).is_none() {
            return Ok(());
        }
        self.db.drop_cf(COPY).map_err(failed)
    }

    pub(super) fn put_mending(&self, copied: bool) -> Result<(), StoreError> {
        let value = meta::wrap(MENDING, &[u8::from(copied)]);
        let put = self
            .db
            .put_cf_opt(self.family(META)?, MENDING, value, &synced());
        put.map_err(|error| of_rocks(Operation::PutMeta, error))
    }

    /// Copies all that can be read of a family, then puts `rows`; when this returns, it is in files.
    fn copy(
        &self,
        from: &'static str,
        to: &'static str,
        rows: &[StateRow],
    ) -> Result<(), StoreError> {
        let to = self.family(to)?;
        let mut writer = Writer::new(&self.db);
        let mut wrong = None;
        scan(&self.db, self.family(from)?, state_id, &mut |id, row| {
            writer.batch.put_cf(to, id.to_bytes(), row);
            if let Err(error) = writer.write_if(WRITE_BYTES) {
                wrong.get_or_insert(error);
            }
        })?;
        wrong.map_or(Ok(()), Err)?;
        for (id, row) in rows {
            writer.batch.put_cf(to, id.to_bytes(), row);
        }
        writer.write_if(0)?;
        self.db.flush_cf(to).map_err(failed)
    }
}

/// Writes without the log: what is written is flushed to files before it counts.
struct Writer<'a> {
    db: &'a DB,
    batch: WriteBatch,
    options: WriteOptions,
}

impl<'a> Writer<'a> {
    fn new(db: &'a DB) -> Self {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        Self {
            db,
            batch: WriteBatch::default(),
            options,
        }
    }

    fn write_if(&mut self, bytes: usize) -> Result<(), StoreError> {
        if self.batch.size_in_bytes() < bytes {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.db.write_opt(batch, &self.options).map_err(failed)
    }
}

fn failed(error: rocksdb::Error) -> StoreError {
    of_rocks(Operation::Mend, error)
}
