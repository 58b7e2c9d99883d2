//! Expired rows go when RocksDB compacts the files they are in.
//!
//! A row is judged by the slot clock that the node publishes, never by wall time: RocksDB's own
//! time to live would drop live counts when the wall clock jumps. A row that cannot be read is
//! kept, so that recovery can tell of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::CompactionDecision;

use crate::limiter::codec::expires_at;
use crate::types::SlotTime;

/// Milliseconds of the slot clock as the node last published them; 0, and nothing is dropped,
/// until it has recovered.
pub(crate) type SharedSlotClock = Arc<AtomicU64>;

/// A compaction filter that drops the rows that have expired by `clock`.
pub(super) fn drop_expired(
    clock: SharedSlotClock,
) -> impl FnMut(u32, &[u8], &[u8]) -> CompactionDecision + Send + 'static {
    move |_level, _id, row| {
        if has_expired(row, SlotTime::from_ms(clock.load(Ordering::Relaxed))) {
            CompactionDecision::Remove
        } else {
            CompactionDecision::Keep
        }
    }
}

fn has_expired(row: &[u8], now: SlotTime) -> bool {
    now > SlotTime::ZERO && expires_at(row).is_some_and(|expiry| expiry <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_readable_row_expires_and_only_by_the_published_clock() {
        let row = |expires_ms: u64| [&[0; 5], expires_ms.to_le_bytes().as_slice()].concat();
        let cases = [
            (row(1000), 999, false),
            (row(1000), 1000, true),
            (row(1000), 1001, true),
            (row(0), 0, false),
            (row(u64::MAX), u64::MAX - 1, false),
            (row(1000)[..12].to_vec(), 2000, false),
            (Vec::new(), 2000, false),
        ];
        for (row, now_ms, expected) in cases {
            let now = SlotTime::from_ms(now_ms);
            assert_eq!(has_expired(&row, now), expected, "{row:?} at {now}");
        }
    }
}
