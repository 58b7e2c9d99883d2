//! What a load has shown, for people and for scripts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::tally::{Counts, Tally};
use crate::outcome::Exit;
use crate::output::{Page, Tone, View, number, percent};
use crate::refusal;

/// The outcome of a load.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Checks that were answered.
    checks: u64,
    checks_per_second: u64,
    seconds: f64,
    allowed: u64,
    denied: u64,
    errors: u64,
    errors_by_kind: BTreeMap<&'static str, u64>,
    latency_us: Latency,
}

/// Of the calls that were answered, in microseconds.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

impl Report {
    /// Sums up a load that took `elapsed`.
    pub(super) fn new(counts: Counts, tally: &Tally, elapsed: Duration) -> Self {
        let ms = elapsed.as_millis().max(1);
        let rate = u128::from(counts.checks()) * 1000 / ms;
        let at = |percentile| us(tally.latency_ns.value_at_percentile(percentile));
        Self {
            checks: counts.checks(),
            checks_per_second: u64::try_from(rate).unwrap_or(u64::MAX),
            seconds: elapsed.as_secs_f64(),
            allowed: counts.allowed,
            denied: counts.denied,
            errors: counts.errors,
            errors_by_kind: tally.errors.clone(),
            latency_us: Latency {
                p50: at(50.0),
                p90: at(90.0),
                p99: at(99.0),
                p99_9: at(99.9),
                max: us(tally.latency_ns.max()),
            },
        }
    }
}

impl Report {
    /// A load without one answer has failed, whatever it has measured.
    pub(super) fn exit(&self) -> Exit {
        let mut words = self.errors_by_kind.keys();
        if self.checks > 0 || self.errors == 0 {
            Exit::Ok
        } else if words.all(|word| refusal::is_unreachable(word)) {
            Exit::Unreachable
        } else {
            Exit::Refused
        }
    }
}

/// Microseconds with one decimal.
#[expect(
    clippy::cast_precision_loss,
    reason = "a minute in tenths of a microsecond fits"
)]
fn us(ns: u64) -> f64 {
    (ns / 100) as f64 / 10.0
}

impl View for Report {
    fn page(&self, page: &mut Page) {
        let share = |part| format!("{}  ({})", number(part), percent(part, self.checks.max(1)));
        let time = |us: f64| {
            if us < 10_000.0 {
                format!("{us} µs")
            } else {
                format!("{:.1} ms", us / 1000.0)
            }
        };
        let latency = &self.latency_us;
        let mut fields = vec![
            ("checks", number(self.checks)),
            ("time", format!("{:.2} s", self.seconds)),
            (
                "throughput",
                page.tone(
                    Tone::Strong,
                    &format!("{} checks/s", number(self.checks_per_second)),
                ),
            ),
            ("allowed", share(self.allowed)),
            ("denied", share(self.denied)),
            ("errors", number(self.errors)),
            ("p50", time(latency.p50)),
            ("p90", time(latency.p90)),
            ("p99", time(latency.p99)),
            ("p99.9", time(latency.p99_9)),
            ("longest", time(latency.max)),
        ];
        if self.checks == 0 {
            fields.truncate(6);
        }
        page.fields(&fields);
        if self.errors_by_kind.is_empty() {
            return;
        }
        page.heading("errors");
        for (word, count) in &self.errors_by_kind {
            let count = page.tone(Tone::Bad, &number(*count));
            page.line(&format!("{word}  {count}"));
        }
    }
}
