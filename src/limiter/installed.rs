//! The durable mark of a slot: at which epoch its state was installed here, and what its clock is.
//!
//! It is written in one batch with the state's rows, so it says whose rows they are. A slot without
//! a mark was never installed nor dropped: all that the store has of it is the node's own.
//!
//! ```text
//! mark = version 1 (1) kind (1) [if kind is 1, installed:
//!        epoch: counter (8) node (16), replay_from: counter (8) node (16), clock_ms (8),
//!        offset_ms (8, signed)]         all little-endian
//! ```

use super::codec::{CodecError, Reader};
use crate::types::{Epoch, NodeId, SlotTime};

const VERSION: u8 = 1;
const DROPPED: u8 = 0;
const INSTALLED: u8 = 1;

/// What the store says about a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotMark {
    /// The state went to another node: what the journal still has of it is not the slot's.
    Dropped,
    /// The state is here.
    Installed(Installed),
}

/// A state as it was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Installed {
    /// Its epoch.
    pub(crate) epoch: Epoch,
    /// Commits of lower epochs are part of the rows, or of a state that was replaced.
    pub(crate) replay_from: Epoch,
    /// What the slot's clock showed.
    pub(crate) clock: SlotTime,
    /// The slot's clock less the node's; until that makes more of it, the slot's shows `clock`.
    pub(crate) offset_ms: i64,
}

impl Installed {
    /// A state that is installed at `epoch` when the node's clock shows `node_now`, and runs on from
    /// `clock`, the highest that the state has seen. `node_now` is read after whoever owned the slot
    /// before has stopped, so that the slot's clock never outruns real time.
    ///
    /// The clock runs from here on, served or not, and over restarts: `offset_ms` is stored, and a
    /// clock that stood still until it is served would jump ahead when it is read back.
    pub(crate) fn new(
        epoch: Epoch,
        replay_from: Epoch,
        clock: SlotTime,
        node_now: SlotTime,
    ) -> Self {
        let ms = |time: SlotTime| i64::try_from(time.as_ms()).unwrap_or(i64::MAX);
        Self {
            epoch,
            replay_from,
            clock,
            // The node's clock may show a millisecond that is nearly over. Were it taken for one that
            // has just begun, each hand-off would make the slot's clock gain a part of one.
            offset_ms: ms(clock).saturating_sub(ms(node_now)).saturating_sub(1),
        }
    }
}

impl SlotMark {
    /// The mark's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let installed = match self {
            Self::Dropped => return vec![VERSION, DROPPED],
            Self::Installed(installed) => installed,
        };
        let mut bytes = vec![VERSION, INSTALLED];
        for epoch in [installed.epoch, installed.replay_from] {
            bytes.extend_from_slice(&epoch.counter.to_le_bytes());
            bytes.extend_from_slice(&epoch.node.0.to_le_bytes());
        }
        bytes.extend_from_slice(&installed.clock.as_ms().to_le_bytes());
        bytes.extend_from_slice(&installed.offset_ms.to_le_bytes());
        bytes
    }

    /// The reverse of [`SlotMark::encode`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut bytes = Reader(bytes);
        match bytes.byte()? {
            VERSION => {}
            version => return Err(CodecError::Version(version)),
        }
        let mark = match bytes.byte()? {
            DROPPED => Self::Dropped,
            INSTALLED => Self::Installed(Installed {
                epoch: epoch(&mut bytes)?,
                replay_from: epoch(&mut bytes)?,
                clock: SlotTime::from_ms(u64::from_le_bytes(bytes.take()?)),
                offset_ms: i64::from_le_bytes(bytes.take()?),
            }),
            _ => return Err(CodecError::Content),
        };
        bytes.end()?;
        Ok(mark)
    }
}

fn epoch(bytes: &mut Reader<'_>) -> Result<Epoch, CodecError> {
    Ok(Epoch {
        counter: u64::from_le_bytes(bytes.take()?),
        node: NodeId(u128::from_le_bytes(bytes.take()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed() -> Installed {
        let epoch = |counter, node| Epoch {
            counter,
            node: NodeId(node),
        };
        let [clock, now] = [500, 1500].map(SlotTime::from_ms);
        Installed::new(epoch(3, 0x0a), epoch(2, 0x0b), clock, now)
    }

    #[test]
    fn marks_keep_their_format() {
        let mark = SlotMark::Installed(installed());
        let hex = mark
            .encode()
            .iter()
            .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        assert_eq!(
            hex,
            "0101\
             03000000000000000a000000000000000000000000000000\
             02000000000000000b000000000000000000000000000000\
             f40100000000000017fcffffffffffff"
        );
        assert_eq!(SlotMark::Dropped.encode(), [1, 0]);
    }

    #[test]
    fn a_mark_reads_back_whole_or_not_at_all() {
        for mark in [SlotMark::Dropped, SlotMark::Installed(installed())] {
            let bytes = mark.encode();
            assert_eq!(SlotMark::decode(&bytes), Ok(mark));
            for len in 0..bytes.len() {
                assert!(SlotMark::decode(&bytes[..len]).is_err(), "{len} bytes");
            }
            assert!(SlotMark::decode(&[bytes, vec![0]].concat()).is_err());
        }
        assert_eq!(SlotMark::decode(&[2, 0]), Err(CodecError::Version(2)));
        assert_eq!(SlotMark::decode(&[1, 9]), Err(CodecError::Content));
    }
}
