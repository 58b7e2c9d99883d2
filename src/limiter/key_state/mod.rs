//! One key's state under one policy: the buckets of each of its limits, in 48 bytes while they
//! are few.
//!
//! The state decides, counts, gives back and changes shape; it does not know its own name, its
//! policy, or where it lives. Denied requests change nothing; a request that one limit denies
//! costs the others nothing.

#![expect(
    clippy::inline_always,
    reason = "a check under a single limit is one run of code: a third fewer instructions"
)]

use super::bucket_lists::BucketLists;
use super::policy::{LIMITS_MAX, Limit, Limits};
use super::shape::{Shape, ShapeId, Span};
use super::window::{self, Bucket};
use crate::types::{Grant, SlotTime};

/// What a state answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Every limit has room for the cost.
    pub granted: bool,
    /// The limit that decided: denied, the one that needs the longest wait; granted, the one with
    /// the least left.
    pub limit: u64,
    /// Permits of that limit that are left, after the cost if it was counted.
    pub remaining: u64,
    /// Milliseconds until nothing of that limit counts any more.
    pub reset_after_ms: u64,
    /// Milliseconds until the same request passes if nothing else is granted; 0 if it passes now.
    pub retry_after_ms: u64,
}

/// A cost above one of the limits: it can never pass. Nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cost of {cost} can never pass a limit of {limit}; ask for less at once")]
pub struct CostAboveLimit {
    /// The cost asked for.
    pub cost: u64,
    /// The smallest limit that it exceeds.
    pub limit: u64,
}

/// What happened to a state since a commit or a checkpoint last took it; kept for the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    bits: u8,
}

impl Marks {
    /// On its stripe's dirty list: changed since the last commit.
    pub(crate) const DIRTY: u8 = 1;
    /// Changed since the last commit otherwise than by grants: the commit takes it whole.
    pub(crate) const WHOLE: u8 = 2;
    /// Changed since the last checkpoint: the row in the store is older.
    pub(crate) const UNSAVED: u8 = 4;
    /// Counts less than the row in the store, so it must be saved before it is dropped.
    pub(crate) const SHRUNK: u8 = 8;
    /// Used since the last look for states to evict.
    pub(crate) const RECENT: u8 = 16;
    /// Has open reservations, which the stripe keeps.
    pub(crate) const RESERVED: u8 = 32;
    /// Handed to the checkpoint, which has not written it yet.
    pub(crate) const SAVING: u8 = 64;
    /// Handed to a copy of its slot and not changed since.
    pub(crate) const COPIED: u8 = 128;

    pub(crate) const fn has(self, mark: u8) -> bool {
        self.bits & mark != 0
    }

    pub(crate) const fn set(&mut self, marks: u8) {
        self.bits |= marks;
    }

    pub(crate) const fn clear(&mut self, marks: u8) {
        self.bits &= !marks;
    }
}

/// The buckets of a key's limits. See the module's head.
#[derive(Debug, Clone)]
pub struct KeyState {
    lists: BucketLists,
    /// Of the limits that the buckets were counted under; kept for the table.
    pub(crate) shape: ShapeId,
    /// Kept for the table.
    pub(crate) marks: Marks,
}

impl Default for KeyState {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyState {
    /// A state that has counted nothing.
    pub const fn new() -> Self {
        Self {
            lists: BucketLists::new(),
            shape: ShapeId::FIRST,
            marks: Marks { bits: 0 },
        }
    }

    /// Decides a request of `cost` at `now` and counts it if it passes every limit.
    ///
    /// `now` must not be earlier than at any change before, and `limits` must have the shape that
    /// the state was counted under.
    ///
    /// # Errors
    /// [`CostAboveLimit`] if it can never pass.
    #[inline(always)]
    pub fn check(
        &mut self,
        limits: &Limits,
        cost: u64,
        now: SlotTime,
    ) -> Result<Verdict, CostAboveLimit> {
        match limits.as_slice() {
            // So it is for most policies: compiled by itself, without the loops.
            [only] => self.check_each(limits, &[*only], cost, now),
            several => self.check_several(limits, several, cost, now),
        }
    }

    #[inline(never)]
    fn check_several(
        &mut self,
        limits: &Limits,
        several: &[Limit],
        cost: u64,
        now: SlotTime,
    ) -> Result<Verdict, CostAboveLimit> {
        self.check_each(limits, several, cost, now)
    }

    #[inline(always)]
    fn check_each(
        &mut self,
        limits: &Limits,
        each: &[Limit],
        cost: u64,
        now: SlotTime,
    ) -> Result<Verdict, CostAboveLimit> {
        let mut verdict = self.peek_each(limits, each, cost, now)?;
        if verdict.granted && cost > 0 {
            verdict.remaining = verdict.remaining.saturating_sub(cost);
            for (n, &limit) in each.iter().enumerate() {
                let bucket = self.count_one(n, limit, cost, now);
                if limit.permits() == verdict.limit {
                    let leaves_at = window::leaves_at(limit, bucket);
                    verdict.reset_after_ms = verdict.reset_after_ms.max(leaves_at.ms_since(now));
                }
            }
        }
        Ok(verdict)
    }

    /// What [`KeyState::check`] would decide, without counting.
    ///
    /// # Errors
    /// [`CostAboveLimit`] if it can never pass.
    pub fn peek(
        &self,
        limits: &Limits,
        cost: u64,
        now: SlotTime,
    ) -> Result<Verdict, CostAboveLimit> {
        self.peek_each(limits, limits.as_slice(), cost, now)
    }

    #[inline(always)]
    fn peek_each(
        &self,
        limits: &Limits,
        each: &[Limit],
        cost: u64,
        now: SlotTime,
    ) -> Result<Verdict, CostAboveLimit> {
        let limit = limits.least_permits();
        let above = CostAboveLimit { cost, limit };
        if cost > limit {
            return Err(above);
        }
        let mut verdict = None;
        for (n, &limit) in each.iter().enumerate() {
            let one = self.peek_one(n, limit, cost, now);
            verdict = Some(verdict.map_or(one, |so_far| stricter(so_far, one)));
        }
        verdict.ok_or(above)
    }

    #[inline(always)]
    fn peek_one(&self, n: usize, limit: Limit, cost: u64, now: SlotTime) -> Verdict {
        let (used, newest) = self.lists.sum_since(n, window::oldest_counting(limit, now));
        let remaining = limit.permits().saturating_sub(used);
        let reset_at = newest.map_or(now, |newest| window::leaves_at(limit, newest));
        let excess = cost.saturating_sub(remaining);
        Verdict {
            granted: excess == 0,
            limit: limit.permits(),
            remaining,
            reset_after_ms: reset_at.ms_since(now),
            retry_after_ms: match excess {
                0 => 0,
                excess => self.retry_after_ms(n, limit, excess, now),
            },
        }
    }

    #[inline(never)]
    fn retry_after_ms(&self, n: usize, limit: Limit, excess: u64, now: SlotTime) -> u64 {
        window::retry_after_ms(limit, self.buckets(n), excess, now)
    }

    /// Counts `cost` at `now` whatever the limits say, and drops what no longer counts.
    pub(crate) fn count(&mut self, limits: &Limits, cost: u64, now: SlotTime) {
        for (n, &limit) in limits.as_slice().iter().enumerate() {
            self.count_one(n, limit, cost, now);
        }
    }

    /// Counts `cost` under the `n`th limit; the start of the bucket that holds it.
    #[inline(always)]
    fn count_one(&mut self, n: usize, limit: Limit, cost: u64, now: SlotTime) -> SlotTime {
        let bucket = window::bucket_of(limit, now);
        self.lists
            .drop_before(n, window::oldest_counting(limit, now));
        self.lists.add(n, bucket, cost);
        bucket
    }

    /// Where on the heap a check at `now` will read or write, if it will: for prefetching.
    #[inline]
    pub(crate) fn far(&self, limits: &Limits, now: SlotTime) -> Option<[usize; 2]> {
        let limit = *limits.as_slice().first()?;
        let opens_at = now.minus_ms(limit.bucket_ms().saturating_sub(1));
        self.lists
            .far(window::oldest_counting(limit, now), opens_at)
    }

    /// Gives back at most `grant.cost` permits from the buckets of the grant, where they still
    /// count; returns the most that was given back under any limit. A grant of unknown time, that of
    /// [`SlotTime::MAX`], is given back from the oldest buckets on: if it still counts, what stays
    /// counted leaves no earlier than what was really granted.
    pub fn refund(&mut self, limits: &Limits, grant: Grant, now: SlotTime) -> u64 {
        if grant.at == SlotTime::MAX {
            return self.give_back(limits, grant.cost, now);
        }
        let mut given_back = 0;
        for (n, &limit) in limits.as_slice().iter().enumerate() {
            let start = window::bucket_of(limit, grant.at);
            if start >= window::oldest_counting(limit, now) {
                given_back = given_back.max(self.lists.subtract(n, start, grant.cost));
            }
        }
        given_back
    }

    fn give_back(&mut self, limits: &Limits, permits: u64, now: SlotTime) -> u64 {
        let mut most = 0;
        for (n, &limit) in limits.as_slice().iter().enumerate() {
            let mut left = permits;
            let counting = self.buckets_since(n, window::oldest_counting(limit, now));
            let starts: Vec<SlotTime> = counting.map(|bucket| bucket.start).collect();
            for start in starts {
                if left == 0 {
                    break;
                }
                left = left.saturating_sub(self.lists.subtract(n, start, left));
            }
            most = most.max(permits.saturating_sub(left));
        }
        most
    }

    /// Forgets all counts.
    pub fn reset(&mut self) {
        self.lists = BucketLists::new();
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// The buckets of the `n`th limit, in order of start.
    pub fn buckets(&self, n: usize) -> impl DoubleEndedIterator<Item = Bucket> + Clone + '_ {
        self.lists.list(n)
    }

    /// The buckets of the `n`th limit that start at `first` or later, in order of start.
    pub(crate) fn buckets_since(
        &self,
        n: usize,
        first: SlotTime,
    ) -> impl Iterator<Item = Bucket> + Clone + '_ {
        self.lists.list_since(n, first)
    }

    /// When nothing in the state counts any more under `shape`, its own.
    pub(crate) fn expires_at(&self, shape: &Shape) -> SlotTime {
        let newest_of = |n| self.buckets(n).next_back();
        let expiries = shape.spans().iter().enumerate().filter_map(|(n, span)| {
            newest_of(n).map(|newest| span.leaves_at_ms(newest.start.as_ms()))
        });
        SlotTime::from_ms(expiries.max().unwrap_or(0))
    }

    /// Re-buckets the counts from one shape to another, each to the later edge of its old bucket,
    /// so that it leaves the window no earlier than it must. Counts beyond the old window are
    /// unknown to a longer new one.
    ///
    /// All limits of a policy count the same grants, so each new one takes its history from the old
    /// one that knows it best: the same window and width, else of those that reach as far back the
    /// finest, else the one that reaches furthest.
    pub(crate) fn reshape(&mut self, from: &Shape, to: &Shape) {
        let mut changed: [Vec<Bucket>; LIMITS_MAX] = Default::default();
        for (list, span) in changed.iter_mut().zip(to.spans()) {
            let Some((n, old)) = best_history(from.spans(), *span) else {
                continue;
            };
            for bucket in self.buckets(n) {
                let start = if old == *span {
                    bucket.start
                } else {
                    rebucket(bucket, old, *span)
                };
                match list.last_mut() {
                    Some(last) if last.start == start => {
                        last.permits = last.permits.saturating_add(bucket.permits);
                    }
                    _ => list.push(Bucket { start, ..bucket }),
                }
            }
        }
        self.set_all(changed.each_ref().map(Vec::as_slice));
    }

    /// Replaces the buckets of every limit by `buckets`, each in order of start.
    pub(crate) fn set_all(&mut self, buckets: [&[Bucket]; LIMITS_MAX]) {
        self.lists = BucketLists::from_lists(buckets);
    }

    /// Sets the absolute count of one bucket of the `n`th limit, as a commit record says it.
    pub(crate) fn set(&mut self, n: usize, bucket: Bucket) {
        self.lists.set(n, bucket);
    }

    /// Drops what no longer counts at `now` under `shape`, the state's own.
    pub(crate) fn forget_before(&mut self, shape: &Shape, now: SlotTime) {
        for (n, span) in shape.spans().iter().enumerate() {
            let oldest = span.oldest_counting_ms(now.as_ms());
            self.lists.drop_before(n, SlotTime::from_ms(oldest));
        }
    }

    /// Where on the heap the buckets are that are not in the state itself.
    pub(crate) fn heap_hint(&self) -> Option<usize> {
        let [place, _] = self.lists.far(SlotTime::MAX, SlotTime::MAX)?;
        Some(place)
    }

    /// Bytes on the heap.
    pub(crate) const fn heap_bytes(&self) -> usize {
        self.lists.heap_bytes()
    }
}

/// Of two limits' verdicts, the one that decides.
#[inline(never)]
fn stricter(a: Verdict, b: Verdict) -> Verdict {
    let rank = |v: &Verdict| (v.granted, std::cmp::Reverse(v.retry_after_ms), v.remaining);
    if rank(&b) < rank(&a) { b } else { a }
}

/// Of the old spans, the one whose buckets tell most about what `span` has to count.
fn best_history(old: &[Span], span: Span) -> Option<(usize, Span)> {
    let reach = |old: &Span| old.window_ms.min(span.window_ms);
    let rank =
        |(_, old): &(usize, Span)| (*old == span, reach(old), std::cmp::Reverse(old.bucket_ms));
    old.iter().copied().enumerate().max_by_key(rank)
}

/// The start of the new bucket of an old bucket's count: that of the last millisecond in which it
/// may have been granted.
fn rebucket(bucket: Bucket, old: Span, new: Span) -> SlotTime {
    let last = bucket
        .start
        .plus_ms(old.bucket_ms.saturating_sub(1))
        .as_ms();
    let into = last.checked_rem(new.bucket_ms).unwrap_or(0);
    SlotTime::from_ms(last.saturating_sub(into))
}

#[cfg(test)]
mod tests;
