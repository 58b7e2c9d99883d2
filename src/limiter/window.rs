//! The conservative sliding window: buckets, which of them still count, and when that ends.
//!
//! A limit's window is cut into buckets of [`Limit::bucket_ms`]. A request of cost `c` at time `t`
//! passes when `c` and all buckets that start at or after `floor((t - window) / bucket) * bucket`
//! add up to at most the limit. The oldest of them counts in full although part of it may have
//! left the window.
//!
//! **Invariant**: the permits granted in any interval `(s, s + window]` are at most the limit.
//! Proof: let `t` be the last grant in it. Every other one there has a time above `s >= t - window`,
//! so its bucket was in the sum when `t` was granted.

use super::policy::Limit;
use crate::types::SlotTime;

/// Permits granted from `start` on, for one bucket's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// A multiple of the limit's bucket width.
    pub start: SlotTime,
    /// Permits; never 0 in a state.
    pub permits: u64,
}

/// The start of the bucket that a grant at `now` falls into.
pub fn bucket_of(limit: Limit, now: SlotTime) -> SlotTime {
    let into_ms = now.as_ms().checked_rem(limit.bucket_ms()).unwrap_or(0);
    now.minus_ms(into_ms)
}

/// A bucket counts at `now` if it starts here or later: the least time whose next multiple of the
/// bucket's width is the start of the oldest one that counts, which needs no division.
pub fn oldest_counting(limit: Limit, now: SlotTime) -> SlotTime {
    let width_ms = limit.bucket_ms();
    now.minus_ms(limit.window_ms())
        .minus_ms(width_ms.saturating_sub(1))
}

/// The first time at which the bucket that starts at `start` no longer counts.
pub fn leaves_at(limit: Limit, start: SlotTime) -> SlotTime {
    start.plus_ms(limit.window_ms()).plus_ms(limit.bucket_ms())
}

/// Permits that count at `now`; `buckets` are in order of their start.
pub fn used(limit: Limit, buckets: impl Iterator<Item = Bucket>, now: SlotTime) -> u64 {
    counting(limit, buckets, now).fold(0, |sum, bucket| sum.saturating_add(bucket.permits))
}

/// Time from `now` until so many buckets have left that `excess` permits more have room.
pub fn retry_after_ms(
    limit: Limit,
    buckets: impl Iterator<Item = Bucket>,
    mut excess: u64,
    now: SlotTime,
) -> u64 {
    let mut wait_until = now;
    for bucket in counting(limit, buckets, now) {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(bucket.permits);
        wait_until = leaves_at(limit, bucket.start);
    }
    wait_until.ms_since(now)
}

/// Time from `now` until no bucket counts any more.
pub fn reset_after_ms(limit: Limit, buckets: impl Iterator<Item = Bucket>, now: SlotTime) -> u64 {
    buckets
        .last()
        .map_or(0, |newest| leaves_at(limit, newest.start).ms_since(now))
}

/// The buckets that count at `now`.
pub fn counting(
    limit: Limit,
    buckets: impl Iterator<Item = Bucket>,
    now: SlotTime,
) -> impl Iterator<Item = Bucket> {
    let oldest = oldest_counting(limit, now);
    buckets.skip_while(move |bucket| bucket.start < oldest)
}
