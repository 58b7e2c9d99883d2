//! `reset`: forgets what was counted for a key.

use serde::Serialize;

use crate::nodes::{self, ANSWER_WAIT, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, View, printable};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl reset api user-7

The key may at once use its whole limit again, so that more than the limit may pass in the window
around this moment. Its open reservations are forgotten too.";

/// Arguments of `reset`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Policy whose counts are forgotten
    policy: String,
    /// Key whose counts are forgotten
    key: String,
}

/// Runs `reset`.
pub(crate) fn run(args: Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    nodes::wait_for(async {
        let client = nodes.client(ANSWER_WAIT).await?;
        Ok(client.reset(&args.policy, &args.key).await?)
    })?;
    let Args { policy, key } = args;
    output.show(&Reset { policy, key })?;
    Ok(Exit::Ok)
}

/// What was forgotten.
#[derive(Debug, Serialize)]
struct Reset {
    policy: String,
    key: String,
}

impl View for Reset {
    fn page(&self, page: &mut Page) {
        let key = printable(&self.key, usize::MAX);
        page.line(&format!("forgotten: {key} under {}", self.policy));
    }
}
