//! `cluster set replicas`: on how many nodes each slot is to be.

use distributed_rate_limiter::client::{NodeCommand, RingReplicas};
use serde::Serialize;

use crate::ask::confirm;
use crate::nodes::Nodes;
use crate::outcome::Failure;
use crate::output::{Page, View};

/// Nodes without which no slot has more than one replica.
const NODES_MIN: u32 = 3;

/// Reads how many replicas are wanted.
pub(super) fn number_of(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("a slot has 1 or 3: with 2, the loss of either stops grants".to_owned()),
    }
}

/// What was changed.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    replicas: u8,
    /// Whether it was another number before.
    changed: bool,
    /// Nodes that take slots.
    nodes: u32,
    #[serde(skip)]
    text: String,
}

/// Has each slot on so many nodes.
pub(super) async fn set(replicas: u8, sure: bool, nodes: &Nodes) -> Result<Done, Failure> {
    let admin = nodes.admin().await?;
    let now = admin.ring().await?.replicas;
    let changed = now.wanted != replicas;
    if changed {
        if let Some(question) = question(&now, replicas) {
            confirm(question, sure, "--yes")?;
        }
        admin.node(NodeCommand::Replicas(replicas)).await?;
    }
    Ok(Done {
        replicas,
        changed,
        nodes: now.members,
        text: text(&now, replicas),
    })
}

/// What to ask before copies are given up.
fn question(now: &RingReplicas, replicas: u8) -> Option<&'static str> {
    // A node that did not tell may have any number.
    (now.wanted != 1 && replicas == 1).then_some(
        "Each slot will be on one node, and its other copies are given up: the loss of a node then \
         stops its keys until it is back. Go on?",
    )
}

fn text(now: &RingReplicas, replicas: u8) -> String {
    let word = if now.wanted == replicas {
        "already"
    } else {
        "now"
    };
    let wanted = match replicas {
        1 => format!("each slot is {word} to be on 1 node"),
        more => format!("each slot is {word} to be on {more} nodes"),
    };
    if replicas > 1 && now.members < NODES_MIN {
        let nodes = match now.members {
            1 => "1 node takes".to_owned(),
            more => format!("{more} nodes take"),
        };
        return format!(
            "{wanted}, but only {nodes} slots: until there are {NODES_MIN}, each is on one, and the loss \
             of a node stops its keys until it is back"
        );
    }
    format!("{wanted}; `ratelimitctl cluster status` shows how far it is")
}

impl View for Done {
    fn page(&self, page: &mut Page) {
        page.line(&self.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wanted: u8, members: u32) -> RingReplicas {
        let mut now = RingReplicas::default();
        (now.wanted, now.members) = (wanted, members);
        now
    }

    #[test]
    fn copies_are_given_up_only_after_a_question() {
        for (wanted, replicas, asks) in [(1, 3, false), (3, 1, true), (0, 1, true), (0, 3, false)] {
            let asked = question(&now(wanted, 3), replicas);
            assert_eq!(asked.is_some(), asks, "{wanted} to {replicas}");
        }
    }

    #[test]
    fn too_few_nodes_are_said_so() {
        for (before, replicas, said) in [
            (
                now(1, 3),
                3,
                "each slot is now to be on 3 nodes; `ratelimitctl cluster status` shows how far it is",
            ),
            (now(3, 5), 3, "each slot is already to be on 3 nodes; "),
            (
                now(1, 2),
                3,
                "on 3 nodes, but only 2 nodes take slots: until there are 3, each is on one",
            ),
            (
                now(3, 1),
                3,
                "already to be on 3 nodes, but only 1 node takes slots",
            ),
            (now(3, 3), 1, "each slot is now to be on 1 node; "),
        ] {
            let text = text(&before, replicas);
            assert!(text.contains(said), "{said} in {text}");
        }
    }

    #[test]
    fn only_one_or_three_can_be_meant() {
        assert_eq!((number_of("1"), number_of("3")), (Ok(1), Ok(3)));
        for text in ["0", "2", "5", "03", "three", ""] {
            assert!(number_of(text).is_err(), "{text}");
        }
    }
}
