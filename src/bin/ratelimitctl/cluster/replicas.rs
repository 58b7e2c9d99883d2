//! On how many nodes the slots are, and what the loss of one more would stop.
//!
//! Who serves a slot knows who has all of it. A slot goes on as long as a majority of its replicas
//! does; one that is behind is not counted, though it may soon be.

use std::collections::BTreeMap;

use distributed_rate_limiter::client::{ReplicaSet, RingReplicas};

use super::picture::Answer;
use super::slots::{Slots, most};
use crate::output::number;

/// Most nodes that are named in one line; the rest is counted.
const NAMED_MAX: usize = 3;

/// What it means that slots are on one node.
const ALONE: &str = "the loss of a node stops its keys until it is back";

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Replicas {
    /// On how many nodes the operator wants each slot; 0: nobody told.
    pub(crate) wanted: u8,
    /// On how many it can be, and
    pub(crate) possible: u8,
    /// the nodes that take slots.
    pub(crate) members: u32,
    /// All slots.
    pub(crate) slots: u64,
    /// Those on fewer nodes in sync than are wanted, without those that nobody serves.
    pub(crate) under: u64,
    /// Those that no node serves that answers.
    pub(crate) unserved: u64,
    /// Those in which nothing is granted now, since too few of their replicas can be reached.
    pub(crate) without_majority: u64,
    /// Of each node whose loss would stop slots, how many.
    pub(crate) stops: BTreeMap<u128, u64>,
}

impl Replicas {
    /// What these say together. Where two say that they serve a slot, who most say owns it is believed.
    pub(super) fn of(answers: &[&Answer], slots: &Slots) -> Self {
        let told = answers.iter().map(|answer| &answer.ring.replicas);
        let told = told.filter(|it| it.wanted > 0);
        let newest = |of: fn(&RingReplicas) -> u32| most(&told.clone().map(of)).unwrap_or(0);
        let statuses = answers.iter().filter_map(|answer| answer.status.as_ref());
        let mut all = Self {
            wanted: u8::try_from(newest(|it| it.wanted.into())).unwrap_or(u8::MAX),
            possible: u8::try_from(newest(|it| it.possible.into())).unwrap_or(u8::MAX),
            members: newest(|it| it.members),
            slots: u64::try_from(slots.count()).unwrap_or(u64::MAX),
            without_majority: statuses.map(|status| status.without_majority).sum(),
            ..Self::default()
        };
        if all.wanted == 0 {
            return all;
        }
        let mut served: Vec<Option<(u128, &ReplicaSet)>> = vec![None; slots.count()];
        for answer in answers {
            let node = answer.ring.node;
            for (slot, set) in sets(&answer.ring.replicas, served.len()) {
                let owns = slots.owners.get(slot).copied().flatten() == Some(node);
                if served[slot].is_none() || owns {
                    served[slot] = Some((node, set));
                }
            }
        }
        for slot in served {
            match slot {
                Some((_, set)) => all.add(set),
                None => all.unserved += 1,
            }
        }
        all
    }

    fn add(&mut self, set: &ReplicaSet) {
        let in_sync = in_sync(set);
        let majority = set.replicas.len() / 2 + 1;
        if in_sync.len() < usize::from(self.wanted) {
            self.under += 1;
        }
        if in_sync.len() <= majority {
            for node in in_sync {
                *self.stops.entry(node).or_default() += 1;
            }
        }
    }

    /// Whether any one more node may be lost, and every slot goes on.
    pub(crate) fn may_lose_one(&self) -> bool {
        self.wanted > 1 && self.unserved == 0 && self.without_majority == 0 && self.stops.is_empty()
    }

    /// The same in one line; `name` is what a node is called.
    pub(crate) fn summary(&self, name: impl Fn(u128) -> String) -> String {
        let mut parts = Vec::new();
        if self.unserved > 0 {
            let verb = if self.unserved == 1 { "is" } else { "are" };
            let count = slots(self.unserved);
            parts.push(format!("{count} {verb} served by no node now"));
        }
        if self.without_majority > 0 {
            let count = slots(self.without_majority);
            parts.push(format!("{count} cannot reach a majority and grant nothing"));
        }
        let is_whole = parts.is_empty();
        parts.push(self.rest(&name, is_whole));
        parts.join("; ")
    }

    /// How the slots are that are served, all of them if `is_whole`.
    fn rest(&self, name: &impl Fn(u128) -> String, is_whole: bool) -> String {
        let wanted = self.wanted;
        match wanted {
            0 => return "no node tells of replicas".to_owned(),
            1 => return format!("1 replica: {ALONE}"),
            _ if self.possible < wanted => {
                let nodes = match self.members {
                    1 => "1 node takes".to_owned(),
                    more => format!("{more} nodes take"),
                };
                return format!("{wanted} replicas are wanted, but only {nodes} slots: {ALONE}");
            }
            _ => {}
        }
        let losing = self.losing(name);
        match self.under {
            0 if !is_whole => format!("the others are on {wanted} nodes in sync"),
            0 => format!("every slot is on {wanted} nodes in sync: {losing}"),
            1 => format!("1 slot is on fewer than {wanted} nodes in sync; {losing}"),
            all if all == self.slots => {
                format!("every slot is on fewer than {wanted} nodes in sync; {losing}")
            }
            more => {
                let count = slots(more);
                format!("{count} are on fewer than {wanted} nodes in sync; {losing}")
            }
        }
    }

    /// What the loss of each node would stop.
    fn losing(&self, name: &impl Fn(u128) -> String) -> String {
        if self.stops.is_empty() {
            return "any one node may be lost".to_owned();
        }
        let mut worst: Vec<_> = self.stops.iter().collect();
        worst.sort_by_key(|&(node, count)| (std::cmp::Reverse(*count), *node));
        let named = worst.iter().take(NAMED_MAX);
        let named =
            named.map(|&(node, count)| format!("{} would stop {}", name(*node), slots(*count)));
        let named = named.collect::<Vec<_>>().join(", ");
        match worst.len().saturating_sub(NAMED_MAX) {
            0 => format!("losing {named}"),
            more => format!("losing {named}, … and {more} more"),
        }
    }
}

/// Each slot that the node serves, and its replicas; of at most `count` slots.
fn sets(told: &RingReplicas, count: usize) -> Vec<(usize, &ReplicaSet)> {
    let mut served = Vec::new();
    let mut first = 0_usize;
    for &(slots, set) in &told.runs {
        let end = first.saturating_add(slots.into()).min(count);
        if let Some(set) = told.sets.get(usize::from(set)) {
            served.extend((first..end).map(|slot| (slot, set)));
        }
        first = end;
    }
    served
}

/// The nodes of a set that have all of its slots.
fn in_sync(set: &ReplicaSet) -> Vec<u128> {
    let bit = |n: usize| u32::try_from(n).ok().and_then(|n| 1_u8.checked_shl(n));
    let nodes = set.replicas.iter().enumerate();
    let nodes = nodes.filter(|(n, _)| bit(*n).is_some_and(|bit| set.in_sync & bit != 0));
    nodes.map(|(_, node)| *node).collect()
}

/// So many slots, in words.
fn slots(count: u64) -> String {
    match count {
        1 => "1 slot".to_owned(),
        more => format!("{} slots", number(more)),
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster::tests::{Seen, change, healthy, replicated};
    use crate::cluster::{Picture, short};

    fn said(all: &[Seen]) -> (bool, String) {
        let replicas = Picture::of(all).replicas;
        (replicas.may_lose_one(), replicas.summary(short))
    }

    fn check(change: impl FnOnce(&mut Vec<Seen>), expected: (bool, &str)) {
        let mut all = replicated(4);
        change(&mut all);
        assert_eq!(said(&all), (expected.0, expected.1.to_owned()));
    }

    #[test]
    fn one_line_says_whether_one_more_node_may_be_lost() {
        check(
            |_| {},
            (
                true,
                "every slot is on 3 nodes in sync: any one node may be lost",
            ),
        );
        // Node 2 serves 1,024 slots, and of 12 of them node 4 is behind.
        check(
            |all| {
                change(all, 1, |ring| {
                    let mut behind = ring.replicas.sets[0].clone();
                    behind.in_sync = 0b011;
                    ring.replicas.sets.push(behind);
                    ring.replicas.runs = vec![(1024, 65_535), (12, 1), (1012, 0), (2048, 65_535)];
                });
            },
            (
                false,
                "12 slots are on fewer than 3 nodes in sync; losing 00000002 would stop 12 slots, \
                 00000003 would stop 12 slots",
            ),
        );
        check(
            |all| all[3].answer = Err("no answer".into()),
            (
                false,
                "1,024 slots are served by no node now; the others are on 3 nodes in sync",
            ),
        );
        check(
            |all| {
                for place in 0..4 {
                    change(all, place, |ring| ring.replicas.sets[0].in_sync = 0b001);
                }
            },
            (
                false,
                "every slot is on fewer than 3 nodes in sync; losing 00000001 would stop 1,024 slots, \
                 00000002 would stop 1,024 slots, 00000003 would stop 1,024 slots, … and 1 more",
            ),
        );
    }

    #[test]
    fn with_one_replica_the_loss_of_any_node_stops_its_keys() {
        let alone = |all: &mut Vec<Seen>, wanted, members| {
            for place in 0..all.len() {
                change(all, place, |ring| {
                    let node = ring.node;
                    ring.replicas.wanted = wanted;
                    ring.replicas.possible = 1;
                    ring.replicas.members = members;
                    ring.replicas.sets[0].replicas = vec![node];
                    ring.replicas.sets[0].in_sync = 1;
                });
            }
        };
        check(
            |all| alone(all, 1, 4),
            (
                false,
                "1 replica: the loss of a node stops its keys until it is back",
            ),
        );
        let mut two = replicated(2);
        alone(&mut two, 3, 2);
        let (may, text) = said(&two);
        assert!(!may);
        assert!(
            text.starts_with(
                "3 replicas are wanted, but only 2 nodes take slots: the loss of a node stops its keys"
            ),
            "{text}"
        );
        // Nodes that do not tell.
        assert_eq!(
            said(&healthy(3)),
            (false, "no node tells of replicas".to_owned())
        );
    }

    #[test]
    fn what_cannot_be_is_taken_for_what_it_is_worth() {
        let mut all = replicated(3);
        change(&mut all, 0, |ring| {
            ring.replicas.runs = vec![(65_535, 0), (65_535, 9)];
            ring.replicas.sets[0].replicas = vec![1; 300];
            ring.replicas.sets[0].in_sync = 0xff;
        });
        let replicas = Picture::of(&all).replicas;
        assert_eq!((replicas.slots, replicas.unserved), (4096, 0));
    }
}
