//! The commands, one noun a file.

pub(crate) mod certs;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod hot;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod load;
pub(crate) mod members;
pub(crate) mod node;
pub(crate) mod owner;
pub(crate) mod policies;
pub(crate) mod policy;
pub(crate) mod replay;
pub(crate) mod reset;
pub(crate) mod ring;
pub(crate) mod slot;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod wal;

use clap::CommandFactory as _;

use crate::cli::{Cli, Command};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, StdoutError};

/// Runs the command that was asked for.
pub(crate) fn run(cli: Cli, output: Output) -> Result<Exit, Failure> {
    let nodes = &cli.nodes;
    match cli.command {
        Command::Check(args) => check::run(&args, nodes, output),
        Command::Inspect(args) => inspect::run(args, nodes, output),
        Command::Policies(args) => policies::run(&args, nodes, output),
        Command::Status(args) => status::run(&args, nodes, output),
        Command::Policy(args) => policy::run(&args, nodes, output),
        Command::Ring(args) => ring::run(&args, nodes, output),
        Command::Members(args) => members::run(&args, nodes, output),
        Command::Owner(args) => owner::run(args, nodes, output),
        Command::Slot(args) => slot::run(&args, nodes, output),
        Command::Cluster(args) => cluster::run(&args, nodes, output),
        Command::Hot(args) => hot::run(&args, nodes, output),
        Command::Top(args) => top::run(&args, nodes, cli.output),
        Command::Node(args) => node::run(&args, nodes, output),
        Command::Reset(args) => reset::run(args, nodes, output),
        Command::Load(args) => load::run(&args, nodes, output),
        Command::Replay(args) => replay::run(&args, output),
        Command::Wal(args) => wal::run(&args, output),
        Command::Config(args) => config::run(&args, output),
        Command::Import(args) => import::run(&args, output),
        Command::Certs(args) => certs::run(&args, output),
        Command::Completions(args) => {
            args.write(Cli::command()).map_err(StdoutError)?;
            Ok(Exit::Ok)
        }
        Command::Man(args) => match args.write(Cli::command()) {
            Ok(()) => Ok(Exit::Ok),
            Err(error) => {
                let what = format!("cannot write to {}", args.dir().display());
                Err(Failure::usage(anyhow::Error::new(error).context(what)))
            }
        },
    }
}
