//! The node: the life of the process, from its arguments to its exit code.

mod arguments;
mod certificates;
mod dev;
mod serve;
mod signals;

use std::process::ExitCode;

use clap::Parser as _;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
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
