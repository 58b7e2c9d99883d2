//! The command line of `policy`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use distributed_rate_limiter::client::{Admin, PolicyFile};
use distributed_rate_limiter::config;
use distributed_rate_limiter::limiter::policy::PolicySet;
use serde::Serialize;
use tokio::time::sleep;

use super::difference::{Kind, PolicyChange, difference};
use crate::ask::confirm;
use crate::cluster::{Cluster, Picture, short};
use crate::nodes::{self, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{self, Output, Page, Tone, View};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl policy diff limits.toml
  ratelimitctl policy apply limits.toml
  ratelimitctl policy apply limits.toml --yes

In a cluster of several nodes the applied set is in force on all of them, whatever the file of each
says; a node that is alone follows its own file. `policies` lists what is in force. The exit code of
`diff` is 1 if there is a difference. It needs an admin's certificate.";

/// Longest file that is sent.
const FILE_BYTES_MAX: u64 = 1024 * 1024 - 1024;

/// Looks at whether all nodes have the new set, and the time between two.
const SPREAD_LOOKS: usize = 10;
const SPREAD_WAIT: Duration = Duration::from_millis(300);

/// Arguments of `policy`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what a file would change
    Diff {
        /// Policies, as in a limits.toml
        file: PathBuf,
    },
    /// Put a file in force on the whole cluster
    Apply {
        /// Policies, as in a limits.toml
        file: PathBuf,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Runs `policy`.
pub(crate) fn run(args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    match &args.action {
        Action::Diff { file } => diff(file, nodes, output),
        Action::Apply { file, yes } => apply(file, *yes, nodes, output),
    }
}

fn diff(file: &Path, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let next = Next::read(file)?;
    let shown = nodes::wait_for(async { next.against(&nodes.admin().await?).await })?;
    output.show(&shown)?;
    Ok(if shown.changes.is_empty() {
        Exit::Ok
    } else {
        Exit::Denied
    })
}

fn apply(file: &Path, yes: bool, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let next = Next::read(file)?;
    let shown = nodes::wait_for(async {
        let admin = nodes.admin().await?;
        let mut shown = next.against(&admin).await?;
        if shown.changes.is_empty() {
            return Ok(shown);
        }
        if !yes {
            // The question below is about this, whatever the form of the result is.
            let mut page = Page::new(false, None);
            shown.page(&mut page);
            output::say(page.text().trim_end());
            shown.told = true;
        }
        confirm("Put this in force on the whole cluster?", yes, "--yes")?;
        let applied = admin.policy_apply(&next.text).await?;
        let missing = missing(nodes, &applied).await;
        if !missing.is_empty() {
            output::say(&format!(
                "note: not yet on {}; they take it as soon as they hear of it",
                missing.join(", ")
            ));
        }
        (shown.applied, shown.version) = (true, applied.version);
        Ok(shown)
    })?;
    output.show(&shown)?;
    Ok(Exit::Ok)
}

/// The nodes that answer and do not have this set even after a while.
async fn missing(nodes: &Nodes, applied: &PolicyFile) -> Vec<String> {
    let mut cluster = Cluster::new(nodes);
    let mut missing = Vec::new();
    for _ in 0..SPREAD_LOOKS {
        // It is applied; that somebody cannot be asked is no reason to call it failed.
        let Ok(seen) = cluster.ask().await else {
            return Vec::new();
        };
        let others = Picture::of(&seen).nodes.into_iter();
        let others = others.filter(|it| it.own.is_some() && it.policies != applied.hash);
        missing = others.map(|node| short(node.node)).collect();
        if missing.is_empty() {
            break;
        }
        sleep(SPREAD_WAIT).await;
    }
    missing
}

/// The file that is to be in force.
#[derive(Debug)]
struct Next {
    text: String,
    set: PolicySet,
}

impl Next {
    fn read(file: &Path) -> Result<Self, Failure> {
        let name = file.display().to_string();
        let mut text = String::new();
        let read = File::open(file)
            .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        let bytes = read.map_err(|error| {
            Failure::usage(anyhow::Error::new(error).context(format!("cannot read {name}")))
        })?;
        if u64::try_from(bytes).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            let long = anyhow::anyhow!("{name} has more than {FILE_BYTES_MAX} bytes");
            return Err(Failure::usage(long).hint("a cluster takes no longer policy set"));
        }
        let checked = config::PolicyFile::parse(&name, &text).map_err(Failure::usage)?;
        for warning in &checked.warnings {
            output::say(&warning.to_string());
        }
        let set = checked.value;
        Ok(Self { text, set })
    }

    async fn against(&self, admin: &Admin) -> Result<Shown, Failure> {
        let in_force = admin.policy_file().await?;
        let now =
            config::PolicyFile::parse("the set in force", &in_force.text).map_err(|error| {
                Failure::internal(error)
                    .hint("the node may be of a later version than this program")
            })?;
        Ok(Shown {
            version: in_force.version,
            applied: false,
            told: false,
            changes: difference(&now.value, &self.set),
        })
    }
}

/// What changes.
#[derive(Debug, Serialize)]
struct Shown {
    /// Of the set that is in force now.
    version: u64,
    applied: bool,
    changes: Vec<PolicyChange>,
    /// The person has read the changes when asked about them.
    #[serde(skip)]
    told: bool,
}

impl View for Shown {
    fn page(&self, page: &mut Page) {
        let version = self.version;
        if self.changes.is_empty() {
            page.line(&format!(
                "no difference to version {version}, which is in force"
            ));
            return;
        }
        let untold = if self.told { &[][..] } else { &self.changes };
        for change in untold {
            let name = change.policy.as_deref().unwrap_or("settings of all");
            let heading = match change.change {
                Kind::Added => page.tone(Tone::Good, &format!("+ {name}")),
                Kind::Removed => page.tone(Tone::Bad, &format!("- {name}")),
                Kind::Changed => page.tone(Tone::Strong, &format!("~ {name}")),
            };
            page.line(&heading);
            for detail in &change.details {
                page.line(&format!("    {detail}"));
            }
        }
        if self.applied {
            page.line(&format!("in force as version {version}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_under_their_policies() {
        let change = |policy: Option<&str>, change, detail: &str| PolicyChange {
            policy: policy.map(str::to_owned),
            change,
            details: vec![detail.to_owned()],
        };
        let mut shown = Shown {
            version: 4,
            applied: false,
            told: false,
            changes: vec![
                change(None, Kind::Changed, "max_policies 1 → 2"),
                change(Some("a"), Kind::Added, "limit 1/s"),
                change(Some("b"), Kind::Removed, "gone"),
            ],
        };
        let text = |shown: &Shown| {
            let mut page = Page::new(false, None);
            shown.page(&mut page);
            page.text().to_owned()
        };
        let listed =
            "~ settings of all\n    max_policies 1 → 2\n+ a\n    limit 1/s\n- b\n    gone\n";
        assert_eq!(text(&shown), listed);
        shown.applied = true;
        assert_eq!(text(&shown), format!("{listed}in force as version 4\n"));
        shown.told = true;
        assert_eq!(text(&shown), "in force as version 4\n");
        let json = serde_json::to_value(&shown).unwrap();
        assert_eq!(json["changes"][1]["change"], "added");
        shown.changes.clear();
        assert_eq!(
            text(&shown),
            "no difference to version 4, which is in force\n"
        );
    }
}
