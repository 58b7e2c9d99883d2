//! The command line of `status`, and what it shows of a node.

use std::collections::BTreeMap;

use distributed_rate_limiter::client::{Ring, Status};
use serde::Serialize;
use serde_json::Value;

use super::replicas::{self, InReplicas};
use crate::cluster::{Slots, id};
use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, Tone, View, bytes, number, percent, time};
use crate::watch::Watch;

const EXAMPLES: &str = "\
Examples:
  ratelimitctl status
  ratelimitctl status --watch
  ratelimitctl status -o json | jq '.denials'
  ratelimitctl status -o json | jq -e '.storage == \"ok\"'

It is about the first endpoint that answers; `ring` is about all nodes. Counters begin at zero with the
node's process. It needs an admin's certificate.";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    watch: Watch,
}

/// Runs `status`.
pub(crate) fn run(args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    nodes::wait_for(async {
        let look = async || {
            let admin = nodes.admin().await?;
            let status = admin.status().await?;
            // What cannot be told of the cluster says nothing about the node.
            let ring = admin.ring().await.ok().filter(|ring| ring.nodes.len() > 1);
            Ok(Shown {
                address: admin.address().to_string(),
                cluster: ring.as_ref().map(InCluster::of),
                status,
            })
        };
        args.watch.show(output, look).await
    })
}

/// The node's part in a cluster of several.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct InCluster {
    nodes: usize,
    /// How many nodes are in each state, as the node sees them.
    states: BTreeMap<String, usize>,
    slots: u64,
    slot_count: u64,
    proxied: u64,
    hand_offs: usize,
    /// Nodes whose policy set is another one than this node's.
    other_policies: Vec<String>,
    replicas: InReplicas,
}

impl InCluster {
    pub(super) fn of(ring: &Ring) -> Self {
        let mut states = BTreeMap::new();
        for node in &ring.nodes {
            *states.entry(node.state.clone()).or_default() += 1;
        }
        let own = ring.nodes.iter().find(|node| node.node == ring.node);
        let policies = own.map_or(0, |own| own.policies);
        let differs = ring
            .nodes
            .iter()
            .filter(|node| node.policies != 0 && policies != 0 && node.policies != policies);
        Self {
            nodes: ring.nodes.len(),
            states,
            slots: ring.load.slots.into(),
            slot_count: u64::try_from(Slots::of(ring).count()).unwrap_or(u64::MAX),
            proxied: ring.load.proxied,
            hand_offs: ring.hand_offs.len(),
            other_policies: differs.map(|node| id(node.node)).collect(),
            replicas: InReplicas::of(&ring.replicas),
        }
    }

    pub(super) fn page(&self, status: &Status, page: &mut Page) {
        page.heading("cluster");
        let states = self.states.iter();
        let states = states.map(|(state, count)| format!("{count} {state}"));
        let share = percent(self.slots, self.slot_count);
        let policies = if self.other_policies.is_empty() {
            "the same everywhere".to_owned()
        } else {
            let other = self.other_policies.iter();
            let other = other.map(|id| id.chars().take(8).collect::<String>());
            let other = other.collect::<Vec<_>>().join(", ");
            page.tone(Tone::Bad, &format!("others on {other}"))
        };
        page.fields(&[
            ("nodes", states.collect::<Vec<_>>().join(", ")),
            (
                "slots",
                format!(
                    "{} of {}  ({share})",
                    number(self.slots),
                    number(self.slot_count)
                ),
            ),
            ("proxied", number(self.proxied)),
            ("hand-offs", self.hand_offs.to_string()),
            ("sealed", seals(status)),
            ("policies", policies),
        ]);
        if self.replicas.is_of_interest(status) {
            self.replicas.page(status, page);
        }
    }
}

/// A node's status and where it was found.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) address: String,
    /// Absent if the node is alone.
    pub(super) cluster: Option<InCluster>,
    pub(super) status: Status,
}

impl Serialize for Shown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [none, process, fsync] = self.status.durability;
        let mut plain = self.status.clone();
        // Their ids do not fit numbers of JSON.
        plain.replica_links = Vec::new();
        let mut value = serde_json::to_value(&plain).map_err(serde::ser::Error::custom)?;
        if let Value::Object(fields) = &mut value {
            let policies = serde_json::json!({"none": none, "process": process, "fsync": fsync});
            fields.insert("durability".to_owned(), policies);
            fields.insert("address".to_owned(), self.address.as_str().into());
            let links = serde_json::to_value(replicas::links(&self.status))
                .map_err(serde::ser::Error::custom)?;
            fields.insert("replica_links".to_owned(), links);
            let refused: serde_json::Map<String, Value> = replicas::refused(&self.status);
            fields.insert("acknowledgements_refused".to_owned(), refused.into());
            let cluster = serde_json::to_value(&self.cluster).map_err(serde::ser::Error::custom)?;
            fields.insert("cluster".to_owned(), cluster);
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
        if let Some(cluster) = &self.cluster {
            cluster.page(status, page);
            if !status.shut_out.is_empty() {
                let why = page.tone(Tone::Bad, &status.shut_out);
                page.fields(&[("shut out", why)]);
            }
        }
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

fn seals(status: &Status) -> String {
    match status.seals {
        0 => "no slot".to_owned(),
        slots => format!(
            "{} slots, the longest for {} ms",
            number(slots),
            number(status.seal_longest_ms)
        ),
    }
}

fn checks(status: &Status) -> [(&'static str, String); 9] {
    [
        ("checks", number(status.checks)),
        ("granted", number(status.grants)),
        ("denied", number(status.denials)),
        ("degraded", number(status.degraded)),
        ("errors", number(status.errors)),
        ("overloaded", number(status.overloaded)),
        ("not the owner", number(status.not_owner)),
        ("waited in vain", number(status.sealed_out)),
        ("peers refused", number(status.peers_refused)),
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
            (0, keys) => page.tone(Tone::Bad, &format!("{} keys or slots", number(keys))),
            (left, _) => page.tone(Tone::Bad, &format!("all keys, for {}", time(left))),
        };
        let file = if !status.policy_file_error.is_empty() {
            let why = status.policy_file_error.replace('\n', " ");
            page.tone(
                Tone::Bad,
                &format!("cannot be used, an earlier set is in force: {why}"),
            )
        } else if status.policy_file_differs {
            page.tone(
                Tone::Bad,
                "differs from the set in force; see `policy diff`",
            )
        } else {
            "in force".to_owned()
        };
        vec![
            ("health", page.tone(tone, &status.storage)),
            ("data directory", status.data_dir.clone()),
            ("commits", number(status.commits)),
            ("last commit", number(status.committed)),
            ("last synced", number(status.synced)),
            ("quarantine", quarantine),
            ("policies", policies),
            ("policy file", file),
            (
                "durability",
                format!("none {none}, process {process}, fsync {fsync}"),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::ring;

    #[test]
    fn a_nodes_part_in_its_cluster_is_told() {
        let mut ring = ring(
            1 << 96,
            &[1 << 96, 2 << 96, 3 << 96],
            &[(1024, 0, 0), (3072, 1, 1)],
        );
        ring.nodes[2].state = "down".into();
        ring.nodes[1].policies = 5;
        let mut page = Page::new(false, None);
        InCluster::of(&ring).page(&Status::default(), &mut page);
        assert_eq!(
            page.text(),
            "cluster\nnodes      2 alive, 1 down\nslots      1,024 of 4,096  (25.0 %)\nproxied    0\n\
             hand-offs  0\nsealed     no slot\npolicies   others on 00000002\n"
        );
    }
}
