//! The buckets of a single limit once they are many. The newest and the sum of all are kept where
//! the state is, the older ones in a ring on the heap: a decision that neither opens a bucket nor
//! sees one leave touches nothing else.

use crate::limiter::window::Bucket;
use crate::types::SlotTime;

/// What is kept of a run beside the ring of its older buckets, which every method is given.
#[derive(Debug, Clone, Copy)]
pub(in crate::limiter) struct Head {
    newest_ms: u64,
    newest_permits: u32,
    /// Permits of all buckets, the newest included.
    total: u32,
    /// From the start of the oldest bucket to that of the newest.
    reach_ms: u32,
    /// Where in the ring the oldest bucket is.
    first: u8,
    /// Buckets in the ring.
    older: u8,
}

/// An older bucket: its permits, and by how much the next newer one starts later.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::limiter) struct Gap {
    gap_ms: u32,
    permits: u32,
}

impl Head {
    /// Most buckets in a ring.
    pub(super) const OLDER_MAX: usize = 128;

    /// A run of these buckets, in order of start; `None` if they do not fit into it and `ring`.
    pub(super) fn of(buckets: &[Bucket], ring: &mut [Gap]) -> Option<Self> {
        let (first, more) = buckets.split_first()?;
        let mut head = Self {
            newest_ms: first.start.as_ms(),
            newest_permits: u32::try_from(first.permits).ok()?,
            total: u32::try_from(first.permits).ok()?,
            reach_ms: 0,
            first: 0,
            older: 0,
        };
        for bucket in more {
            head.add(ring, *bucket).then_some(())?;
        }
        Some(head)
    }

    /// Number of buckets, at most [`Self::OLDER_MAX`] and one.
    pub(super) const fn len(&self) -> u8 {
        self.older.saturating_add(1)
    }

    pub(super) const fn newest(&self) -> SlotTime {
        SlotTime::from_ms(self.newest_ms)
    }

    /// Permits in the buckets that start at `oldest` or later.
    #[inline]
    pub(super) fn sum_since(&self, ring: &[Gap], oldest: SlotTime) -> u64 {
        if self.oldest_ms() >= oldest.as_ms() {
            return u64::from(self.total);
        }
        let left = self.iter(ring).take_while(|bucket| bucket.start < oldest);
        let left = left.fold(0, |sum: u64, bucket| sum.saturating_add(bucket.permits));
        u64::from(self.total).saturating_sub(left)
    }

    /// Adds to the newest bucket, or opens one behind it; false, and nothing is done, if the
    /// bucket is an older one, has no place or is too large.
    #[inline]
    pub(super) fn add(&mut self, ring: &mut [Gap], bucket: Bucket) -> bool {
        let total = u32::try_from(bucket.permits)
            .ok()
            .and_then(|permits| self.total.checked_add(permits));
        let gap_ms = bucket.start.as_ms().checked_sub(self.newest_ms);
        let (Some(total), Some(gap_ms)) = (total, gap_ms) else {
            return false;
        };
        if gap_ms > 0 && !self.open(ring, gap_ms) {
            return false;
        }
        let permits = total.wrapping_sub(self.total);
        self.newest_permits = self.newest_permits.saturating_add(permits);
        self.total = total;
        true
    }

    /// Sets the count of a bucket that is there, or opens one behind the newest; false, and nothing is
    /// done, if the bucket is none of them, has no place, is too large or would be empty.
    #[inline]
    pub(super) fn set(&mut self, ring: &mut [Gap], bucket: Bucket) -> bool {
        if bucket.permits == 0 || bucket.start > self.newest() {
            return bucket.permits > 0 && self.add(ring, bucket);
        }
        let Some((n, before)) = self.find(ring, bucket.start) else {
            return false;
        };
        let others = self.total.saturating_sub(before);
        let permits = u32::try_from(bucket.permits).ok();
        let Some((permits, total)) = permits.and_then(|it| Some((it, others.checked_add(it)?)))
        else {
            return false;
        };
        let at = self.place(ring.len(), n);
        if n == self.older {
            self.newest_permits = permits;
        } else if let Some(place) = ring.get_mut(at) {
            place.permits = permits;
        }
        self.total = total;
        true
    }

    /// The number of the bucket that starts at `start`, and its permits, looked for from the newest
    /// back.
    fn find(&self, ring: &[Gap], start: SlotTime) -> Option<(u8, u32)> {
        let (mut n, mut start_ms) = (self.older, self.newest_ms);
        let mut permits = self.newest_permits;
        while start_ms > start.as_ms() {
            n = n.checked_sub(1)?;
            let gap = self.gap(ring, n);
            start_ms = start_ms.saturating_sub(u64::from(gap.gap_ms));
            permits = gap.permits;
        }
        (start_ms == start.as_ms()).then_some((n, permits))
    }

    /// Makes the newest bucket an older one, `gap_ms` before an empty newest one.
    fn open(&mut self, ring: &mut [Gap], gap_ms: u64) -> bool {
        let reach_ms = u64::from(self.reach_ms).saturating_add(gap_ms);
        let (Ok(reach_ms), Ok(gap)) = (u32::try_from(reach_ms), u32::try_from(gap_ms)) else {
            return false;
        };
        let at = self.place(ring.len(), self.older);
        let room = usize::from(self.older) < ring.len();
        let Some(place) = ring.get_mut(at).filter(|_| room) else {
            return false;
        };
        *place = Gap {
            gap_ms: gap,
            permits: self.newest_permits,
        };
        self.older = self.older.saturating_add(1);
        self.newest_ms = self.newest_ms.saturating_add(gap_ms);
        self.newest_permits = 0;
        self.reach_ms = reach_ms;
        true
    }

    /// Drops the buckets that start before `oldest`; false if none is left.
    #[inline]
    pub(super) fn drop_before(&mut self, ring: &[Gap], oldest: SlotTime) -> bool {
        if self.newest() < oldest {
            return false;
        }
        while self.oldest_ms() < oldest.as_ms() && self.older > 0 {
            let gone = self.gap(ring, 0);
            self.total = self.total.saturating_sub(gone.permits);
            self.reach_ms = self.reach_ms.saturating_sub(gone.gap_ms);
            self.first = u8::try_from(self.place(ring.len(), 1)).unwrap_or(0);
            self.older = self.older.saturating_sub(1);
        }
        true
    }

    /// The places in the ring of its oldest bucket and of the next to come, if a change may touch
    /// them: a bucket starts before `oldest`, or the newest before `newest`.
    #[inline]
    pub(super) fn far(
        &self,
        ring: &[Gap],
        oldest: SlotTime,
        newest: SlotTime,
    ) -> Option<[usize; 2]> {
        if self.oldest_ms() >= oldest.as_ms() && self.newest() >= newest {
            return None;
        }
        let address = |n| ring.as_ptr().wrapping_add(self.place(ring.len(), n)).addr();
        Some([address(0), address(self.older)])
    }

    /// The buckets, in order of start.
    pub(super) const fn iter<'a>(&self, ring: &'a [Gap]) -> Iter<'a> {
        Iter {
            head: *self,
            ring,
            next: 0,
            next_ms: self.oldest_ms(),
            end: self.len(),
            end_ms: self.newest_ms,
        }
    }

    /// The buckets that start at `first` or later, in order of start, found from the newest back.
    pub(super) fn iter_since<'a>(&self, ring: &'a [Gap], first: SlotTime) -> Iter<'a> {
        let mut back = self.iter(ring);
        let mut since = Iter {
            next: self.len(),
            ..back.clone()
        };
        while let Some(bucket) = back.next_back().filter(|bucket| bucket.start >= first) {
            (since.next, since.next_ms) = (back.end, bucket.start.as_ms());
        }
        since
    }

    const fn oldest_ms(&self) -> u64 {
        self.newest_ms.saturating_sub(self.reach_ms as u64)
    }

    /// Where in a ring of so many places the `n`th oldest bucket is.
    fn place(&self, places: usize, n: u8) -> usize {
        let at = usize::from(self.first).saturating_add(usize::from(n));
        at.checked_sub(places).unwrap_or(at)
    }

    fn gap(&self, ring: &[Gap], n: u8) -> Gap {
        let at = self.place(ring.len(), n);
        ring.get(at).copied().unwrap_or_default()
    }
}

/// See [`Head::iter`].
#[derive(Debug, Clone)]
pub(in crate::limiter) struct Iter<'a> {
    head: Head,
    ring: &'a [Gap],
    /// Number of the next bucket from the front, and its start.
    next: u8,
    next_ms: u64,
    /// Number behind the next bucket from the back, and that bucket's start.
    end: u8,
    end_ms: u64,
}

impl Iter<'_> {
    fn bucket(&self, n: u8, start_ms: u64) -> Bucket {
        let permits = if n == self.head.older {
            self.head.newest_permits
        } else {
            self.head.gap(self.ring, n).permits
        };
        Bucket {
            start: SlotTime::from_ms(start_ms),
            permits: u64::from(permits),
        }
    }
}

impl Iterator for Iter<'_> {
    type Item = Bucket;

    fn next(&mut self) -> Option<Bucket> {
        if self.next >= self.end {
            return None;
        }
        let bucket = self.bucket(self.next, self.next_ms);
        let gap_ms = self.head.gap(self.ring, self.next).gap_ms;
        self.next_ms = self.next_ms.saturating_add(u64::from(gap_ms));
        self.next = self.next.saturating_add(1);
        Some(bucket)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Bucket> {
        if self.next >= self.end {
            return None;
        }
        self.end = self.end.saturating_sub(1);
        let bucket = self.bucket(self.end, self.end_ms);
        if let Some(before) = self.end.checked_sub(1) {
            let gap_ms = self.head.gap(self.ring, before).gap_ms;
            self.end_ms = self.end_ms.saturating_sub(u64::from(gap_ms));
        }
        Some(bucket)
    }
}
