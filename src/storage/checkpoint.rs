//! Checkpoints: the changed states go to rows, then the journal behind them is dropped.
//!
//! The number of the last finished commit is noted *before* the first state is read. Each change
//! up to it is in some state row written here or by an earlier checkpoint, so the records up to it
//! are not needed any more. A row may hold more than that commit (over-counting is safe); the
//! records above it are replayed on top of it.
//!
//! What the records say of how far each slot is would go with them: that is stored first.
//!
//! Commits go on meanwhile: nothing here takes their turn, and rows go in small batches.

use super::fence::{Fence, StorageFailed};
use super::replace::RowTurn;
use super::store::{StateRow, Store};

/// Rows that a source should hand out at once: about 40 KB, written in under a millisecond.
pub(crate) const CHUNK_ROWS: usize = 256;

/// Name of the meta value that says how far all slots were at the last checkpoint.
pub(crate) const POSITIONS: &str = "positions";

/// The table: which states have changed since the last checkpoint.
pub(crate) trait CheckpointSource {
    /// Where a checkpoint goes on; begins at its default.
    type Cursor: Default;

    /// Appends at most [`CHUNK_ROWS`] states that changed since the last checkpoint to `rows`,
    /// going on from `cursor`, and counts them as handed out; false at the end.
    fn unsaved(&self, cursor: &mut Self::Cursor, rows: &mut Vec<StateRow>) -> bool;

    /// How far all slots are, when the commits up to `committed` are appended: no farther than what
    /// is written. Opaque bytes.
    fn positions(&self, committed: u64) -> Vec<u8>;

    /// Tells that these rows are written: from here on their states may be evicted.
    fn saved(&self, rows: &[StateRow]);
}

/// What a checkpoint did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Checkpoint {
    /// State rows written.
    pub(crate) rows: u64,
    /// The journal was dropped up to this commit.
    pub(crate) through: u64,
}

/// Carries out one checkpoint; blocks, so it runs on a thread of its own. `committed_before` is
/// the number of a commit that had been appended before this call.
///
/// # Errors
/// [`StorageFailed`]; the fence is then closed, since the source counts rows as saved that are not.
pub(crate) fn checkpoint<S: Store + ?Sized>(
    store: &S,
    source: &impl CheckpointSource,
    turn: &RowTurn,
    fence: &Fence,
    committed_before: u64,
) -> Result<Checkpoint, StorageFailed> {
    let mut done = Checkpoint {
        rows: 0,
        through: committed_before,
    };
    let mut rows = Vec::with_capacity(CHUNK_ROWS);
    let mut cursor = Default::default();
    fence.check()?;
    // Taken before the rows, so that they hold at least as much.
    let positions = source.positions(committed_before);
    loop {
        let _turn = turn.take();
        if !source.unsaved(&mut cursor, &mut rows) {
            break;
        }
        fence.check()?;
        let written = store.put_states(&rows);
        written.map_err(|error| fence.close(error))?;
        source.saved(&rows);
        done.rows = done.rows.saturating_add(rows.len() as u64);
        rows.clear();
    }
    fence.check()?;
    let floor = store.journal_floor().map_err(|error| fence.close(error))?;
    if committed_before > floor {
        let put = store.put_meta(POSITIONS, &positions);
        put.map_err(|error| fence.close(error))?;
    }
    let dropped = store.drop_journal(committed_before);
    dropped.map_err(|error| fence.close(error))?;
    Ok(done)
}
