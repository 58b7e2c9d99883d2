//! Slots, the fixed parts of the key space, and the epochs in which they are owned.

use std::fmt;

/// Number of slots; fixed when a cluster is created.
pub(crate) const SLOT_COUNT: u16 = 4096;

/// One of [`SLOT_COUNT`] fixed parts of the key space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(u16);

impl Slot {
    /// The slot numbered `number`, or `None` if there is no such slot.
    pub(crate) const fn new(number: u16) -> Option<Self> {
        if number < SLOT_COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The slot of a 128-bit hash: its top 12 bits.
    pub(super) const fn of_hash(hash: u128) -> Self {
        Self((hash >> 116) as u16)
    }

    /// The slot's number, below [`SLOT_COUNT`].
    pub(crate) const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the reigns over a slot; it only rises, and no two reigns share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Epoch(pub(crate) u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
