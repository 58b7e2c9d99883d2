//! The command line of `ring`.

use serde::Serialize;

use super::drawn::Drawn;
use super::lists::{Moving, Ranges};
use crate::cluster::Cluster;
use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, View};
use crate::watch::Watch;

const EXAMPLES: &str = "\
Examples:
  ratelimitctl ring
  ratelimitctl ring --watch
  ratelimitctl ring --diff
  ratelimitctl ring -o json | jq -e '.agreed'

It asks the endpoints, and every node that they tell of, at the same time, and puts together what
they say: of each slot what most nodes say. What they disagree about stands below the table.
OWNS is a node's share of the slots, drawn against the largest one; PROXIED the share of its checks
that it passed on to their owners; UNSYNCED the commits that a power loss would cost. Where slots
are on three nodes, REPLICAS are the slots that a node holds for their owners, and BEHIND those of
them that it has not caught up with.
It needs an admin's certificate.";

/// Arguments of `ring`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// List the slots by owner, range by range
    #[arg(long, conflicts_with = "diff")]
    slots: bool,
    /// Show how many slots are to move, from whom to whom
    #[arg(long)]
    diff: bool,
    #[command(flatten)]
    watch: Watch,
}

/// Runs `ring`.
pub(crate) fn run(args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    nodes::wait_for(async {
        let mut cluster = Cluster::new(nodes);
        let look = async || {
            let picture = cluster.picture().await?;
            Ok(if args.slots {
                Shown::Ranges(Ranges::of(&picture))
            } else if args.diff {
                Shown::Moving(Moving::of(&picture))
            } else {
                Shown::Drawn(Drawn::of(&picture))
            })
        };
        args.watch.show(output, look).await
    })
}

/// What is asked for.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Shown {
    Drawn(Drawn),
    Ranges(Ranges),
    Moving(Moving),
}

impl View for Shown {
    fn page(&self, page: &mut Page) {
        match self {
            Self::Drawn(drawn) => drawn.page(page),
            Self::Ranges(ranges) => ranges.page(page),
            Self::Moving(moves) => moves.page(page),
        }
    }
}
