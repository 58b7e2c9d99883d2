//! Which keys are asked for most: a sample of all checks that this node decides.
//!
//! Each thread samples one check in [`EVERY`] on average, at random distances: at equal ones, a client
//! that always sends its keys in the same order would be seen wrong. What is sampled is counted in the
//! sketches of the time that runs; a sample that finds them locked is left out, so that nobody waits.
//! Only here are texts of keys kept: those of the sketches' few entries, in memory.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::limiter::top_keys::{Counted, TopKeys};
use crate::protocol::admin::{HotKey, HotKeys};
use crate::types::SlotTime;

/// One check in so many is sampled.
const EVERY: u64 = 128;

/// How long a set of sketches is counted in, on the node's clock. Two are shown: the one that runs and
/// the one before, so 10 to 20 seconds.
const TURN_MS: u64 = 10_000;

/// Most keys of each list that are told.
const TOLD_MAX: usize = 64;

thread_local! {
    /// Checks until the next sample, and the state of the distances.
    static NEXT: Cell<(usize, u64)> = const { Cell::new((0, 0x9e37_79b9_7f4a_7c15)) };
}

/// The keys that are asked for, and those that are denied, most.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    /// When the one that runs began.
    began: SlotTime,
    /// Whether the one before ran for its whole time.
    has_last: bool,
    now: Turn,
    last: Turn,
}

#[derive(Debug, Default)]
struct Turn {
    asked: TopKeys,
    denied: TopKeys,
}

impl Hot {
    /// Samples a batch of `checks`, decided at `now`: has `look` tell of one in [`EVERY`] by its place.
    /// What it does not tell of was not decided here.
    #[inline]
    pub(super) fn sample<'a>(
        &self,
        checks: usize,
        now: SlotTime,
        look: impl Fn(usize) -> Option<Counted<'a>>,
    ) {
        NEXT.with(|next| {
            let (left, state) = next.get();
            match left.checked_sub(checks) {
                Some(left) => next.set((left, state)),
                None => next.set(self.take((left, checks), state, now, look)),
            }
        });
    }

    /// Takes the samples at `first` and after it; returns the checks to leave out, and the new state.
    #[inline(never)]
    fn take<'a>(
        &self,
        (first, checks): (usize, usize),
        mut state: u64,
        now: SlotTime,
        look: impl Fn(usize) -> Option<Counted<'a>>,
    ) -> (usize, u64) {
        let mut turns = self.turns.try_lock();
        let mut place = first;
        while place < checks {
            if let Some(turns) = &mut turns
                && let Some(counted) = look(place)
            {
                turns.count(&counted, now);
            }
            // Xorshift64 (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let gap = (state >> 32) % (2 * EVERY - 1);
            place = place
                .saturating_add(1)
                .saturating_add(usize::try_from(gap).unwrap_or(0));
        }
        (place - checks, state)
    }

    /// What was sampled in the last 10 to 20 seconds, as if every check had been.
    pub(super) fn told(&self, now: SlotTime) -> HotKeys {
        let mut turns = self.turns.lock();
        turns.turn(now);
        let span_ms =
            now.ms_since(turns.began)
                .saturating_add(if turns.has_last { TURN_MS } else { 0 });
        HotKeys {
            span_ms,
            sampled: EVERY,
            asked: merged(&turns.last.asked, &turns.now.asked),
            denied: merged(&turns.last.denied, &turns.now.denied),
        }
    }
}

impl Turns {
    fn count(&mut self, counted: &Counted<'_>, now: SlotTime) {
        self.turn(now);
        self.now.asked.count(counted);
        if counted.marked {
            self.now.denied.count(counted);
        }
    }

    /// Begins a new turn if the one that runs is over.
    fn turn(&mut self, now: SlotTime) {
        let passed = now.ms_since(self.began);
        if passed < TURN_MS {
            return;
        }
        std::mem::swap(&mut self.now, &mut self.last);
        self.now.asked.clear();
        self.now.denied.clear();
        // Nothing was sampled for a whole turn, or it is the first.
        self.has_last = passed < 2 * TURN_MS;
        if self.has_last {
            self.began = self.began.plus_ms(TURN_MS);
        } else {
            self.last.asked.clear();
            self.last.denied.clear();
            self.began = now;
        }
    }
}

/// The keys of two sketches that were counted most, the first first.
fn merged(last: &TopKeys, now: &TopKeys) -> Vec<HotKey> {
    let mut all: BTreeMap<(&str, &str), HotKey> = BTreeMap::new();
    for entry in last.entries().chain(now.entries()) {
        let (policy, key) = (entry.policy.as_str(), entry.key.as_str());
        let line = all.entry((policy, key)).or_insert_with(|| HotKey {
            policy: policy.to_owned(),
            key: key.to_owned(),
            ..HotKey::default()
        });
        line.checks = line
            .checks
            .saturating_add(entry.count.saturating_mul(EVERY));
        line.error = line.error.saturating_add(entry.error.saturating_mul(EVERY));
        line.denied = line
            .denied
            .saturating_add(entry.marked.saturating_mul(EVERY));
    }
    let mut all: Vec<HotKey> = all.into_values().collect();
    all.sort_by_key(|line| Reverse(line.checks.saturating_sub(line.error)));
    all.truncate(TOLD_MAX);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::StateId;

    fn at(ms: u64) -> SlotTime {
        SlotTime::from_ms(ms)
    }

    /// Samples batches of these keys, of which those that begin with `d` are denied.
    fn batches(hot: &Hot, keys: &[&str], times: usize, now: SlotTime) {
        for _ in 0..times {
            hot.sample(keys.len(), now, |n| {
                let key = keys[n];
                let id = key.bytes().fold(0, |id, byte| id * 251 + u128::from(byte));
                (key != "elsewhere").then_some(Counted {
                    id: StateId(id),
                    policy: "api",
                    key,
                    marked: key.starts_with('d'),
                })
            });
        }
    }

    fn lines(lines: &[HotKey]) -> BTreeMap<&str, (u64, u64)> {
        let lines = lines.iter();
        lines
            .map(|it| (it.key.as_str(), (it.checks, it.denied)))
            .collect()
    }

    #[test]
    fn shares_are_as_asked_whatever_the_length_of_a_batch() {
        let mut keys = vec!["a"; 64];
        (keys[3], keys[9], keys[10]) = ("b", "d1", "elsewhere");
        for length in [1, 7, 64] {
            let hot = Hot::default();
            let keys: Vec<&str> = (0..length).map(|n| keys[n * 64 / length]).collect();
            batches(&hot, &keys, 640_000 / length, at(1));
            let told = hot.told(at(1));
            let share = |key: &str| keys.iter().filter(|it| **it == key).count() * 640_000 / length;
            let expected = share("a") as u64;
            let a = lines(&told.asked)["a"].0;
            assert!(
                a.abs_diff(expected) < expected / 20,
                "{length}: {a} for {expected}"
            );
            assert_eq!(told.asked[0].key, "a");
            assert!(told.asked.iter().all(|line| line.key != "elsewhere"));
            assert_eq!(lines(&told.asked).get("d1"), lines(&told.denied).get("d1"));
        }
    }

    #[test]
    fn what_is_told_is_10_to_20_seconds_old_at_most() {
        let hot = Hot::default();
        let named = |ms: u64| {
            let told = hot.told(at(ms));
            let keys: Vec<String> = told.asked.into_iter().map(|line| line.key).collect();
            (keys, told.span_ms)
        };
        let start = 1_000_000;
        batches(&hot, &["a"], 1000, at(start));
        assert_eq!(named(start + 5000), (vec!["a".to_owned()], 5000));
        batches(&hot, &["d"], 500, at(start + 12_000));
        assert_eq!(
            named(start + 13_000),
            (vec!["a".to_owned(), "d".to_owned()], 13_000)
        );
        assert_eq!(named(start + 21_000), (vec!["d".to_owned()], 11_000));
        assert_eq!(named(start + 60_000), (Vec::new(), 0));
    }
}
