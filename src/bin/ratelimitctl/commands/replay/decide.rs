//! The decisions of a replay.

use distributed_rate_limiter::SlotTime;
use distributed_rate_limiter::limiter::KeyState;
use distributed_rate_limiter::limiter::policy::Limits;

use super::report::Tally;
use super::traffic::Traffic;
use crate::outcome::Failure;

/// Decides all requests in their order; one tally a key.
pub(super) fn decide(limits: &Limits, traffic: &Traffic) -> Result<Vec<Tally>, Failure> {
    let mut states = vec![KeyState::new(); traffic.keys.len()];
    let mut tallies = vec![Tally::default(); traffic.keys.len()];
    let first = traffic.moments.first().map_or(0, |moment| moment.second);
    // A whole window fits before the first request, so that no bucket starts at the clock's
    // beginning for want of earlier ones.
    let begin = SlotTime::from_ms(limits.longest_window_ms());
    for moment in &traffic.moments {
        let now = begin.plus_ms(u64::from(moment.second - first) * 1000);
        let (state, tally) = (
            &mut states[moment.key as usize],
            &mut tallies[moment.key as usize],
        );
        let verdict = state.check(limits, 1, now).map_err(Failure::internal)?;
        tally.requests += 1;
        tally.allowed += u64::from(verdict.granted);
    }
    Ok(tallies)
}

#[cfg(test)]
mod tests {
    //! Against an obviously right model: a plain log of all grants.

    use proptest::prelude::*;

    use distributed_rate_limiter::limiter::policy::Limit;

    use super::super::access_log::Request;
    use super::*;

    fn limits(texts: &[&str]) -> Limits {
        Limits::new(texts.iter().map(|text| text.parse().unwrap()).collect()).unwrap()
    }

    /// Traffic of (second, key), sorted.
    fn traffic(requests: &[(u32, &str)]) -> Traffic {
        let mut traffic = Traffic::default();
        for &(second, key) in requests {
            let key = key.to_owned();
            traffic.add(Request { second, key }).unwrap();
        }
        traffic.sort();
        traffic
    }

    /// Grants by a list of all grants, in which what lies exactly one window back still counts.
    fn exact_log(limits: &Limits, traffic: &Traffic) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); traffic.keys.len()];
        let mut grants: Vec<Vec<u64>> = vec![Vec::new(); traffic.keys.len()];
        for moment in &traffic.moments {
            let (key, now) = (moment.key as usize, u64::from(moment.second) * 1000);
            let passes = |limit: &Limit| {
                let counts = |at: &&u64| **at + limit.window_ms() >= now;
                (grants[key].iter().filter(counts).count() as u64) < limit.permits()
            };
            tallies[key].requests += 1;
            if limits.as_slice().iter().all(passes) {
                grants[key].push(now);
                tallies[key].allowed += 1;
            }
        }
        tallies
    }

    #[test]
    fn what_lies_exactly_one_window_back_still_counts() {
        let traffic = traffic(&[(0, "a"), (60, "a"), (61, "a"), (60, "b")]);
        let tallies = decide(&limits(&["1/min"]), &traffic).unwrap();
        let expected = [(3, 2), (1, 1)].map(|(requests, allowed)| Tally { requests, allowed });
        assert_eq!(tallies, expected);
    }

    #[test]
    fn a_request_that_one_limit_denies_costs_the_others_nothing() {
        let traffic = traffic(&[(0, "a"), (0, "a"), (0, "a"), (2, "a"), (4, "a"), (6, "a")]);
        let tallies = decide(&limits(&["1/s", "3/min"]), &traffic).unwrap();
        assert_eq!(
            tallies,
            [Tally {
                requests: 6,
                allowed: 3
            }]
        );
    }

    proptest! {
        #[test]
        fn limits_up_to_64_agree_with_a_log_of_all_grants(
            requests in prop::collection::vec((1_000_000_u32..1_000_200, 0_u8..3), 0..300),
            permits in prop::collection::vec((1_u64..20, 1_u64..90), 1..4),
        ) {
            let names = ["a", "b", "c"];
            let requests: Vec<_> = requests
                .into_iter()
                .map(|(second, key)| (second, names[usize::from(key)]))
                .collect();
            let limits = permits
                .into_iter()
                .map(|(permits, seconds)| Limit::new(permits, seconds * 1000).unwrap())
                .collect();
            let (limits, traffic) = (Limits::new(limits).unwrap(), traffic(&requests));
            prop_assert_eq!(decide(&limits, &traffic).unwrap(), exact_log(&limits, &traffic));
        }
    }
}
