//! The stored clock stamp: what the node's slot clock showed at which times of the machine. The
//! offsets of the slots to it are stored with their states.

use super::clock;
use super::engine::Engine;
use crate::limiter::ClockStamp;
use crate::storage::fence::StorageFailed;
use crate::storage::store::{Store, StoreError};
use crate::types::{MonoTime, SlotTime};

/// Name of the meta value.
const NAME: &str = "clock";

/// Stores what all clocks show now.
pub(super) fn put(engine: &Engine) -> Result<(), StorageFailed> {
    let now = clock::start_clocks();
    let slot = engine.clock.read(now.mono);
    engine.slot_clocks.publish(slot);
    let mut value = Vec::with_capacity(64);
    for number in [slot.as_ms(), now.mono.as_ns(), now.wall_ms] {
        value.extend_from_slice(&number.to_le_bytes());
    }
    value.extend_from_slice(now.boot_id.as_bytes());
    engine
        .store
        .put_meta(NAME, &value)
        .map_err(|error| engine.fence.close(error))
}

/// The stored stamp, if there is one.
pub(super) fn read(store: &dyn Store) -> Result<Option<ClockStamp>, StoreError> {
    let Some(value) = store.meta(NAME)? else {
        return Ok(None);
    };
    let number = |at: usize| {
        let bytes = value.get(at..)?.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*bytes))
    };
    let (Some(slot), Some(mono), Some(wall_ms)) = (number(0), number(8), number(16)) else {
        return Ok(None);
    };
    let boot_id = String::from_utf8_lossy(value.get(24..).unwrap_or(&[])).into_owned();
    let (slot, mono) = (SlotTime::from_ms(slot), MonoTime::from_ns(mono));
    Ok(Some(ClockStamp {
        slot,
        mono,
        wall_ms,
        boot_id,
    }))
}
