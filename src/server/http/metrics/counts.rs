//! What the edge itself counts: responses, what went wrong, and how long checks took. Atomics only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::response::Response;

use super::page::{Family, Samples, counter, counters, float};
use crate::server::http::problem::Problem;

/// Upper bounds of the buckets of durations, in microseconds: from a check in memory to one that
/// waits for a disk and another node.
const BUCKETS_US: [u64; 14] = [
    50, 100, 200, 300, 500, 750, 1000, 2000, 5000, 10_000, 25_000, 100_000, 500_000, 1_000_000,
];

/// Classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// See the module.
#[derive(Debug, Default)]
pub(in crate::server::http) struct Counts {
    responses: [AtomicU64; CLASSES.len()],
    problems: [AtomicU64; Problem::ALL.len()],
    handshakes_failed: AtomicU64,
    /// One more for what takes longer than the last bound.
    durations: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Counts {
    /// A request was answered.
    pub(in crate::server::http) fn answered(&self, response: &Response) {
        let class = usize::from(response.status().as_u16() / 100).saturating_sub(1);
        add(self.responses.get(class), 1);
        if let Some(problem) = response.extensions().get::<Problem>() {
            let place = Problem::ALL.iter().position(|it| it == problem);
            add(place.and_then(|place| self.problems.get(place)), 1);
        }
    }

    /// A handshake of TLS failed or took too long.
    pub(in crate::server::http) fn handshake_failed(&self) {
        add(Some(&self.handshakes_failed), 1);
    }

    /// The checks of a request took so long.
    pub(in crate::server::http) fn took(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|bound| *bound < us);
        add(self.durations.get(bucket), 1);
        add(Some(&self.sum_us), us);
    }

    /// All of it.
    pub(super) fn families(&self) -> Vec<Family> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let classes = CLASSES.iter().zip(&self.responses);
        let classes =
            classes.map(|(class, count)| (vec![("class", (*class).to_owned())], load(count)));
        let problems = Problem::ALL.iter().zip(&self.problems);
        let problems = problems
            .filter(|(problem, _)| **problem != Problem::Denied)
            .map(|(problem, count)| (vec![("kind", problem.about().code.to_owned())], load(count)));
        let bounds = BUCKETS_US.iter().map(|us| float(*us) / 1e6);
        let bounds = bounds.chain([f64::INFINITY]);
        let durations = self.durations.iter().map(load);
        vec![
            counters(
                "ratelimit_http_responses",
                "Responses of the HTTP edge, by class of their status.",
                classes.collect(),
            ),
            counters(
                "ratelimit_http_errors",
                "Requests that the HTTP edge could not answer with a decision, by what was wrong.",
                problems.collect(),
            ),
            counter(
                "ratelimit_http_handshakes_failed",
                "Connections to the HTTP edge that ended before TLS was agreed on.",
                load(&self.handshakes_failed),
            ),
            Family {
                name: "ratelimit_http_check_duration_seconds",
                help: "How long the checks of a request to the HTTP edge took to be decided and kept.",
                samples: Samples::Histogram {
                    buckets: bounds.zip(durations).collect(),
                    sum: float(load(&self.sum_us)) / 1e6,
                },
            },
        ]
    }
}

fn add(counter: Option<&AtomicU64>, number: u64) {
    if let Some(counter) = counter {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}
