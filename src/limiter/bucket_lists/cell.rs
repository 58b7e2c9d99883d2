//! A bucket relative to the others of its state.

use crate::limiter::window::Bucket;
use crate::types::SlotTime;

/// A bucket in eight bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::limiter) struct Cell {
    pub(super) after_base_ms: u32,
    pub(super) permits: u32,
}

impl Cell {
    pub(super) const EMPTY: Self = Self {
        after_base_ms: 0,
        permits: 0,
    };

    /// The cell of a bucket, if it fits.
    pub(super) fn of(bucket: Bucket, base_ms: u64) -> Option<Self> {
        let after_base_ms = bucket.start.as_ms().checked_sub(base_ms)?;
        Some(Self {
            after_base_ms: u32::try_from(after_base_ms).ok()?,
            permits: u32::try_from(bucket.permits).ok()?,
        })
    }

    pub(super) const fn bucket(self, base_ms: u64) -> Bucket {
        Bucket {
            start: SlotTime::from_ms(base_ms.saturating_add(self.after_base_ms as u64)),
            permits: self.permits as u64,
        }
    }
}
