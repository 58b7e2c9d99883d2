//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use distributed_rate_limiter::telemetry::LogFormat;

use crate::pages::{Completions, Man};

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
    /// Print the completions of a shell
    Completions(Completions),
    /// Write a man page for each command
    Man(Man),
}

const SERVE_HELP: &str = "\
Each option is also a key of node.toml, where dashes are underscores; the command line wins.
SIGHUP reads the policies and the certificate of HTTPS again; so does a change of their file. SIGTERM and SIGINT stop the node:
its slots go to other nodes for at most `drain_timeout` (30 s), what was asked is answered, all counts
are synced, and it exits with 0. A second one stops at once.

A cluster begins with one node that is started with --create; every other one is started with --join
and the address of any node that serves. Both matter only the first time: a data directory that is in
use knows its cluster.

Examples:
  ratelimitd serve --create --data-dir /var/lib/ratelimit --policies limits.toml
  ratelimitd serve --config /etc/ratelimit/node.toml
  ratelimitd serve --create --listen 0.0.0.0:7400 --advertise limits-1.example:7400 \
      --data-dir /var/lib/ratelimit --certs /etc/ratelimit/certs
  ratelimitd serve --join limits-1.example:7400 --listen 0.0.0.0:7400 \
      --advertise limits-2.example:7400 --data-dir /var/lib/ratelimit --certs /etc/ratelimit/certs";

const DEV_HELP: &str = "\
Everything is gone when it stops. It prints lines to copy for another terminal.
With --nodes 3 it is a whole cluster: three nodes with a data directory each, which talk over QUIC on
this machine as they would over a network.

Examples:
  ratelimitd dev --policies my-limits.toml
  ratelimitd dev --nodes 3";

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
    /// Make the data directory if it is missing or empty, and certificates if there are none: the
    /// first node of a cluster, or the only one
    #[arg(long)]
    pub(crate) create: bool,
    /// Make the data directory if it is missing or empty, and join the cluster of these nodes; one
    /// that answers is enough
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',')]
    pub(crate) join: Option<Vec<String>>,
    /// Be reached by clients and other nodes at this host:port [default: what --listen says]
    #[arg(long, value_name = "ADDR")]
    pub(crate) advertise: Option<String>,
    /// Own this share of the slots against the other nodes' weights, 1 to 16 [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) weight: Option<u32>,
    /// With --create: have each slot on this many nodes, 1 or 3, once there are as many [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u8>,
    /// Stand in this zone: the replicas of a slot are in different ones, where there are enough
    #[arg(long, value_name = "NAME")]
    pub(crate) zone: Option<String>,
    /// Answer clients that have no certificate
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Serve the Redis protocol (RATELIMIT, CL.THROTTLE) on this address [default: off]
    #[arg(long, value_name = "ADDR")]
    pub(crate) resp: Option<SocketAddr>,
    /// Threads that serve [default: one a core]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    #[command(flatten)]
    pub(crate) log: Log,
    /// Answer HTTP on this address too; port 0 takes a free one [default: no HTTP]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// Answer HTTPS there, with the certificate in this PEM file, which SIGHUP reads again
    #[arg(long, value_name = "FILE")]
    pub(crate) http_cert: Option<PathBuf>,
    /// The private key of --http-cert
    #[arg(long, value_name = "FILE")]
    pub(crate) http_key: Option<PathBuf>,
}

/// Options of `dev`.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Nodes to start, 1 to 9
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=9),
        overrides_with = "nodes"
    )]
    pub(crate) nodes: u16,
    /// Have each slot on this many of them, 1 or 3
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) replicas: u8,
    /// Listen on this address; further nodes take the ports after it
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    pub(crate) listen: SocketAddr,
    /// Read policies from this file instead of the sample policies
    #[arg(long, value_name = "FILE")]
    pub(crate) policies: Option<PathBuf>,
    /// Threads of each node that serve [default: one a core, or 1 if there are several nodes]
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<usize>,
    /// Serve the Redis protocol on this address; further nodes take the ports after it
    #[arg(long, value_name = "ADDR")]
    pub(crate) resp: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) log: Log,
    /// Have the first node answer HTTP on this address [default: 127.0.0.1, the port of --listen
    /// plus 80]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
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
