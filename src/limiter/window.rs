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
    floor(now.as_ms(), limit.bucket_ms())
}

/// The start of the oldest bucket that still counts at `now`.
pub fn oldest_counting(limit: Limit, now: SlotTime) -> SlotTime {
    floor(now.minus_ms(limit.window_ms()).as_ms(), limit.bucket_ms())
}

/// The first time at which the bucket that starts at `start` no longer counts.
pub fn leaves_at(limit: Limit, start: SlotTime) -> SlotTime {
    start.plus_ms(limit.window_ms()).plus_ms(limit.bucket_ms())
}

/// Permits that count at `now`; `buckets` are in order of their start.
pub fn used(limit: Limit, buckets: impl Iterator<Item = Bucket>, now: SlotTime) -> u64 {
    counting(limit, buckets, now).fold(0, |sum, bucket| sum.saturating_add(bucket.permits))
}

/// Time from `now` until a request of `cost` passes if nothing else is granted; 0 if it passes at
/// once. `cost` must not exceed the limit.
pub fn retry_after_ms(
    limit: Limit,
    buckets: impl Iterator<Item = Bucket> + Clone,
    cost: u64,
    now: SlotTime,
) -> u64 {
    let room = limit.permits().saturating_sub(cost);
    let mut excess = used(limit, buckets.clone(), now).saturating_sub(room);
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

fn floor(ms: u64, width_ms: u64) -> SlotTime {
    let into = ms.checked_rem(width_ms).unwrap_or(0);
    SlotTime::from_ms(ms.saturating_sub(into))
}
