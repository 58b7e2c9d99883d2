//! The window against an obviously right model: a plain log of all grants.

use proptest::prelude::*;

use super::*;

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Check(u64),
    /// Give back the grant with this index, modulo the number of grants so far.
    Refund(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wait = prop_oneof![0..4u64, 0..400u64, 0..20_000u64].prop_map(Step::Wait);
    let check = prop_oneof![Just(1u64), 0..6u64, 0..100u64].prop_map(Step::Check);
    prop::collection::vec(
        prop_oneof![3 => wait, 6 => check, 1 => (0..1000usize).prop_map(Step::Refund)],
        1..300,
    )
}

fn limits(any: impl Strategy<Value = (u64, u64)>) -> impl Strategy<Value = Limits> {
    prop::collection::vec(any, 1..=LIMITS_MAX).prop_map(|pairs| {
        let limits = pairs
            .into_iter()
            .filter_map(|(permits, ms)| Limit::new(permits, ms));
        Limits::new(limits.collect()).unwrap()
    })
}

fn any_limits() -> impl Strategy<Value = Limits> {
    limits((
        prop_oneof![1..=64u64, 60..200u64],
        prop_oneof![1..100u64, 1000..20_000u64],
    ))
}

/// Every permit ever granted and not given back.
#[derive(Default)]
struct Log {
    grants: Vec<Grant>,
}

impl Log {
    /// Permits granted in `(from, to]`.
    fn within(&self, from: Option<u64>, to: u64) -> u64 {
        let inside = |at: u64| at <= to && from.is_none_or(|from| at > from);
        self.grants
            .iter()
            .filter(|g| inside(g.at.as_ms()))
            .map(|g| g.cost)
            .sum()
    }

    /// The most permits in any window of this length: windows that end at a grant suffice.
    fn most_in_any(&self, window_ms: u64) -> u64 {
        let ends = self.grants.iter().map(|grant| grant.at.as_ms());
        ends.map(|to| self.within(to.checked_sub(window_ms), to))
            .max()
            .unwrap_or(0)
    }
}

/// Runs a history; `observe` sees each check before it is counted: the verdict, its cost and time.
fn run(limits: &Limits, steps: &[Step], mut observe: impl FnMut(&Log, &Verdict, u64, u64)) -> Log {
    let (mut state, mut log, mut now) = (KeyState::new(), Log::default(), SlotTime::ZERO);
    for step in steps {
        match *step {
            Step::Wait(ms) => now = now.plus_ms(ms),
            Step::Check(cost) => {
                let Ok(verdict) = state.check(limits, cost, now) else {
                    continue;
                };
                observe(&log, &verdict, cost, now.as_ms());
                if verdict.granted && cost > 0 {
                    log.grants.push(Grant { at: now, cost });
                }
            }
            Step::Refund(n) if !log.grants.is_empty() => {
                let grant = log.grants.remove(n % log.grants.len());
                state.refund(limits, grant, now);
            }
            Step::Refund(_) => {}
        }
    }
    log
}

proptest! {
    #[test]
    fn no_true_window_is_ever_above_the_limit(limits in any_limits(), steps in steps()) {
        // A refund takes its grant out of the log, so later windows count what is really out.
        let without_refunds: Vec<_> =
            steps.iter().filter(|step| !matches!(step, Step::Refund(_))).cloned().collect();
        let log = run(&limits, &without_refunds, |_, _, _, _| {});
        for limit in limits.as_slice() {
            prop_assert!(log.most_in_any(limit.window_ms()) <= limit.permits());
        }
        let mut over = None;
        run(&limits, &steps, |log, verdict, cost, now| {
            for limit in limits.as_slice() {
                let out = log.within(now.checked_sub(limit.window_ms()), now);
                if verdict.granted && out + cost > limit.permits() {
                    over = Some((limit.to_string(), out, cost, now));
                }
            }
        });
        prop_assert_eq!(over, None);
    }

    #[test]
    fn limits_up_to_64_agree_with_the_log_to_a_millisecond(
        limits in limits((1..=64u64, prop_oneof![1..100u64, 1000..20_000u64])),
        steps in steps(),
    ) {
        let mut wrong = None;
        run(&limits, &steps, |log, verdict, cost, now| {
            // What lies exactly one window back still counts: its fraction of a ms is not known.
            let fits = |limit: &Limit| {
                let from = now.checked_sub(limit.window_ms()).and_then(|from| from.checked_sub(1));
                log.within(from, now) + cost <= limit.permits()
            };
            if verdict.granted != limits.as_slice().iter().all(fits) {
                wrong = Some((*verdict, cost, now));
            }
        });
        prop_assert_eq!(wrong, None);
    }

    #[test]
    fn waiting_retry_after_then_grants_and_a_millisecond_less_does_not(
        limits in any_limits(), steps in steps(), cost in 1..100u64,
    ) {
        let (mut state, mut now) = (KeyState::new(), SlotTime::ZERO);
        for step in steps {
            match step {
                Step::Wait(ms) => now = now.plus_ms(ms),
                Step::Check(cost) => {
                    state.check(&limits, cost, now).ok();
                }
                Step::Refund(_) => {}
            }
        }
        let Ok(verdict) = state.peek(&limits, cost, now) else { return Ok(()) };
        let then = now.plus_ms(verdict.retry_after_ms);
        prop_assert!(state.peek(&limits, cost, then).unwrap().granted);
        if !verdict.granted {
            prop_assert!(verdict.retry_after_ms > 0);
            prop_assert!(!state.peek(&limits, cost, then.minus_ms(1)).unwrap().granted);
        }
        for (n, &limit) in limits.as_slice().iter().enumerate() {
            let empty = now.plus_ms(window::reset_after_ms(limit, state.buckets(n), now));
            prop_assert_eq!(window::used(limit, state.buckets(n), empty), 0);
        }
    }

    #[test]
    fn a_changed_policy_forgets_no_grant_that_it_knew(
        before in any_limits(), after in any_limits(), steps in steps(),
        wait in 0..20_000u64, more in steps(),
    ) {
        let steps: Vec<_> = steps.into_iter().filter(|s| !matches!(s, Step::Refund(_))).collect();
        let (mut state, mut log, mut now) = (KeyState::new(), Log::default(), SlotTime::ZERO);
        let play = |state: &mut KeyState, limits: &Limits, log: &mut Log, now: &mut SlotTime, steps: &[Step]| {
            for step in steps {
                match *step {
                    Step::Wait(ms) => *now = now.plus_ms(ms),
                    Step::Check(cost) => {
                        let granted = state.check(limits, cost, *now).is_ok_and(|v| v.granted);
                        if granted && cost > 0 {
                            log.grants.push(Grant { at: *now, cost });
                        }
                    }
                    Step::Refund(_) => {}
                }
            }
        };
        play(&mut state, &before, &mut log, &mut now, &steps);
        now = now.plus_ms(wait);
        let changed = now;
        state.reshape(&Shape::of(&before), &Shape::of(&after));
        play(&mut state, &after, &mut log, &mut now, &more);
        // From the change on, a window that the old limits could see whole is never above the new
        // limit, but for what was granted under a higher one before.
        let known_ms = before.longest_window_ms();
        for limit in after.as_slice().iter().filter(|limit| limit.window_ms() <= known_ms) {
            for grant in log.grants.iter().filter(|grant| grant.at > changed) {
                let to = grant.at.as_ms();
                let sum = log.within(to.checked_sub(limit.window_ms()), to);
                prop_assert!(sum <= limit.permits(), "{limit}: {sum} up to {to}");
            }
        }
    }
}

/// Permits granted in 16 windows after the first four to who asks at so many thousandths of the
/// limit's rate: by a state, and by a log of all grants, to a millisecond.
fn granted_at_a_steady_rate(limit: Limit, per_mille: u64) -> (u64, u64) {
    let limits = Limits::from(limit);
    let (mut state, mut log) = (KeyState::new(), std::collections::VecDeque::new());
    let (mut by_state, mut by_log) = (0, 0);
    let window_us = limit.window_ms() * 1000;
    let every_us = window_us * 1000 / (limit.permits() * per_mille);
    for n in 0..20 * window_us / every_us {
        let now_ms = n * every_us / 1000;
        let counts = u64::from(now_ms >= 4 * limit.window_ms());
        let verdict = state.check(&limits, 1, SlotTime::from_ms(now_ms)).unwrap();
        by_state += u64::from(verdict.granted) * counts;
        while log
            .front()
            .is_some_and(|at| at + limit.window_ms() < now_ms)
        {
            log.pop_front();
        }
        if (log.len() as u64) < limit.permits() {
            log.push_back(now_ms);
            by_log += counts;
        }
    }
    (by_state, by_log)
}

#[test]
fn a_steady_rate_above_the_limit_is_granted_98_percent_of_what_a_log_grants() {
    let small = (1..=300).zip([1000, 10_000, 60_000].into_iter().cycle());
    let known_bad_with_60 = [65, 69, 80, 100, 110].map(|permits| (permits, 1000));
    let large = [(1000, 3_600_000), (5000, 60_000), (10_000, 1000)];
    for (permits, window_ms) in small.chain(known_bad_with_60).chain(large) {
        for per_mille in [1001, 1010, 1050, 1100, 1500] {
            let limit = Limit::new(permits, window_ms).unwrap();
            let (granted, of) = granted_at_a_steady_rate(limit, per_mille);
            assert!(
                granted * 100 >= of * 98,
                "{limit} at {per_mille}: {granted} of {of}"
            );
            assert!(
                permits > 64 || granted == of,
                "{limit} at {per_mille} is exact"
            );
        }
    }
}

#[test]
fn a_denial_by_one_limit_costs_the_others_nothing() {
    let limits = Limits::new(vec!["2/s".parse().unwrap(), "100/hour".parse().unwrap()]).unwrap();
    let (mut state, now) = (KeyState::new(), SlotTime::from_ms(5000));
    let granted = (0..10)
        .filter(|_| state.check(&limits, 1, now).unwrap().granted)
        .count();
    let hour: u64 = state.buckets(1).map(|bucket| bucket.permits).sum();
    assert_eq!((granted, hour), (2, 2));
    let denied = state.check(&limits, 1, now).unwrap();
    assert_eq!(
        (denied.limit, denied.remaining, denied.retry_after_ms),
        (2, 0, 1001)
    );
}

#[test]
fn a_cost_above_the_limit_is_an_error_and_costs_nothing() {
    let limits = Limits::from(Limit::new(10, 1000).unwrap());
    let mut state = KeyState::new();
    for (cost, expected) in [
        (0, Some(true)),
        (11, None),
        (u64::MAX, None),
        (10, Some(true)),
        (1, Some(false)),
    ] {
        let verdict = state.check(&limits, cost, SlotTime::ZERO);
        assert_eq!(
            verdict.ok().map(|verdict| verdict.granted),
            expected,
            "cost {cost}"
        );
    }
}

#[test]
fn the_largest_limits_do_not_overflow() {
    let limits = Limits::from(Limit::new(u64::MAX, super::super::policy::WINDOW_MS_MAX).unwrap());
    let mut state = KeyState::new();
    assert!(
        state
            .check(&limits, u64::MAX, SlotTime::from_ms(1))
            .unwrap()
            .granted
    );
    let denied = state
        .check(&limits, u64::MAX, SlotTime::from_ms(u64::MAX / 2))
        .unwrap();
    assert!(denied.granted, "the first has long left");
    assert!(
        !state
            .check(&limits, 1, SlotTime::from_ms(u64::MAX / 2))
            .unwrap()
            .granted
    );
}

#[test]
fn a_grant_of_unknown_time_is_given_back_from_the_oldest_bucket_on() {
    let limits = Limits::new(vec![
        Limit::new(10, 1000).unwrap(),
        Limit::new(100, 6000).unwrap(),
    ])
    .unwrap();
    let mut state = KeyState::new();
    for (ms, cost) in [(0, 4), (500, 3), (2000, 2), (2100, 1)] {
        state.check(&limits, cost, SlotTime::from_ms(ms)).unwrap();
    }
    let grant = |cost| Grant {
        at: SlotTime::MAX,
        cost,
    };
    let now = SlotTime::from_ms(2100);
    assert_eq!(state.refund(&limits, grant(5), now), 5);
    let permits = |n, state: &KeyState| -> Vec<u64> {
        let first = window::oldest_counting(limits.as_slice()[n], now);
        state
            .buckets_since(n, first)
            .map(|bucket| bucket.permits)
            .collect()
    };
    // The short limit counts three, of which none are left; the long one counted ten.
    assert_eq!(permits(0, &state), [] as [u64; 0]);
    assert_eq!(permits(1, &state), [2, 2, 1]);
    assert_eq!(state.refund(&limits, grant(u64::MAX), now), 5);
    assert_eq!(state.refund(&limits, grant(1), now), 0);
    assert!(state.is_empty());
}

proptest! {
    /// What still counts and is given back without its time leaves no window above the limit.
    #[test]
    fn giving_back_what_still_counts_never_over_admits(limit in any_limits(), steps in steps()) {
        let limits = Limits::from(limit.as_slice()[0]);
        let window_ms = limit.as_slice()[0].window_ms();
        let (mut state, mut log, mut now) = (KeyState::new(), Log::default(), SlotTime::ZERO);
        for step in steps {
            match step {
                Step::Wait(ms) => now = now.plus_ms(ms),
                Step::Check(cost) => {
                    let Ok(verdict) = state.check(&limits, cost, now) else { continue };
                    if verdict.granted && cost > 0 {
                        log.grants.push(Grant { at: now, cost });
                        let out = log.within(now.as_ms().checked_sub(window_ms), now.as_ms());
                        prop_assert!(out <= limits.least_permits());
                    }
                }
                Step::Refund(n) if !log.grants.is_empty() => {
                    let n = n % log.grants.len();
                    if now.ms_since(log.grants[n].at) < window_ms {
                        let cost = log.grants.remove(n).cost;
                        let given = state.refund(&limits, Grant { at: SlotTime::MAX, cost }, now);
                        prop_assert_eq!(given, cost);
                    }
                }
                Step::Refund(_) => {}
            }
        }
    }
}

#[test]
fn a_refund_counts_only_while_its_bucket_does() {
    let limits = Limits::from(Limit::new(10, 1000).unwrap());
    let mut state = KeyState::new();
    state.check(&limits, 4, SlotTime::ZERO).unwrap();
    let grant = Grant {
        at: SlotTime::ZERO,
        cost: 3,
    };
    assert_eq!(
        state.refund(&limits, Grant { cost: 9, ..grant }, SlotTime::from_ms(1002)),
        0
    );
    assert_eq!(state.refund(&limits, grant, SlotTime::from_ms(1000)), 3);
    assert_eq!(
        state.refund(&limits, grant, SlotTime::from_ms(1000)),
        1,
        "never below nothing"
    );
    assert!(state.is_empty());
}
