//! Whom to ask about a slot: the places of its owner and of the other nodes that hold it, in one word
//! that calls read without a lock.

use std::sync::atomic::{AtomicU32, Ordering};

use super::core::Core;
use super::seats::{NODES_MAX, SEEDS};
use crate::types::{HOLDERS_TOLD, Slot};

/// Stands for a node that has no place.
const ANYWHERE: u8 = u8::MAX;

const _: () = assert!(NODES_MAX < ANYWHERE as usize && HOLDERS_TOLD <= size_of::<u32>());

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holders([u8; HOLDERS_TOLD]);

impl Holders {
    /// Nobody is known.
    pub(super) const NONE: Self = Self([ANYWHERE; HOLDERS_TOLD]);

    /// The owner's place and the others', the next to take over first; `None` for who has none.
    pub(super) fn new(places: [Option<usize>; HOLDERS_TOLD]) -> Self {
        let byte = |place: usize| u8::try_from(place).ok();
        Self(places.map(|place| place.and_then(byte).unwrap_or(ANYWHERE)))
    }

    /// The place to ask first: the owner's, or that of the seeds if it has none.
    pub(super) fn owner(self) -> usize {
        let [owner, ..] = self.0;
        place(owner).unwrap_or(SEEDS)
    }

    /// The places of those who would take over, the next one first.
    pub(super) fn others(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().skip(1).filter_map(place)
    }
}

fn place(byte: u8) -> Option<usize> {
    (byte != ANYWHERE).then(|| usize::from(byte))
}

/// The holders of one slot. An old value costs a round trip.
#[derive(Debug)]
pub(super) struct SharedHolders(AtomicU32);

impl SharedHolders {
    /// Nobody is known yet.
    pub(super) fn none() -> Self {
        let shared = Self(AtomicU32::new(0));
        shared.set(Holders::NONE);
        shared
    }

    /// These from now on.
    pub(super) fn set(&self, holders: Holders) {
        let [owner, next, last] = holders.0;
        let word = u32::from_le_bytes([owner, next, last, 0]);
        self.0.store(word, Ordering::Relaxed);
    }

    fn get(&self) -> Holders {
        let [owner, next, last, _] = self.0.load(Ordering::Relaxed).to_le_bytes();
        Holders([owner, next, last])
    }
}

impl Core {
    /// Whom to ask about a slot.
    pub(super) fn holders(&self, slot: Option<Slot>) -> Holders {
        let slot = slot.and_then(|slot| self.slots.get(slot.index()));
        slot.map_or(Holders::NONE, SharedHolders::get)
    }

    /// The place that is asked about a slot at present: the owner's, or that of the next replica while
    /// the owner is silent.
    pub(super) fn nearest(&self, slot: Slot) -> usize {
        let holders = self.holders(Some(slot));
        let owner = holders.owner();
        if self.place(owner).is_up() {
            return owner;
        }
        let mut others = holders.others();
        others.find(|it| self.place(*it).is_up()).unwrap_or(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_come_out_of_their_word_as_they_went_in() {
        let shared = SharedHolders::none();
        assert_eq!(shared.get(), Holders::NONE);
        for (places, owner, others) in [
            ([Some(0), Some(64), Some(3)], 0, vec![64, 3]),
            ([Some(9), None, Some(7)], 9, vec![7]),
            ([None, Some(5), None], SEEDS, vec![5]),
            ([Some(255), Some(1000), None], SEEDS, vec![]),
        ] {
            shared.set(Holders::new(places));
            let holders = shared.get();
            assert_eq!(holders.owner(), owner);
            assert_eq!(holders.others().collect::<Vec<_>>(), others);
        }
    }
}
