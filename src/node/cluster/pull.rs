//! Fetching the state of slots from their holder: a pre-copy while it serves them, the rest once it
//! has sealed them. What has come is staged here, outside the table, until it is known to be whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn::{RecvStream, SendStream};

use crate::limiter::transfer::{Row, SlotDigest, Staging, StagingError};
use crate::protocol::bulk::{BULK_FRAME_BYTES_MAX, BulkChunk, BulkRefusal, BulkRequest};
use crate::protocol::frame::{FrameBuffer, FrameError, decode};
use crate::types::{Position, Slot, SlotTime, StateId};

/// Bytes that are read at once.
const READ_BYTES_MAX: usize = 256 * 1024;

/// Slots as far as they have come.
pub(super) type Staged = BTreeMap<Slot, Staging>;

/// Slots that are whole.
pub(super) type Whole = BTreeMap<Slot, Vec<Row>>;

/// Why a transfer ended early. Nothing of what came is used; the hand-off starts anew by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    /// The holder told why it tells nothing.
    #[error("the holder refused: {0}")]
    Refused(#[from] BulkRefusal),
    /// The stream or its connection is gone.
    #[error("the stream was cut off")]
    CutOff,
    /// What came cannot be.
    #[error("the holder sent what cannot be: {0}")]
    Senseless(&'static str),
    /// A frame cannot be read.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Rows do not make up a slot's state.
    #[error(transparent)]
    Staging(#[from] StagingError),
}

/// A transfer on its way.
#[derive(Debug)]
pub(super) struct Pull {
    receive: RecvStream,
    buffer: FrameBuffer,
    /// Counts the bytes of rows, for who watches.
    bytes: Arc<AtomicU64>,
    /// Most bytes of one slot.
    slot_bytes_max: usize,
}

impl Pull {
    /// The transfer behind a request that was sent; `bytes` counts what comes.
    pub(super) fn new(
        (_send, receive): (SendStream, RecvStream),
        bytes: Arc<AtomicU64>,
        slot_bytes_max: usize,
    ) -> Self {
        Self {
            receive,
            buffer: FrameBuffer::with_max(BULK_FRAME_BYTES_MAX),
            bytes,
            slot_bytes_max,
        }
    }

    /// Takes a pre-copy in.
    ///
    /// # Errors
    /// [`PullError`].
    pub(super) async fn copy(mut self) -> Result<Staged, PullError> {
        let mut staged = Staged::new();
        let slot_bytes_max = self.slot_bytes_max;
        while let Some(chunk) = self.next(|chunk| take(chunk, &mut staged, slot_bytes_max)).await? {
            if let Told::End(..) = chunk {
                return Err(PullError::Senseless("the end of a slot that is still served"));
            }
        }
        Ok(staged)
    }

    /// Takes the rest of sealed slots in, on top of what was staged; those that are whole and where
    /// they were expected to be.
    ///
    /// # Errors
    /// [`PullError`].
    pub(super) async fn rest(
        mut self,
        mut staged: Staged,
        expected: &BTreeMap<Slot, Position>,
    ) -> Result<Whole, PullError> {
        let mut whole = Whole::new();
        let slot_bytes_max = self.slot_bytes_max;
        while let Some(told) = self.next(|chunk| take(chunk, &mut staged, slot_bytes_max)).await? {
            let Told::End(end) = told else { continue };
            if expected.get(&end.slot) != Some(&end.at) {
                tracing::debug!(slot = %end.slot, "the holder's state is not where it was sealed");
                continue;
            }
            let staging = staged.remove(&end.slot);
            let staging = staging.unwrap_or_else(|| Staging::new(end.slot, slot_bytes_max));
            match staging.finish(end.clock, end.digest) {
                Ok(rows) => drop(whole.insert(end.slot, rows)),
                Err(error) => tracing::warn!(%error, "a slot's state did not arrive whole"),
            }
        }
        Ok(whole)
    }

    /// The next chunk as `take` reads it; `None` at the end.
    async fn next<T>(
        &mut self,
        mut take: impl FnMut(BulkChunk<'_>) -> Result<Option<T>, PullError>,
    ) -> Result<Option<T>, PullError> {
        loop {
            while let Some(frame) = self.buffer.take()? {
                let bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
                match decode::<BulkChunk<'_>>(frame)? {
                    BulkChunk::End => return Ok(None),
                    BulkChunk::Refused(refusal) => return Err(refusal.into()),
                    chunk => {
                        if let Some(told) = take(chunk)? {
                            return Ok(Some(told));
                        }
                    }
                }
            }
            let piece = self.receive.read_chunk(READ_BYTES_MAX, true).await;
            match piece {
                Ok(Some(piece)) => self.buffer.push(&piece.bytes),
                Ok(None) | Err(_) => return Err(PullError::CutOff),
            }
        }
    }
}

/// What a chunk told besides rows.
enum Told {
    /// A slot is told whole.
    End(SlotEnd),
}

struct SlotEnd {
    slot: Slot,
    at: Position,
    clock: SlotTime,
    digest: SlotDigest,
}

/// Takes rows in; the end of a slot is handed on.
fn take(
    chunk: BulkChunk<'_>,
    staged: &mut Staged,
    slot_bytes_max: usize,
) -> Result<Option<Told>, PullError> {
    let known = |number| Slot::new(number).ok_or(PullError::Senseless("no such slot"));
    match chunk {
        BulkChunk::Rows { slot, rows } => {
            let slot = known(slot)?;
            let staging = staged.entry(slot);
            let staging = staging.or_insert_with(|| Staging::new(slot, slot_bytes_max));
            for row in rows {
                staging.take(StateId(row.id), row.bytes.to_vec())?;
            }
            Ok(None)
        }
        BulkChunk::SlotEnd {
            slot,
            count,
            digest,
            at,
            clock_ms,
        } => Ok(Some(Told::End(SlotEnd {
            slot: known(slot)?,
            at: at.into(),
            clock: SlotTime::from_ms(clock_ms),
            digest: SlotDigest { count, xor: digest },
        }))),
        BulkChunk::Policies(_) => Err(PullError::Senseless("policies among rows")),
        BulkChunk::End | BulkChunk::Refused(_) => Ok(None),
    }
}

/// The request for a pre-copy or the rest, as a frame.
///
/// # Errors
/// [`FrameError`], which no request of 4096 slots causes.
pub(super) fn request_frame(request: &BulkRequest) -> Result<Vec<u8>, FrameError> {
    let mut frame = Vec::new();
    crate::protocol::frame::encode_within(BULK_FRAME_BYTES_MAX, request, &mut frame)?;
    Ok(frame)
}
