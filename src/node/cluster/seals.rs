//! How long slots that move are sealed: from the moment at which this node ceases to grant in them to
//! the moment at which it knows who grants instead. Checks of their keys wait for so long.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::types::{MonoTime, Slot};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seals {
    since: BTreeMap<Slot, MonoTime>,
    ended: u64,
    longest: Duration,
}

impl Seals {
    /// These slots, which were served, are not any more.
    pub(super) fn begin(&mut self, slots: impl Iterator<Item = Slot>, now: MonoTime) {
        for slot in slots {
            self.since.entry(slot).or_insert(now);
        }
    }

    /// There is somebody again who serves these slots.
    pub(super) fn end(&mut self, slots: impl Iterator<Item = Slot>, now: MonoTime) {
        let (mut ended, mut longest) = (0_u64, Duration::ZERO);
        for slot in slots {
            if let Some(since) = self.since.remove(&slot) {
                ended = ended.saturating_add(1);
                longest = longest.max(now.since(since));
            }
        }
        if ended > 0 {
            tracing::debug!(slots = ended, ?longest, "slots were sealed");
        }
        self.ended = self.ended.saturating_add(ended);
        self.longest = self.longest.max(longest);
    }

    /// Seals that have ended, slot by slot, and the longest of them.
    pub(super) const fn told(&self) -> (u64, Duration) {
        (self.ended, self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_lasts_from_the_first_freeze_to_the_next_owner() {
        let at = |ms| MonoTime::default().plus(Duration::from_millis(ms));
        let slots = |range: std::ops::Range<u16>| range.filter_map(Slot::new);
        let mut seals = Seals::default();
        seals.begin(slots(0..4), at(10));
        seals.begin(slots(0..4), at(15));
        seals.end(slots(2..9), at(30));
        assert_eq!(seals.told(), (2, Duration::from_millis(20)));
        seals.end(slots(0..1), at(17));
        seals.end(slots(0..9), at(60));
        assert_eq!(seals.told(), (4, Duration::from_millis(50)));
    }
}
