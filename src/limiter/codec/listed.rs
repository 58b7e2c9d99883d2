//! Buckets as they are read, limit by limit. A commit changes one or two of a state, which need no
//! memory of their own.

use crate::limiter::policy::LIMITS_MAX;
use crate::limiter::window::Bucket;
use crate::types::SlotTime;

/// Buckets that are kept in place.
const FEW: usize = 2;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    lens: [u8; LIMITS_MAX],
    few: [Bucket; FEW],
    /// All of them, once they are more than [`FEW`].
    many: Vec<Bucket>,
}

impl Default for Listed {
    fn default() -> Self {
        let none = Bucket {
            start: SlotTime::ZERO,
            permits: 0,
        };
        Self {
            lens: [0; LIMITS_MAX],
            few: [none; FEW],
            many: Vec::new(),
        }
    }
}

impl Listed {
    /// Adds a bucket to the list of the `n`th limit; those of later limits are empty still, and it has
    /// less than 255.
    pub(super) fn push(&mut self, n: usize, bucket: Bucket) {
        let before = self.total();
        if let Some(place) = self.few.get_mut(before) {
            *place = bucket;
        } else {
            if before == FEW {
                self.many.extend_from_slice(&self.few);
            }
            self.many.push(bucket);
        }
        if let Some(len) = self.lens.get_mut(n) {
            *len = len.saturating_add(1);
        }
    }

    /// The buckets of the `n`th limit, in order of start.
    pub(crate) fn list(&self, n: usize) -> &[Bucket] {
        let lens = self.lens.iter().map(|&len| usize::from(len));
        let from: usize = lens.clone().take(n).sum();
        let to = from.saturating_add(lens.skip(n).take(1).sum());
        self.all().get(from..to).unwrap_or_default()
    }

    /// The buckets of all limits.
    pub(crate) fn lists(&self) -> [&[Bucket]; LIMITS_MAX] {
        std::array::from_fn(|n| self.list(n))
    }

    /// All buckets, those of the first limit first.
    pub(crate) fn all(&self) -> &[Bucket] {
        if self.many.is_empty() {
            self.few.get(..self.total()).unwrap_or_default()
        } else {
            &self.many
        }
    }

    fn total(&self) -> usize {
        self.lens.iter().map(|&len| usize::from(len)).sum()
    }
}
