//! What an operator must know before a node is given up.

use distributed_rate_limiter::client::{Ring, RingNode};

use crate::cluster::{Seen, Slots, short};
use crate::outcome::{Exit, Failure};
use crate::output::number;

/// What to ask before `gone` is removed by the node of `ring`; `seen` is what all nodes said, `force`
/// whether the operator vouches against what they say.
///
/// # Errors
/// It is the node that is asked, or one that this sees: what serves must not be replaced. Or, without
/// `force`, one that answers, or that another node sees.
pub(super) fn question(
    ring: &Ring,
    gone: &RingNode,
    seen: &[Seen],
    force: bool,
) -> Result<String, Failure> {
    let node = short(gone.node);
    let there = |message: String, hint: String| {
        Err(Failure::new(Exit::Refused, anyhow::anyhow!(message)).hint(hint))
    };
    let leave = format!("it can be taken out without loss: ratelimitctl node leave --node {node}");
    if gone.node == ring.node {
        return there(
            format!("{node} is the node that is asked: it is not gone"),
            leave,
        );
    }
    if is_there(gone) {
        let message = format!(
            "{node} at {} is {}: it is not gone",
            gone.address, gone.state
        );
        return there(message, leave);
    }
    if !force && let Some(sign) = sign_of_life(gone, seen) {
        let hint = "stop it first; with --force it is removed although it may still grant".into();
        return there(format!("{node} at {} {sign}", gone.address), hint);
    }
    let not_asked = not_asked(gone, seen);
    if is_held_by_others(ring, gone) {
        return Ok(format!(
            "{node} at {} owns no slot: other nodes hold what it held, and copies of it are made \
             elsewhere.\n{not_asked}It must never run again. Is it gone for good?",
            gone.address
        ));
    }
    Ok(format!(
        "The counts of {node} at {} are lost by this: its {} slots start empty at other nodes, and \
         every key in them is denied until its window has passed.\n\
         {not_asked}It must never run again; if it does now, limits will be exceeded. Is it gone for \
         good?",
        gone.address,
        number(owned(ring, gone))
    ))
}

/// Whether the node owns nothing any more, since others that held its slots too have taken them over.
pub(super) fn is_held_by_others(ring: &Ring, gone: &RingNode) -> bool {
    ring.replicas.wanted > 1 && owned(ring, gone) == 0
}

fn owned(ring: &Ring, node: &RingNode) -> u64 {
    let slots = Slots::of(ring);
    let owned = slots.owners.iter().filter(|it| **it == Some(node.node));
    u64::try_from(owned.count()).unwrap_or(u64::MAX)
}

fn is_there(node: &RingNode) -> bool {
    node.state == "alive" || node.state == "draining"
}

/// What tells that a node still runs.
fn sign_of_life(gone: &RingNode, seen: &[Seen]) -> Option<String> {
    for it in seen {
        let Ok(answer) = &it.answer else {
            continue;
        };
        if it.node == gone.node {
            return Some("answers: it is not gone".to_owned());
        }
        let by = answer.ring.nodes.iter().find(|by| by.node == gone.node);
        if by.is_some_and(is_there) {
            let by = short(it.node);
            return Some(format!(
                "is seen by {by}, though not by the node that is asked"
            ));
        }
    }
    None
}

/// The line that says who could not be asked, if anybody could not.
fn not_asked(gone: &RingNode, seen: &[Seen]) -> String {
    let silent = seen
        .iter()
        .filter(|it| it.answer.is_err() && it.node != gone.node);
    let silent: Vec<&str> = silent.map(|it| it.address.as_str()).collect();
    if silent.is_empty() {
        return String::new();
    }
    format!(
        "Nobody answers at {}: whether they see it is not known.\n",
        silent.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Answer;
    use crate::cluster::tests::ring;

    const IDS: [u128; 3] = [1 << 96, 2 << 96, 3 << 96];

    fn ring_with(state: &str, place: usize) -> Ring {
        let mut ring = ring(IDS[0], &IDS, &[(1000, 0, 0), (3096, 1, 0)]);
        ring.nodes[place].state = state.into();
        ring
    }

    fn seen(node: u128, state: Option<&str>) -> Seen {
        let answer = state.map(|state| {
            let ring = ring_with(state, 1);
            Box::new(Answer {
                ring,
                ..Answer::default()
            })
        });
        Seen {
            node,
            address: "limits-3:7400".to_owned(),
            answer: answer.ok_or_else(|| "silence".to_owned()),
        }
    }

    #[test]
    fn only_a_node_that_is_gone_can_be_removed_and_what_is_lost_is_said() {
        for (place, state, can) in [
            (0, "alive", false),
            (1, "alive", false),
            (1, "draining", false),
            (1, "suspect", true),
            (1, "down", true),
        ] {
            for force in [false, true] {
                let ring = ring_with(state, place);
                let asked = question(&ring, &ring.nodes[place], &[], force);
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

    #[test]
    fn a_node_whose_slots_others_hold_costs_no_count() {
        let mut ring = ring(IDS[0], &IDS, &[(4096, 0, 0)]);
        ring.nodes[1].state = "down".into();
        for (wanted, said) in [
            (1, "its 0 slots start empty"),
            (3, "owns no slot: other nodes hold"),
        ] {
            ring.replicas.wanted = wanted;
            let asked = question(&ring, &ring.nodes[1], &[], false).unwrap();
            assert!(asked.contains(said), "{asked}");
        }
    }

    #[test]
    fn a_node_that_answers_or_that_another_one_sees_is_removed_by_force_only() {
        let ring = ring_with("down", 1);
        for (seen, can) in [
            (seen(IDS[1], Some("alive")), false),
            (seen(IDS[2], Some("alive")), false),
            (seen(IDS[2], Some("draining")), false),
            (seen(IDS[2], Some("suspect")), true),
            (seen(IDS[1], None), true),
            (seen(IDS[2], None), true),
        ] {
            let seen = [seen];
            let asked = question(&ring, &ring.nodes[1], &seen, false);
            assert_eq!(asked.is_ok(), can, "{seen:?}");
            assert!(question(&ring, &ring.nodes[1], &seen, true).is_ok());
        }
        let silent = [seen(IDS[2], None)];
        let asked = question(&ring, &ring.nodes[1], &silent, false).unwrap();
        assert!(asked.contains("Nobody answers at limits-3:7400"), "{asked}");
    }
}
