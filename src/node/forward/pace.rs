//! Tells that owners cannot be reached, but at most once a second for each.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::{MonoTime, NodeId};

/// Least time between two lines about one owner.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Owners that are remembered at once; with more, the oldest line is forgotten.
const OWNERS_MAX: usize = 64;

/// When each owner was last told of, and how many checks were held back since.
#[derive(Debug, Default)]
pub(super) struct Pace {
    lines: BTreeMap<NodeId, (MonoTime, u64)>,
}

impl Pace {
    /// Counts `checks` that `owner` did not answer. Whether that is worth a line now, and then how
    /// many there were since the last one.
    pub(super) fn count(&mut self, owner: NodeId, checks: u64, now: MonoTime) -> Option<u64> {
        if let Some((told, held_back)) = self.lines.get_mut(&owner) {
            *held_back = held_back.saturating_add(checks);
            if now.since(*told) < LINE_EVERY {
                return None;
            }
            *told = now;
            return Some(std::mem::take(held_back));
        }
        if self.lines.len() >= OWNERS_MAX {
            let oldest = self.lines.iter().min_by_key(|(_, (told, _))| *told);
            if let Some(oldest) = oldest.map(|(&node, _)| node) {
                self.lines.remove(&oldest);
            }
        }
        self.lines.insert(owner, (now, 0));
        Some(checks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_owner_is_told_of_once_a_second_with_what_was_held_back() {
        let mut pace = Pace::default();
        let mut count = |owner, checks, ms: u64| {
            pace.count(NodeId(owner), checks, MonoTime::from_ns(ms * 1_000_000))
        };
        assert_eq!(count(1, 5, 0), Some(5));
        assert_eq!(count(1, 7, 10), None);
        assert_eq!(count(2, 1, 10), Some(1));
        assert_eq!(count(1, 1, 999), None);
        assert_eq!(count(1, 1, 1000), Some(9));
        assert_eq!(count(1, 2, 1500), None);
    }

    #[test]
    fn only_so_many_owners_are_remembered() {
        let mut pace = Pace::default();
        for owner in 0..1000 {
            let now = MonoTime::from_ns(u64::try_from(owner).unwrap());
            assert_eq!(pace.count(NodeId(owner), 1, now), Some(1));
        }
        assert_eq!(pace.lines.len(), OWNERS_MAX);
    }
}
