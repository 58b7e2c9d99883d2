//! Joins the table and the storage: what the committer, the checkpoint and recovery see of it.

use std::sync::Arc;

use crate::limiter::SlotClock;
use crate::limiter::positions;
use crate::limiter::table::{Table, UnsavedCursor};
use crate::storage::checkpoint::CheckpointSource;
use crate::storage::committer::{CommitSource, TakenCommit};
use crate::storage::recovery::{BadRecord, RecoverySink};
use crate::storage::store::{StateRow, Store};
use crate::types::{SlotTime, StateId};

use super::clock;
use super::replication::Replication;

/// The table as the storage sees it.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    pub(crate) table: Arc<Table>,
    pub(crate) clock: SlotClock,
    pub(crate) replication: Arc<Replication>,
}

impl CommitSource for Journal {
    fn take_commit(&self, record: &mut Vec<u8>) -> TakenCommit {
        let from = record.len();
        let taken = self
            .table
            .take_commit(self.clock.read(clock::mono_now()), record);
        // O2: it may leave before it is written here, since no reign goes on after a start (O5).
        let packed = record.get(from..).unwrap_or_default();
        self.replication.commit(taken.number, packed, taken.empty);
        TakenCommit {
            number: taken.number,
            empty: taken.empty,
        }
    }

    fn take_number(&self) -> u64 {
        self.table.take_number()
    }
}

impl CheckpointSource for Journal {
    type Cursor = UnsavedCursor;

    fn unsaved(&self, cursor: &mut UnsavedCursor, rows: &mut Vec<StateRow>) -> bool {
        self.table.unsaved(cursor, rows)
    }

    fn positions(&self, committed: u64) -> Vec<u8> {
        positions::encode(&self.table.positions(committed))
    }

    fn saved(&self, rows: &[StateRow]) {
        self.table.saved(rows);
    }
}

/// Takes what is recovered into the table.
pub(crate) struct Recovered<'a> {
    pub(crate) table: &'a Table,
    pub(crate) store: &'a dyn Store,
    /// What the slot clock is known to be at least: rows that ended before are left out.
    pub(crate) now: SlotTime,
    /// The newest stamp of a commit record.
    pub(crate) newest_stamp: SlotTime,
}

impl RecoverySink for Recovered<'_> {
    fn load_row(&mut self, id: StateId, row: &[u8]) -> Result<(), BadRecord> {
        self.table
            .load_row(id, row, self.now)
            .map_err(|error| bad(&error))
    }

    fn replay(&mut self, _number: u64, record: &[u8]) -> Result<(), BadRecord> {
        // A row that cannot be read here was found damaged when the rows were read.
        let fetch = |id| self.store.state(id).ok().flatten();
        let head = self
            .table
            .replay(record, fetch)
            .map_err(|error| bad(&error))?;
        self.newest_stamp = self.newest_stamp.max(head.stamp);
        Ok(())
    }
}

fn bad(error: &impl ToString) -> BadRecord {
    BadRecord {
        reason: error.to_string(),
    }
}
