//! What a node holds of a slot: the real key states, how far they are, and the slot time that they
//! have seen.

use super::random::mix;
use crate::limiter::KeyState;
use crate::limiter::policy::Limits;
use crate::types::{Position, Slot, SlotTime};

/// Keys of each slot that are asked for.
pub(super) const KEYS_PER_SLOT: usize = 3;

/// A key: the `n`th of its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) slot: Slot,
    pub(super) n: usize,
}

/// The state of a slot.
#[derive(Debug, Clone, Default)]
pub(super) struct SlotState {
    pub(super) at: Position,
    /// The highest slot time that the state has seen.
    pub(super) clock: SlotTime,
    /// Some keys may be newer than the position says, until it is this number of the epoch.
    pub(super) fuzzy_below: Option<u64>,
    /// Nothing is granted before: what is missing may have been granted until now.
    pub(super) quarantined_until: SlotTime,
    pub(super) keys: [KeyState; KEYS_PER_SLOT],
}

/// What a holder says about a state, so that a copy can be compared: the number of its keys that
/// count anything, and the hashes of all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest {
    count: usize,
    hashes: u64,
}

impl SlotState {
    /// Of the counts alone: they are what a position names.
    pub(super) fn digest(&self) -> Digest {
        let mut digest = Digest {
            count: 0,
            hashes: 0,
        };
        for (n, key) in (0..).zip(&self.keys) {
            if !key.is_empty() {
                digest.count += 1;
                digest.hashes ^= key_digest(n, key);
            }
        }
        digest
    }
}

fn key_digest(n: u64, key: &KeyState) -> u64 {
    let mut hash = mix(n + 1);
    for limit in 0..crate::limiter::policy::LIMITS_MAX {
        for bucket in key.buckets(limit) {
            hash = mix(hash ^ bucket.start.as_ms());
            hash = mix(hash ^ bucket.permits);
        }
        hash = mix(hash);
    }
    hash
}

/// The policies of a world by version of their set; the `n`th key of every slot has the `n`th.
///
/// Versions change how many permits there are, never windows or widths of buckets, so that every
/// state keeps its shape.
#[derive(Debug, Clone)]
pub(super) struct Policies {
    versions: Vec<[Limits; KEYS_PER_SLOT]>,
}

impl Policies {
    /// As many versions as may be applied in a run; the last is that of the liveness phase too.
    pub(super) fn new(versions: Vec<[Limits; KEYS_PER_SLOT]>) -> Self {
        Self { versions }
    }

    /// Number of the newest version.
    pub(super) fn newest(&self) -> usize {
        self.versions.len().saturating_sub(1)
    }

    /// The limits of `key` in a version of the set.
    pub(super) fn limits(&self, version: usize, key: Key) -> &Limits {
        &self.versions[version.min(self.newest())][key.n]
    }

    /// The longest window of any limit, in milliseconds.
    pub(super) fn longest_window_ms(&self) -> u64 {
        let all = self.versions.iter().flatten();
        all.map(Limits::longest_window_ms).max().unwrap_or(0)
    }
}
