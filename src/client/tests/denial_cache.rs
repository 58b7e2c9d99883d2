//! The denial cache against a model that remembers every denial, and its rules one by one.

use std::time::Duration;

use proptest::prelude::*;

use crate::client::denial_cache::{Asked, DenialCache};
use crate::types::{Decision, Source};

const MS: Duration = Duration::from_millis(1);

fn denied(retry_ms: u32) -> Decision {
    Decision {
        retry_after: MS * retry_ms,
        reset_after: MS * (retry_ms + 5),
        ..Decision::new(false, 100, 3, Source::Owner)
    }
}

/// A cache that knows its policy set.
fn cache(entries_max: usize) -> DenialCache {
    let mut cache = DenialCache::new(entries_max);
    cache.set_policies(1);
    cache
}

fn asked(cache: &DenialCache, at: Duration) -> Asked {
    Asked {
        at,
        generation: cache.generation(),
    }
}

fn keep(cache: &mut DenialCache, id: u128, cost: u64, at_ms: u32, decision: &Decision) {
    let asked = asked(cache, MS * at_ms);
    cache.keep(id, cost, asked, decision);
}

fn retry_ms(cache: &mut DenialCache, id: u128, cost: u64, at_ms: u32) -> Option<u128> {
    let decision = cache.find(id, cost, MS * at_ms)?;
    Some(decision.retry_after.as_millis())
}

#[test]
fn a_denial_answers_until_its_time_and_says_what_is_left_of_it() {
    let mut cache = cache(10);
    keep(&mut cache, 7, 5, 100, &denied(50));
    let decision = cache.find(7, 5, MS * 120).unwrap();
    assert_eq!(
        decision,
        Decision {
            retry_after: MS * 30,
            reset_after: MS * 35,
            ..Decision::new(false, 100, 3, Source::Cached)
        }
    );
    for (id, cost, at_ms, expected) in [
        (7, 4, 120, None),
        (7, 6, 120, Some(30)),
        (8, 5, 120, None),
        (7, 5, 149, Some(1)),
        (7, 5, 150, None),
    ] {
        assert_eq!(retry_ms(&mut cache, id, cost, at_ms), expected);
    }
    assert_eq!(cache.len(), 0, "what has expired is gone");
}

#[test]
fn only_denials_by_the_counts_that_name_a_time_are_kept() {
    let mut cache = cache(10);
    let others = [
        Decision::new(true, 100, 3, Source::Owner),
        denied(0),
        Decision {
            source: Source::Degraded,
            ..denied(9)
        },
        Decision {
            source: Source::Cached,
            ..denied(9)
        },
    ];
    for decision in others {
        keep(&mut cache, 7, 1, 0, &decision);
        assert_eq!(cache.len(), 0, "{decision:?}");
    }
    keep(&mut cache, 7, 0, 0, &denied(9));
    assert_eq!(cache.len(), 0, "a cost of 0 only looks");
    let proxied = Decision {
        source: Source::Proxied,
        ..denied(9)
    };
    keep(&mut cache, 7, 1, 0, &proxied);
    assert_eq!(cache.len(), 1);
}

#[test]
fn another_policy_set_empties_it_at_once_and_so_stays_what_was_on_its_way() {
    let mut cache = cache(10);
    let before = asked(&cache, Duration::ZERO);
    keep(&mut cache, 7, 1, 0, &denied(100));
    cache.set_policies(1);
    assert_eq!(retry_ms(&mut cache, 7, 1, 1), Some(99), "the same set");
    cache.set_policies(2);
    assert_eq!(retry_ms(&mut cache, 7, 1, 1), None);
    cache.keep(7, 1, before, &denied(100));
    assert_eq!(cache.len(), 0, "decided under the old set");
    keep(&mut cache, 7, 1, 1, &denied(100));
    assert_eq!(retry_ms(&mut cache, 7, 1, 2), Some(99));
}

#[test]
fn while_the_policy_set_is_not_known_nothing_is_told_or_kept() {
    let mut unknown = DenialCache::new(10);
    keep(&mut unknown, 7, 1, 0, &denied(100));
    assert_eq!(unknown.len(), 0);

    let mut cache = cache(10);
    keep(&mut cache, 7, 1, 0, &denied(100));
    cache.suspend();
    assert_eq!(retry_ms(&mut cache, 7, 1, 1), None);
    keep(&mut cache, 8, 1, 1, &denied(100));
    cache.set_policies(1);
    assert_eq!(retry_ms(&mut cache, 7, 1, 1), Some(99), "it is the same");
    assert_eq!(retry_ms(&mut cache, 8, 1, 1), None);
}

#[test]
fn a_dropped_denial_does_not_come_back_with_an_answer_that_was_on_its_way() {
    let mut cache = cache(1000);
    keep(&mut cache, 7, 1, 0, &denied(100));
    let before = asked(&cache, MS * 9);
    cache.drop_denial(7, MS * 10);
    assert_eq!(retry_ms(&mut cache, 7, 1, 11), None);
    cache.keep(7, 1, before, &denied(100));
    assert_eq!(retry_ms(&mut cache, 7, 1, 11), None);
    cache.keep(8, 1, before, &denied(100));
    assert_eq!(retry_ms(&mut cache, 8, 1, 11), Some(98), "another key");
    keep(&mut cache, 7, 1, 11, &denied(100));
    assert_eq!(retry_ms(&mut cache, 7, 1, 12), Some(99), "asked since");

    // So many drops that the first is forgotten: nothing as old is kept.
    for id in 100..300 {
        cache.drop_denial(id, MS * 20);
    }
    let asked = Asked {
        at: MS * 20,
        ..before
    };
    cache.keep(9, 1, asked, &denied(100));
    assert_eq!(retry_ms(&mut cache, 9, 1, 21), None);
}

#[test]
fn at_the_bound_what_answered_nothing_goes_first() {
    let mut cache = cache(3);
    for id in 0..3 {
        keep(&mut cache, id, 1, 0, &denied(100));
    }
    assert!(retry_ms(&mut cache, 0, 1, 1).is_some());
    keep(&mut cache, 3, 1, 1, &denied(100));
    let kept: Vec<u128> = (0..4)
        .filter(|&id| retry_ms(&mut cache, id, 1, 2).is_some())
        .collect();
    assert_eq!(kept, [0, 2, 3]);
    let mut none = self::cache(0);
    keep(&mut none, 1, 1, 0, &denied(100));
    assert_eq!(none.len(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    /// A check is asked now and answered by a denial so many steps later.
    Deny {
        id: u128,
        cost: u64,
        retry_ms: u32,
        steps: usize,
    },
    Find {
        id: u128,
        cost: u64,
    },
    Wait(u32),
    Drop(u128),
    Policies(u64),
    Suspend,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..6_u128, 1..5_u64, 0..40_u32, 0..4_usize).prop_map(|(id, cost, retry_ms, steps)| {
            Step::Deny { id, cost, retry_ms, steps }
        }),
        8 => (0..6_u128, 1..5_u64).prop_map(|(id, cost)| Step::Find { id, cost }),
        4 => (1..20_u32).prop_map(Step::Wait),
        1 => (0..6_u128).prop_map(Step::Drop),
        1 => (1..3_u64).prop_map(Step::Policies),
        1 => Just(Step::Suspend),
    ];
    prop::collection::vec(step, 0..120)
}

/// A denial as the node said it, for ever.
#[derive(Debug, Clone)]
struct Said {
    id: u128,
    cost: u64,
    asked: Duration,
    until: Duration,
    /// The step at which it was asked, and the one at which it arrives.
    asked_step: usize,
    arrives: usize,
    ticket: Asked,
    retry_ms: u32,
}

/// What happened, by its step.
#[derive(Debug, Default)]
struct Past {
    said: Vec<Said>,
    drops: Vec<(u128, usize)>,
    /// Steps at which the policy set changed or could have.
    changes: Vec<usize>,
}

impl Past {
    /// Whether `said` may answer a check at step `now_step`.
    fn may_answer(&self, said: &Said, id: u128, cost: u64, now: Duration, now_step: usize) -> bool {
        let dropped = self
            .drops
            .iter()
            .any(|&(dropped, step)| dropped == id && step >= said.asked_step);
        let changed = self.changes.iter().any(|&step| step >= said.asked_step);
        said.id == id
            && said.cost <= cost
            && said.until > now
            && said.asked <= now
            && said.arrives <= now_step
            && !dropped
            && !changed
    }
}

proptest! {
    /// The model remembers all denials and forgets none: an answer must be one of them that is still
    /// true, with no more time than is left of it.
    #[test]
    fn what_is_told_was_said_and_is_still_true(
        entries_max in 0..5_usize,
        steps in steps(),
    ) {
        let mut cache = cache(entries_max);
        let (mut now, mut policies, mut suspended) = (MS * 1000, 1, false);
        let mut past = Past::default();
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Deny { id, cost, retry_ms, steps } => past.said.push(Said {
                    id, cost, retry_ms,
                    asked: now,
                    until: now + MS * retry_ms,
                    asked_step: n,
                    arrives: n + steps,
                    ticket: asked(&cache, now),
                }),
                Step::Find { id, cost } => if let Some(told) = cache.find(id, cost, now) {
                    prop_assert!(!suspended);
                    let until = now + told.retry_after;
                    let said = past.said.iter().any(|said| {
                        said.until == until && past.may_answer(said, id, cost, now, n)
                    });
                    prop_assert!(said, "{:?} at {:?}", told, now);
                    prop_assert!(!told.allowed && told.source == Source::Cached);
                },
                Step::Wait(ms) => now += MS * ms,
                Step::Drop(id) => {
                    cache.drop_denial(id, now);
                    past.drops.push((id, n));
                }
                Step::Policies(hash) => {
                    // What was kept before a suspension may answer again if the set is the same.
                    if hash != policies {
                        past.changes.push(n);
                    }
                    (policies, suspended) = (hash, false);
                    cache.set_policies(hash);
                }
                Step::Suspend => {
                    suspended = true;
                    cache.suspend();
                }
            }
            for said in past.said.iter().filter(|said| said.arrives == n) {
                cache.keep(said.id, said.cost, said.ticket, &denied(said.retry_ms));
            }
            prop_assert!(cache.len() <= entries_max);
        }
    }

    /// With room for all, the last denial of a key is told until its time.
    #[test]
    fn nothing_is_forgotten_while_there_is_room(
        denials in prop::collection::vec((0..8_u128, 1..5_u64, 1..40_u32), 1..40),
    ) {
        let mut cache = cache(8);
        for &(id, cost, retry_ms) in &denials {
            keep(&mut cache, id, cost, 0, &denied(retry_ms));
        }
        for id in 0..8 {
            let last = denials.iter().rev().find(|denial| denial.0 == id);
            for cost in 1..5 {
                let told = retry_ms(&mut cache, id, cost, 0);
                let expected = last.filter(|denial| denial.1 <= cost).map(|denial| denial.2);
                prop_assert_eq!(told, expected.map(u128::from));
            }
        }
    }
}
