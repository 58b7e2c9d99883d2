//! `status`: how a node is.

use distributed_rate_limiter::client::Status;
use serde::Serialize;
use serde_json::Value;

use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, Tone, View, bytes, number, percent, time};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl status
  ratelimitctl status -o json | jq '.denials'
  ratelimitctl status -o json | jq -e '.storage == \"ok\"'

Counters begin at zero with the node's process. It needs an admin's certificate.";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

/// Runs `status`.
pub(crate) fn run(_args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let shown = nodes::wait_for(async {
        let admin = nodes.admin().await?;
        let address = admin.address().to_string();
        Ok(Shown {
            address,
            status: admin.status().await?,
        })
    })?;
    output.show(&shown)?;
    Ok(Exit::Ok)
}

/// A node's status and where it was found.
#[derive(Debug)]
struct Shown {
    address: String,
    status: Status,
}

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [none, process, fsync] = self.status.durability;
        let mut value = serde_json::to_value(&self.status).map_err(serde::ser::Error::custom)?;
        if let Value::Object(fields) = &mut value {
            let policies = serde_json::json!({"none": none, "process": process, "fsync": fsync});
            fields.insert("durability".to_owned(), policies);
            fields.insert("address".to_owned(), self.address.as_str().into());
        }
        value.serialize(serializer)
    }
}

impl View for Shown {
    fn page(&self, page: &mut Page) {
        let status = &self.status;
        page.fields(&[
            ("node", format!("{} at {}", status.node, self.address)),
            ("version", status.version.clone()),
            (
                "uptime",
                format!("{}, start {}", time(status.uptime_ms), status.boot_counter),
            ),
            ("connections", number(status.connections)),
        ]);
        page.heading("checks");
        page.fields(&checks(status));
        page.heading("memory");
        let of = |part, whole| match percent(part, whole) {
            share if share.is_empty() => String::new(),
            share => format!("  ({share})"),
        };
        let keys = format!("{} of {}", number(status.keys), number(status.keys_max));
        let states = format!(
            "{} of {}",
            bytes(status.table_bytes),
            bytes(status.table_bytes_max)
        );
        page.fields(&[
            ("keys", keys + &of(status.keys, status.keys_max)),
            (
                "states",
                states + &of(status.table_bytes, status.table_bytes_max),
            ),
            ("evictions", number(status.evictions)),
            ("process", bytes(status.resident_bytes)),
        ]);
        page.heading("storage");
        let storage = self.storage(page);
        page.fields(&storage);
    }
}

fn checks(status: &Status) -> [(&'static str, String); 6] {
    [
        ("checks", number(status.checks)),
        ("granted", number(status.grants)),
        ("denied", number(status.denials)),
        ("degraded", number(status.degraded)),
        ("errors", number(status.errors)),
        ("overloaded", number(status.overloaded)),
    ]
}

impl Shown {
    fn storage(&self, page: &Page) -> Vec<(&'static str, String)> {
        let status = &self.status;
        let tone = if status.storage == "ok" {
            Tone::Good
        } else {
            Tone::Bad
        };
        let [none, process, fsync] = status.durability;
        let policies = format!(
            "{} of {}",
            number(status.policies),
            number(status.policies_max)
        );
        let quarantine = match (status.quarantine_ms, status.quarantined_keys) {
            (0, 0) => "nothing".to_owned(),
            (0, keys) => page.tone(Tone::Bad, &format!("{} keys", number(keys))),
            (left, _) => page.tone(Tone::Bad, &format!("all keys, for {}", time(left))),
        };
        vec![
            ("health", page.tone(tone, &status.storage)),
            ("data directory", status.data_dir.clone()),
            ("commits", number(status.commits)),
            ("last commit", number(status.committed)),
            ("last synced", number(status.synced)),
            ("quarantine", quarantine),
            ("policies", policies),
            (
                "durability",
                format!("none {none}, process {process}, fsync {fsync}"),
            ),
        ]
    }
}
