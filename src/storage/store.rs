//! What the rest of the node may ask of its storage, and how that can fail.
//!
//! A store holds three things: a few named `meta` values, the journal of commit records in order
//! of their numbers, and one row a state. Rows and records are opaque bytes with checksums of
//! their own. The contract is told by what survives:
//!
//! | call returned | survives `kill -9` | survives power loss |
//! |---|---|---|
//! | [`Store::put_meta`], [`Store::put_mark`] | yes | yes |
//! | [`Store::append_commit`], [`Store::put_states`] | yes | once [`Store::sync`] was called and returned |
//! | [`Store::drop_journal`] | yes | yes, and all that was written before it |
//!
//! Writes that a power loss may take are lost from the end only: what is left is a prefix of them.
//! After a failed write or sync the store's content is unknown; nothing may be retried (see
//! [`super::fence`]).

use std::error::Error;
use std::fmt;

use super::watermark::{BootId, Mark};
use crate::types::StateId;

/// One state's id and its row.
pub(crate) type StateRow = (StateId, Vec<u8>);

/// Keeps commits, states and meta values. All methods block; none calls back under a lock of the
/// limiter.
pub(crate) trait Store: Send + Sync + 'static {
    /// What was there when the store was opened.
    fn found(&self) -> Found;

    /// The meta value of this name, if it was ever put.
    ///
    /// # Errors
    /// [`StoreError::MetaUnreadable`] if its checksum does not match.
    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Puts a meta value; when this returns it survives power loss.
    fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Appends the record of commit `number`, which is above all numbers appended before.
    fn append_commit(&self, number: u64, record: &[u8]) -> Result<(), StoreError>;

    /// When this returns, all that was written before the call survives power loss.
    fn sync(&self) -> Result<(), StoreError>;

    /// Puts these rows, all or none of them.
    fn put_states(&self, rows: &[StateRow]) -> Result<(), StoreError>;

    /// The row of a state, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if the row may be there but cannot be read: that state's counts
    /// are unknown.
    fn state(&self, id: StateId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits all rows in order of their ids.
    fn scan_states(
        &self,
        visit: &mut dyn FnMut(StateId, &[u8]),
    ) -> Result<Scan<StateId>, StoreError>;

    /// Visits all commit records in order of their numbers.
    fn scan_journal(&self, visit: &mut dyn FnMut(u64, &[u8])) -> Result<Scan<u64>, StoreError>;

    /// Drops all commit records up to and including `through`.
    fn drop_journal(&self, through: u64) -> Result<(), StoreError>;

    /// The highest number that [`Store::drop_journal`] was called with; 0 if it never was.
    fn journal_floor(&self) -> Result<u64, StoreError>;

    /// Puts the watermark (see [`super::watermark`]) with the boot id of now.
    fn put_mark(&self, synced: u64, clean: bool) -> Result<(), StoreError>;

    /// Syncs and closes; every later call fails with [`StoreError::Closed`].
    fn close(&self) -> Result<(), StoreError>;
}

/// What a store found when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// There was nothing, and the store was created.
    pub(crate) created: bool,
    /// The watermark as the last process left it; `None` if it is missing or unreadable.
    pub(crate) mark: Option<Mark>,
    /// The boot id of now.
    pub(crate) boot: BootId,
    /// The write-ahead log was damaged; it was kept up to the damage, the rest is lost.
    pub(crate) salvaged: bool,
}

/// How far a scan came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan<K> {
    /// Everything was read.
    Whole,
    /// Between these keys, both exclusive, an unknown number of rows could not be read; `None`
    /// means from the first or up to the last possible key. All else was visited.
    Broken {
        /// Last key read before the damage.
        after: Option<K>,
        /// First key read behind it.
        before: Option<K>,
    },
}

/// What the store was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Reading a value or row.
    Read,
    /// Putting a meta value.
    PutMeta,
    /// Appending a commit.
    Append,
    /// Syncing the log.
    Sync,
    /// Putting or deleting state rows.
    PutStates,
    /// Dropping the journal behind a checkpoint.
    DropJournal,
    /// Putting the watermark.
    PutMark,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading",
            Self::PutMeta => "writing a meta value",
            Self::Append => "appending a commit",
            Self::Sync => "syncing the log",
            Self::PutStates => "writing state rows",
            Self::DropJournal => "dropping the journal behind a checkpoint",
            Self::PutMark => "writing the watermark",
        })
    }
}

/// A cause from below the store.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// Why a store could not do what it was asked. After a failed write or sync (all variants but
/// `MetaUnreadable`, `Unreadable` and `Closed`) the write may or may not be there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// No space is left; normal when a disk runs full.
    #[error("{operation} failed: the disk is full; make space, then restart the node")]
    Full {
        /// What was being done.
        operation: Operation,
        /// The system's words.
        #[source]
        source: Cause,
    },
    /// The disk or the file system failed.
    #[error("{operation} failed; check the disk, then restart the node")]
    Failed {
        /// What was being done.
        operation: Operation,
        /// The system's words.
        #[source]
        source: Cause,
    },
    /// The task that was writing was torn down in the middle; a bug in this program.
    #[error("{operation} was abandoned half-way; restart the node and report this")]
    Abandoned {
        /// What was being done.
        operation: Operation,
    },
    /// A meta value does not match its checksum. Nothing was written.
    #[error("meta value `{name}` is damaged; restore the data directory, or create a new one")]
    MetaUnreadable {
        /// Its name.
        name: String,
    },
    /// A row or record is there but damaged. Nothing was written.
    #[error("stored rows cannot be read; `ratelimitctl wal verify` lists the damage")]
    Unreadable {
        /// RocksDB's words.
        #[source]
        source: Cause,
    },
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
}
