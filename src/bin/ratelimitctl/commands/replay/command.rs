//! The command `replay` and its arguments.

use std::path::PathBuf;

use distributed_rate_limiter::limiter::policy::{LIMITS_MAX, Limit, Limits};

use super::access_log::KeyBy;
use super::decide::decide;
use super::report::Report;
use super::traffic::Traffic;
use crate::outcome::{Exit, Failure};
use crate::output::{self, Output};

const EXAMPLES: &str = r#"Examples:
  ratelimitctl replay access.log.gz --limit 30/hour
  ratelimitctl replay access.log --limit 10/s --limit 1000/hour --by user
  zcat *.gz | ratelimitctl replay - --limit 5/min --by 'regex:"POST /login.* "([^"]*)"$'
  ratelimitctl replay access.log --limit 100/min -o json | jq '.top[0].key'

All limits given must pass, as in a policy. A denied request counts nowhere, as in life; but a
real client might have behaved otherwise after its first denial.
Lines without a time, and lines without the key asked for, are skipped and counted.
Keys are kept in memory; a log may hold 268 million requests."#;

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Access log of Apache or nginx (common or combined), plain or gzip; `-` reads stdin
    log: PathBuf,
    /// Limit to try, as PERMITS/WINDOW such as 30/hour, 100/min or 5/30s; may be repeated
    #[arg(short, long, required = true, value_name = "LIMIT")]
    limit: Vec<Limit>,
    /// What to limit by: ip, user, path (without its query), or regex:PATTERN, whose first group
    /// (or else whole match) in the line is the key
    #[arg(short, long, default_value = "ip", value_name = "KEY")]
    pub(super) by: KeyBy,
    /// How many of the most limited keys to show
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(super) top: usize,
}

/// Runs `replay`.
pub(crate) fn run(args: &Args, output: Output) -> Result<Exit, Failure> {
    let limits = Limits::new(args.limit.clone()).ok_or_else(|| {
        Failure::usage(anyhow::anyhow!(
            "at most {LIMITS_MAX} limits can be tried at once"
        ))
    })?;
    let traffic = Traffic::read(&args.log, &args.by)?;
    traffic.skipped.tell();
    if traffic.moments.is_empty() && traffic.skipped.lines > 0 {
        output::say(
            "hint: no line was counted; check that this is an access log and that --by fits it",
        );
    }
    let tallies = decide(&limits, &traffic)?;
    output.show(&Report::new(args, &limits, &traffic, &tallies))?;
    Ok(Exit::Ok)
}
