//! What the edge itself counts: responses, what went wrong, and how long checks took. Atomics only.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::response::Response;

use super::page::{Family, counter, counters, durations};
use crate::server::http::problem::Problem;
use crate::telemetry::Durations;

/// Classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// See the module.
#[derive(Debug, Default)]
pub(in crate::server::http) struct Counts {
    responses: [AtomicU64; CLASSES.len()],
    problems: [AtomicU64; Problem::ALL.len()],
    handshakes_failed: AtomicU64,
    durations: Durations,
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
        self.durations.add(duration);
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
            durations(
                "ratelimit_http_check_duration_seconds",
                "How long the checks of a request to the HTTP edge took to be decided and kept.",
                &self.durations.counted(),
            ),
        ]
    }
}

fn add(counter: Option<&AtomicU64>, number: u64) {
    if let Some(counter) = counter {
        counter.fetch_add(number, Ordering::Relaxed);
    }
}
