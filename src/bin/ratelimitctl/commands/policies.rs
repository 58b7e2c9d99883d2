//! `policies`: the policies that a node has in force.

use comfy_table::CellAlignment::{Left, Right};
use distributed_rate_limiter::client::PolicyLine;
use serde::Serialize;

use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, View, number};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl policies
  ratelimitctl policies -o json | jq -r '.policies[].name'

A policy that is \"carried\" came with a request, not from the node's file.
It needs an admin's certificate.";

/// Arguments of `policies`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

/// Runs `policies`.
pub(crate) fn run(_args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let lines = nodes::wait_for(async { Ok(nodes.admin().await?.policies().await?) })?;
    let policies = lines.into_iter().map(Shown::from).collect();
    output.show(&Policies { policies })?;
    Ok(Exit::Ok)
}

#[derive(Debug, Serialize)]
struct Policies {
    policies: Vec<Shown>,
}

/// One policy as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    limits: Vec<String>,
    on_failure: String,
    durability: String,
    shadow: bool,
    overrides: u32,
    carried: bool,
}

impl From<PolicyLine> for Shown {
    fn from(line: PolicyLine) -> Self {
        Self {
            name: line.name,
            limits: line.limits,
            on_failure: line.on_failure,
            durability: line.durability,
            shadow: line.shadow,
            overrides: line.overrides,
            carried: line.carried,
        }
    }
}

impl View for Policies {
    fn page(&self, page: &mut Page) {
        if self.policies.is_empty() {
            page.line("no policies");
            return;
        }
        let columns = [
            ("POLICY", Left),
            ("LIMITS", Left),
            ("DURABILITY", Left),
            ("ON FAILURE", Left),
            ("OVERRIDES", Right),
            ("", Left),
        ];
        let rows = self.policies.iter().map(|policy| {
            let marks = [(policy.shadow, "shadow"), (policy.carried, "carried")];
            let marks = marks.iter().filter(|(set, _)| *set).map(|(_, word)| *word);
            vec![
                policy.name.clone(),
                policy.limits.join(", "),
                policy.durability.clone(),
                policy.on_failure.clone(),
                number(policy.overrides.into()),
                marks.collect::<Vec<_>>().join(", "),
            ]
        });
        page.table(&columns, rows.collect());
    }
}
