use super::*;
use crate::node::forward::Local as _;
use crate::node::slots_tests::open_with;
use crate::protocol::client::{Ask, Target, WireDecision, WireSource};
use crate::server::{Figures as _, Lack, Mode};

/// A set in which only the window of a second is configured.
fn short_windows() -> PolicySet {
    let mut set = PolicySet::default();
    let policy = crate::limiter::policy::Policy::new(
        "1/s".parse::<crate::limiter::policy::Limit>().unwrap(),
    );
    set.policies.insert("short".to_owned(), policy);
    set.allow_request_limits = true;
    set
}

/// Asks under an hourly limit that the request brings along.
fn check_hourly(engine: &Engine, key: &str) -> WireDecision {
    let policy = PolicyRef::Carried {
        name: "hourly",
        limits: vec![(1, 3_600_000)],
    };
    let target = Target { policy, key };
    let mut answers = Vec::new();
    let asks = [Ask { target, cost: 1 }];
    engine.decide_reading(&asks, Mode::Count, &mut answers);
    answers.pop().unwrap().decision.unwrap()
}

#[tokio::test]
async fn it_outlasts_a_window_that_nobody_knows_of_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open_with(dir.path(), &short_windows());
    assert!(check_hourly(&engine, "one").allowed);
    let begun = engine.now();
    engine.quarantine.begin(&*engine.store, begun).unwrap();
    drop(engine);
    let engine = open_with(dir.path(), &short_windows());
    let later = engine.now().plus_ms(60_000);
    assert_eq!(engine.quarantined(later), Some(begun));
    let denied = check_hourly(&engine, "two");
    assert!(!denied.allowed && denied.source == WireSource::Degraded);
    assert!(denied.retry_after_ms > 3_000_000, "{denied:?}");
    let policies = engine.figures().policies;
    let hourly = policies.iter().find(|it| it.policy == "hourly").unwrap();
    assert_eq!((hourly.denied, hourly.degraded), (0, 1));
    for (lack, count) in Lack::ALL.iter().zip(hourly.without_counts) {
        let expected = u64::from(*lack == Lack::Quarantine);
        assert_eq!((count.allowed, count.denied), (0, expected), "{lack:?}");
    }
    assert_eq!(engine.quarantined(begun.plus_ms(3_600_000)), Some(begun));
    assert_eq!(engine.quarantined(begun.plus_ms(3_600_001)), None);
}

#[tokio::test]
async fn once_it_has_ended_no_longer_window_brings_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open_with(dir.path(), &short_windows());
    engine
        .quarantine
        .begin(&*engine.store, SlotTime::ZERO)
        .unwrap();
    assert_eq!(engine.quarantined(SlotTime::from_ms(1001)), None);
    engine.end_quarantines().unwrap();
    assert!(check_hourly(&engine, "one").allowed);
    drop(engine);
    let engine = open_with(dir.path(), &short_windows());
    assert_eq!(engine.quarantined(engine.now()), None);
    assert!(check_hourly(&engine, "two").allowed);
}
