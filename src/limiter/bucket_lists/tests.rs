//! Bucket lists against maps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::BucketLists;
use crate::limiter::policy::LIMITS_MAX;
use crate::limiter::window::Bucket;
use crate::types::SlotTime;

#[derive(Debug, Clone)]
enum Step {
    Add(usize, u64, u64),
    Set(usize, u64, u64),
    Subtract(usize, u64, u64),
    DropBefore(usize, u64),
}

fn step(lists: usize) -> impl Strategy<Value = Step> {
    // Near each other, weeks apart, and further than a cell can say.
    let start =
        || prop_oneof![20 => 0..30u64, 5 => 0..300u64, 2 => 0..5_000_000_000u64, 1 => any::<u64>()];
    let permits = || prop_oneof![20 => 0..9u64, 1 => any::<u64>()];
    let list = move || 0..lists;
    prop_oneof![
        6 => (list(), start(), permits()).prop_map(|(n, s, p)| Step::Add(n, s, p.max(1))),
        2 => (list(), start(), permits()).prop_map(|(n, s, p)| Step::Set(n, s, p)),
        2 => (list(), start(), permits()).prop_map(|(n, s, p)| Step::Subtract(n, s, p)),
        1 => (list(), start()).prop_map(|(n, s)| Step::DropBefore(n, s)),
    ]
}

proptest! {
    #[test]
    fn they_hold_what_maps_hold(
        // Of one list they may become a run, of several not.
        steps in (1..=LIMITS_MAX).prop_flat_map(|lists| prop::collection::vec(step(lists), 1..200)),
    ) {
        let mut lists = BucketLists::new();
        let mut model: [BTreeMap<u64, u64>; LIMITS_MAX] = Default::default();
        for step in steps {
            match step {
                Step::Add(n, start, permits) => {
                    lists.add(n, SlotTime::from_ms(start), permits);
                    let sum = model[n].entry(start).or_default();
                    *sum = sum.saturating_add(permits);
                }
                Step::Set(n, start, permits) => {
                    lists.set(n, Bucket { start: SlotTime::from_ms(start), permits });
                    model[n].insert(start, permits);
                }
                Step::Subtract(n, start, permits) => {
                    let taken = lists.subtract(n, SlotTime::from_ms(start), permits);
                    let sum = model[n].entry(start).or_default();
                    prop_assert_eq!(taken, permits.min(*sum));
                    *sum = sum.saturating_sub(permits);
                }
                Step::DropBefore(n, start) => {
                    lists.drop_before(n, SlotTime::from_ms(start));
                    model[n].retain(|at, _| *at >= start);
                }
            }
            for (n, map) in model.iter_mut().enumerate() {
                map.retain(|_, permits| *permits > 0);
                let held: Vec<_> = lists.list(n).map(|b| (b.start.as_ms(), b.permits)).collect();
                prop_assert_eq!(held, map.iter().map(|(s, p)| (*s, *p)).collect::<Vec<_>>());
                let oldest = map.keys().nth(map.len() / 2).copied().unwrap_or(0);
                let sum = map.range(oldest..).map(|(_, p)| *p).fold(0, u64::saturating_add);
                let newest = map.keys().last().map(|start| SlotTime::from_ms(*start));
                prop_assert_eq!(lists.sum_since(n, SlotTime::from_ms(oldest)), (sum, newest));
            }
        }
    }
}

proptest! {
    #[test]
    fn a_run_holds_what_a_map_holds(
        steps in prop::collection::vec((1..4u64, 1..9u64, 0..200u64, prop::option::of(0..9u64)), 1..600),
    ) {
        let (mut lists, mut model, mut now) = (BucketLists::new(), BTreeMap::new(), 0);
        for (wait, permits, window, told) in steps {
            now += wait;
            let oldest = now.saturating_sub(window);
            lists.drop_before(0, SlotTime::from_ms(oldest));
            model.retain(|at, _| *at >= oldest);
            // As at its owner, or as at a replica, which is told of a bucket anew.
            let start = told.map_or(now, |ago| now.saturating_sub(ago).max(oldest));
            let bucket = Bucket { start: SlotTime::from_ms(start), permits };
            match told {
                None => lists.add(0, bucket.start, permits),
                Some(_) => lists.set(0, bucket),
            }
            model.insert(start, permits);
            let held = |bucket: Bucket| (bucket.start.as_ms(), bucket.permits);
            prop_assert!(lists.list(0).map(held).eq(model.iter().map(|(s, p)| (*s, *p))));
            prop_assert!(lists.list(0).rev().map(held).eq(model.iter().rev().map(|(s, p)| (*s, *p))));
            let (since, all) = (now.saturating_sub(window / 2), lists.sum_since(0, SlotTime::ZERO).0);
            let changed = lists.list_since(0, SlotTime::from_ms(since)).map(held);
            prop_assert!(changed.eq(model.range(since..).map(|(s, p)| (*s, *p))));
            let sum: u64 = model.range(since..).map(|(_, permits)| *permits).sum();
            prop_assert_eq!(lists.sum_since(0, SlotTime::from_ms(since)).0, sum);
            prop_assert_eq!(all, model.values().sum::<u64>());
        }
    }
}
