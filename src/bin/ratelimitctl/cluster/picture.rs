//! Puts together what the nodes of a cluster say.

use std::collections::{BTreeMap, BTreeSet};

use distributed_rate_limiter::client::{HandOff, NodeLoad, Ring, RingNode, Status};

use super::has_gone;
use super::remarks::remarks;
use super::replicas::Replicas;
use super::slots::{Slots, most};

/// A node that was asked, and what came back.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) node: u128,
    /// Where it was asked.
    pub(crate) address: String,
    /// What it said, or why it said nothing.
    pub(crate) answer: Result<Box<Answer>, String>,
}

/// What a node said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) ring: Ring,
    /// Absent if it could not be had.
    pub(crate) status: Option<Status>,
    pub(crate) round_trip_us: u64,
    /// What it had counted when it was asked the time before.
    pub(crate) before: Option<Counted>,
}

/// What a node has counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) uptime_ms: u64,
    pub(crate) checks: u64,
    pub(crate) proxied: u64,
    pub(crate) degraded: u64,
    pub(crate) grants: u64,
    pub(crate) denials: u64,
}

/// What a node does each second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) checks: u64,
    pub(crate) proxied: u64,
    pub(crate) degraded: u64,
    pub(crate) grants: u64,
    pub(crate) denials: u64,
}

/// All nodes and slots, as most nodes see them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Picture {
    /// By address.
    pub(crate) nodes: Vec<NodeLine>,
    pub(crate) slots: Slots,
    pub(crate) hand_offs: Vec<HandOff>,
    /// What is not as it should be, the gravest first.
    pub(crate) remarks: Vec<String>,
    /// On how many nodes the slots are.
    pub(crate) replicas: Replicas,
    /// Whether all nodes answered and say the same of all slots.
    pub(crate) agreed: bool,
}

/// One node.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeLine {
    pub(crate) node: u128,
    pub(crate) address: String,
    pub(crate) state: String,
    pub(crate) boots: u64,
    pub(crate) weight: u32,
    pub(crate) policies: u64,
    /// Slots that it owns, and that it should own.
    pub(crate) slots: u64,
    pub(crate) target_slots: u64,
    /// What only the node itself knows: absent if it does not answer.
    pub(crate) own: Option<Own>,
}

/// What a node says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) load: NodeLoad,
    pub(crate) rates: Rates,
    /// Slots that it holds for others, and those of them that are behind.
    pub(crate) held: u32,
    pub(crate) behind: u32,
    pub(crate) round_trip_us: u64,
    /// `ok`, or what failed; absent if it was not said.
    pub(crate) storage: Option<String>,
}

impl Counted {
    /// What a node has counted.
    pub(crate) fn of(load: &NodeLoad, status: Option<&Status>) -> Self {
        Self {
            uptime_ms: load.uptime_ms,
            checks: load.checks,
            proxied: load.proxied,
            degraded: load.degraded,
            grants: status.map_or(0, |status| status.grants),
            denials: status.map_or(0, |status| status.denials),
        }
    }

    /// What happened each second since `before`; since the node's start if it has started again
    /// since, or was never asked before.
    pub(crate) fn rates(&self, before: Option<Self>) -> Rates {
        let before = before.filter(|before| before.uptime_ms < self.uptime_ms);
        let before = before.unwrap_or_default();
        let elapsed_ms = (self.uptime_ms - before.uptime_ms).max(1);
        let rate = |now: u64, before: u64| {
            let rate = u128::from(now.saturating_sub(before)) * 1000 / u128::from(elapsed_ms);
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        Rates {
            checks: rate(self.checks, before.checks),
            proxied: rate(self.proxied, before.proxied),
            degraded: rate(self.degraded, before.degraded),
            grants: rate(self.grants, before.grants),
            denials: rate(self.denials, before.denials),
        }
    }
}

impl Picture {
    /// What all these say together.
    pub(crate) fn of(seen: &[Seen]) -> Self {
        let answers: Vec<&Answer> = seen
            .iter()
            .filter_map(|seen| seen.answer.as_deref().ok())
            .collect();
        let views: Vec<Slots> = answers
            .iter()
            .map(|answer| Slots::of(&answer.ring))
            .collect();
        let slots = Slots::of_most(&views);
        let mut nodes: Vec<NodeLine> = all_ids(seen, &answers)
            .into_iter()
            .map(|id| node(id, seen, &answers, &slots))
            .filter(|node| !has_gone(&node.state) || node.slots > 0)
            .collect();
        nodes.sort_by_key(|node| natural(&node.address));
        let hand_offs = hand_offs(&answers);
        let replicas = Replicas::of(&answers, &slots);
        let silent = seen.iter().any(|seen| seen.answer.is_err());
        Self {
            remarks: remarks(seen, &nodes, (&slots, &replicas), &views),
            agreed: !silent && views.iter().all(|view| view.owners == slots.owners),
            nodes,
            slots,
            hand_offs,
            replicas,
        }
    }

    /// Slots without an owner that anybody knows.
    pub(crate) fn unowned(&self) -> u64 {
        count(self.slots.owners.iter().filter(|it| it.is_none()))
    }
}

fn all_ids(seen: &[Seen], answers: &[&Answer]) -> BTreeSet<u128> {
    let told = answers.iter().flat_map(|answer| &answer.ring.nodes);
    let asked = seen.iter().map(|seen| seen.node);
    told.map(|node| node.node).chain(asked).collect()
}

/// One node, as it says itself, or as most others say if it is silent.
fn node(id: u128, seen: &[Seen], answers: &[&Answer], slots: &Slots) -> NodeLine {
    let asked = seen.iter().find(|seen| seen.node == id);
    let own = asked.and_then(|seen| seen.answer.as_deref().ok());
    let of = |answer: &Answer| line_of(&answer.ring, id).cloned();
    let told: Vec<RingNode> = answers.iter().filter_map(|answer| of(answer)).collect();
    let line = own.and_then(of).unwrap_or_else(|| {
        let state = most(&told.iter().map(|line| line.state.as_str()));
        let line = told.iter().find(|line| Some(line.state.as_str()) == state);
        line.cloned().unwrap_or_default()
    });
    let address = match asked {
        Some(seen) if line.address.is_empty() => seen.address.clone(),
        Some(_) | None => line.address,
    };
    let holds = |all: &[Option<u128>]| count(all.iter().filter(|it| **it == Some(id)));
    NodeLine {
        node: id,
        address,
        state: if line.state.is_empty() {
            "unknown".to_owned()
        } else {
            line.state
        },
        boots: line.boot_counter,
        weight: line.weight,
        policies: line.policies,
        slots: holds(&slots.owners),
        target_slots: holds(&slots.targets),
        own: own.map(Own::of),
    }
}

impl Own {
    fn of(answer: &Answer) -> Self {
        let (load, status) = (answer.ring.load, answer.status.as_ref());
        Self {
            load,
            rates: Counted::of(&load, status).rates(answer.before),
            held: answer.ring.replicas.held,
            behind: answer.ring.replicas.behind,
            round_trip_us: answer.round_trip_us,
            storage: status.map(|status| status.storage.clone()),
        }
    }
}

/// What this view says of the node `id`.
pub(super) fn line_of(ring: &Ring, id: u128) -> Option<&RingNode> {
    ring.nodes.iter().find(|node| node.node == id)
}

/// Each hand-off once, though both its ends tell of it: by the one that takes, which drives it.
fn hand_offs(answers: &[&Answer]) -> Vec<HandOff> {
    let mut by_pair: BTreeMap<(u128, u128), (bool, Vec<HandOff>)> = BTreeMap::new();
    for answer in answers {
        let mut told: BTreeMap<(u128, u128), Vec<HandOff>> = BTreeMap::new();
        for hand_off in &answer.ring.hand_offs {
            let pair = (hand_off.from, hand_off.to);
            told.entry(pair).or_default().push(hand_off.clone());
        }
        for (pair, hand_offs) in told {
            let takes = pair.1 == answer.ring.node;
            match by_pair.get(&pair) {
                Some((true, _)) => {}
                Some((false, _)) if !takes => {}
                Some(_) | None => {
                    by_pair.insert(pair, (takes, hand_offs));
                }
            }
        }
    }
    by_pair.into_values().flat_map(|(_, all)| all).collect()
}

/// How many there are.
pub(super) fn count<T>(all: impl Iterator<Item = T>) -> u64 {
    u64::try_from(all.count()).unwrap_or(u64::MAX)
}

/// Orders texts so that their numbers count: `node-9:1` before `node-10:1`.
fn natural(text: &str) -> Vec<(u64, String)> {
    let mut parts = vec![(0_u64, String::new())];
    for c in text.chars() {
        let Some((number, word)) = parts.last_mut() else {
            break;
        };
        match c.to_digit(10) {
            Some(digit) if word.is_empty() => {
                *number = number.saturating_mul(10).saturating_add(digit.into());
            }
            Some(digit) => parts.push((digit.into(), String::new())),
            None => word.push(c),
        }
    }
    parts
}
