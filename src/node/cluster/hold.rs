//! Telling the state of slots to the node that takes them over: a copy while they are served here,
//! the rest once they are sealed. A copy is remembered until its rest was told, or another begins.
//! A replica is told slots that go on being served, and what happens meanwhile over its link.

use std::sync::Arc;
use std::time::Duration;

use super::pull::Asked;
use crate::limiter::table::{ExportError, ServedCopy, SlotExport};
use crate::limiter::transfer::Row;
use crate::node::clock;
use crate::node::engine::Engine;
use crate::node::peers::{BulkError, BulkSender};
use crate::protocol::bulk::{
    BULK_FRAME_BYTES_MAX, BulkChunk, BulkRefusal, ROW_OVERHEAD_BYTES, ROWS_MAX, WireRow,
};
use crate::storage::store::StoreError;
use crate::types::{MonoTime, Position, Slot, SlotSet};

/// Rows are sent in frames of about so many bytes, so that one is never above the cap.
const FRAME_ROWS_BYTES: usize = BULK_FRAME_BYTES_MAX / 2;

/// Served slots that are copied together.
const PART_SLOTS: usize = 64;

/// Waits below this add up until they are worth a timer.
const WAIT_MIN: Duration = Duration::from_millis(2);

/// The holder's end of a transfer.
#[derive(Debug)]
pub(super) struct Hold {
    engine: Arc<Engine>,
    chunks: BulkSender,
    pace: Pace,
}

/// Keeps what is sent below a rate.
#[derive(Debug, Clone, Copy)]
struct Pace {
    bytes_per_second: u64,
    /// When all that was sent so far may have been sent.
    due: MonoTime,
}

/// Served slots that a replica wants to catch up with, each with its position as it was once the
/// replica was fed: all commits up to there are in the rows.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// To be copied.
    pub(super) copied: Vec<(Slot, Position)>,
    /// The replica has all of them.
    pub(super) same: Vec<(Slot, Position)>,
    /// Not served here as asked.
    pub(super) refused: Vec<Slot>,
}

impl Served {
    /// What to tell a replica that asks for this, after `feed` has its commits sent to it. `None` if
    /// it cannot be fed.
    pub(super) fn as_asked(
        engine: &Engine,
        asked: &Asked,
        feed: impl FnOnce(&SlotSet) -> bool,
    ) -> Option<Self> {
        let table = &engine.table;
        let serves = |slot, epoch| table.is_served(slot) && table.position(slot).epoch == epoch;
        let fed = asked.iter().filter(|(slot, it)| serves(**slot, it.0));
        let fed: SlotSet = fed.map(|(slot, _)| *slot).collect();
        // First fed, and then asked how far each slot is: so all commits behind that go there.
        if !feed(&fed) {
            return None;
        }
        let denied = share_quarantine(engine, &fed);
        let mut served = Self::default();
        for (&slot, &(epoch, own)) in asked {
            let at = table.position(slot);
            if !fed.contains(slot) || at.epoch != epoch {
                served.refused.push(slot);
            } else if own == Some(at) && !denied {
                served.same.push((slot, at));
            } else {
                served.copied.push((slot, at));
            }
        }
        Some(served)
    }
}

/// Why rows are not told any more.
enum Stop {
    /// There is a reason to be told.
    Refuse(BulkRefusal),
    /// The other end is gone.
    Gone(BulkError),
}

impl From<BulkError> for Stop {
    fn from(error: BulkError) -> Self {
        Self::Gone(error)
    }
}

impl Hold {
    /// Answers by `chunks`, with a copy of at most so many bytes a second.
    pub(super) fn new(engine: Arc<Engine>, chunks: BulkSender, bytes_per_second: u64) -> Self {
        let pace = Pace {
            bytes_per_second: bytes_per_second.max(1),
            due: clock::mono_now(),
        };
        Self {
            engine,
            chunks,
            pace,
        }
    }

    /// Tells all that there is of slots that go on being served; `None` if the copy cannot be gone
    /// on with.
    pub(super) async fn copy(mut self, mut export: SlotExport) -> Option<SlotExport> {
        let told = self.tell_copy(&mut export).await;
        let engine = Arc::clone(&self.engine);
        if self.end(told).await {
            return Some(export);
        }
        engine.table.end_export(&export);
        None
    }

    /// Tells what is left of slots that are sealed now, and how each ends.
    pub(super) async fn rest(mut self, mut export: SlotExport) {
        let told = self.tell_rest(&mut export).await;
        self.engine.table.end_export(&export);
        self.end(told).await;
    }

    /// Tells slots that go on being served, for a replica that is fed their commits from now on. Each
    /// has its position as it was noted before; a slot that has changed hands since is not served.
    pub(super) async fn catch_up(mut self, served: Served) {
        let told = self.tell_served(served).await;
        self.end(told).await;
    }

    /// Tells nothing, and why.
    pub(super) async fn refuse(self, refusal: BulkRefusal) {
        self.end(Err(Stop::Refuse(refusal))).await;
    }

    /// Tells the bytes of a policy set.
    pub(super) async fn policies(self, bytes: &[u8]) {
        let told = self.chunks.finish(&BulkChunk::Policies(bytes)).await;
        if let Err(error) = told {
            tracing::debug!(%error, "policies were not told");
        }
    }

    /// Ends the transfer; whether it was told whole.
    async fn end(self, told: Result<(), Stop>) -> bool {
        let ended = match told {
            Ok(()) => self.chunks.finish(&BulkChunk::End).await,
            Err(Stop::Gone(error)) => Err(error),
            Err(Stop::Refuse(refusal)) => {
                tracing::debug!(%refusal, "a transfer is refused");
                // Fails only if the other end is gone.
                self.chunks.finish(&BulkChunk::Refused(refusal)).await.ok();
                return false;
            }
        };
        if let Err(error) = &ended {
            tracing::debug!(%error, "a transfer was cut off");
        }
        ended.is_ok()
    }

    async fn tell_copy(&mut self, export: &mut SlotExport) -> Result<(), Stop> {
        let mut rows = Vec::new();
        loop {
            rows.clear();
            let more = {
                let stored = self.engine.stored_rows();
                self.engine.table.export_copy(export, &stored, &mut rows)
            };
            if !more.map_err(|error| Stop::Refuse(refusal(&error)))? {
                return Ok(());
            }
            let before = self.chunks.sent_bytes();
            self.rows(&mut rows).await?;
            let sent = self.chunks.sent_bytes().saturating_sub(before);
            self.pace.wait(sent).await;
        }
    }

    async fn tell_rest(&mut self, export: &mut SlotExport) -> Result<(), Stop> {
        let mut rows = Vec::new();
        loop {
            rows.clear();
            let more = {
                let stored = self.engine.stored_rows();
                self.engine.table.export_rest(export, &stored, &mut rows)
            };
            if !more.map_err(|error| Stop::Refuse(refusal(&error)))? {
                break;
            }
            self.rows(&mut rows).await?;
        }
        for (slot, digest, clock) in export.digests().unwrap_or_default() {
            let end = BulkChunk::SlotEnd {
                slot: slot.number(),
                count: digest.count,
                digest: digest.xor,
                at: self.engine.table.position(slot).into(),
                clock_ms: clock.as_ms(),
            };
            self.chunks.send(&end).await?;
        }
        Ok(())
    }

    async fn tell_served(&mut self, served: Served) -> Result<(), Stop> {
        for slot in served.refused {
            let slot = slot.number();
            self.chunks.send(&BulkChunk::NotServed { slot }).await?;
        }
        for (slot, at) in served.same {
            self.end_served(slot, at, None).await?;
        }
        // Part by part, so that what was told counts although the rest is cut off.
        for part in served.copied.chunks(PART_SLOTS) {
            self.tell_part(part).await?;
        }
        Ok(())
    }

    async fn tell_part(&mut self, part: &[(Slot, Position)]) -> Result<(), Stop> {
        let mut copy = ServedCopy::new(part.iter().map(|(slot, _)| *slot).collect());
        let mut rows = Vec::new();
        loop {
            rows.clear();
            let more = {
                let stored = self.engine.stored_rows();
                let table = &self.engine.table;
                table.copy_served(&mut copy, &stored, &mut rows)
            };
            if !more.map_err(|error| Stop::Refuse(unreadable(&error)))? {
                break;
            }
            let before = self.chunks.sent_bytes();
            self.rows(&mut rows).await?;
            let sent = self.chunks.sent_bytes().saturating_sub(before);
            self.pace.wait(sent).await;
        }
        for &(slot, at) in part {
            self.end_served(slot, at, Some(copy.count(slot))).await?;
        }
        Ok(())
    }

    /// Ends a slot of which so many rows were told, or none because the replica has all.
    async fn end_served(
        &mut self,
        slot: Slot,
        at: Position,
        count: Option<u64>,
    ) -> Result<(), BulkError> {
        let table = &self.engine.table;
        // Read before it is asked who serves: of a slot that has changed hands since, it is not told.
        let clock_ms = table.slot_now(slot, self.engine.now()).as_ms();
        let still = table.is_served(slot) && table.position(slot).epoch == at.epoch;
        let (slot, at) = (slot.number(), at.into());
        let chunk = match count {
            _ if !still => BulkChunk::NotServed { slot },
            None => BulkChunk::Same { slot, at, clock_ms },
            Some(count) => BulkChunk::CopyEnd {
                slot,
                at,
                clock_ms,
                count,
            },
        };
        self.chunks.send(&chunk).await
    }

    /// Sends rows, those of a slot together.
    async fn rows(&mut self, rows: &mut [Row]) -> Result<(), BulkError> {
        // Stable: of two rows of a state the later one counts.
        rows.sort_by_key(|(id, _)| id.slot());
        for of_slot in rows.chunk_by(|(one, _), (other, _)| one.slot() == other.slot()) {
            let (mut bytes, mut count) = (0usize, 0usize);
            let parts = of_slot.chunk_by(|(_, row), (_, next)| {
                bytes = bytes
                    .saturating_add(row.len())
                    .saturating_add(ROW_OVERHEAD_BYTES);
                count = count.saturating_add(1);
                let fits = bytes.saturating_add(next.len()) < FRAME_ROWS_BYTES && count < ROWS_MAX;
                if !fits {
                    (bytes, count) = (0, 0);
                }
                fits
            });
            for part in parts {
                let slot = part.first().map_or(0, |(id, _)| id.slot().number());
                let rows = part.iter().map(|(id, row)| WireRow {
                    id: id.0,
                    bytes: row,
                });
                let rows = rows.collect();
                self.chunks.send(&BulkChunk::Rows { slot, rows }).await?;
            }
        }
        Ok(())
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
        if ahead >= WAIT_MIN {
            tokio::time::sleep(ahead).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// Has a replica deny the keys of these slots as long as this node does for having lost counts;
/// whether it does.
fn share_quarantine(engine: &Engine, slots: &SlotSet) -> bool {
    let now = engine.now();
    let Some(since) = engine.quarantined(now) else {
        return false;
    };
    let ago_ms = now.ms_since(since);
    for slot in slots.iter() {
        let since = engine.table.slot_now(slot, now).minus_ms(ago_ms);
        engine.table.quarantine_slot(slot, since);
    }
    true
}

fn refusal(error: &ExportError<StoreError>) -> BulkRefusal {
    let not_held = |slot: Slot| BulkRefusal::NotHeld {
        slot: slot.number(),
    };
    match error {
        ExportError::StillServed(slot) | ExportError::Void(slot) => not_held(*slot),
        ExportError::Store(error) => unreadable(error),
    }
}

fn unreadable(error: &StoreError) -> BulkRefusal {
    tracing::error!(%error, "rows of a slot that is told to another node cannot be read");
    BulkRefusal::StorageFailed
}
