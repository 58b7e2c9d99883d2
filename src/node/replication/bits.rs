//! Sets of slots that are read without a lock, and changed under one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::{SLOT_COUNT, Slot};

/// A set of slots.
#[derive(Debug)]
pub(super) struct SlotBits([AtomicU64; SLOT_COUNT as usize / 64]);

impl Default for SlotBits {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl SlotBits {
    /// Whether the slot is in it.
    pub(super) fn contains(&self, slot: Slot) -> bool {
        let word = self.0.get(slot.index() / 64);
        word.is_some_and(|word| word.load(Ordering::Acquire) & bit(slot) != 0)
    }

    /// How many slots are in it.
    pub(super) fn len(&self) -> u64 {
        let words = self.0.iter();
        let counts = words.map(|word| u64::from(word.load(Ordering::Acquire).count_ones()));
        counts.sum()
    }

    /// Puts the slot in or takes it out.
    pub(super) fn set(&self, slot: Slot, is_in: bool) {
        let Some(word) = self.0.get(slot.index() / 64) else {
            return;
        };
        if is_in {
            word.fetch_or(bit(slot), Ordering::AcqRel);
        } else {
            word.fetch_and(!bit(slot), Ordering::AcqRel);
        }
    }
}

const fn bit(slot: Slot) -> u64 {
    1 << (slot.index() % 64)
}
