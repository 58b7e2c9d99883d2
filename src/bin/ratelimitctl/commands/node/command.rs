//! The command line of `node`.

use clap::Subcommand;
use distributed_rate_limiter::client::{Admin, NodeCommand, Ring};
use serde::Serialize;

use super::{drain, remove};
use crate::ask::confirm;
use crate::cluster::{Cluster, find_node, id, short};
use crate::nodes::{self, ANSWER_WAIT, Nodes};
use crate::outcome::{Exit, Failure};
use crate::output::{Output, Page, View};

const EXAMPLES: &str = "\
Examples:
  ratelimitctl node drain --node limits-2.example:7400
  ratelimitctl node resume --node 3f2a
  ratelimitctl node weight 2 --node 3f2a
  ratelimitctl node leave --node 3f2a
  ratelimitctl node remove 3f2a

A node is named by its address or by the beginning of its id, as `ring` shows them. It needs an
admin's certificate.";

/// Arguments of `node`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Give all slots of a node to the others, before it is worked on; it goes on passing checks on
    ///
    /// No count is lost. The node takes no slots until it is resumed or restarted. The command waits
    /// until the node owns none.
    Drain {
        #[command(flatten)]
        which: Which,
        /// Do not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// Let a drained node take slots again
    Resume {
        #[command(flatten)]
        which: Which,
    },
    /// Give all slots of a node to the others and take it out of the cluster for good
    ///
    /// No count is lost. To come back, it must join with an empty data directory.
    Leave {
        #[command(flatten)]
        which: Which,
        /// Do not wait until it is done
        #[arg(long)]
        no_wait: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Change a node's share of the slots against the others'
    Weight {
        /// Its weight, 1 to 16; a node of weight 2 owns twice as many slots as one of weight 1
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
        weight: u32,
        #[command(flatten)]
        which: Which,
    },
    /// Give up a node that is gone for good, and the counts that only it had
    ///
    /// Only for a node that will never be back. Slots that others hold too lose nothing. Those that only
    /// it held start empty at the others, and every key in them is denied (or what `on_failure` says)
    /// until one window has passed, so that no limit is exceeded. If it still runs somewhere, stop it first: one that answers, or that any node sees, is
    /// not removed. If it comes back, it grants nothing any more as soon as it hears of its removal.
    Remove {
        /// The node that is gone
        node: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Do not ask, and remove it although it answers, or another node sees it
        #[arg(long)]
        force: bool,
    },
}

/// Which node is meant.
#[derive(Debug, clap::Args)]
struct Which {
    /// Address of the node, or the beginning of its id [default: the one endpoint]
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

/// Runs `node`.
pub(crate) fn run(args: &Args, nodes: &Nodes, output: Output) -> Result<Exit, Failure> {
    let (done, exit) = nodes::wait_for(carry_out(&args.action, nodes))?;
    output.show(&done)?;
    Ok(exit)
}

async fn carry_out(action: &Action, nodes: &Nodes) -> Result<(Outcome, Exit), Failure> {
    match action {
        Action::Drain { which, no_wait } => {
            let (admin, ring) = which.find(nodes).await?;
            drain::possible(&ring)?;
            admin.node(NodeCommand::Drain).await?;
            let owns = drain::wait(&admin, &ring, *no_wait, drain::Until::Drained).await?;
            Ok(Outcome::draining(&ring, "drained", owns))
        }
        Action::Leave {
            which,
            no_wait,
            yes,
        } => {
            let (admin, ring) = which.find(nodes).await?;
            drain::possible(&ring)?;
            let question = format!(
                "{} will give all its slots to the others and leave for good. Go on?",
                described(&ring)
            );
            confirm(&question, *yes, "--yes")?;
            admin.node(NodeCommand::Leave).await?;
            let owns = drain::wait(&admin, &ring, *no_wait, drain::Until::Gone).await?;
            Ok(Outcome::draining(&ring, "left", owns))
        }
        Action::Resume { which } => {
            let (admin, ring) = which.find(nodes).await?;
            admin.node(NodeCommand::Resume).await?;
            Ok((Outcome::at_once(ring.node, "takes slots again"), Exit::Ok))
        }
        Action::Weight { weight, which } => {
            let (admin, ring) = which.find(nodes).await?;
            admin.node(NodeCommand::Weight(*weight)).await?;
            let now = format!("has weight {weight}; slots move to fit it");
            Ok((Outcome::at_once(ring.node, &now), Exit::Ok))
        }
        Action::Remove { node, yes, force } => {
            let admin = nodes.admin().await?;
            let ring = admin.ring().await?;
            let gone = find_node(&ring, node)?;
            let seen = Cluster::new(nodes).ask().await?;
            let question = remove::question(&ring, gone, &seen, *force)?;
            confirm(&question, *yes || *force, "--yes")?;
            let node = gone.node;
            admin.node(NodeCommand::Remove { node }).await?;
            let now = if remove::is_held_by_others(&ring, gone) {
                "is removed; its replicas are made on other nodes"
            } else {
                "is removed; its slots go to the others, empty and in quarantine"
            };
            Ok((Outcome::at_once(node, now), Exit::Ok))
        }
    }
}

impl Which {
    /// A connection to the node, and how it sees the cluster.
    async fn find(&self, nodes: &Nodes) -> Result<(Admin, Ring), Failure> {
        let Some(name) = &self.node else {
            if nodes.endpoints().len() > 1 {
                let several = anyhow::anyhow!(
                    "several endpoints are named, and it is not said which node is meant"
                );
                return Err(Failure::usage(several).hint("say it with --node"));
            }
            let admin = nodes.admin().await?;
            let ring = admin.ring().await?;
            return Ok((admin, ring));
        };
        let asked = nodes.admin().await?;
        let ring = asked.ring().await?;
        let found = find_node(&ring, name)?;
        if found.node == ring.node {
            return Ok((asked, ring));
        }
        let admin = nodes.admin_at(&found.address, ANSWER_WAIT).await?;
        let own = admin.ring().await?;
        if own.node == found.node {
            return Ok((admin, own));
        }
        let (other, wanted) = (short(own.node), short(found.node));
        let message = format!("{other} answers at {}, not {wanted}", found.address);
        Err(Failure::new(Exit::Unreachable, anyhow::anyhow!(message)))
    }
}

/// A node's id and address, for people.
pub(super) fn described(ring: &Ring) -> String {
    let own = ring.nodes.iter().find(|node| node.node == ring.node);
    match own {
        Some(own) => format!("{} at {}", short(own.node), own.address),
        None => short(ring.node),
    }
}

/// What was done.
#[derive(Debug, Serialize)]
struct Outcome {
    node: String,
    done: bool,
    /// Slots that it still owns, if that matters.
    slots: Option<u32>,
    #[serde(skip)]
    text: String,
}

impl Outcome {
    fn at_once(node: u128, now: &str) -> Self {
        Self {
            node: id(node),
            done: true,
            slots: None,
            text: format!("{} {now}", short(node)),
        }
    }

    fn draining(ring: &Ring, word: &str, end: drain::End) -> (Self, Exit) {
        let node = short(ring.node);
        let (done, slots, text, exit) = match end {
            drain::End::Done => (true, 0, format!("{node} {word}: it owns nothing"), Exit::Ok),
            drain::End::NotAwaited { slots } => {
                let text = format!(
                    "{node} begins to give its {slots} slots away; `ratelimitctl ring` shows how far it is"
                );
                (false, slots, text, Exit::Ok)
            }
            drain::End::Stuck { slots } => {
                let text = format!(
                    "{node} still owns {slots} slots, and nothing has moved for a while; \
                     `ratelimitctl ring` shows what is wrong"
                );
                (false, slots, text, Exit::Denied)
            }
        };
        let node = id(ring.node);
        let done = Self {
            node,
            done,
            slots: Some(slots),
            text,
        };
        (done, exit)
    }
}

impl View for Outcome {
    fn page(&self, page: &mut Page) {
        page.line(&self.text);
    }
}
