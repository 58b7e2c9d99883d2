//! What is said on a link: an owner's commits to one replica, and what that replica has of them.
//!
//! A link carries [`OwnerFrame`]s one way and [`ReplicaFrame`]s the other, on one stream, in order.
//! A commit's groups travel as they stand in the commit record. A commit whose groups do not fit one
//! frame is cut between groups into several of one number; the `last` of them makes the number
//! complete, and only then is it acknowledged.
//!
//! Bodies are at most [`LINK_FRAME_BYTES_MAX`] long; nothing is taken on trust of an announced length.

use serde::{Deserialize, Serialize};

use super::bounded;
use super::ownership::{WireEpoch, WirePosition, WireSlots};
use crate::types::SLOT_COUNT;

/// Most bytes of groups in a frame.
pub(crate) const GROUPS_BYTES_MAX: usize = 1024 * 1024;

/// Longest body of a frame on a link: groups, and the head before them.
pub(crate) const LINK_FRAME_BYTES_MAX: usize = GROUPS_BYTES_MAX + 64;

/// From the owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OwnerFrame<'a> {
    /// What changed in the slots that the replica gets.
    Commit {
        /// The commit's number, above that of the commit sent before. Some are left out: nothing
        /// for this replica was in them.
        number: u64,
        /// What the owner's clock showed when the commit was taken.
        stamp_ms: u64,
        /// Whether nothing more of this number comes.
        last: bool,
        /// Whole groups, as in a commit record.
        #[serde(borrow, serialize_with = "raw")]
        groups: &'a [u8],
    },
    /// Somebody waits for these commits to be synced: sync all up to this number.
    Sync {
        /// A number that was sent.
        through: u64,
    },
    /// What the slots' clocks show now, each in the owner's reign of this counter.
    Clocks {
        /// Slot, counter, milliseconds.
        #[serde(deserialize_with = "clocks")]
        slots: Vec<(u16, u64, u64)>,
    },
    /// What the replica said of these slots is not so on this link: it has to catch up.
    Behind {
        /// Which slots.
        slots: WireSlots,
    },
}

/// From the replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReplicaFrame {
    /// All up to this number is dealt with, and what was taken in is appended.
    Applied {
        /// A number that was sent.
        through: u64,
        /// The slots of which something was refused.
        refused: WireSlots,
    },
    /// What was taken in up to this number is synced.
    Synced {
        /// A number that was said to be applied.
        through: u64,
    },
    /// All up to these positions is here and synced, and what comes next is taken in.
    InSync {
        /// Each slot and how far it is.
        #[serde(deserialize_with = "positions")]
        slots: Vec<(u16, WirePosition)>,
    },
    /// These slots do not follow any more.
    OutOfSync {
        /// Which slots.
        slots: WireSlots,
    },
    /// Nothing of the owner's reign is taken in any more: these higher ones are promised.
    Deaf {
        /// Each slot and what was promised.
        #[serde(deserialize_with = "epochs")]
        slots: Vec<(u16, WireEpoch)>,
    },
}

/// Writes bytes as one piece. `serde` would take them one by one; what is written is the same.
fn raw<S: serde::Serializer>(bytes: &&[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

macro_rules! each_slot_once {
    ($($name:ident: $item:ty;)*) => {$(
        fn $name<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<$item>, D::Error> {
            bounded::at_most::<_, _, { SLOT_COUNT as usize }>(from)
        }
    )*};
}

each_slot_once! {
    clocks: (u16, u64, u64);
    positions: (u16, WirePosition);
    epochs: (u16, WireEpoch);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::frame::{decode, encode_within};
    use crate::protocol::golden::pinned;
    use crate::types::{Slot, SlotSet};

    const EPOCH: WireEpoch = WireEpoch {
        counter: 300,
        node: 1,
    };

    fn slots() -> WireSlots {
        let numbers = [0, 9, 64].map(|n| Slot::new(n).unwrap());
        (&numbers.into_iter().collect::<SlotSet>()).into()
    }

    #[test]
    fn an_owners_frames_keep_their_bytes() {
        let commit = OwnerFrame::Commit {
            number: 300,
            stamp_ms: 7,
            last: true,
            groups: b"abc",
        };
        pinned_borrowed(&commit, "0900000000ac02070103616263");
        pinned_borrowed(&OwnerFrame::Sync { through: 300 }, "0300000001ac02");
        let clocks = OwnerFrame::Clocks {
            slots: vec![(9, 300, 5), (4095, 1, 2)],
        };
        pinned_borrowed(&clocks, "0a000000020209ac0205ff1f0102");
        let behind = OwnerFrame::Behind { slots: slots() };
        pinned_borrowed(&behind, "050000000302810401");
    }

    #[test]
    fn a_replicas_frames_keep_their_bytes() {
        let frames = [
            (
                ReplicaFrame::Applied {
                    through: 300,
                    refused: slots(),
                },
                "0700000000ac0202810401",
            ),
            (ReplicaFrame::Synced { through: 300 }, "0300000001ac02"),
            (
                ReplicaFrame::InSync {
                    slots: vec![(9, WirePosition { epoch: EPOCH, n: 5 })],
                },
                "07000000020109ac020105",
            ),
            (
                ReplicaFrame::OutOfSync { slots: slots() },
                "050000000302810401",
            ),
            (
                ReplicaFrame::Deaf {
                    slots: vec![(9, EPOCH)],
                },
                "06000000040109ac0201",
            ),
        ];
        for (frame, golden) in frames {
            pinned(&frame, golden);
        }
    }

    /// As `pinned`, for what borrows from its bytes.
    fn pinned_borrowed(frame: &OwnerFrame<'_>, golden: &str) {
        let mut bytes = Vec::new();
        encode_within(LINK_FRAME_BYTES_MAX, frame, &mut bytes).unwrap();
        assert_eq!(crate::protocol::golden::hex(&bytes), golden);
        assert_eq!(&decode::<OwnerFrame<'_>>(&bytes[4..]).unwrap(), frame);
    }

    #[test]
    fn the_fullest_frames_fit() {
        let groups = vec![7; GROUPS_BYTES_MAX];
        let commit = OwnerFrame::Commit {
            number: u64::MAX,
            stamp_ms: u64::MAX,
            last: true,
            groups: &groups,
        };
        let all = |n: u16| {
            let epoch = WireEpoch {
                counter: u64::MAX,
                node: u128::MAX,
            };
            (n, WirePosition { epoch, n: u64::MAX })
        };
        let in_sync = ReplicaFrame::InSync {
            slots: (0..SLOT_COUNT).map(all).collect(),
        };
        let clocks = OwnerFrame::Clocks {
            slots: (0..SLOT_COUNT).map(|n| (n, u64::MAX, u64::MAX)).collect(),
        };
        let mut bytes = Vec::new();
        encode_within(LINK_FRAME_BYTES_MAX, &commit, &mut bytes).unwrap();
        encode_within(LINK_FRAME_BYTES_MAX, &in_sync, &mut bytes).unwrap();
        encode_within(LINK_FRAME_BYTES_MAX, &clocks, &mut bytes).unwrap();
    }

    #[test]
    fn a_list_above_its_bound_is_refused() {
        for (count, fits) in [(SLOT_COUNT, true), (SLOT_COUNT + 1, false)] {
            let frame = ReplicaFrame::Deaf {
                slots: (0..count).map(|_| (1, EPOCH)).collect(),
            };
            let mut bytes = Vec::new();
            encode_within(LINK_FRAME_BYTES_MAX, &frame, &mut bytes).unwrap();
            assert_eq!(decode::<ReplicaFrame>(&bytes[4..]).is_ok(), fits);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
            if let Ok(frame) = decode::<OwnerFrame<'_>>(&bytes) {
                let mut again = Vec::new();
                encode_within(LINK_FRAME_BYTES_MAX, &frame, &mut again).unwrap();
            }
            if let Ok(frame) = decode::<ReplicaFrame>(&bytes) {
                let mut again = Vec::new();
                encode_within(LINK_FRAME_BYTES_MAX, &frame, &mut again).unwrap();
            }
        }
    }
}
