//! A commit record as the groups of its slots, without a look into them.

use std::ops::Range;

use crate::types::{Epoch, NodeId, Position, Slot};

/// Bytes of the record's head: checksum, version, number, stamp, owner.
const HEAD_BYTES: usize = 4 + 1 + 8 + 8 + 16;
const VERSION_AT: usize = 4;
/// Since this version each group has its slot's clock behind its number.
const VERSION_OF_CLOCKS: u8 = 3;
const STAMP_AT: usize = 4 + 1 + 8;
const OWNER_AT: usize = STAMP_AT + 8;

/// One slot's part of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) slot: Slot,
    pub(super) at: Position,
    /// Where it stands in the record, head and all.
    pub(super) bytes: Range<usize>,
}

/// The record's stamp, and its groups appended to `groups`; none if it is not as this node writes
/// them.
pub(super) fn cut(record: &[u8], groups: &mut Vec<Cut>) -> Option<u64> {
    let stamp_ms = u64::from_le_bytes(*record.get(STAMP_AT..)?.first_chunk()?);
    let node = NodeId(u128::from_le_bytes(*record.get(OWNER_AT..)?.first_chunk()?));
    let have_clocks = *record.get(VERSION_AT)? >= VERSION_OF_CLOCKS;
    let mut at = HEAD_BYTES;
    while at < record.len() {
        let mut rest = record.get(at..)?;
        let slot = Slot::new(u16::from_le_bytes(*rest.split_off(..2)?.first_chunk()?))?;
        let counter = varint(&mut rest)?;
        let n = varint(&mut rest)?;
        if have_clocks {
            varint(&mut rest)?;
        }
        let length = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
        rest.split_off(..usize::try_from(length).ok()?)?;
        let end = record.len().saturating_sub(rest.len());
        groups.push(Cut {
            slot,
            at: Position {
                epoch: Epoch { counter, node },
                n,
            },
            bytes: at..end,
        });
        at = end;
    }
    Some(stamp_ms)
}

/// Reads a LEB128 integer off the front.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
