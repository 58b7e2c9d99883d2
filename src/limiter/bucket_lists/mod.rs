//! The buckets of up to four limits: in 40 bytes while they are few; when they are not, as a run
//! with a ring if they are one limit's, else in one vector.
//!
//! Only a container: it keeps each limit's buckets in order of start and none with zero permits.
//! What they mean is [`super::window`]'s and [`super::key_state`]'s.

mod cell;
mod run;

use std::ops::Range;

use cell::Cell;
use run::{Gap, Head};

use super::policy::LIMITS_MAX;
use super::window::Bucket;
use crate::types::SlotTime;

/// Buckets limit by limit, each limit's in order of start.
#[derive(Debug, Clone)]
pub(super) enum BucketLists {
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
type Lens = [u8; LIMITS_MAX];

const INLINE: usize = 3;

/// Cells that a state has room for once it is boxed: one cache line.
const BOXED_MIN: usize = 8;

const _: () = assert!(
    size_of::<BucketLists>() == 40,
    "a record is one cache line of 64 bytes"
);

impl BucketLists {
    /// No buckets.
    pub(super) const fn new() -> Self {
        Self::Inline {
            lens: [0; LIMITS_MAX],
            base_ms: 0,
            cells: [Cell::EMPTY; INLINE],
        }
    }

    /// The given buckets, each limit's in order of start. Of more than 255 of one limit the oldest
    /// are added to the oldest that is kept, which leaves later: safe.
    pub(super) fn from_lists(lists: &[Vec<Bucket>; LIMITS_MAX]) -> Self {
        let mut all = Vec::with_capacity(lists.iter().map(Vec::len).sum());
        let mut lens = [0; LIMITS_MAX];
        for (len, list) in lens.iter_mut().zip(lists) {
            *len = u8::try_from(list.len()).unwrap_or(u8::MAX);
            let (merged, kept) = list.split_at(list.len().saturating_sub(usize::from(*len)));
            let first = all.len();
            all.extend_from_slice(kept);
            if let Some(first) = all.get_mut(first) {
                first.permits = merged
                    .iter()
                    .map(|b| b.permits)
                    .fold(first.permits, u64::saturating_add);
            }
        }
        Self::pack(lens, all)
    }

    const fn lens(&self) -> Lens {
        match self {
            Self::Inline { lens, .. } | Self::Boxed { lens, .. } | Self::Wide { lens, .. } => *lens,
            Self::Run8(head, _) | Self::Run32(head, _) | Self::Run128(head, _) => {
                [head.len(), 0, 0, 0]
            }
        }
    }

    /// Whether there is no bucket at all.
    pub(super) fn is_empty(&self) -> bool {
        self.lens() == [0; LIMITS_MAX]
    }

    /// The buckets of the `n`th limit, in order of start.
    pub(super) fn list(&self, n: usize) -> impl DoubleEndedIterator<Item = Bucket> + Clone + '_ {
        let (from, len) = self.range(n);
        let places = from..from.saturating_add(len);
        let (base_ms, cells, wide) = self.slices();
        let cells = cells.get(places.clone()).unwrap_or(&[]).iter();
        let wide = wide.get(places).unwrap_or(&[]).iter();
        let run = self.run().filter(|_| n == 0).into_iter();
        cells
            .map(move |cell| cell.bucket(base_ms))
            .chain(wide.copied())
            .chain(run.flat_map(|(head, ring)| head.iter(ring)))
    }

    /// Permits in the buckets of the `n`th limit that start at `oldest` or later, and the start of
    /// its newest bucket: all that a decision needs, in one pass.
    #[inline]
    pub(super) fn sum_since(&self, n: usize, oldest: SlotTime) -> (u64, Option<SlotTime>) {
        if let Some((head, ring)) = self.run().filter(|_| n == 0) {
            return (head.sum_since(ring, oldest), Some(head.newest()));
        }
        let (from, len) = self.range(n);
        let places = from..from.saturating_add(len);
        let (base_ms, cells, _) = self.slices();
        if let Some(cells) = cells.get(places) {
            let oldest = oldest.as_ms().saturating_sub(base_ms);
            let counting = cells.iter().rev();
            let counting = counting.take_while(|cell| u64::from(cell.after_base_ms) >= oldest);
            // At most 255 counts of 32 bits.
            let sum = counting.map(|cell| u64::from(cell.permits)).sum();
            return (sum, cells.last().map(|newest| newest.bucket(base_ms).start));
        }
        let counting = self
            .list(n)
            .rev()
            .take_while(|bucket| bucket.start >= oldest);
        let sum = counting
            .map(|bucket| bucket.permits)
            .fold(0, u64::saturating_add);
        (sum, self.list(n).next_back().map(|newest| newest.start))
    }

    /// Adds `permits` to the bucket of the `n`th limit that starts at `start`.
    pub(super) fn add(&mut self, n: usize, start: SlotTime, permits: u64) {
        let bucket = Bucket { start, permits };
        if let Some((head, ring)) = self.run_mut().filter(|_| n == 0)
            && head.add(ring, bucket)
        {
            return;
        }
        match self.find(n, start) {
            Ok((at, before)) => self.replace(at, before.saturating_add(permits)),
            Err(at) => self.insert(n, at, bucket),
        }
    }

    /// Takes at most `permits` from the bucket of the `n`th limit that starts at `start`; returns
    /// how many.
    pub(super) fn subtract(&mut self, n: usize, start: SlotTime, permits: u64) -> u64 {
        let Ok((_, before)) = self.find(n, start) else {
            return 0;
        };
        let taken = permits.min(before);
        self.set(
            n,
            Bucket {
                start,
                permits: before.saturating_sub(taken),
            },
        );
        taken
    }

    /// Sets the count of one bucket of the `n`th limit; 0 removes it.
    pub(super) fn set(&mut self, n: usize, bucket: Bucket) {
        match self.find(n, bucket.start) {
            Ok((at, _)) if bucket.permits == 0 => self.remove(n, at..at.saturating_add(1)),
            Ok((at, _)) => self.replace(at, bucket.permits),
            Err(_) if bucket.permits == 0 => {}
            Err(at) => self.insert(n, at, bucket),
        }
    }

    /// Drops the buckets of the `n`th limit that start before `oldest`.
    pub(super) fn drop_before(&mut self, n: usize, oldest: SlotTime) {
        if let Some((head, ring)) = self.run_mut().filter(|_| n == 0) {
            if !head.drop_before(ring, oldest) {
                *self = Self::new();
            }
            return;
        }
        let dead = self
            .list(n)
            .take_while(|bucket| bucket.start < oldest)
            .count();
        if dead > 0 {
            let (from, _) = self.range(n);
            self.remove(n, from..from.saturating_add(dead));
        }
    }

    /// Where on the heap the oldest bucket and the next to come are, if either is touched by a
    /// change that drops buckets before `oldest` and opens one unless the newest starts at `newest`
    /// or later.
    #[inline]
    pub(super) fn far(&self, oldest: SlotTime, newest: SlotTime) -> Option<[usize; 2]> {
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
    pub(super) const fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            Self::Run8(..) => size_of::<[Gap; 8]>(),
            Self::Run32(..) => size_of::<[Gap; 32]>(),
            Self::Run128(..) => size_of::<[Gap; Head::OLDER_MAX]>(),
            Self::Boxed { cells, .. } => cells.capacity().saturating_mul(size_of::<Cell>()),
            Self::Wide { buckets, .. } => buckets.capacity().saturating_mul(size_of::<Bucket>()),
        }
    }

    /// Where the buckets of the `n`th limit begin, and how many there are.
    fn range(&self, n: usize) -> (usize, usize) {
        let lens = self.lens();
        let before = lens.iter().take(n).map(|&len| usize::from(len)).sum();
        (before, lens.get(n).map_or(0, |&len| usize::from(len)))
    }

    /// The place and the permits of the bucket of the `n`th limit that starts at `start`, or where
    /// it would be.
    fn find(&self, n: usize, start: SlotTime) -> Result<(usize, u64), usize> {
        let (from, len) = self.range(n);
        let mut at = from.saturating_add(len);
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

    /// The cells and what they are relative to, or the wide buckets; the other is empty.
    fn slices(&self) -> (u64, &[Cell], &[Bucket]) {
        match self {
            Self::Inline {
                base_ms,
                cells,
                lens,
            } => {
                let len = lens.iter().map(|&len| usize::from(len)).sum();
                (*base_ms, cells.get(..len).unwrap_or(&[]), &[])
            }
            Self::Boxed { base_ms, cells, .. } => (*base_ms, cells, &[]),
            Self::Run8(..) | Self::Run32(..) | Self::Run128(..) => (0, &[], &[]),
            Self::Wide { buckets, .. } => (0, &[], buckets),
        }
    }

    /// The run and its ring, if the buckets are kept so.
    #[inline]
    fn run(&self) -> Option<(&Head, &[Gap])> {
        match self {
            Self::Run8(head, ring) => Some((head, &**ring)),
            Self::Run32(head, ring) => Some((head, &**ring)),
            Self::Run128(head, ring) => Some((head, &**ring)),
            Self::Inline { .. } | Self::Boxed { .. } | Self::Wide { .. } => None,
        }
    }

    #[inline]
    fn run_mut(&mut self) -> Option<(&mut Head, &mut [Gap])> {
        match self {
            Self::Run8(head, ring) => Some((head, &mut **ring)),
            Self::Run32(head, ring) => Some((head, &mut **ring)),
            Self::Run128(head, ring) => Some((head, &mut **ring)),
            Self::Inline { .. } | Self::Boxed { .. } | Self::Wide { .. } => None,
        }
    }

    fn replace(&mut self, at: usize, permits: u64) {
        let cells: &mut [Cell] = match self {
            Self::Inline { cells, .. } => cells,
            Self::Boxed { cells, .. } => cells,
            Self::Run8(..) | Self::Run32(..) | Self::Run128(..) | Self::Wide { .. } => &mut [],
        };
        if let (Some(cell), Ok(permits)) = (cells.get_mut(at), u32::try_from(permits)) {
            cell.permits = permits;
            return;
        }
        self.edit(self.lens(), |all| {
            if let Some(bucket) = all.get_mut(at) {
                bucket.permits = permits;
            }
        });
    }

    fn insert(&mut self, n: usize, at: usize, bucket: Bucket) {
        let (from, len) = self.range(n);
        if len == usize::from(u8::MAX) {
            let last = from.saturating_add(len).saturating_sub(1);
            return self.merge(at.min(last), bucket);
        }
        let total = self.total();
        let mut longer = self.lens();
        if let Some(len) = longer.get_mut(n) {
            *len = len.saturating_add(1);
        }
        match self {
            Self::Inline {
                base_ms,
                cells,
                lens,
            } if total < INLINE => {
                if total == 0 {
                    *base_ms = bucket.start.as_ms();
                }
                if let Some(cell) = Cell::of(bucket, *base_ms) {
                    cells.copy_within(at..total, at.saturating_add(1));
                    if let Some(place) = cells.get_mut(at) {
                        *place = cell;
                    }
                    *lens = longer;
                    return;
                }
            }
            Self::Boxed {
                base_ms,
                cells,
                lens,
            } => {
                if let Some(cell) = Cell::of(bucket, *base_ms) {
                    cells.insert(at.min(total), cell);
                    *lens = longer;
                    return;
                }
            }
            Self::Inline { .. }
            | Self::Run8(..)
            | Self::Run32(..)
            | Self::Run128(..)
            | Self::Wide { .. } => {}
        }
        self.edit(longer, |all| all.insert(at.min(all.len()), bucket));
    }

    /// Adds a bucket to the one at `at` of a full list, under the later start of the two: a count
    /// only ever moves to a later bucket.
    fn merge(&mut self, at: usize, bucket: Bucket) {
        self.edit(self.lens(), |all| {
            if let Some(place) = all.get_mut(at) {
                place.start = place.start.max(bucket.start);
                place.permits = place.permits.saturating_add(bucket.permits);
            }
        });
    }

    fn remove(&mut self, n: usize, places: Range<usize>) {
        let total = self.total();
        if places.end > total {
            return;
        }
        let mut shorter = self.lens();
        if let Some(len) = shorter.get_mut(n) {
            *len = len.saturating_sub(u8::try_from(places.len()).unwrap_or(u8::MAX));
        }
        match self {
            Self::Inline { cells, lens, .. } => {
                // What is left over behind the last cell is not looked at.
                cells.copy_within(places.end..total, places.start);
                *lens = shorter;
            }
            Self::Boxed { cells, lens, .. } => {
                drop(cells.drain(places));
                *lens = shorter;
            }
            Self::Run8(..) | Self::Run32(..) | Self::Run128(..) | Self::Wide { .. } => {
                self.edit(shorter, |all| drop(all.drain(places)));
            }
        }
        if self.is_empty() {
            *self = Self::new();
        }
    }

    /// Changes the buckets in their plain form, to as many as `lens` says.
    fn edit(&mut self, lens: Lens, change: impl FnOnce(&mut Vec<Bucket>)) {
        let mut all: Vec<Bucket> = (0..LIMITS_MAX).flat_map(|n| self.list(n)).collect();
        change(&mut all);
        *self = Self::pack(lens, all);
    }

    fn total(&self) -> usize {
        self.lens().iter().map(|&len| usize::from(len)).sum()
    }

    /// The narrowest form that holds the buckets.
    fn pack(lens: Lens, buckets: Vec<Bucket>) -> Self {
        if buckets.len() > INLINE
            && buckets.len() == usize::from(lens[0])
            && let Some(run) = Self::pack_run(&buckets)
        {
            return run;
        }
        let base_ms = buckets
            .iter()
            .map(|bucket| bucket.start.as_ms())
            .min()
            .unwrap_or(0);
        let mut boxed = Vec::with_capacity(buckets.len().max(BOXED_MIN));
        for bucket in &buckets {
            let Some(cell) = Cell::of(*bucket, base_ms) else {
                return Self::Wide { lens, buckets };
            };
            boxed.push(cell);
        }
        let mut cells = [Cell::EMPTY; INLINE];
        match cells.get_mut(..boxed.len()) {
            Some(place) => {
                place.copy_from_slice(&boxed);
                Self::Inline {
                    lens,
                    base_ms,
                    cells,
                }
            }
            None => Self::Boxed {
                lens,
                base_ms,
                cells: boxed,
            },
        }
    }

    /// As a run in the smallest ring that holds the buckets, if they fit into one.
    fn pack_run(buckets: &[Bucket]) -> Option<Self> {
        fn pack<const N: usize>(buckets: &[Bucket]) -> Option<(Head, Box<[Gap; N]>)> {
            let mut ring = Box::new([Gap::default(); N]);
            Some((Head::of(buckets, &mut *ring)?, ring))
        }
        match buckets.len() {
            ..=9 => pack(buckets).map(|(head, ring)| Self::Run8(head, ring)),
            ..=33 => pack(buckets).map(|(head, ring)| Self::Run32(head, ring)),
            _ => pack(buckets).map(|(head, ring)| Self::Run128(head, ring)),
        }
    }
}

#[cfg(test)]
mod tests;
