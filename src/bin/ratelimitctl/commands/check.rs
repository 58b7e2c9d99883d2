//! `check`: one decision, as a program would get it.

use std::time::Duration;

use distributed_rate_limiter::client::{Check, Limit, Limits};
use distributed_rate_limiter::limiter::policy::LIMITS_MAX;
use distributed_rate_limiter::{Decision, Source};
use serde::Serialize;

use crate::nodes::{self, ANSWER_WAIT, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{self, Output, Page, Tone, View, number, time};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl check api user-7
  ratelimitctl check bytes user-7 --cost 20000
  ratelimitctl check api user-7 --peek -o json
  ratelimitctl check login user-7 --limit 5/min
  if ratelimitctl check backups nightly; then run-backup; fi

It counts, unless --peek is given. The exit code is 0 if it is allowed and 1 if it is denied.";

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Policy that decides
    policy: String,
    /// Key that is limited
    key: String,
    /// Permits asked for; 0 only looks
    #[arg(long, default_value_t = 1, value_name = "N")]
    cost: u64,
    /// Only look: count nothing
    #[arg(long)]
    peek: bool,
    /// Limit that the request brings along, counted under POLICY as its name, where
    /// `allow_request_limits` is set; may be repeated
    #[arg(short, long, value_name = "LIMIT")]
    limit: Vec<Limit>,
}

/// Runs `check`.
pub(crate) fn run(args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let decision = nodes::wait_for(decide(args, nodes))?;
    output.show(&Shown::from(&decision))?;
    if decision.shadow_denied {
        output::say("note: the policy is in shadow mode; without it this would be denied");
    }
    Ok(if decision.allowed {
        Exit::Ok
    } else {
        Exit::Denied
    })
}

async fn decide(args: &Args, nodes: &Nodes) -> Result<Decision, Failure> {
    let client = nodes.client(ANSWER_WAIT).await?;
    let mut check = Check::new(&args.policy, &args.key).cost(args.cost);
    if !args.limit.is_empty() {
        check = check.limits(limits(&args.limit)?);
    }
    if args.peek {
        return Ok(client.peek_one(check).await?);
    }
    let answer = client.check_many([check]).await.pop();
    let answer = answer.ok_or_else(|| Failure::internal(anyhow::anyhow!("no answer came")))?;
    Ok(answer?)
}

fn limits(limits: &[Limit]) -> Result<Limits, Failure> {
    Limits::new(limits.to_vec())
        .ok_or_else(|| Failure::usage(anyhow::anyhow!("at most {LIMITS_MAX} limits can be given")))
}

/// A decision as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    allowed: bool,
    limit: u64,
    remaining: u64,
    reset_after_ms: u64,
    retry_after_ms: u64,
    source: &'static str,
}

impl From<&Decision> for Shown {
    fn from(decision: &Decision) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            allowed: decision.allowed,
            limit: decision.limit,
            remaining: decision.remaining,
            reset_after_ms: ms(decision.reset_after),
            retry_after_ms: ms(decision.retry_after),
            source: Source::as_str(decision.source),
        }
    }
}

impl View for Shown {
    fn page(&self, page: &mut Page) {
        let (tone, word) = if self.allowed {
            (Tone::Good, "yes")
        } else {
            (Tone::Bad, "no")
        };
        let mut fields = vec![
            ("allowed", page.tone(tone, word)),
            ("limit", number(self.limit)),
            ("remaining", number(self.remaining)),
            ("reset after", time(self.reset_after_ms)),
        ];
        if self.retry_after_ms > 0 {
            fields.push(("retry after", time(self.retry_after_ms)));
        }
        fields.push(("source", self.source.to_owned()));
        page.fields(&fields);
    }
}
