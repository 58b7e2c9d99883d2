//! The birth of a database: whether it was born, who it is, and a list of what it knows by name.

use rocksdb::WriteBatch;

use super::meta::{self, FORMAT_VERSION, Identity};
use super::rocks::{RocksStore, synced};
use super::rocks_error::of_rocks;
use super::settings::{JOURNAL, META, STATE};
use super::store::{Operation, Scan, StoreError};

impl RocksStore {
    /// Whether the database holds nothing at all: its creation was interrupted.
    pub(super) fn is_blank(&self) -> Result<bool, StoreError> {
        self.with(|open| {
            for name in [META, JOURNAL, STATE] {
                let mut rows = open.db.raw_iterator_cf(open.family(name)?);
                rows.seek_to_first();
                rows.status()
                    .map_err(|error| of_rocks(Operation::Read, error))?;
                if rows.valid() {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Visits the names of all meta values, and whether each can be read.
    pub(super) fn scan_meta(
        &self,
        visit: &mut dyn FnMut(&str, bool),
    ) -> Result<Scan<()>, StoreError> {
        self.with(|open| {
            let mut rows = open.db.raw_iterator_cf(open.family(META)?);
            rows.seek_to_first();
            while let Some((name, stored)) = rows.item() {
                let name = String::from_utf8_lossy(name);
                visit(&name, meta::unwrap(&name, stored).is_some());
                rows.next();
            }
            Ok(match rows.status() {
                Ok(()) => Scan::Whole,
                Err(_) => Scan::Broken {
                    after: None,
                    before: None,
                },
            })
        })
    }

    /// Writes who the node is, all or nothing.
    pub(super) fn put_birth(&self, newborn: &Identity) -> Result<(), StoreError> {
        self.with(|open| {
            let family = open.family(META)?;
            let mut batch = WriteBatch::default();
            let values: [(&str, Vec<u8>); 3] = [
                (meta::FORMAT, FORMAT_VERSION.to_le_bytes().to_vec()),
                (meta::IDENTITY, newborn.encode()),
                (meta::BOOTS, 0_u64.to_le_bytes().to_vec()),
            ];
            for (name, value) in values {
                batch.put_cf(family, name, meta::wrap(name, &value));
            }
            let failed = |error| of_rocks(Operation::PutMeta, error);
            open.db.write_opt(batch, &synced()).map_err(failed)?;
            // Into a file at once, so that no damage to a log takes the identity with it.
            open.db.flush_cf(family).map_err(failed)
        })
    }
}
