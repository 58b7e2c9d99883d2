//! `CL.THROTTLE`: which limit its parameters are, held against redis-cell's own algorithm.

use proptest::prelude::*;

use crate::protocol::client::PolicyRef;
use crate::server::resp::throttle::{BadParameter, Parameters, Throttle};

fn throttle(max_burst: u64, count: u64, period_s: u64) -> Result<Throttle, BadParameter> {
    Throttle::new(Parameters {
        max_burst,
        count,
        period_s,
    })
}

fn limit(throttle: &Throttle) -> (String, u64, u64) {
    match throttle.policy() {
        PolicyRef::Carried { name, limits } => (name.to_owned(), limits[0].0, limits[0].1),
        PolicyRef::Named(name) => (name.to_owned(), 0, 0),
    }
}

#[test]
fn the_window_is_the_time_that_gives_a_whole_burst_back() {
    let big = 1_000_000_000_000_000;
    let cases = [
        ((15, 30, 60), ("throttle:15:30:60", 16, 32_000)),
        ((0, 1, 1), ("throttle:0:1:1", 1, 1000)),
        ((99, 100, 60), ("throttle:99:100:60", 100, 60_000)),
        // Rounded up: 10 in 3333.4 ms.
        ((9, 3, 1), ("throttle:9:3:1", 10, 3334)),
        ((0, 5000, 1), ("throttle:0:5000:1", 1, 1)),
    ];
    for ((max_burst, count, period), (name, permits, window)) in cases {
        let throttle = throttle(max_burst, count, period).unwrap();
        assert_eq!(limit(&throttle), (name.to_owned(), permits, window));
        assert_eq!(throttle.permits(), permits);
    }
    let longest = throttle(big, big, big).unwrap();
    assert!(limit(&longest).0.len() <= 64, "it is a policy's name");
    assert_eq!(throttle(big + 1, 1, 1), Err(BadParameter::TooLarge));
    assert_eq!(throttle(1, 0, 1), Err(BadParameter::Zero));
    assert_eq!(throttle(1, 1, 0), Err(BadParameter::Zero));
}

proptest! {
    /// Asks a sliding window as often as it grants, at these times, and GCRA for each grant.
    #[test]
    fn what_passes_here_would_pass_redis_cell(
        (max_burst, count, period_s) in (0_u64..6, 1_u64..9, 1_u64..5),
        waits_ms in proptest::collection::vec(0_u64..2500, 1..80),
    ) {
        let (_, permits, window_ms) = limit(&throttle(max_burst, count, period_s).unwrap());
        let mut granted: Vec<u64> = Vec::new();
        let mut now_ms = 0;
        // All times `count` times as fine, so that GCRA's interval is a whole number.
        let interval = period_s * 1000;
        let mut arrival = 0;
        for wait_ms in waits_ms {
            now_ms += wait_ms;
            let recent = granted.iter().filter(|at| **at + window_ms > now_ms);
            if u64::try_from(recent.count()).unwrap() < permits {
                granted.push(now_ms);
                let now = now_ms * count;
                let next = u64::max(arrival, now) + interval;
                prop_assert!(
                    next <= now + interval * (max_burst + 1),
                    "redis-cell would deny what is granted at {now_ms} ms"
                );
                arrival = next;
            }
        }
    }
}
