//! Expired rows go when RocksDB compacts the files they are in.
//!
//! A row is judged by its slot's clock, as the node publishes it, never by wall time: RocksDB's own
//! time to live would drop live counts when the wall clock jumps. A row of a slot that is not served
//! is kept, and one that cannot be read too, so that recovery can tell of it.

use std::sync::Arc;

use rocksdb::CompactionDecision;

use crate::limiter::SlotClocks;
use crate::limiter::codec::expires_at;
use crate::types::{SlotTime, StateId};

/// A compaction filter that drops the rows that have expired by `clocks`.
pub(super) fn drop_expired(
    clocks: Arc<SlotClocks>,
) -> impl FnMut(u32, &[u8], &[u8]) -> CompactionDecision + Send + 'static {
    move |_level, id, row| {
        let id = id.try_into().map(StateId::from_bytes);
        let reached = id.ok().and_then(|id| clocks.reached(id.slot()));
        if reached.is_some_and(|now| has_expired(row, now)) {
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
    fn only_a_readable_row_expires_and_only_by_its_clock() {
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
