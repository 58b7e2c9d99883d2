//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use distributed_rate_limiter::telemetry::LogFormat;

/// A node of the distributed rate limiter.
#[derive(Debug, Parser)]
#[command(name = "ratelimitd", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve, keeping counts in a data directory
    #[command(after_help = SERVE_HELP)]
    Serve(Serve),
    /// Try it out: certificates, policies and counts in a temporary directory
    #[command(after_help = DEV_HELP)]
    Dev(Dev),
}

const SERVE_HELP: &str = "\
Each option is also a key of node.toml, where dashes are underscores; the command line wins.
SIGHUP reads the policies again; so does a change of their file. SIGTERM and SIGINT stop the node:
what was asked is answered, all counts are synced, and it exits with 0. A second one stops at once.

Examples:
  ratelimitd serve --create --data-dir /var/lib/ratelimit --policies limits.toml
  ratelimitd serve --config /etc/ratelimit/node.toml
  ratelimitd serve --listen 0.0.0.0:7400 --certs /etc/ratelimit/certs";

const DEV_HELP: &str = "\
Everything is gone when it stops. It prints lines to copy for another terminal.

Example:
  ratelimitd dev --policies my-limits.toml";

/// Options of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Read settings from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Keep counts here [default: data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Listen on this address; port 0 takes a free one [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Read policies from this file [default: limits.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) policies: Option<PathBuf>,
    /// Find certificates here [default: certs in the data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) certs: Option<PathBuf>,
    /// Make the data directory if it is missing or empty, and certificates if there are none
    #[arg(long)]
    pub(crate) create: bool,
    /// Answer clients that have no certificate
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Threads that serve [default: one a core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// Options of `dev`.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Listen on this address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    pub(crate) listen: SocketAddr,
    /// Read policies from this file instead of the sample policies
    #[arg(long, value_name = "FILE")]
    pub(crate) policies: Option<PathBuf>,
    /// Threads that serve [default: one a core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// How to log.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Form of the log lines on stderr: human or json
    #[arg(long, value_name = "FORM")]
    pub(crate) log_format: Option<LogFormat>,
    /// What to log, such as info or debug; `RUST_LOG` wins
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
}
