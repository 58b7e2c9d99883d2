//! Bytes of key states and commit records.
//!
//! A state row begins: crc32 (u32 LE, over the state id's 16 bytes and the rest of the row),
//! version (u8), `expires_at` (u64 LE, slot time in ms from which nothing in it counts).

use crate::types::SlotTime;

/// When the state in a stored row stops to count, read without checking the checksum; `None` if
/// the row is too short to say.
pub(crate) fn expires_at(row: &[u8]) -> Option<SlotTime> {
    let bytes = row.get(5..13)?;
    Some(SlotTime::from_ms(u64::from_le_bytes(
        bytes.try_into().ok()?,
    )))
}
