//! The node: the life of the process, from its arguments to its exit code.

mod arguments;
mod certificates;
mod dev;
#[path = "../ratelimitctl/pages.rs"]
mod pages;
mod serve;
mod signals;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::Completions(arguments) => arguments
            .write(Arguments::command())
            .context("cannot write to stdout"),
        Command::Man(arguments) => arguments
            .write(Arguments::command())
            .with_context(|| format!("cannot write to {}", arguments.dir().display())),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Says on stderr what went wrong, and why, a line a cause.
#[expect(
    clippy::print_stderr,
    reason = "the last words of the process, also without a log"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("ratelimitd: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
