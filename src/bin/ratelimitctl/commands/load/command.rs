//! The command `load` and its arguments.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use distributed_rate_limiter::client::Routing;
use distributed_rate_limiter::limiter::policy::UNITS;

use super::generate::generate;
use super::keys::Distribution;
use crate::nodes::Nodes;
use crate::outcome::{Exit, Failure};
use crate::output::Output;

/// Most calls in flight.
const CONCURRENCY_MAX: u64 = 65_536;

/// Most connections.
const CONNECTIONS_MAX: u64 = 4096;

/// Most checks in one call.
const BATCH_MAX: u64 = 1024;

/// Longest load: a day.
const DURATION_MAX: Duration = Duration::from_secs(86_400);

const EXAMPLES: &str = "\
Examples:
  ratelimitctl load --policy api
  ratelimitctl load --policy api --keys 1000000 --connections 50 --concurrency 800
  ratelimitctl load --policy api --dist zipf --batch 64 --duration 1m -o json
  ratelimitctl load --policy api --rate 5000 --history checks.jsonl

A closed loop: --concurrency calls are in flight at any time, and each sends its next one when its
answer has come. With --rate a call whose turn came while its last one still waited is timed from
its turn, so that a slow node does not hide behind the calls it keeps from being sent.
Latency is that of a call; a call of a batch counts once.
After an error a call waits 10 ms before its next attempt.

--history writes one JSON line a check:
  {\"policy\",\"key\",\"cost\",\"sent_ns\",\"received_ns\",\"allowed\",\"source\",\"error\"}
in nanoseconds of the machine's boot clock, which all its processes share.";

/// Whom the checks of a load ask.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(super) enum Route {
    /// The owner of each key
    #[default]
    Owners,
    /// The endpoints given, whoever owns the key
    Seeds,
    /// Never the owner, so that every check is passed on
    Others,
}

impl From<Route> for Routing {
    fn from(route: Route) -> Self {
        match route {
            Route::Owners => Self::Owners,
            Route::Seeds => Self::Seeds,
            Route::Others => Self::Others,
        }
    }
}

/// Arguments of `load`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Policy to check
    #[arg(short, long, value_name = "POLICY")]
    pub(super) policy: String,
    /// Number of keys, named key-0, key-1, …
    #[arg(short, long, default_value = "100000", value_name = "N")]
    pub(super) keys: NonZeroU64,
    /// How requests spread over the keys
    #[arg(long, value_enum, default_value_t, value_name = "DIST")]
    pub(super) dist: Distribution,
    /// Calls in flight, over all connections
    #[arg(short, long, default_value_t = 64, value_name = "C",
          value_parser = clap::value_parser!(u64).range(1..=CONCURRENCY_MAX))]
    pub(super) concurrency: u64,
    /// Connections; as many as threads unless told
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    connections: Option<u64>,
    /// Threads that generate load; one a core unless told
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// How long, such as 10s or 5min
    #[arg(short, long, default_value = "10s", value_name = "TIME", value_parser = parse_duration)]
    pub(super) duration: Duration,
    /// Checks in each call
    #[arg(short, long, default_value_t = 1, value_name = "B",
          value_parser = clap::value_parser!(u64).range(1..=BATCH_MAX))]
    batch: u64,
    /// Cost of each check
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) cost: u64,
    /// Most checks a second, over all connections; without it as many as possible
    #[arg(long, value_name = "R")]
    pub(super) rate: Option<NonZeroU32>,
    /// Time after which a call gives up
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = parse_duration)]
    pub(super) deadline: Duration,
    /// Whom to ask in a cluster
    #[arg(long, value_enum, default_value_t, value_name = "WHOM")]
    pub(super) route: Route,
    /// Denials that each connection remembers and answers by itself; none unless told, so that every
    /// check is asked
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) denial_cache: usize,
    /// File to write every check to, anew
    #[arg(long, value_name = "FILE")]
    pub(super) history: Option<PathBuf>,
    /// Number that the row of keys depends on
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) seed: u64,
}

impl Args {
    /// Threads, at most one a connection and a call.
    pub(super) fn threads(&self) -> u64 {
        let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = self.threads.map_or_else(cores, NonZeroUsize::get);
        let threads = u64::try_from(threads).unwrap_or(1);
        threads
            .min(self.connections.unwrap_or(threads))
            .min(self.concurrency)
    }

    /// Checks in each call.
    pub(super) fn batch(&self) -> usize {
        usize::try_from(self.batch).unwrap_or(1)
    }

    /// Time between two calls of one caller, if a rate was asked for.
    pub(super) fn step_ns(&self) -> Option<u64> {
        let at_once = u128::from(self.concurrency) * u128::from(self.batch) * 1_000_000_000;
        let step_ns = at_once / u128::from(self.rate?.get());
        Some(u64::try_from(step_ns).unwrap_or(u64::MAX))
    }

    /// Connections, at least one a thread and at most one a call.
    pub(super) fn connections(&self) -> u64 {
        let threads = self.threads();
        self.connections
            .unwrap_or(threads)
            .clamp(threads, self.concurrency)
    }
}

/// Runs `load`.
pub(crate) fn run(args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let report = generate(args, nodes)?;
    output.show(&report)?;
    Ok(report.exit())
}

/// Reads a whole number and a unit, such as `10s`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let known = UNITS.iter().find(|(word, _)| *word == unit.trim());
    let form = || format!("`{text}` is not a time; write a number and ms, s, min or hour");
    let (_, unit_ms) = known.ok_or_else(form)?;
    let ms = count
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(*unit_ms));
    let duration = ms.map(Duration::from_millis).ok_or_else(form)?;
    if duration.is_zero() || duration > DURATION_MAX {
        return Err(format!(
            "`{text}` is out of bounds; it must be from 1 ms to a day"
        ));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Whole {
        #[command(flatten)]
        args: Args,
    }

    fn parse(flags: &str) -> Result<Args, String> {
        let words = ["load", "--policy", "p"]
            .into_iter()
            .chain(flags.split_whitespace());
        Whole::try_parse_from(words)
            .map(|whole| whole.args)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn connections_and_threads_fit_each_other_and_the_calls() {
        for (flags, threads, connections) in [
            ("--threads 2", 2, 2),
            ("--threads 2 --connections 50", 2, 50),
            ("--threads 8 --connections 3", 3, 3),
            ("--threads 8 --concurrency 4", 4, 4),
            ("--threads 2 --connections 50 --concurrency 16", 2, 16),
            ("--concurrency 1", 1, 1),
        ] {
            let args = parse(flags).unwrap();
            assert_eq!(
                (args.threads(), args.connections()),
                (threads, connections),
                "{flags}"
            );
        }
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        for flags in [
            "--keys 0",
            "--concurrency 0",
            "--concurrency 65537",
            "--connections 0",
            "--threads 0",
            "--batch 0",
            "--batch 1025",
            "--rate 0",
            "--duration 0s",
            "--duration 25h",
            "--duration 10",
            "--duration s",
            "--duration 99999999999999999999s",
            "--cost -1",
        ] {
            assert!(parse(flags).is_err(), "{flags}");
        }
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ms) in [
            ("250ms", 250),
            ("10s", 10_000),
            ("2min", 120_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms));
        }
    }
}
