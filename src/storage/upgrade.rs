//! A data directory of an older format, from which a newer one can go on.

use std::path::Path;

use super::meta::{self, FORMAT_OLDEST, FORMAT_VERSION};
use super::open::{OpenError, of_store};
use super::rocks::RocksStore;
use super::store::Store as _;

impl RocksStore {
    /// Lets what is written from here on be of this version's format: what the older one knows reads as
    /// it is, and older software must not read on.
    pub(super) fn upgrade(&self, path: &Path, found: u32) -> Result<(), OpenError> {
        let at = path.to_owned();
        match found {
            FORMAT_VERSION => Ok(()),
            0..FORMAT_OLDEST => Err(OpenError::OlderFormat { path: at, found }),
            FORMAT_OLDEST..FORMAT_VERSION => {
                let put = self.put_meta(meta::FORMAT, &FORMAT_VERSION.to_le_bytes());
                put.map_err(|error| of_store(path, error))
            }
            _ => Err(OpenError::NewerFormat { path: at, found }),
        }
    }
}
