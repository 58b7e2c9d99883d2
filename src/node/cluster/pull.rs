//! Fetching the state of slots from their holder: a pre-copy while it serves them, the rest once it
//! has sealed them. What has come is staged here, outside the table, until it is known to be whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limiter::transfer::{Row, SlotDigest, Staging, StagingError};
use crate::node::peers::{BulkError, BulkLine, BulkReader};
use crate::node::policy_sets::versioned::{BadPolicySet, VersionedSet};
use crate::protocol::bulk::{BulkChunk, BulkRefusal};
use crate::types::{Epoch, Position, Slot, SlotSet, SlotTime, StateId};

/// Slots as far as they have come.
pub(super) type Staged = BTreeMap<Slot, Staging>;

/// Slots that are whole.
pub(super) type Whole = BTreeMap<Slot, Vec<Row>>;

/// What came of sealed slots.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Those that are whole.
    pub(super) slots: Whole,
    /// How many were told that are not: not asked for, not where they were sealed, or of another
    /// digest.
    pub(super) refused: usize,
}

/// Why a transfer ended early. Nothing of what came is used; the hand-off starts anew by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    /// The holder told why it tells nothing.
    #[error("the holder refused")]
    Refused(#[from] BulkRefusal),
    /// The connection or stream failed.
    #[error("the holder was not heard")]
    Bulk(#[from] BulkError),
    /// The stream ended too early.
    #[error("the stream was cut off")]
    CutOff,
    /// What came cannot be.
    #[error("the holder sent what cannot be: {0}")]
    Senseless(&'static str),
    /// Rows do not make up a slot's state.
    #[error("the rows are not a slot's state")]
    Staging(#[from] StagingError),
    /// What came is no policy set.
    #[error("what came is no policy set")]
    Policies(#[from] BadPolicySet),
}

/// A transfer on its way.
#[derive(Debug)]
pub(super) struct Pull {
    reader: BulkReader,
    /// Counts the bytes that came, for who watches.
    bytes: Arc<AtomicU64>,
    /// Most bytes of one slot.
    slot_bytes_max: usize,
}

/// What a replica asks for of a slot: the reign that it is served in, and how far its own state is,
/// if it counts for anything.
pub(super) type Asked = BTreeMap<Slot, (Epoch, Option<Position>)>;

/// A slot that a replica has caught up with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CaughtUp {
    /// Which.
    pub(super) slot: Slot,
    /// How far its state is.
    pub(super) at: Position,
    /// The highest slot time that it has seen.
    pub(super) clock: SlotTime,
    /// The state; `None` where the replica's own is all that there is.
    pub(super) rows: Option<Vec<Row>>,
}

/// What a slot is as a whole, by its holder's word.
struct SlotEnd {
    slot: Slot,
    at: Position,
    clock: SlotTime,
    digest: SlotDigest,
}

/// What a chunk told.
enum Told {
    Rows,
    SlotEnd(SlotEnd),
    End,
}

impl Pull {
    /// The transfer behind a request that was sent; `bytes` counts what comes.
    pub(super) const fn new(
        reader: BulkReader,
        bytes: Arc<AtomicU64>,
        slot_bytes_max: usize,
    ) -> Self {
        Self {
            reader,
            bytes,
            slot_bytes_max,
        }
    }

    /// Takes a pre-copy in; the connection may be asked for more.
    ///
    /// # Errors
    /// [`PullError`].
    pub(super) async fn copy(mut self) -> Result<(Staged, BulkLine), PullError> {
        let mut staged = Staged::new();
        loop {
            match self.next(&mut staged).await? {
                Told::Rows => {}
                Told::SlotEnd(_) => {
                    return Err(PullError::Senseless(
                        "the end of a slot that is still served",
                    ));
                }
                Told::End => return Ok((staged, self.reader.into_line())),
            }
        }
    }

    /// Takes the rest of sealed slots in, on top of what was staged; those that are whole and where
    /// they were expected to be. The connection may be asked for more.
    ///
    /// # Errors
    /// [`PullError`].
    pub(super) async fn rest(
        mut self,
        mut staged: Staged,
        expected: &BTreeMap<Slot, Position>,
    ) -> Result<(Rest, BulkLine), PullError> {
        let mut rest = Rest::default();
        loop {
            let end = match self.next(&mut staged).await? {
                Told::Rows => continue,
                Told::SlotEnd(end) => end,
                Told::End => return Ok((rest, self.reader.into_line())),
            };
            if expected.get(&end.slot) != Some(&end.at) {
                tracing::debug!(slot = %end.slot, "the holder's state is not where it was sealed");
                rest.refused = rest.refused.saturating_add(1);
                continue;
            }
            let staging = staged.remove(&end.slot);
            let staging = staging.unwrap_or_else(|| Staging::new(end.slot, self.slot_bytes_max));
            match staging.finish(end.clock, end.digest) {
                Ok(rows) => drop(rest.slots.insert(end.slot, rows)),
                Err(error) => {
                    tracing::debug!(%error, "a slot's state did not arrive whole");
                    rest.refused = rest.refused.saturating_add(1);
                }
            }
        }
    }

    /// Takes slots in that go on being served; each that has come whole goes to `caught_up`, also if
    /// the transfer fails later. Its rows are all commits up to its position and maybe more.
    ///
    /// # Errors
    /// [`PullError`].
    pub(super) async fn catch_up(
        mut self,
        asked: &Asked,
        caught_up: &mut Vec<CaughtUp>,
    ) -> Result<(), PullError> {
        let mut staged = Staged::new();
        let mut open: SlotSet = asked.keys().copied().collect();
        loop {
            let told = self.reader.next().await?.ok_or(PullError::CutOff)?;
            let ended = match told {
                BulkChunk::Rows { slot, rows } => {
                    let slot = still(&open, slot)?;
                    let staging = staged.entry(slot);
                    let staging =
                        staging.or_insert_with(|| Staging::new(slot, self.slot_bytes_max));
                    for row in rows {
                        staging.take(StateId(row.id), row.bytes.to_vec())?;
                    }
                    None
                }
                BulkChunk::CopyEnd {
                    slot,
                    at,
                    clock_ms,
                    count,
                } => {
                    let (slot, at) = (still(&open, slot)?, Position::from(at));
                    let clock = SlotTime::from_ms(clock_ms);
                    if asked.get(&slot).is_none_or(|it| it.0 != at.epoch) {
                        return Err(PullError::Senseless("a slot of another reign"));
                    }
                    let staging = staged.remove(&slot);
                    let staging =
                        staging.unwrap_or_else(|| Staging::new(slot, self.slot_bytes_max));
                    let rows = Some(staging.finish_served(clock, count)?);
                    caught_up.push(CaughtUp {
                        slot,
                        at,
                        clock,
                        rows,
                    });
                    Some(slot)
                }
                BulkChunk::Same { slot, at, clock_ms } => {
                    let (slot, at) = (still(&open, slot)?, Position::from(at));
                    let clock = SlotTime::from_ms(clock_ms);
                    if asked.get(&slot) != Some(&(at.epoch, Some(at))) {
                        return Err(PullError::Senseless("a state that is not the replica's"));
                    }
                    caught_up.push(CaughtUp {
                        slot,
                        at,
                        clock,
                        rows: None,
                    });
                    Some(slot)
                }
                BulkChunk::NotServed { slot } => {
                    let slot = still(&open, slot)?;
                    staged.remove(&slot);
                    Some(slot)
                }
                BulkChunk::End => return Ok(()),
                BulkChunk::Refused(refusal) => return Err(refusal.into()),
                BulkChunk::SlotEnd { .. } | BulkChunk::Policies(_) => return Err(OTHER_ANSWER),
            };
            if let Some(slot) = ended {
                open.remove(slot);
            }
            self.count();
        }
    }

    /// Takes the next chunk; rows go to `staged`.
    async fn next(&mut self, staged: &mut Staged) -> Result<Told, PullError> {
        let slot_bytes_max = self.slot_bytes_max;
        let chunk = self.reader.next().await?.ok_or(PullError::CutOff)?;
        let known = |number| Slot::new(number).ok_or(PullError::Senseless("no such slot"));
        let told = match chunk {
            BulkChunk::Rows { slot, rows } => {
                let slot = known(slot)?;
                let staging = staged.entry(slot);
                let staging = staging.or_insert_with(|| Staging::new(slot, slot_bytes_max));
                for row in rows {
                    staging.take(StateId(row.id), row.bytes.to_vec())?;
                }
                Told::Rows
            }
            BulkChunk::SlotEnd {
                slot,
                count,
                digest,
                at,
                clock_ms,
            } => Told::SlotEnd(SlotEnd {
                slot: known(slot)?,
                at: at.into(),
                clock: SlotTime::from_ms(clock_ms),
                digest: SlotDigest { count, xor: digest },
            }),
            BulkChunk::End => Told::End,
            BulkChunk::Refused(refusal) => return Err(refusal.into()),
            BulkChunk::Policies(_)
            | BulkChunk::CopyEnd { .. }
            | BulkChunk::Same { .. }
            | BulkChunk::NotServed { .. } => return Err(OTHER_ANSWER),
        };
        self.count();
        Ok(told)
    }

    /// Shows how much has come.
    fn count(&self) {
        let bytes = self.reader.received_bytes();
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

/// Chunks that answer another request.
const OTHER_ANSWER: PullError = PullError::Senseless("the answer to another request");

/// A slot that was asked for and of which more may come.
fn still(open: &SlotSet, number: u16) -> Result<Slot, PullError> {
    let slot = Slot::new(number).filter(|slot| open.contains(*slot));
    slot.ok_or(PullError::Senseless("a slot that was not asked for"))
}

/// Takes a policy set in.
///
/// # Errors
/// [`PullError`].
pub(super) async fn policies(mut reader: BulkReader) -> Result<VersionedSet, PullError> {
    match reader.next().await?.ok_or(PullError::CutOff)? {
        BulkChunk::Policies(bytes) => Ok(VersionedSet::decode(bytes)?),
        BulkChunk::Refused(refusal) => Err(refusal.into()),
        BulkChunk::Rows { .. }
        | BulkChunk::SlotEnd { .. }
        | BulkChunk::End
        | BulkChunk::CopyEnd { .. }
        | BulkChunk::Same { .. }
        | BulkChunk::NotServed { .. } => Err(OTHER_ANSWER),
    }
}
