//! The black-box checker: judges what a limiter did by what its clients saw, and nothing else.
//!
//! A granted check was decided at some moment between `sent` and `received`. So for every `t`, all
//! that was sent at or after `t` and received before `t + window` was granted in one window, and may
//! be at most the limit together. Nothing is ever found in a limiter that keeps its promise.

use std::collections::BTreeMap;

/// One granted check of one key under one policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) sent_ns: u64,
    pub(crate) received_ns: u64,
    pub(crate) cost: u64,
}

/// A window in which more was granted than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Above {
    pub(crate) from_ns: u64,
    pub(crate) permits: u64,
}

/// All windows, one for each moment of sending, that hold more than `limit`.
pub(crate) fn windows_above(history: &[Granted], window_ns: u64, limit: u64) -> Vec<Above> {
    let windows = windows(history, window_ns);
    let above = windows.filter(|&(_, permits)| permits > limit);
    let mut above: Vec<_> = above
        .map(|(from_ns, permits)| Above { from_ns, permits })
        .collect();
    above.reverse();
    above
}

/// Permits in the fullest window.
pub(crate) fn fullest_window(history: &[Granted], window_ns: u64) -> u64 {
    windows(history, window_ns)
        .map(|(_, permits)| permits)
        .max()
        .unwrap_or(0)
}

/// Every window that begins with a check being sent, the last first, and the permits that were
/// surely granted in it. The fullest of all windows is among them: a later beginning loses no check
/// until the next one is sent, and its end comes later.
fn windows(history: &[Granted], window_ns: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut by_sent: BTreeMap<u64, Vec<Granted>> = BTreeMap::new();
    for granted in history {
        by_sent.entry(granted.sent_ns).or_default().push(*granted);
    }
    let mut received: Vec<u64> = history.iter().map(|granted| granted.received_ns).collect();
    received.sort_unstable();
    received.dedup();
    let mut sums = PrefixSums(vec![0; received.len() + 1]);
    by_sent.into_iter().rev().map(move |(from_ns, sent_then)| {
        for granted in sent_then {
            let rank = received.partition_point(|&at| at < granted.received_ns);
            sums.add(rank, granted.cost);
        }
        let end = from_ns.saturating_add(window_ns);
        (
            from_ns,
            sums.before(received.partition_point(|&at| at < end)),
        )
    })
}

/// Sums of all numbers before a place, kept while numbers are added (a Fenwick tree).
struct PrefixSums(Vec<u64>);

impl PrefixSums {
    fn add(&mut self, place: usize, number: u64) {
        let mut node = place + 1;
        while node < self.0.len() {
            self.0[node] += number;
            node += node & node.wrapping_neg();
        }
    }

    fn before(&self, place: usize) -> u64 {
        let (mut node, mut sum) = (place, 0);
        while node > 0 {
            sum += self.0[node];
            node &= node - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(sent_ns: u64, received_ns: u64) -> Granted {
        Granted {
            sent_ns,
            received_ns,
            cost: 1,
        }
    }

    #[test]
    fn a_history_is_bad_from_the_first_permit_above_the_limit() {
        let window = 1000;
        let cases: [(&str, &[Granted], u64); 8] = [
            ("nothing", &[], 0),
            ("all at once", &[at(5, 6), at(5, 6), at(5, 6)], 3),
            (
                "the last just within the window",
                &[at(0, 1), at(10, 20), at(900, 999)],
                3,
            ),
            (
                "the last received as the window ends",
                &[at(0, 1), at(10, 20), at(900, 1000)],
                2,
            ),
            (
                "the window begins with the second",
                &[at(0, 1), at(10, 20), at(900, 1009)],
                2,
            ),
            (
                "a call as long as the window may lie anywhere",
                &[at(0, 1000), at(1, 2)],
                1,
            ),
            ("a long call within a window", &[at(0, 999), at(1, 2)], 2),
            (
                "out of order, and a second burst",
                &[at(5000, 5001), at(0, 1), at(5001, 5002)],
                2,
            ),
        ];
        for (what, history, fullest) in cases {
            assert_eq!(fullest_window(history, window), fullest, "{what}");
            assert_eq!(windows_above(history, window, fullest), [], "{what}");
            if fullest > 0 {
                let above = windows_above(history, window, fullest - 1);
                assert!(above.iter().any(|above| above.permits == fullest), "{what}");
            }
        }
    }

    #[test]
    fn a_cost_counts_as_many_permits() {
        let history = [
            Granted {
                cost: 7,
                ..at(0, 1)
            },
            Granted {
                cost: 4,
                ..at(3, 4)
            },
        ];
        assert_eq!(windows_above(&history, 100, 11), []);
        assert_eq!(
            windows_above(&history, 100, 10),
            [Above {
                from_ns: 0,
                permits: 11
            }]
        );
    }

    /// Every `t`, as the promise is written.
    fn by_brute_force(history: &[Granted], window_ns: u64) -> u64 {
        let fullest = (0..80).map(|t| {
            let within = history
                .iter()
                .filter(|granted| granted.sent_ns >= t && granted.received_ns < t + window_ns);
            within.map(|granted| granted.cost).sum()
        });
        fullest.max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn the_fullest_window_is_the_fullest_of_all(
            history in prop::collection::vec((0..60u64, 0..20u64, 1..4u64), 0..30),
            window_ns in 1..40u64,
        ) {
            let granted = |&(sent_ns, took, cost): &(u64, u64, u64)| {
                Granted { sent_ns, received_ns: sent_ns + took, cost }
            };
            let history: Vec<_> = history.iter().map(granted).collect();
            let fullest = by_brute_force(&history, window_ns);
            prop_assert_eq!(fullest_window(&history, window_ns), fullest);
            prop_assert!(windows_above(&history, window_ns, fullest).is_empty());
            prop_assert_eq!(fullest == 0, windows_above(&history, window_ns, 0).is_empty());
        }
    }
}
