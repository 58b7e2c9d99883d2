//! The forms of bucket lists, and how they are read.

use std::ops::Range;

use super::cell::Cell;
use super::list::List;
use super::run::{Gap, Head};
use crate::limiter::policy::LIMITS_MAX;
use crate::limiter::window::Bucket;
use crate::types::SlotTime;

/// Buckets limit by limit, each limit's in order of start.
#[derive(Debug, Clone)]
pub(in crate::limiter) enum BucketLists {
    /// At most [`INLINE`] cells.
    Inline {
        lens: Lens,
        base_ms: u64,
        cells: [Cell; INLINE],
    },
    /// Of the first limit only; in as small a ring as holds them.
    Run8(Head, Box<[Gap; 8]>),
    Run32(Head, Box<[Gap; 32]>),
    Run128(Head, Box<[Gap; Head::OLDER_MAX]>),
    /// Any number of cells.
    Boxed {
        lens: Lens,
        base_ms: u64,
        cells: Vec<Cell>,
    },
    /// Buckets that do not fit into cells: windows above 49 days, counts above four billion.
    Wide {
        lens: Lens,
        buckets: Vec<Bucket>,
    },
}

/// Number of buckets of each limit.
pub(super) type Lens = [u8; LIMITS_MAX];

pub(super) const INLINE: usize = 3;

/// Cells that a state has room for once it is boxed: one cache line.
pub(super) const BOXED_MIN: usize = 8;

const _: () = assert!(
    size_of::<BucketLists>() == 40,
    "a record is one cache line of 64 bytes"
);

impl BucketLists {
    /// No buckets.
    pub(in crate::limiter) const fn new() -> Self {
        Self::Inline {
            lens: [0; LIMITS_MAX],
            base_ms: 0,
            cells: [Cell::EMPTY; INLINE],
        }
    }

    #[inline]
    pub(super) const fn lens(&self) -> Lens {
        match self {
            Self::Inline { lens, .. } | Self::Boxed { lens, .. } | Self::Wide { lens, .. } => *lens,
            Self::Run8(head, _) | Self::Run32(head, _) | Self::Run128(head, _) => {
                [head.len(), 0, 0, 0]
            }
        }
    }

    /// Whether there is no bucket at all.
    pub(in crate::limiter) fn is_empty(&self) -> bool {
        self.lens() == [0; LIMITS_MAX]
    }

    /// The buckets of the `n`th limit, in order of start.
    #[inline(always)]
    pub(in crate::limiter) fn list(&self, n: usize) -> List<'_> {
        let places = self.places(n);
        match self {
            Self::Inline { base_ms, cells, .. } => List::of_cells(*base_ms, cells, places),
            Self::Boxed { base_ms, cells, .. } => List::of_cells(*base_ms, cells, places),
            Self::Wide { buckets, .. } => List::of_wide(buckets, places),
            Self::Run8(head, ring) => List::of_run(head, &**ring, n),
            Self::Run32(head, ring) => List::of_run(head, &**ring, n),
            Self::Run128(head, ring) => List::of_run(head, &**ring, n),
        }
    }

    /// The buckets of the `n`th limit that start at `first` or later, in order of start.
    pub(in crate::limiter) fn list_since(&self, n: usize, first: SlotTime) -> List<'_> {
        if let Some((head, ring)) = self.run().filter(|_| n == 0) {
            return List::Run(head.iter_since(ring, first));
        }
        let mut since = self.list(n);
        let mut rest = since.clone();
        while rest.next().is_some_and(|bucket| bucket.start < first) {
            since = rest.clone();
        }
        since
    }

    /// Permits in the buckets of the `n`th limit that start at `oldest` or later, and the start of
    /// its newest bucket: all that a decision needs, in one pass.
    #[inline(always)]
    pub(in crate::limiter) fn sum_since(
        &self,
        n: usize,
        oldest: SlotTime,
    ) -> (u64, Option<SlotTime>) {
        if let Some((head, ring)) = self.run().filter(|_| n == 0) {
            return (head.sum_since(ring, oldest), Some(head.newest()));
        }
        self.list(n).fold((0, None), |(sum, _), bucket| {
            let counting = if bucket.start >= oldest {
                bucket.permits
            } else {
                0
            };
            (counting.saturating_add(sum), Some(bucket.start))
        })
    }

    /// Where on the heap the oldest bucket and the next to come are, if either is touched by a
    /// change that drops buckets before `oldest` and opens one unless the newest starts at `newest`
    /// or later.
    #[inline]
    pub(in crate::limiter) fn far(&self, oldest: SlotTime, newest: SlotTime) -> Option<[usize; 2]> {
        match self {
            Self::Inline { .. } => None,
            Self::Run8(head, ring) => head.far(&**ring, oldest, newest),
            Self::Run32(head, ring) => head.far(&**ring, oldest, newest),
            Self::Run128(head, ring) => head.far(&**ring, oldest, newest),
            Self::Boxed { cells, .. } => Some([cells.as_ptr_range().end.addr(); 2]),
            Self::Wide { buckets, .. } => Some([buckets.as_ptr_range().end.addr(); 2]),
        }
    }

    /// Bytes on the heap.
    #[inline]
    pub(in crate::limiter) const fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            Self::Run8(..) => size_of::<[Gap; 8]>(),
            Self::Run32(..) => size_of::<[Gap; 32]>(),
            Self::Run128(..) => size_of::<[Gap; Head::OLDER_MAX]>(),
            Self::Boxed { cells, .. } => cells.capacity().saturating_mul(size_of::<Cell>()),
            Self::Wide { buckets, .. } => buckets.capacity().saturating_mul(size_of::<Bucket>()),
        }
    }

    /// Where the buckets of the `n`th limit are among all.
    #[inline]
    pub(super) fn places(&self, n: usize) -> Range<usize> {
        let lens = self.lens();
        let from = lens.iter().take(n).map(|&len| usize::from(len)).sum();
        from..lens
            .get(n)
            .map_or(from, |&len| from.saturating_add(usize::from(len)))
    }

    /// The place and the permits of the bucket of the `n`th limit that starts at `start`, or where
    /// it would be.
    #[inline]
    pub(super) fn find(&self, n: usize, start: SlotTime) -> Result<(usize, u64), usize> {
        let mut at = self.places(n).end;
        for bucket in self.list(n).rev() {
            if bucket.start < start {
                break;
            }
            at = at.saturating_sub(1);
            if bucket.start == start {
                return Ok((at, bucket.permits));
            }
        }
        Err(at)
    }

    /// The run and its ring, if the buckets are kept so.
    #[inline]
    pub(super) fn run(&self) -> Option<(&Head, &[Gap])> {
        match self {
            Self::Run8(head, ring) => Some((head, &**ring)),
            Self::Run32(head, ring) => Some((head, &**ring)),
            Self::Run128(head, ring) => Some((head, &**ring)),
            Self::Inline { .. } | Self::Boxed { .. } | Self::Wide { .. } => None,
        }
    }

    #[inline]
    pub(super) fn run_mut(&mut self) -> Option<(&mut Head, &mut [Gap])> {
        match self {
            Self::Run8(head, ring) => Some((head, &mut **ring)),
            Self::Run32(head, ring) => Some((head, &mut **ring)),
            Self::Run128(head, ring) => Some((head, &mut **ring)),
            Self::Inline { .. } | Self::Boxed { .. } | Self::Wide { .. } => None,
        }
    }

    pub(super) fn total(&self) -> usize {
        self.lens().iter().map(|&len| usize::from(len)).sum()
    }
}
