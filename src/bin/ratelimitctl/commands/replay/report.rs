//! What a replay found, for people and for scripts.

use comfy_table::CellAlignment::{Left, Right};
use distributed_rate_limiter::limiter::policy::Limits;
use serde::Serialize;
use time::OffsetDateTime;

use super::command::Args;
use super::traffic::Traffic;
use crate::output::{Page, Tone, View, number, percent, printable};

/// Longest key in the table, in characters; JSON has it whole.
const KEY_WIDTH_MAX: usize = 60;

/// What happened to the requests of one key, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) allowed: u64,
}

impl Tally {
    const fn denied(self) -> u64 {
        self.requests - self.allowed
    }
}

/// The outcome of a replay.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(skip)]
    limits: String,
    #[serde(skip)]
    by: String,
    /// First and last second of the log.
    #[serde(skip)]
    span: Option<(u32, u32)>,
    requests: u64,
    keys: u64,
    allowed: u64,
    denied: u64,
    skipped_lines: u64,
    /// The keys with the most denied requests.
    top: Vec<LimitedKey>,
}

/// A key of which requests were denied.
#[derive(Debug, Serialize)]
struct LimitedKey {
    key: String,
    requests: u64,
    allowed: u64,
    denied: u64,
}

impl Report {
    /// Sums up; `tallies` stand in the order of the traffic's keys, its moments in that of time.
    pub(super) fn new(args: &Args, limits: &Limits, traffic: &Traffic, tallies: &[Tally]) -> Self {
        let moments = &traffic.moments;
        let ends = moments.first().zip(moments.last());
        let requests = tallies.iter().map(|tally| tally.requests).sum();
        let allowed = tallies.iter().map(|tally| tally.allowed).sum();
        Self {
            limits: limits.to_string(),
            by: args.by.to_string(),
            span: ends.map(|(first, last)| (first.second, last.second)),
            requests,
            keys: traffic.keys.len() as u64,
            allowed,
            denied: requests - allowed,
            skipped_lines: traffic.skipped.lines,
            top: most_limited(traffic, tallies, args.top),
        }
    }
}

/// At most `count` keys, those with the most denied requests first.
fn most_limited(traffic: &Traffic, tallies: &[Tally], count: usize) -> Vec<LimitedKey> {
    let keys = traffic.keys.iter().zip(tallies);
    let mut limited: Vec<_> = keys.filter(|(_, tally)| tally.denied() > 0).collect();
    limited.sort_by(|(a, x), (b, y)| {
        let rank = |tally: &Tally| (tally.denied(), tally.requests);
        rank(y).cmp(&rank(x)).then_with(|| a.cmp(b))
    });
    limited.truncate(count);
    let shown = limited.into_iter().map(|(key, tally)| LimitedKey {
        key: key.to_string(),
        requests: tally.requests,
        allowed: tally.allowed,
        denied: tally.denied(),
    });
    shown.collect()
}

impl View for Report {
    fn page(&self, page: &mut Page) {
        let share = |part: u64| match percent(part, self.requests) {
            share if share.is_empty() => number(part),
            share => format!("{}  ({share})", number(part)),
        };
        let mut fields = vec![("limit", format!("{} by {}", self.limits, self.by))];
        if let Some((first, last)) = self.span {
            fields.push(("from", moment(first)));
            fields.push(("to", moment(last)));
        }
        fields.extend([
            ("requests", number(self.requests)),
            ("keys", number(self.keys)),
            ("allowed", page.tone(Tone::Good, &share(self.allowed))),
            ("denied", page.tone(Tone::Bad, &share(self.denied))),
            ("skipped lines", number(self.skipped_lines)),
        ]);
        page.fields(&fields);
        if self.top.is_empty() {
            return;
        }
        page.heading("most limited keys");
        let columns = [
            ("KEY", Left),
            ("REQUESTS", Right),
            ("ALLOWED", Right),
            ("DENIED", Right),
        ];
        let row = |limited: &LimitedKey| {
            vec![
                printable(&limited.key, KEY_WIDTH_MAX),
                number(limited.requests),
                number(limited.allowed),
                page.tone(Tone::Bad, &number(limited.denied)),
            ]
        };
        let rows = self.top.iter().map(row).collect();
        page.table(&columns, rows);
    }
}

/// `2015-05-17 10:05:03 UTC`.
fn moment(second: u32) -> String {
    OffsetDateTime::from_unix_timestamp(i64::from(second)).map_or_else(
        |_| second.to_string(),
        |at| {
            let (hour, minute, second) = at.to_hms();
            format!("{} {hour:02}:{minute:02}:{second:02} UTC", at.date())
        },
    )
}
