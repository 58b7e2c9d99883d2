//! The admin command line: asks a node, or works on files without one.
//!
//! Data goes to stdout, all else to stderr; the exit code tells the outcome (see [`outcome::Exit`]).

mod ask;
mod cli;
mod cluster;
mod commands;
mod figures;
mod fit;
mod nodes;
mod outcome;
mod output;
mod pages;
mod refusal;
mod watch;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let output = output::Output::new(cli.output);
    let outcome = commands::run(cli, output);
    outcome::report(outcome)
}
