//! The command line of `slot`.

use super::drawn::Drawn;
use crate::cluster::Cluster;
use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::Output;
use crate::watch::Watch;

const EXAMPLES: &str = "\
Examples:
  ratelimitctl slot 1234
  ratelimitctl slot --key user-7
  ratelimitctl slot 1234 --all
  ratelimitctl slot 1234 -o json | jq '.nodes[] | {node, n, followed}'

It asks every node, and shows those that hold the slot or should; --all shows the others too. An epoch
is written as its counter and the node that ran with it. PROMISED is the epoch below which a node takes
part in nothing; CHOSEN the newest configuration that it knows, ACCEPTED one that may be about to be
chosen; POSITION how many commits of an epoch it has; FOLLOWS the epoch whose commits it takes in; IN
SYNC those that follow its own, as only the owner knows. It needs an admin's certificate.";

/// Arguments of `slot`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Slot, 0 to 4095
    #[arg(value_parser = clap::value_parser!(u16).range(0..4096), required_unless_present = "key")]
    slot: Option<u16>,
    /// Show the slot of this key
    #[arg(long, conflicts_with = "slot")]
    key: Option<String>,
    /// Show all nodes, also those that have nothing to do with the slot
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    watch: Watch,
}

/// Runs `slot`.
pub(crate) fn run(args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    nodes::wait_for(async {
        let slot = match (args.slot, &args.key) {
            (Some(slot), _) => slot,
            (None, Some(key)) => nodes.admin().await?.owner(key).await?.slot,
            (None, None) => return Err(Failure::usage(anyhow::anyhow!("no slot is named"))),
        };
        let mut cluster = Cluster::new(nodes);
        let look = async || {
            let told = cluster.slot(slot).await?;
            Ok(Drawn::of(slot, &told, args.all))
        };
        args.watch.show(output, look).await
    })
}
