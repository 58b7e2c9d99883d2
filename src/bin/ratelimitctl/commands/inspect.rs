//! `inspect`: what is counted for a key, bucket by bucket.

use comfy_table::CellAlignment::{Left, Right};
use distributed_rate_limiter::client::{Inspected, InspectedLimit, Limit};
use serde::Serialize;

use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, Tone, View, bar, number, printable, time};

/// Rows of a chart; each stands for so much of the window.
const CHART_ROWS: u64 = 12;

const EXAMPLES: &str = "\
Examples:
  ratelimitctl inspect api user-7
  ratelimitctl inspect api user-7 -o json | jq '.limits[0].used'

The charts show the window from its oldest part down to now. Nothing is counted by looking.
It needs an admin's certificate.";

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Policy under which it is counted
    policy: String,
    /// Key that is looked at
    key: String,
}

/// Runs `inspect`.
pub(crate) fn run(args: Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let inspected = nodes::wait_for(async {
        let admin = nodes.admin().await?;
        Ok(admin.inspect(&args.policy, &args.key).await?)
    })?;
    output.show(&Shown::new(args, &inspected))?;
    Ok(Exit::Ok)
}

/// A key's state as it is shown; times count back from now.
#[derive(Debug, Serialize)]
struct Shown {
    policy: String,
    key: String,
    slot: u16,
    quarantine_ms: u64,
    limits: Vec<ShownLimit>,
    reservations: Vec<ShownReservation>,
}

#[derive(Debug, Serialize)]
struct ShownLimit {
    limit: String,
    permits: u64,
    window_ms: u64,
    bucket_ms: u64,
    used: u64,
    /// Oldest first.
    buckets: Vec<ShownBucket>,
}

#[derive(Debug, Serialize)]
struct ShownBucket {
    /// Since the bucket's beginning.
    age_ms: u64,
    permits: u64,
}

#[derive(Debug, Serialize)]
struct ShownReservation {
    id: u64,
    permits: u64,
    expires_after_ms: u64,
}

impl Shown {
    fn new(args: Args, inspected: &Inspected) -> Self {
        let limits = inspected.limits.iter();
        let reservations = inspected.reservations.iter();
        Self {
            policy: args.policy,
            key: args.key,
            slot: inspected.slot,
            quarantine_ms: inspected.quarantine_ms,
            limits: limits
                .map(|limit| ShownLimit::new(limit, inspected.now_ms))
                .collect(),
            reservations: reservations
                .map(|&(id, permits, expires_after_ms)| ShownReservation {
                    id,
                    permits,
                    expires_after_ms,
                })
                .collect(),
        }
    }
}

impl ShownLimit {
    fn new(limit: &InspectedLimit, now_ms: u64) -> Self {
        let written = Limit::new(limit.permits, limit.window_ms);
        let buckets = limit.buckets.iter();
        Self {
            limit: written.map_or_else(String::new, |limit| limit.to_string()),
            permits: limit.permits,
            window_ms: limit.window_ms,
            bucket_ms: limit.bucket_ms,
            used: buckets
                .clone()
                .fold(0, |sum: u64, (_, permits)| sum.saturating_add(*permits)),
            buckets: buckets
                .map(|&(start_ms, permits)| ShownBucket {
                    age_ms: now_ms.saturating_sub(start_ms),
                    permits,
                })
                .collect(),
        }
    }

    /// Permits in each of [`CHART_ROWS`] equal parts of the window, oldest first.
    fn chart(&self) -> Vec<u64> {
        let mut rows = vec![0_u64; usize::try_from(CHART_ROWS).unwrap_or(0)];
        for bucket in &self.buckets {
            let age = u128::from(bucket.age_ms) * u128::from(CHART_ROWS);
            let row = age / u128::from(self.window_ms.max(1));
            let from_newest = usize::try_from(row)
                .unwrap_or(usize::MAX)
                .min(rows.len() - 1);
            let at = rows.len() - 1 - from_newest;
            rows[at] = rows[at].saturating_add(bucket.permits);
        }
        rows
    }

    fn page(&self, page: &mut Page) {
        let used = format!("{} of {} used", number(self.used), number(self.permits));
        page.heading(&format!("{}: {used}", self.limit));
        if self.buckets.is_empty() {
            return;
        }
        let rows = self.chart();
        let full = rows.iter().copied().max().unwrap_or(0);
        let shown = rows
            .iter()
            .zip((1..=CHART_ROWS).rev())
            .map(|(permits, part)| {
                let since = u128::from(self.window_ms) * u128::from(part) / u128::from(CHART_ROWS);
                let since = u64::try_from(since).unwrap_or(u64::MAX);
                let count = if *permits == 0 {
                    String::new()
                } else {
                    number(*permits)
                };
                vec![format!("{} ago", time(since)), count, bar(*permits, full)]
            });
        page.table(
            &[("SINCE", Right), ("PERMITS", Right), ("", Left)],
            shown.collect(),
        );
    }
}

impl View for Shown {
    fn page(&self, page: &mut Page) {
        page.fields(&[
            ("policy", self.policy.clone()),
            ("key", printable(&self.key, usize::MAX)),
            ("slot", self.slot.to_string()),
        ]);
        if self.quarantine_ms > 0 {
            let left = format!("in quarantine for {}", time(self.quarantine_ms));
            page.line(&page.tone(Tone::Bad, &left));
        }
        for limit in &self.limits {
            limit.page(page);
        }
        if self.reservations.is_empty() {
            return;
        }
        page.heading("open reservations");
        let rows = self.reservations.iter().map(|reservation| {
            vec![
                reservation.id.to_string(),
                number(reservation.permits),
                time(reservation.expires_after_ms),
            ]
        });
        page.table(
            &[("ID", Left), ("PERMITS", Right), ("EXPIRES AFTER", Right)],
            rows.collect(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_cut_the_window_into_equal_parts_and_lose_no_permit() {
        let chart = |buckets: &[(u64, u64)]| {
            let buckets = buckets
                .iter()
                .map(|&(age_ms, permits)| ShownBucket { age_ms, permits });
            let limit = ShownLimit {
                limit: "100/min".into(),
                permits: 100,
                window_ms: 60_000,
                bucket_ms: 1000,
                used: 0,
                buckets: buckets.collect(),
            };
            limit.chart()
        };
        for (buckets, expected) in [
            (&[][..], [0; 12]),
            (&[(0, 5)], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]),
            (
                &[(4999, 5), (5000, 7)],
                [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 5],
            ),
            // The oldest bucket that counts began before the window.
            (
                &[(60_999, 1), (59_000, 2)],
                [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ),
        ] {
            assert_eq!(chart(buckets), expected, "{buckets:?}");
        }
    }
}
