//! The command line of `cluster`.

use clap::Subcommand;

use super::{replicas, standing};
use crate::cluster::Cluster;
use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::Output;
use crate::watch::Watch;

const EXAMPLES: &str = "\
Examples:
  ratelimitctl cluster status
  ratelimitctl cluster status --watch
  ratelimitctl cluster status && sudo reboot
  ratelimitctl cluster set replicas 3

It needs an admin's certificate.";

/// Arguments of `cluster`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether one more node may be lost; exit code 0 if it may, else 1
    ///
    /// It asks every node. A slot goes on after the loss of a node if a majority of its replicas is left
    /// that is in sync. A replica that is behind is not counted, though it may be in sync soon.
    Status {
        #[command(flatten)]
        watch: Watch,
    },
    /// Change a setting of the whole cluster
    #[command(subcommand)]
    Set(Setting),
}

#[derive(Debug, Subcommand)]
enum Setting {
    /// Have each slot on so many nodes, 1 or 3; it takes effect while the cluster goes on serving
    ///
    /// With 3 the loss of any one node loses no count and stops no key. It needs three nodes that take
    /// slots; until there are as many, each slot is on one.
    Replicas {
        /// Nodes that hold each slot, 1 or 3
        #[arg(value_name = "N", value_parser = replicas::number_of)]
        replicas: u8,
        /// Do not ask before copies are given up
        #[arg(long)]
        yes: bool,
    },
}

/// Runs `cluster`.
pub(crate) fn run(args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    match &args.action {
        Action::Status { watch } => status(*watch, nodes, output),
        Action::Set(Setting::Replicas { replicas, yes }) => {
            let done = nodes::wait_for(replicas::set(*replicas, *yes, nodes))?;
            output.show(&done)?;
            Ok(Exit::Ok)
        }
    }
}

fn status(watch: Watch, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let mut last = Exit::Denied;
    nodes::wait_for(async {
        let mut cluster = Cluster::new(nodes);
        let look = async || {
            let standing = standing::Standing::of(&cluster.ask().await?);
            last = standing.exit();
            Ok(standing)
        };
        watch.show(output, look).await
    })?;
    Ok(last)
}
