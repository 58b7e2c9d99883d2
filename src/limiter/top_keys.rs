//! Which keys are asked for most, in a few kilobytes however many there are.
//!
//! Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in
//! Data Streams, 2005), in small sets as a processor's cache has them, so that a count looks at eight
//! entries and not at all. A set holds the keys whose hashes fall into it; a key that finds no entry
//! takes over the one with the lowest count, and that count is how much it may be overrated by.
//!
//! Invariant: for every entry `count - error <= true count <= count`, and in each set every key that
//! was counted more often than an eighth of all counts of the set has an entry.

use crate::types::StateId;

/// Entries of a set.
const WAYS: usize = 8;

/// Sets.
const SETS: usize = 32;

/// Names and counts of the keys that were counted most.
#[derive(Debug)]
pub(crate) struct TopKeys {
    entries: Vec<Entry>,
}

/// A key that has an entry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    id: u128,
    /// Name of the policy.
    pub(crate) policy: String,
    /// The key.
    pub(crate) key: String,
    /// How often it was counted, at most; 0 if the entry is free.
    pub(crate) count: u64,
    /// By how much that may be too high.
    pub(crate) error: u64,
    /// How often it was counted as marked since it has the entry.
    pub(crate) marked: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted<'a> {
    /// The state of the key under the policy.
    pub(crate) id: StateId,
    /// Name of the policy.
    pub(crate) policy: &'a str,
    /// The key.
    pub(crate) key: &'a str,
    /// Whether it is one of those that are counted by themselves too.
    pub(crate) marked: bool,
}

impl Default for TopKeys {
    fn default() -> Self {
        Self {
            entries: vec![Entry::default(); SETS.saturating_mul(WAYS)],
        }
    }
}

impl TopKeys {
    /// Counts a key once.
    pub(crate) fn count(&mut self, counted: &Counted<'_>) {
        let id = counted.id.0;
        // The lowest bits are mixed of the key and the policy.
        let [low, ..] = id.to_le_bytes();
        let set = usize::from(low).checked_rem(SETS).unwrap_or(0);
        let Some(set) = self.entries.chunks_exact_mut(WAYS).nth(set) else {
            return;
        };
        let (mut place, mut least) = (0, u64::MAX);
        for (n, entry) in set.iter().enumerate() {
            if entry.id == id && entry.count > 0 {
                place = n;
                break;
            }
            if entry.count < least {
                (place, least) = (n, entry.count);
            }
        }
        let Some(entry) = set.get_mut(place) else {
            return;
        };
        if entry.id != id || entry.count == 0 {
            entry.id = id;
            counted.policy.clone_into(&mut entry.policy);
            counted.key.clone_into(&mut entry.key);
            entry.error = entry.count;
            entry.marked = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.marked = entry.marked.saturating_add(u64::from(counted.marked));
    }

    /// All entries in use, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.count > 0)
    }

    /// Forgets all counts, and the names when others take their place.
    pub(crate) fn clear(&mut self) {
        for entry in &mut self.entries {
            entry.count = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn counted(name: &(u128, String)) -> Counted<'_> {
        Counted {
            id: StateId(name.0),
            policy: "p",
            key: &name.1,
            marked: name.0.is_multiple_of(3),
        }
    }

    proptest! {
        #[test]
        fn counts_are_bounded_and_what_is_frequent_is_there(
            keys in proptest::collection::vec(prop_oneof![0_u128..12, 0_u128..4000], 0..600),
        ) {
            let mut top = TopKeys::default();
            let mut exact: BTreeMap<u128, u64> = BTreeMap::new();
            for id in &keys {
                top.count(&counted(&(*id, format!("k{id}"))));
                *exact.entry(*id).or_default() += 1;
            }
            for entry in top.entries() {
                let id: u128 = entry.key[1..].parse().unwrap();
                prop_assert!(entry.count - entry.error <= exact[&id] && exact[&id] <= entry.count);
                prop_assert!(entry.marked <= exact[&id] && (entry.marked == 0 || id.is_multiple_of(3)));
            }
            let in_set = |set| exact.iter().filter(move |(id, _)| *id % 32 == set);
            for set in 0..32 {
                let all: u64 = in_set(set).map(|(_, count)| count).sum();
                for (id, _) in in_set(set).filter(|(_, count)| **count * 8 > all) {
                    let key = format!("k{id}");
                    prop_assert!(top.entries().any(|entry| entry.key == key), "{key} is lost");
                }
            }
            top.clear();
            prop_assert_eq!(top.entries().count(), 0);
        }
    }

    #[test]
    fn few_keys_are_counted_exactly_and_again_after_a_clear() {
        let mut top = TopKeys::default();
        for _ in 0..2 {
            for n in 0..100_u128 {
                for _ in 0..=n {
                    top.count(&counted(&(n, n.to_string())));
                }
            }
            for entry in top.entries() {
                let n: u64 = entry.key.parse().unwrap();
                assert_eq!((entry.count, entry.error), (n + 1, 0));
                assert_eq!(entry.marked, if n.is_multiple_of(3) { n + 1 } else { 0 });
            }
            assert_eq!(top.entries().count(), 100);
            top.clear();
        }
    }
}
