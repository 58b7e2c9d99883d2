//! Changes of bucket lists, and the form that they are then kept in.

use std::ops::Range;

use super::cell::Cell;
use super::lists::{BOXED_MIN, BucketLists, INLINE, Lens};
use super::run::{Gap, Head};
use crate::limiter::policy::LIMITS_MAX;
use crate::limiter::window::Bucket;
use crate::types::SlotTime;

impl BucketLists {
    /// The given buckets, each limit's in order of start. Of more than 255 of one limit the oldest
    /// are added to the oldest that is kept, which leaves later: safe.
    pub(in crate::limiter) fn from_lists(lists: [&[Bucket]; LIMITS_MAX]) -> Self {
        let mut all = Vec::with_capacity(lists.iter().map(|list| list.len()).sum());
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

    /// Adds `permits` to the bucket of the `n`th limit that starts at `start`.
    #[inline(always)]
    pub(in crate::limiter) fn add(&mut self, n: usize, start: SlotTime, permits: u64) {
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
    pub(in crate::limiter) fn subtract(&mut self, n: usize, start: SlotTime, permits: u64) -> u64 {
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
    pub(in crate::limiter) fn set(&mut self, n: usize, bucket: Bucket) {
        if let Some((head, ring)) = self.run_mut().filter(|_| n == 0)
            && head.set(ring, bucket)
        {
            return;
        }
        match self.find(n, bucket.start) {
            Ok((at, _)) if bucket.permits == 0 => self.remove(n, at..at.saturating_add(1)),
            Ok((at, _)) => self.replace(at, bucket.permits),
            Err(_) if bucket.permits == 0 => {}
            Err(at) => self.insert(n, at, bucket),
        }
    }

    /// Drops the buckets of the `n`th limit that start before `oldest`.
    #[inline(always)]
    pub(in crate::limiter) fn drop_before(&mut self, n: usize, oldest: SlotTime) {
        if let Some((head, ring)) = self.run_mut().filter(|_| n == 0) {
            if !head.drop_before(ring, oldest) {
                *self = Self::new();
            }
            return;
        }
        let first = self.list(n).next();
        if first.is_some_and(|bucket| bucket.start < oldest) {
            self.drop_some_before(n, oldest);
        }
    }

    #[inline(never)]
    fn drop_some_before(&mut self, n: usize, oldest: SlotTime) {
        let dead = self.list(n).take_while(|bucket| bucket.start < oldest);
        let (from, dead) = (self.places(n).start, dead.count());
        self.remove(n, from..from.saturating_add(dead));
    }

    #[inline]
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

    #[inline(never)]
    fn insert(&mut self, n: usize, at: usize, bucket: Bucket) {
        let places = self.places(n);
        if places.len() == usize::from(u8::MAX) {
            return self.merge(at.min(places.end.saturating_sub(1)), bucket);
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
    #[inline(never)]
    fn edit(&mut self, lens: Lens, change: impl FnOnce(&mut Vec<Bucket>)) {
        let mut all: Vec<Bucket> = (0..LIMITS_MAX).flat_map(|n| self.list(n)).collect();
        change(&mut all);
        *self = Self::pack(lens, all);
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
            10..=33 => pack(buckets).map(|(head, ring)| Self::Run32(head, ring)),
            _ => pack(buckets).map(|(head, ring)| Self::Run128(head, ring)),
        }
    }
}
