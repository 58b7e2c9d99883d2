//! All grants of a run, and what became of each. What invariants have in common, and nothing that
//! they judge.

use std::collections::BTreeMap;

use super::judge::{Fact, GrantId};
use super::state::{Key, SlotState};
use crate::limiter::policy::Limits;
use crate::limiter::window::{bucket_of, oldest_counting};
use crate::types::{Epoch, Slot, SlotTime};

/// One grant.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each may happen without the others"
)]
pub(super) struct Granted {
    pub(super) key: Key,
    pub(super) epoch: Epoch,
    /// True time of the decision.
    pub(super) at_ns: u64,
    pub(super) at_slot: SlotTime,
    pub(super) cost: u64,
    /// What it was decided by.
    pub(super) limits: Limits,
    pub(super) acknowledged: bool,
    pub(super) given_back: bool,
    /// No state need hold it any more.
    pub(super) lost: bool,
    /// It does not count towards the limit any more.
    pub(super) forgiven: bool,
}

impl Granted {
    /// Acknowledged and not refunded.
    pub(super) const fn stands(&self) -> bool {
        self.acknowledged && !self.given_back
    }
}

/// Every grant of a run.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    grants: Vec<Granted>,
    of_key: BTreeMap<Key, Vec<GrantId>>,
}

impl Ledger {
    /// Keeps the books: what a fact says about grants.
    pub(super) fn note(&mut self, now_ns: u64, fact: &Fact<'_>) {
        match fact {
            Fact::Decided(decided) => {
                self.of_key
                    .entry(decided.key)
                    .or_default()
                    .push(self.grants.len());
                self.grants.push(Granted {
                    key: decided.key,
                    epoch: decided.epoch,
                    at_ns: now_ns,
                    at_slot: decided.at_slot,
                    cost: decided.cost,
                    limits: decided.limits.clone(),
                    acknowledged: false,
                    given_back: false,
                    lost: false,
                    forgiven: false,
                });
            }
            Fact::Acknowledged { grant, .. } => self.change(*grant, |it| it.acknowledged = true),
            Fact::GivenBack { grant } => {
                self.change(*grant, |it| it.given_back = true);
                self.excuse_bucket(*grant);
            }
            Fact::LostWithPower { grant, quarantined } => self.change(*grant, |it| {
                it.lost = true;
                it.forgiven = !quarantined;
            }),
            Fact::Vouched { slot } => {
                let of_slot = self.grants.iter_mut().filter(|it| it.key.slot == *slot);
                of_slot.for_each(|it| it.lost = true);
            }
            Fact::Served { .. }
            | Fact::Stopped { .. }
            | Fact::Held { .. }
            | Fact::Registered { .. }
            | Fact::Chosen { .. }
            | Fact::Told { .. }
            | Fact::DeniedFromCache { .. } => {}
        }
    }

    /// The refund of a grant that was lost with the power takes the place of others in its bucket:
    /// nobody knows that it was lost. That too is what such a loss may cost.
    fn excuse_bucket(&mut self, grant: GrantId) {
        let Some(lost) = self.grants.get(grant).filter(|it| it.lost).cloned() else {
            return;
        };
        let buckets = |at: SlotTime| {
            let limits = lost.limits.as_slice().iter();
            limits
                .map(|&limit| bucket_of(limit, at))
                .collect::<Vec<_>>()
        };
        let of_lost = buckets(lost.at_slot);
        let shares = |it: &Granted| {
            buckets(it.at_slot)
                .iter()
                .zip(&of_lost)
                .any(|(a, b)| a == b)
        };
        for id in self.of_key.get(&lost.key).into_iter().flatten() {
            if shares(&self.grants[*id]) {
                self.grants[*id].lost = true;
                self.grants[*id].forgiven = true;
            }
        }
    }

    fn change(&mut self, grant: GrantId, change: impl FnOnce(&mut Granted)) {
        if let Some(granted) = self.grants.get_mut(grant) {
            change(granted);
        }
    }

    pub(super) fn grants(&self) -> &[Granted] {
        &self.grants
    }

    /// The grants of a key, newest first.
    pub(super) fn newest_first(&self, key: Key) -> impl Iterator<Item = &Granted> + Clone {
        let ids = self.of_key.get(&key).map_or(&[][..], Vec::as_slice);
        ids.iter().rev().map(|&id| &self.grants[id])
    }

    /// What `state` should hold of the grants up to epoch `upto` and does not: a bucket that counts
    /// less than was granted in it, acknowledged, and not given back.
    pub(super) fn missing(&self, slot: Slot, state: &SlotState, upto: Epoch) -> Option<String> {
        for (n, held) in state.keys.iter().enumerate() {
            let key = Key { slot, n };
            let counted = |it: &&Granted| it.stands() && !it.lost && it.epoch <= upto;
            let Some(newest) = self.newest_first(key).next() else {
                continue;
            };
            for (place, &limit) in newest.limits.as_slice().iter().enumerate() {
                let oldest = oldest_counting(limit, state.clock);
                let in_window = |it: &&Granted| bucket_of(limit, it.at_slot) >= oldest;
                let mut due: BTreeMap<SlotTime, u64> = BTreeMap::new();
                let all = self.newest_first(key).take_while(in_window);
                for granted in all.filter(counted) {
                    *due.entry(bucket_of(limit, granted.at_slot)).or_default() += granted.cost;
                }
                for (start, permits) in due {
                    let bucket = held.buckets(place).find(|it| it.start == start);
                    let there = bucket.map_or(0, |it| it.permits);
                    if there < permits {
                        return Some(format!(
                            "key {n} of slot {slot}: {permits} granted at {start} are \
                             acknowledged, {there} are in the state at {}/{} of clock {}",
                            state.at.epoch, state.at.n, state.clock
                        ));
                    }
                }
            }
        }
        None
    }
}
