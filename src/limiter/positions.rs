//! How far the states of all slots are, and what their clocks show, as a checkpoint stores it.
//!
//! A commit's group says so too, but a checkpoint drops the journal behind it. It stores this before,
//! and what the journal says that is left counts where it is more.
//!
//! ```text
//! positions = version 1 (1) then runs of slots of one epoch, in order of the slots, to the end
//! run       = epoch: counter (varint) node (16, little-endian), count (varint), then for each slot:
//!             slot (2, little-endian) n (varint) clock_ms (varint)
//! ```

use super::codec::{CodecError, Reader, put_varint};
use crate::types::{Epoch, NodeId, Position, Slot, SlotTime};

const VERSION: u8 = 1;

/// A slot, how far its state is, and what its clock shows.
pub(crate) type SlotPosition = (Slot, Position, SlotTime);

/// The bytes of positions.
pub(crate) fn encode(positions: &[SlotPosition]) -> Vec<u8> {
    let mut out = Vec::with_capacity(positions.len().saturating_mul(8));
    out.push(VERSION);
    for run in positions.chunk_by(|a, b| a.1.epoch == b.1.epoch) {
        let epoch = run.first().map_or(Epoch::ZERO, |first| first.1.epoch);
        put_varint(&mut out, epoch.counter);
        out.extend_from_slice(&epoch.node.0.to_le_bytes());
        put_varint(&mut out, u64::try_from(run.len()).unwrap_or(0));
        for (slot, at, clock) in run {
            out.extend_from_slice(&slot.number().to_le_bytes());
            put_varint(&mut out, at.n);
            put_varint(&mut out, clock.as_ms());
        }
    }
    out
}

/// The reverse of [`encode`].
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<SlotPosition>, CodecError> {
    let mut bytes = Reader(bytes);
    match bytes.byte()? {
        VERSION => {}
        version => return Err(CodecError::Version(version)),
    }
    let mut positions: Vec<SlotPosition> = Vec::new();
    while !bytes.is_empty() {
        let epoch = Epoch {
            counter: bytes.varint()?,
            node: NodeId(u128::from_le_bytes(bytes.take()?)),
        };
        for _ in 0..bytes.varint()? {
            let slot = Slot::new(u16::from_le_bytes(bytes.take()?)).ok_or(CodecError::Content)?;
            if positions.last().is_some_and(|last| last.0 >= slot) {
                return Err(CodecError::Content);
            }
            let n = bytes.varint()?;
            let clock = SlotTime::from_ms(bytes.varint()?);
            positions.push((slot, Position { epoch, n }, clock));
        }
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(slot: u16, counter: u64, n: u64, clock_ms: u64) -> SlotPosition {
        let epoch = Epoch {
            counter,
            node: NodeId(u128::from(counter) << 64),
        };
        let slot = Slot::new(slot).unwrap();
        (slot, Position { epoch, n }, SlotTime::from_ms(clock_ms))
    }

    #[test]
    fn positions_keep_their_format() {
        let bytes = encode(&[of(1, 3, 300, 5), of(2, 3, 0, 6), of(0xabc, 4, 1, 7)]);
        let hex = bytes
            .iter()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(
            hex,
            "01\
             03000000000000000003000000000000000201 00ac0205 02000006\
             0400000000000000000400000000000000 01bc0a0107"
                .replace(' ', "")
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            slots in prop::collection::btree_map(0..4096u16, (0..4u64, any::<u64>(), any::<u64>()), 0..60)
        ) {
            let positions = slots.into_iter();
            let positions: Vec<_> = positions.map(|(slot, (counter, n, ms))| of(slot, counter, n, ms)).collect();
            let bytes = encode(&positions);
            prop_assert_eq!(decode(&bytes), Ok(positions));
            for len in 0..bytes.len() {
                // Cut between two runs it is a shorter list; the checksum of the value tells.
                decode(&bytes[..len]).ok();
            }
        }

        #[test]
        fn bytes_that_nobody_wrote_are_an_error_and_never_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..100)
        ) {
            decode(&bytes).ok();
            decode(&[&[VERSION], bytes.as_slice()].concat()).ok();
        }
    }
}
