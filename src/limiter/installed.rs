//! The durable mark of a slot: at which epoch its state was installed here, and what its clock is.
//!
//! It is written in one batch with the state's rows, so it says whose rows they are. A slot without
//! a mark was never installed nor dropped: all that the store has of it is the node's own.
//!
//! ```text
//! mark     = version 2 (1) kind (1) [if kind is 1, installed:
//!            at: position, replay_after: position, clock_ms (8), offset_ms (8, signed)]
//! position = counter (8) node (16) n (8)         all little-endian
//! ```
//!
//! A mark of version 1 has no n, which is 0 then. It is read, never written.

use super::codec::{CodecError, Reader};
use crate::types::{Epoch, NodeId, Position, SlotTime};

const VERSION: u8 = 2;
/// Without n.
const VERSION_WITHOUT_N: u8 = 1;
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
    /// How far it is.
    pub(crate) at: Position,
    /// Commits up to here are part of the rows, or of a state that was replaced.
    pub(crate) replay_after: Position,
    /// What the slot's clock showed.
    pub(crate) clock: SlotTime,
    /// The slot's clock less the node's; until that makes more of it, the slot's shows `clock`.
    pub(crate) offset_ms: i64,
}

/// In the place of an offset: the slot's clock does not run here, and shows what was told of it.
pub(super) const STANDS: i64 = i64::MIN;

impl Installed {
    /// A state that is installed at `at` when the node's clock shows `node_now`, and runs on from
    /// `clock`, the highest that the state has seen. `node_now` is read after whoever owned the slot
    /// before has stopped, so that the slot's clock never outruns real time.
    ///
    /// The clock runs from here on, served or not, and over restarts: `offset_ms` is stored, and a
    /// clock that stood still until it is served would jump ahead when it is read back.
    pub(crate) fn new(
        at: Position,
        replay_after: Position,
        clock: SlotTime,
        node_now: SlotTime,
    ) -> Self {
        let ms = |time: SlotTime| i64::try_from(time.as_ms()).unwrap_or(i64::MAX);
        Self {
            at,
            replay_after,
            clock,
            // The node's clock may show a millisecond that is nearly over. Were it taken for one that
            // has just begun, each hand-off would make the slot's clock gain a part of one.
            offset_ms: ms(clock).saturating_sub(ms(node_now)).saturating_sub(1),
        }
    }

    /// A state in whose reign another node decides. Its clock shows what that node tells and does not
    /// run by itself, not even slowly: this node's may drift ahead of the owner's, and a clock that
    /// counts among those of the reign, and is later than the owner ever granted at, would let windows
    /// end too early.
    pub(crate) const fn followed(at: Position, replay_after: Position, clock: SlotTime) -> Self {
        Self {
            at,
            replay_after,
            clock,
            offset_ms: STANDS,
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
        for Position { epoch, n } in [installed.at, installed.replay_after] {
            bytes.extend_from_slice(&epoch.counter.to_le_bytes());
            bytes.extend_from_slice(&epoch.node.0.to_le_bytes());
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        bytes.extend_from_slice(&installed.clock.as_ms().to_le_bytes());
        bytes.extend_from_slice(&installed.offset_ms.to_le_bytes());
        bytes
    }

    /// The reverse of [`SlotMark::encode`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut bytes = Reader(bytes);
        let has_n = match bytes.byte()? {
            VERSION => true,
            VERSION_WITHOUT_N => false,
            version => return Err(CodecError::Version(version)),
        };
        let mark = match bytes.byte()? {
            DROPPED => Self::Dropped,
            INSTALLED => Self::Installed(Installed {
                at: position(&mut bytes, has_n)?,
                replay_after: position(&mut bytes, has_n)?,
                clock: SlotTime::from_ms(u64::from_le_bytes(bytes.take()?)),
                offset_ms: i64::from_le_bytes(bytes.take()?),
            }),
            _ => return Err(CodecError::Content),
        };
        bytes.end()?;
        Ok(mark)
    }
}

fn position(bytes: &mut Reader<'_>, has_n: bool) -> Result<Position, CodecError> {
    let epoch = Epoch {
        counter: u64::from_le_bytes(bytes.take()?),
        node: NodeId(u128::from_le_bytes(bytes.take()?)),
    };
    let n = if has_n {
        u64::from_le_bytes(bytes.take()?)
    } else {
        0
    };
    Ok(Position { epoch, n })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(counter: u64, node: u128, n: u64) -> Position {
        let node = NodeId(node);
        let epoch = Epoch { counter, node };
        Position { epoch, n }
    }

    fn installed() -> Installed {
        let [clock, now] = [500, 1500].map(SlotTime::from_ms);
        Installed::new(at(3, 0x0a, 7), at(2, 0x0b, 9), clock, now)
    }

    fn followed() -> Installed {
        Installed::followed(at(3, 0x0a, 7), at(3, 0x0a, 7), SlotTime::from_ms(500))
    }

    fn hex(bytes: &[u8]) -> String {
        let bytes = bytes.iter();
        bytes.fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    #[test]
    fn marks_keep_their_format() {
        assert_eq!(
            hex(&SlotMark::Installed(installed()).encode()),
            "0201\
             03000000000000000a0000000000000000000000000000000700000000000000\
             02000000000000000b0000000000000000000000000000000900000000000000\
             f40100000000000017fcffffffffffff"
        );
        assert_eq!(SlotMark::Dropped.encode(), [2, 0]);
    }

    #[test]
    fn a_mark_of_before_there_were_replicas_reads_with_no_commits() {
        let epochs = [[3, 0x0a], [2, 0x0b]].map(|[counter, node]| {
            let mut bytes = [0; 24];
            (bytes[0], bytes[8]) = (counter, node);
            bytes
        });
        let mut old = vec![1, 1];
        old.extend(epochs.as_flattened());
        old.extend(500_u64.to_le_bytes());
        old.extend((-1001_i64).to_le_bytes());
        let expected = Installed {
            at: at(3, 0x0a, 0),
            replay_after: at(2, 0x0b, 0),
            ..installed()
        };
        assert_eq!(SlotMark::decode(&old), Ok(SlotMark::Installed(expected)));
        assert_eq!(SlotMark::decode(&[1, 0]), Ok(SlotMark::Dropped));
    }

    #[test]
    fn a_mark_reads_back_whole_or_not_at_all() {
        let installed = [installed(), followed()].map(SlotMark::Installed);
        for mark in [SlotMark::Dropped].into_iter().chain(installed) {
            let bytes = mark.encode();
            assert_eq!(SlotMark::decode(&bytes), Ok(mark));
            for len in 0..bytes.len() {
                assert!(SlotMark::decode(&bytes[..len]).is_err(), "{len} bytes");
            }
            assert!(SlotMark::decode(&[bytes, vec![0]].concat()).is_err());
        }
        assert_eq!(SlotMark::decode(&[3, 0]), Err(CodecError::Version(3)));
        assert_eq!(SlotMark::decode(&[2, 9]), Err(CodecError::Content));
    }
}
