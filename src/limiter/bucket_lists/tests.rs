//! Bucket lists against maps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Add(usize, u64, u64),
    Set(usize, u64, u64),
    Subtract(usize, u64, u64),
    DropBefore(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    // Near each other, weeks apart, and further than a cell can say.
    let start = || prop_oneof![20 => 0..30u64, 2 => 0..5_000_000_000u64, 1 => any::<u64>()];
    let permits = || prop_oneof![20 => 0..9u64, 1 => any::<u64>()];
    let list = || 0..LIMITS_MAX;
    prop_oneof![
        6 => (list(), start(), permits()).prop_map(|(n, s, p)| Step::Add(n, s, p.max(1))),
        2 => (list(), start(), permits()).prop_map(|(n, s, p)| Step::Set(n, s, p)),
        2 => (list(), start(), permits()).prop_map(|(n, s, p)| Step::Subtract(n, s, p)),
        1 => (list(), start()).prop_map(|(n, s)| Step::DropBefore(n, s)),
    ]
}

proptest! {
    #[test]
    fn they_hold_what_maps_hold(steps in prop::collection::vec(step(), 1..200)) {
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
