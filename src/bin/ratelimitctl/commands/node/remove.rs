//! What an operator must know before a node is given up.

use distributed_rate_limiter::client::{Ring, RingNode};

use crate::cluster::{Slots, short};
use crate::outcome::{Exit, Failure};
use crate::output::number;

/// What to ask before `gone` is removed.
///
/// # Errors
/// It is the node that is asked, or one that is there: what serves must not be replaced.
pub(super) fn question(ring: &Ring, gone: &RingNode) -> Result<String, Failure> {
    let node = short(gone.node);
    let there = |message: String| {
        let hint =
            format!("it can be taken out without loss: ratelimitctl node leave --node {node}");
        Err(Failure::new(Exit::Refused, anyhow::anyhow!(message)).hint(hint))
    };
    if gone.node == ring.node {
        return there(format!("{node} is the node that is asked: it is not gone"));
    }
    if gone.state == "alive" || gone.state == "draining" {
        return there(format!(
            "{node} at {} is {}: it is not gone",
            gone.address, gone.state
        ));
    }
    let slots = Slots::of(ring);
    let owned = slots
        .owners
        .iter()
        .filter(|owner| **owner == Some(gone.node));
    let owned = u64::try_from(owned.count()).unwrap_or(u64::MAX);
    Ok(format!(
        "The counts of {node} at {} are lost by this: its {} slots start empty at other nodes, and \
         every key in them is denied until its window has passed.\n\
         It must never run again; if it does now, limits will be exceeded. Is it gone for good?",
        gone.address,
        number(owned)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::ring;

    #[test]
    fn only_a_node_that_is_gone_can_be_removed_and_what_is_lost_is_said() {
        let ids = [1 << 96, 2 << 96];
        for (place, state, can) in [
            (0, "alive", false),
            (1, "alive", false),
            (1, "draining", false),
            (1, "suspect", true),
            (1, "down", true),
        ] {
            let mut ring = ring(ids[0], &ids, &[(1000, 0, 0), (3096, 1, 0)]);
            ring.nodes[place].state = state.into();
            let asked = question(&ring, &ring.nodes[place]);
            assert_eq!(asked.is_ok(), can, "{state}");
            if let Ok(question) = asked {
                assert!(
                    question.contains("its 3,096 slots start empty"),
                    "{question}"
                );
            }
        }
    }
}
