//! `hot`: the keys that are asked for most, over all nodes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use comfy_table::CellAlignment::{Left, Right};
use distributed_rate_limiter::client::{HotKey, HotKeys};
use serde::Serialize;

use crate::cluster::{Cluster, short};
use crate::fit::Column;
use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, View, number, printable, say, time};
use crate::watch::Watch;

const EXAMPLES: &str = "\
Examples:
  ratelimitctl hot
  ratelimitctl hot --limit 5 --watch
  ratelimitctl hot -o json | jq -r '.denied[0].key'

The figures are estimates: each node looks at one of 128 checks that it decides, and remembers the few
keys that it meets most, for 10 to 20 seconds. Rare keys are not shown. A client library that remembers
a denial does not ask again until it ends, so that its later attempts are not seen. It needs an admin's
certificate.";

/// Longest part of a key that is shown to people.
const KEY_WIDTH: usize = 48;

/// Arguments of `hot`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Show at most this many keys of each list
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    #[command(flatten)]
    watch: Watch,
}

/// Runs `hot`.
pub(crate) fn run(args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    nodes::wait_for(async {
        let mut cluster = Cluster::new(nodes);
        let look = async || {
            let told = cluster.hot().await?;
            for silent in &told {
                if let Err(reason) = &silent.keys {
                    let (node, address) = (short(silent.node), &silent.address);
                    say(&format!("node {node} at {address} is left out: {reason}"));
                }
            }
            let keys = told.iter().filter_map(|told| told.keys.as_ref().ok());
            Ok(Hot::of(keys, args.limit))
        };
        args.watch.show(output, look).await
    })
}

#[derive(Debug, Serialize)]
struct Hot {
    /// Nodes that answered.
    nodes: usize,
    /// The longest time that one of them sampled.
    span_ms: u64,
    /// The keys asked for most.
    asked: Vec<Line>,
    /// The keys denied most.
    denied: Vec<Line>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Line {
    policy: String,
    key: String,
    /// About; in the list of denied keys these are denials.
    per_second: u64,
    /// By how much that may be too high.
    error_per_second: u64,
    denied_per_second: u64,
}

impl Hot {
    /// What all nodes tell, at most `limit` keys of each list.
    fn of<'a>(told: impl Iterator<Item = &'a HotKeys>, limit: usize) -> Self {
        let told: Vec<&HotKeys> = told.collect();
        let merged = |list: fn(&HotKeys) -> &Vec<HotKey>| {
            let mut lines: BTreeMap<(&str, &str), Line> = BTreeMap::new();
            for keys in &told {
                let rate = |count: u64| {
                    let rate = u128::from(count) * 1000 / u128::from(keys.span_ms.max(1000));
                    u64::try_from(rate).unwrap_or(u64::MAX)
                };
                for key in list(keys) {
                    let line = lines.entry((&key.policy, &key.key)).or_default();
                    line.per_second = line.per_second.saturating_add(rate(key.checks));
                    line.error_per_second = line.error_per_second.saturating_add(rate(key.error));
                    line.denied_per_second =
                        line.denied_per_second.saturating_add(rate(key.denied));
                }
            }
            let lines = lines.into_iter().map(|((policy, key), line)| Line {
                policy: policy.to_owned(),
                key: key.to_owned(),
                ..line
            });
            let mut lines: Vec<Line> = lines.collect();
            lines
                .sort_by_key(|line| Reverse(line.per_second.saturating_sub(line.error_per_second)));
            lines.truncate(limit);
            lines
        };
        Self {
            nodes: told.len(),
            span_ms: told.iter().map(|keys| keys.span_ms).max().unwrap_or(0),
            asked: merged(|keys| &keys.asked),
            denied: merged(|keys| &keys.denied),
        }
    }
}

impl View for Hot {
    fn page(&self, page: &mut Page) {
        if self.asked.is_empty() {
            page.line("no check was sampled lately: nothing is asked often");
            return;
        }
        let about = format!(
            "about, by samples of the last {} on {} of the nodes",
            time(self.span_ms),
            self.nodes
        );
        page.line(&about);
        for (title, lines) in [("ASKED MOST", &self.asked), ("DENIED MOST", &self.denied)] {
            if lines.is_empty() {
                continue;
            }
            page.line("");
            let columns = [
                (title, Left, 0),
                ("POLICY", Left, 0),
                ("A SECOND", Right, 0),
                ("UP TO TOO HIGH", Right, 3),
                ("DENIED", Right, 1),
            ];
            let columns = columns.map(|(name, alignment, leave_out)| Column {
                name,
                alignment,
                leave_out,
            });
            let row = |line: &Line| {
                vec![
                    printable(&line.key, KEY_WIDTH),
                    printable(&line.policy, 64),
                    number(line.per_second),
                    number(line.error_per_second),
                    number(line.denied_per_second),
                ]
            };
            let rows: Vec<_> = lines.iter().map(row).collect();
            page.fitting_table(&columns, &rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(span_ms: u64, asked: &[(&str, u64, u64)]) -> HotKeys {
        let mut keys = HotKeys::default();
        keys.span_ms = span_ms;
        for (name, checks, denied) in asked {
            let mut key = HotKey::default();
            (key.policy, key.key) = ("api".into(), (*name).into());
            (key.checks, key.denied) = (*checks, *denied);
            keys.asked.push(key);
        }
        keys
    }

    #[test]
    fn what_all_nodes_tell_is_added_up_by_the_second() {
        let told = [
            told(10_000, &[("a", 1000, 500), ("b", 3000, 0)]),
            told(20_000, &[("a", 8000, 2000), ("c", 20, 0)]),
        ];
        let hot = Hot::of(told.iter(), 2);
        let lines = hot
            .asked
            .iter()
            .map(|line| (line.key.as_str(), line.per_second, line.denied_per_second));
        assert_eq!(lines.collect::<Vec<_>>(), [("a", 500, 150), ("b", 300, 0)]);
        assert_eq!((hot.nodes, hot.span_ms, hot.denied.len()), (2, 20_000, 0));
    }
}
