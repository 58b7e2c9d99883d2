//! What RocksDB and the system say, as errors of the store.

use rocksdb::ErrorKind;

use super::store::{Operation, StoreError};

/// What RocksDB said, by what can be done about it.
pub(super) fn of_rocks(operation: Operation, error: rocksdb::Error) -> StoreError {
    let text = error.to_string();
    if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
        return StoreError::Full {
            operation,
            source: error.into(),
        };
    }
    if operation == Operation::Read && error.kind() == ErrorKind::Corruption {
        return StoreError::Unreadable {
            source: error.into(),
        };
    }
    StoreError::Failed {
        operation,
        source: error.into(),
    }
}

/// What the system said, by what can be done about it.
pub(super) fn of_io(operation: Operation, error: std::io::Error) -> StoreError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return StoreError::Full {
            operation,
            source: error.into(),
        };
    }
    StoreError::Failed {
        operation,
        source: error.into(),
    }
}
