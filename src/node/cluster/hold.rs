//! Telling the state of slots to the node that takes them over: a copy while they are served here,
//! the rest once they are sealed. A copy is remembered until its rest was told, or another begins.

use std::sync::Arc;
use std::time::Duration;

use quinn::SendStream;

use crate::limiter::table::{ExportError, SlotExport};
use crate::limiter::transfer::Row;
use crate::node::clock;
use crate::node::engine::Engine;
use crate::protocol::bulk::{
    BULK_FRAME_BYTES_MAX, BulkChunk, BulkRefusal, ROWS_MAX, WireRow,
};
use crate::protocol::frame::encode_within;
use crate::storage::store::StoreError;
use crate::types::{MonoTime, Slot};

/// A copy is sent in frames of about so many bytes of rows, so that one is never above the cap.
const FRAME_ROWS_BYTES: usize = BULK_FRAME_BYTES_MAX / 2;

/// The holder's end of a transfer.
#[derive(Debug)]
pub(super) struct Hold {
    engine: Arc<Engine>,
    send: SendStream,
    pace: Pace,
    frame: Vec<u8>,
}

/// Keeps what is sent below a rate.
#[derive(Debug, Clone, Copy)]
struct Pace {
    bytes_per_second: u64,
    /// When all that was sent so far may have been sent.
    due: MonoTime,
}

/// The other end of a stream is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl Hold {
    /// Answers on `send`, with a copy of at most so many bytes a second.
    pub(super) fn new(engine: Arc<Engine>, send: SendStream, bytes_per_second: u64) -> Self {
        let pace = Pace {
            bytes_per_second: bytes_per_second.max(1),
            due: clock::mono_now(),
        };
        Self {
            engine,
            send,
            pace,
            frame: Vec::new(),
        }
    }

    /// Tells all that there is of slots that go on being served; `None` if the copy cannot be gone
    /// on with.
    pub(super) async fn copy(mut self, mut export: SlotExport) -> Option<SlotExport> {
        let told = self.tell_copy(&mut export).await;
        let finished = match told {
            Ok(Ok(())) => self.say(&BulkChunk::End).await.is_ok(),
            Ok(Err(refusal)) => {
                self.refuse(refusal).await;
                false
            }
            Err(Gone) => false,
        };
        self.finish();
        if finished {
            return Some(export);
        }
        self.engine.table.end_export(&export);
        None
    }

    /// Tells what is left of slots that are sealed now, and how each ends.
    pub(super) async fn rest(mut self, mut export: SlotExport) {
        match self.tell_rest(&mut export).await {
            Ok(Ok(())) => drop(self.say(&BulkChunk::End).await),
            Ok(Err(refusal)) => self.refuse(refusal).await,
            Err(Gone) => {}
        }
        self.finish();
        self.engine.table.end_export(&export);
    }

    /// Tells nothing, and why.
    pub(super) async fn refuse(&mut self, refusal: BulkRefusal) {
        tracing::debug!(%refusal, "a transfer is refused");
        drop(self.say(&BulkChunk::Refused(refusal)).await);
    }

    /// Tells nothing, and why; the stream ends.
    pub(super) async fn refuse_all(mut self, refusal: BulkRefusal) {
        self.refuse(refusal).await;
        self.finish();
    }

    /// Tells these bytes of a policy set.
    pub(super) async fn policies(mut self, bytes: &[u8]) {
        if self.say(&BulkChunk::Policies(bytes)).await.is_ok() {
            drop(self.say(&BulkChunk::End).await);
        }
        self.finish();
    }

    async fn tell_copy(
        &mut self,
        export: &mut SlotExport,
    ) -> Result<Result<(), BulkRefusal>, Gone> {
        let mut rows = Vec::new();
        loop {
            rows.clear();
            let more = {
                let stored = self.engine.stored_rows();
                self.engine.table.export_copy(export, &stored, &mut rows)
            };
            match more {
                Ok(true) => {
                    let bytes = self.rows(&mut rows).await?;
                    self.pace.wait(bytes).await;
                }
                Ok(false) => return Ok(Ok(())),
                Err(error) => return Ok(Err(refusal(&error))),
            }
        }
    }

    async fn tell_rest(
        &mut self,
        export: &mut SlotExport,
    ) -> Result<Result<(), BulkRefusal>, Gone> {
        let mut rows = Vec::new();
        loop {
            rows.clear();
            let more = {
                let stored = self.engine.stored_rows();
                self.engine.table.export_rest(export, &stored, &mut rows)
            };
            match more {
                Ok(true) => drop(self.rows(&mut rows).await?),
                Ok(false) => break,
                Err(error) => return Ok(Err(refusal(&error))),
            }
        }
        for (slot, digest, clock) in export.digests().unwrap_or_default() {
            self.say(&BulkChunk::SlotEnd {
                slot: slot.number(),
                count: digest.count,
                digest: digest.xor,
                at: self.engine.table.position(slot).into(),
                clock_ms: clock.as_ms(),
            })
            .await?;
        }
        Ok(Ok(()))
    }

    /// Sends rows, those of a slot together; how many bytes they were.
    async fn rows(&mut self, rows: &mut [Row]) -> Result<u64, Gone> {
        // Stable: of two rows of a state the later one counts.
        rows.sort_by_key(|(id, _)| id.slot());
        let mut sent = 0u64;
        for of_slot in rows.chunk_by(|(one, _), (other, _)| one.slot() == other.slot()) {
            let Some((first, _)) = of_slot.first() else {
                continue;
            };
            let mut bytes = 0usize;
            let mut count = 0usize;
            let parts = of_slot.chunk_by(|(_, row), _| {
                bytes = bytes.saturating_add(row.len()).saturating_add(24);
                count = count.saturating_add(1);
                let fits = bytes < FRAME_ROWS_BYTES && count < ROWS_MAX;
                if !fits {
                    (bytes, count) = (0, 0);
                }
                fits
            });
            for part in parts {
                let size: usize = part.iter().map(|(_, row)| row.len()).sum();
                sent = sent.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
                let rows = part.iter().map(|(id, row)| WireRow {
                    id: id.0,
                    bytes: row,
                });
                let chunk = BulkChunk::Rows {
                    slot: first.slot().number(),
                    rows: rows.collect(),
                };
                self.say(&chunk).await?;
            }
        }
        Ok(sent)
    }

    async fn say(&mut self, chunk: &BulkChunk<'_>) -> Result<(), Gone> {
        self.frame.clear();
        if let Err(error) = encode_within(BULK_FRAME_BYTES_MAX, chunk, &mut self.frame) {
            tracing::error!(%error, "a chunk cannot be sent; please report this");
            return Err(Gone);
        }
        self.send
            .write_all(&self.frame)
            .await
            .map_err(|_gone| Gone)
    }

    fn finish(&mut self) {
        // Fails only if the stream is gone, which the other end knows.
        drop(self.send.finish());
    }
}

impl Pace {
    /// Waits until so many bytes more may have been sent.
    async fn wait(&mut self, bytes: u64) {
        let now = clock::mono_now();
        let nanos = bytes
            .saturating_mul(1_000_000_000)
            .checked_div(self.bytes_per_second);
        let took = Duration::from_nanos(nanos.unwrap_or(0));
        self.due = self.due.max(now).plus(took);
        let ahead = self.due.since(now);
        // Shorter waits than a timer's tick add up.
        if ahead >= Duration::from_millis(2) {
            tokio::time::sleep(ahead).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

fn refusal(error: &ExportError<StoreError>) -> BulkRefusal {
    let not_held = |slot: Slot| BulkRefusal::NotHeld {
        slot: slot.number(),
    };
    match error {
        ExportError::StillServed(slot) | ExportError::Void(slot) => not_held(*slot),
        ExportError::Store(error) => {
            tracing::error!(%error, "rows of a slot that moves cannot be read");
            BulkRefusal::StorageFailed
        }
    }
}
