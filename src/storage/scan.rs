//! Reading a whole column family, also one with damaged files.

use rocksdb::{ColumnFamily, DB};

use super::settings;
use super::store::{Scan, StoreError};

/// Visits all rows of a family; if some cannot be read, also those behind the damage.
pub(super) fn scan<K: Copy>(
    db: &DB,
    family: &ColumnFamily,
    key_of: fn(&[u8]) -> Option<K>,
    visit: &mut dyn FnMut(K, &[u8]),
) -> Result<Scan<K>, StoreError> {
    let mut rows = db.raw_iterator_cf_opt(family, settings::whole_scan());
    let odd = || StoreError::Unreadable {
        source: "a key of the wrong length".into(),
    };
    let mut after: Option<K> = None;
    rows.seek_to_first();
    while let Some((key, row)) = rows.item() {
        let key = key_of(key).ok_or_else(odd)?;
        visit(key, row);
        after = Some(key);
        rows.next();
    }
    let Err(damage) = rows.status() else {
        return Ok(Scan::Whole);
    };
    tracing::error!(%damage, "stored rows cannot be read");
    // From the end backwards to the damage, then once more forwards to keep the order.
    let mut behind = None;
    let mut rows = db.raw_iterator_cf_opt(family, settings::whole_scan());
    rows.seek_to_last();
    while let Some(key) = rows.key() {
        behind = Some(<Box<[u8]>>::from(key));
        rows.prev();
    }
    let Some(behind) = behind.filter(|_| rows.status().is_err()) else {
        return Ok(Scan::Broken {
            after,
            before: None,
        });
    };
    let before = Some(key_of(&behind).ok_or_else(odd)?);
    let mut rows = db.raw_iterator_cf_opt(family, settings::whole_scan());
    rows.seek(&behind);
    while let Some((key, row)) = rows.item() {
        visit(key_of(key).ok_or_else(odd)?, row);
        rows.next();
    }
    let before = before.filter(|_| rows.status().is_ok());
    Ok(Scan::Broken { after, before })
}
