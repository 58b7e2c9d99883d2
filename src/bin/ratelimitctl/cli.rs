//! The command line's shape: flags that every command takes, and the list of commands.

use clap::{Parser, Subcommand, ValueEnum};

use crate::commands::{
    certs, check, cluster, config, hot, import, inspect, load, members, node, owner, policies,
    policy, replay, reset, ring, slot, status, top, wal,
};
use crate::nodes::Nodes;
use crate::outcome::EXIT_CODES;
use crate::pages::{Completions, Man};

/// Asks and administers the nodes of a rate limiter, and works on their files.
#[derive(Debug, Parser)]
#[command(
    name = "ratelimitctl",
    version,
    after_help = EXIT_CODES,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// How results are written: table for people, json for scripts
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) nodes: Nodes,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For scripts: one JSON object on one line
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask for a decision on a key
    Check(check::Args),
    /// Show what is counted for a key
    Inspect(inspect::Args),
    /// List the policies in force
    Policies(policies::Args),
    /// Show what a policy file would change, or put it in force on the whole cluster
    Policy(policy::Args),
    /// Show how the node is
    Status(status::Args),
    /// Draw the cluster, as all its nodes see it
    Ring(ring::Args),
    /// List the nodes of the cluster, as one of them sees them
    Members(members::Args),
    /// Show which node decides for a key
    Owner(owner::Args),
    /// Show a slot on every node that holds it, side by side
    Slot(slot::Args),
    /// Say whether one more node may be lost, or change on how many nodes slots are
    Cluster(cluster::Args),
    /// Show the keys that are asked for and denied most, over all nodes
    Hot(hot::Args),
    /// Watch the cluster live
    Top(top::Args),
    /// Drain a node, take it out, or change its weight
    Node(node::Args),
    /// Forget what was counted for a key
    Reset(reset::Args),
    /// Generate load, and measure how a node bears it
    Load(load::Args),
    /// Tell what a limit would have done to the traffic of an access log
    Replay(replay::Args),
    /// Show or check what a data directory holds
    Wal(wal::Args),
    /// Tell whether a configuration file is in order
    Config(config::Args),
    /// Turn the limits of another rate limiter into a limits.toml
    Import(import::Args),
    /// Make the cluster's certificate authority and certificates
    Certs(certs::Args),
    /// Print the completions of a shell
    Completions(Completions),
    /// Write a man page for each command
    Man(Man),
}
