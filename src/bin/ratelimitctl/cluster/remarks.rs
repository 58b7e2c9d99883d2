//! Says in words what is not as it should be with a cluster.

use std::collections::BTreeMap;

use super::picture::{Answer, NodeLine, Seen, count, line_of};
use super::replicas::Replicas;
use super::short;
use super::slots::{Slots, most};
use crate::output::{number, printable};

/// Most lines about one kind of trouble; the rest is counted.
const LINES_MAX: usize = 8;

/// Longest reason that is shown, in characters.
const REASON_CHARS_MAX: usize = 160;

/// What is not as it should be, the gravest first. `views` are those of the nodes that answered,
/// in order.
pub(super) fn remarks(
    seen: &[Seen],
    nodes: &[NodeLine],
    (slots, replicas): (&Slots, &Replicas),
    views: &[Slots],
) -> Vec<String> {
    let answers: Vec<&Answer> = seen
        .iter()
        .filter_map(|seen| seen.answer.as_deref().ok())
        .collect();
    let kinds = [
        silent(seen),
        storage(nodes),
        unowned(slots),
        replicated(replicas),
        owners(&answers, slots, views),
        targets(&answers, slots, views),
        states(nodes, &answers),
        strangers(nodes, &answers),
        serving(nodes, &answers),
        policies(nodes),
    ];
    kinds.into_iter().flat_map(shortened).collect()
}

fn shortened(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LINES_MAX);
    if more > 0 {
        lines.truncate(LINES_MAX);
        lines.push(format!("… and {more} more like these"));
    }
    lines
}

fn silent(seen: &[Seen]) -> Vec<String> {
    let line = |seen: &Seen| {
        let reason = seen.answer.as_ref().err()?;
        let reason = printable(reason, REASON_CHARS_MAX);
        let (node, address) = (short(seen.node), &seen.address);
        Some(format!("{node} at {address} does not answer: {reason}"))
    };
    seen.iter().filter_map(line).collect()
}

fn storage(nodes: &[NodeLine]) -> Vec<String> {
    let line = |node: &NodeLine| {
        let storage = node.own.as_ref()?.storage.as_ref()?;
        let storage = printable(storage, REASON_CHARS_MAX);
        let node = short(node.node);
        (storage != "ok").then(|| format!("{node} grants nothing, its storage failed: {storage}"))
    };
    nodes.iter().filter_map(line).collect()
}

fn unowned(slots: &Slots) -> Vec<String> {
    match count(slots.owners.iter().filter(|owner| owner.is_none())) {
        0 => Vec::new(),
        1 => vec!["1 slot has no owner that any node knows".to_owned()],
        more => vec![format!(
            "{} slots have no owner that any node knows",
            number(more)
        )],
    }
}

/// Slots that cannot grant, and those on too few nodes.
fn replicated(replicas: &Replicas) -> Vec<String> {
    let mut lines = Vec::new();
    if replicas.without_majority > 0 {
        let slots = slots_of(replicas.without_majority);
        lines.push(format!(
            "{slots} cannot reach a majority of their replicas, and grant nothing"
        ));
    }
    if replicas.under > 0 {
        lines.push(format!(
            "under-replicated: {} (on fewer than {} nodes in sync)",
            number(replicas.under),
            replicas.wanted
        ));
    }
    lines
}

/// Each node whose view of the owners differs from most others', and in what.
fn owners(answers: &[&Answer], slots: &Slots, views: &[Slots]) -> Vec<String> {
    let mut lines = Vec::new();
    for (answer, view) in answers.iter().zip(views) {
        let mut differ: BTreeMap<(Option<u128>, Option<u128>), u64> = BTreeMap::new();
        for (slot, &most_say) in slots.owners.iter().enumerate() {
            let says = view.owners.get(slot).copied().flatten();
            if says != most_say {
                *differ.entry((says, most_say)).or_default() += 1;
            }
        }
        let mut differ: Vec<_> = differ.into_iter().collect();
        differ.sort_by_key(|&(pair, count)| (std::cmp::Reverse(count), pair));
        for ((says, most_say), count) in differ {
            let node = short(answer.ring.node);
            let thinks = match says {
                Some(owner) if owner == answer.ring.node => "thinks that it owns".to_owned(),
                Some(owner) => format!("thinks that {} owns", short(owner)),
                None => "knows no owner of".to_owned(),
            };
            let others = match (views.len(), most_say) {
                (2, Some(owner)) => format!("the other says {}", short(owner)),
                (_, Some(owner)) => format!("most say {}", short(owner)),
                (_, None) => "most know none".to_owned(),
            };
            lines.push(format!("{node} {thinks} {}; {others}", slots_of(count)));
        }
    }
    lines
}

fn slots_of(count: u64) -> String {
    match count {
        1 => "1 slot".to_owned(),
        more => format!("{} slots", number(more)),
    }
}

/// Each node whose ring differs from most others'.
fn targets(answers: &[&Answer], slots: &Slots, views: &[Slots]) -> Vec<String> {
    let line = |(answer, view): (&&Answer, &Slots)| {
        let pairs = slots.targets.iter().enumerate();
        let differ = pairs
            .filter(|(slot, most_say)| view.targets.get(*slot).copied().flatten() != **most_say);
        let differ = count(differ);
        let node = short(answer.ring.node);
        (differ > 0).then(|| {
            format!(
                "{node} would give {} to other nodes than most would: it sees other members or weights",
                slots_of(differ)
            )
        })
    };
    answers.iter().zip(views).filter_map(line).collect()
}

/// Each node that answers though others believe that it is not there.
fn states(nodes: &[NodeLine], answers: &[&Answer]) -> Vec<String> {
    let mut lines = Vec::new();
    for node in nodes.iter().filter(|node| node.own.is_some()) {
        for state in ["down", "suspect", "left", "removed"] {
            let says = |answer: &&&Answer| {
                let other = answer.ring.node != node.node;
                other && line_of(&answer.ring, node.node).is_some_and(|line| line.state == state)
            };
            let who: Vec<_> = answers.iter().filter(says).collect();
            if let Some(first) = who.first() {
                let (node, first) = (short(node.node), short(first.ring.node));
                let who = match who.len() {
                    1 => first,
                    2 => format!("{first} and another node"),
                    many => format!("{first} and {} other nodes", many - 1),
                };
                lines.push(format!("{node} answers, but is {state} to {who}"));
            }
        }
    }
    lines
}

/// Each node of which another does not know.
fn strangers(nodes: &[NodeLine], answers: &[&Answer]) -> Vec<String> {
    let mut lines: Vec<String> = apart(answers).into_iter().collect();
    for answer in answers {
        let unknown: Vec<String> = nodes
            .iter()
            .filter(|node| line_of(&answer.ring, node.node).is_none())
            .map(|node| short(node.node))
            .collect();
        if !unknown.is_empty() {
            let node = short(answer.ring.node);
            lines.push(format!("{node} does not know of {}", unknown.join(", ")));
        }
    }
    lines
}

/// Two nodes of which neither knows of the other: probably two clusters.
fn apart(answers: &[&Answer]) -> Option<String> {
    let knows = |answer: &Answer, id| line_of(&answer.ring, id).is_some();
    let first = answers.first()?;
    let other = answers.iter().find(|other| {
        let (one, two) = (first.ring.node, other.ring.node);
        one != two && !knows(first, two) && !knows(other, one)
    })?;
    Some(format!(
        "{} and {} are not of one cluster; was each started with --create?",
        short(first.ring.node),
        short(other.ring.node)
    ))
}

/// Each node that serves fewer slots than it owns, or more, while none of them moves.
fn serving(nodes: &[NodeLine], answers: &[&Answer]) -> Vec<String> {
    let moving = |id: u128| {
        let mut all = answers.iter().flat_map(|answer| &answer.ring.hand_offs);
        all.any(|hand_off| hand_off.from == id || hand_off.to == id)
    };
    let line = |node: &NodeLine| {
        let serves = u64::from(node.own.as_ref()?.load.slots);
        let wrong = serves != node.slots && !moving(node.node);
        wrong.then(|| {
            format!(
                "{} serves {}, and owns {}",
                short(node.node),
                slots_of(serves),
                number(node.slots)
            )
        })
    };
    nodes.iter().filter_map(line).collect()
}

/// Each node whose policy set is not that of most.
fn policies(nodes: &[NodeLine]) -> Vec<String> {
    let known = || {
        nodes
            .iter()
            .filter(|node| node.own.is_some() && node.policies != 0)
    };
    let Some(usual) = most(&known().map(|node| node.policies)) else {
        return Vec::new();
    };
    let line = |node: &NodeLine| {
        format!(
            "{} has another policy set in force ({}) than most ({})",
            short(node.node),
            hash(node.policies),
            hash(usual)
        )
    };
    let other = known().filter(|node| node.policies != usual);
    other.map(line).collect()
}

/// The hash of a policy set as it is shown.
fn hash(policies: u64) -> String {
    format!("{:08x}", policies >> 32)
}
