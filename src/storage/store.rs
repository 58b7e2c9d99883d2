//! What the rest of the node may ask of its storage, and how that can fail.
//!
//! A store holds three things: a few named `meta` values, the journal of commit records in order
//! of their numbers, and one row a state. Rows and records are opaque bytes with checksums of
//! their own. The contract is told by what survives:
//!
//! | call returned | survives `kill -9` | survives power loss |
//! |---|---|---|
//! | [`Store::put_meta`], [`Store::put_mark`] | yes | yes |
//! | [`Store::put_registers`], [`Store::put_marks`] | yes | yes |
//! | [`Store::install`], [`Store::drop_slots`] | yes | yes |
//! | [`Store::append_commit`], [`Store::put_states`] | yes | once [`Store::sync`] was called and returned |
//! | [`Store::drop_journal`] | yes | yes, and all that was written before it |
//!
//! A crash in the middle of a call leaves of each slot that it concerns either all or nothing.
//! Writes that a power loss may take are lost from the end only: what is left is a prefix of them.
//! After a failed write or sync the store's content is unknown; nothing may be retried (see
//! [`super::fence`]).

use std::error::Error;
use std::fmt;

use super::watermark::{BootId, Mark};
use crate::types::{Slot, SlotSet, StateId};

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

    /// Whether there is certainly no row of a state, as far as can be told without reading from disk.
    fn surely_lacks(&self, id: StateId) -> bool;

    /// Puts the registers of slots; when this returns they survive power loss.
    fn put_registers(&self, registers: &[(Slot, Vec<u8>)]) -> Result<(), StoreError>;

    /// All registers that were put, in order.
    ///
    /// # Errors
    /// [`StoreError::MetaUnreadable`], which names the register, if one is damaged.
    fn registers(&self) -> Result<Vec<(Slot, Vec<u8>)>, StoreError>;

    /// All marks of slots, in order; see [`SlotInstall::mark`].
    ///
    /// # Errors
    /// As [`Store::registers`].
    fn slot_marks(&self) -> Result<Vec<(Slot, Vec<u8>)>, StoreError>;

    /// Puts the marks of slots; when this returns they survive power loss, and all that was written
    /// before.
    fn put_marks(&self, marks: &[(Slot, Vec<u8>)]) -> Result<(), StoreError>;

    /// Puts register and mark of slots, and replaces all their rows; when this returns all survives
    /// power loss. Each slot is written whole or not at all.
    ///
    /// No checkpoint may run meanwhile; see [`super::replace`].
    fn install(&self, slots: &[SlotInstall]) -> Result<(), StoreError>;

    /// Deletes all rows of these slots and puts `mark` as the mark of each; when this returns it
    /// survives power loss. Registers stay. No checkpoint may run meanwhile.
    fn drop_slots(&self, slots: &SlotSet, mark: &[u8]) -> Result<(), StoreError>;

    /// Rows of a slot in order of their ids, behind `after`, of at most about `bytes_max` but at
    /// least one if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] if some cannot be read.
    fn slot_rows(
        &self,
        slot: Slot,
        after: Option<StateId>,
        bytes_max: usize,
    ) -> Result<Vec<StateRow>, StoreError>;

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

    /// Puts `rows`, and writes all states that can be read anew, so that damage to the others is gone;
    /// when this returns it survives power loss. Nothing else may write meanwhile.
    fn mend_states(&self, rows: &[StateRow]) -> Result<(), StoreError>;

    /// Has the journal begin anew, so that damage to it is gone. No record may be needed any more:
    /// [`Store::drop_journal`] was called with the last number. Nothing else may write meanwhile.
    fn mend_journal(&self) -> Result<(), StoreError>;

    /// Puts the watermark (see [`super::watermark`]) with the boot id of now.
    fn put_mark(&self, synced: u64, clean: bool) -> Result<(), StoreError>;

    /// Syncs and closes; every later call fails with [`StoreError::Closed`].
    fn close(&self) -> Result<(), StoreError>;
}

/// What is written of a slot whose state is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotInstall {
    /// Which slot.
    pub(crate) slot: Slot,
    /// Who owns it, for the ownership's eyes.
    pub(crate) register: Vec<u8>,
    /// Whose state the rows are, for the limiter's.
    pub(crate) mark: Vec<u8>,
    /// All its rows from now on; `None` leaves those that are there.
    pub(crate) rows: Option<Vec<StateRow>>,
}

impl SlotInstall {
    fn bytes(&self) -> usize {
        let rows = self.rows.iter().flatten().map(|(_, row)| row.len() + 16);
        self.register.len() + self.mark.len() + rows.sum::<usize>()
    }
}

/// Bytes that are written at once, unless one slot has more.
const INSTALL_BYTES_MAX: usize = 4 << 20;

/// Cuts `slots` into writes of whole slots, each of about 4 MiB at most.
pub(super) fn writes_of(slots: &[SlotInstall]) -> impl Iterator<Item = &[SlotInstall]> {
    let mut bytes = 0_usize;
    slots.chunk_by(move |before, next| {
        bytes += before.bytes();
        let fits = bytes + next.bytes() <= INSTALL_BYTES_MAX;
        if !fits {
            bytes = 0;
        }
        fits
    })
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
    /// Replacing or deleting all rows of slots.
    ReplaceSlots,
    /// Dropping the journal behind a checkpoint.
    DropJournal,
    /// Putting the watermark.
    PutMark,
    /// Writing damaged files anew.
    Mend,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "reading",
            Self::PutMeta => "writing a meta value",
            Self::Append => "appending a commit",
            Self::Sync => "syncing the log",
            Self::PutStates => "writing state rows",
            Self::ReplaceSlots => "replacing the states of slots",
            Self::DropJournal => "dropping the journal behind a checkpoint",
            Self::PutMark => "writing the watermark",
            Self::Mend => "writing damaged files anew",
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
