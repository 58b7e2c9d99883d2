//! `members`: the nodes of the cluster, as one of them sees them.

use comfy_table::CellAlignment::{Left, Right};
use distributed_rate_limiter::client::Ring;
use serde::Serialize;

use crate::cluster::{id, short};
use crate::fit::Column;
use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, View, number, printable};
use crate::watch::Watch;

const EXAMPLES: &str = "\
Examples:
  ratelimitctl members
  ratelimitctl members --endpoint limits-2.example:7400
  ratelimitctl members -o json | jq -r '.members[] | select(.state == \"down\") | .address'

It is what the first endpoint that answers believes; `ring` asks all nodes and compares. BOOTS is how
often a node has started, POLICIES the hash of its policy set. It needs an admin's certificate.";

/// Arguments of `members`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    watch: Watch,
}

/// Runs `members`.
pub(crate) fn run(args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    nodes::wait_for(async {
        let look = async || {
            let ring = nodes.admin().await?.ring().await?;
            Ok(Members::of(&ring))
        };
        args.watch.show(output, look).await
    })
}

#[derive(Debug, Serialize)]
struct Members {
    /// The node that was asked.
    asked: String,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Member {
    node: String,
    #[serde(skip)]
    name: String,
    address: String,
    state: String,
    boots: u64,
    weight: u32,
    /// Null if it is not known.
    policies: Option<String>,
}

impl Members {
    fn of(ring: &Ring) -> Self {
        let members = ring.nodes.iter().map(|line| Member {
            node: id(line.node),
            name: short(line.node),
            address: printable(&line.address, 253),
            state: printable(&line.state, 16),
            boots: line.boot_counter,
            weight: line.weight,
            policies: (line.policies != 0).then(|| format!("{:016x}", line.policies)),
        });
        Self {
            asked: id(ring.node),
            members: members.collect(),
        }
    }
}

impl View for Members {
    fn page(&self, page: &mut Page) {
        if self.members.is_empty() {
            page.line("the node knows of no cluster");
            return;
        }
        let columns = [
            ("NODE", Left, 0),
            ("ADDRESS", Left, 0),
            ("STATE", Left, 0),
            ("BOOTS", Right, 2),
            ("WEIGHT", Right, 3),
            ("POLICIES", Left, 1),
            ("", Left, 0),
        ];
        let columns = columns.map(|(name, alignment, leave_out)| Column {
            name,
            alignment,
            leave_out,
        });
        let row = |member: &Member| {
            let asked = if member.node == self.asked {
                "asked"
            } else {
                ""
            };
            let policies = member.policies.as_deref().unwrap_or("?");
            vec![
                member.name.clone(),
                member.address.clone(),
                member.state.clone(),
                number(member.boots),
                member.weight.to_string(),
                policies.chars().take(8).collect(),
                asked.to_owned(),
            ]
        };
        let rows: Vec<_> = self.members.iter().map(row).collect();
        page.fitting_table(&columns, &rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::ring;

    fn page(ring: &Ring, width: Option<usize>) -> String {
        let mut page = Page::new(false, width);
        Members::of(ring).page(&mut page);
        page.text().to_owned()
    }

    #[test]
    fn members_are_shown_as_the_asked_node_sees_them() {
        let mut ring = ring(2 << 96, &[1 << 96, 2 << 96], &[]);
        ring.nodes[0].state = "down".into();
        ring.nodes[0].policies = 0;
        assert_eq!(
            page(&ring, None),
            "NODE      ADDRESS        STATE  BOOTS  WEIGHT  POLICIES\n\
             00000001  10.0.0.1:7400  down       1       1  ?\n\
             00000002  10.0.0.2:7400  alive      1       1  abcd0000  asked\n"
        );
        let narrow = page(&ring, Some(45));
        assert!(
            !narrow.contains("WEIGHT  ") && narrow.contains("00000002"),
            "{narrow}"
        );
        assert_eq!(
            page(&Ring::default(), None),
            "the node knows of no cluster\n"
        );
    }
}
