//! Where the replicas of each slot should be: the first different nodes along the ring from the
//! slot's point, in different zones where there are enough, the first of them its owner.
//!
//! Worked out from the members alone, so that all nodes with the same members name the same targets.

use std::collections::BTreeSet;

use super::ring::Ring;
use crate::types::{NodeId, Replicas, Slot};

/// Fewest nodes among which slots can have more than one replica. Two would gain nothing: the loss
/// of either would stop grants.
pub(crate) const NODES_MIN: usize = 3;

/// A node that slots may be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Which one.
    pub(crate) node: NodeId,
    /// Its share, relative to the others'.
    pub(crate) weight: u32,
    /// Where it stands; empty: somewhere of its own.
    pub(crate) zone: String,
    /// It is about to stop, and will be back: it should own nothing, but keeps its replicas.
    pub(crate) stopping: bool,
}

/// How many replicas a slot can have among so many nodes, where `wanted` are wanted.
pub(crate) const fn replicas_among(nodes: usize, wanted: usize) -> usize {
    if nodes < NODES_MIN { 1 } else { wanted }
}

/// Who should hold each slot, the owner first; `None` if no node can take any.
pub(crate) fn targets(members: &[Member], wanted: usize) -> Option<Vec<Replicas>> {
    let replicas = replicas_among(members.len(), wanted);
    let of_ring = members.iter().filter(|it| replicas > 1 || !it.stopping);
    let of_ring: Vec<&Member> = of_ring.collect();
    if of_ring.is_empty() {
        return None;
    }
    let weights: Vec<(NodeId, u32)> = of_ring.iter().map(|it| (it.node, it.weight)).collect();
    let ring = Ring::new(&weights);
    let zones = Zones::of(&of_ring);
    Some(
        Slot::all()
            .map(|slot| zones.choose(&ring, slot, replicas))
            .collect(),
    )
}

/// Of each node its zone, by node, and who is about to stop.
struct Zones<'a> {
    of_nodes: Vec<(NodeId, Option<&'a str>)>,
    /// How many there are, each node without one for itself.
    count: usize,
    stopping: BTreeSet<NodeId>,
}

impl<'a> Zones<'a> {
    fn of(members: &[&'a Member]) -> Self {
        let zone = |it: &&'a Member| (it.node, Some(it.zone.as_str()).filter(|it| !it.is_empty()));
        let mut zones: Vec<(NodeId, Option<&str>)> = members.iter().map(zone).collect();
        zones.sort_unstable();
        let named: BTreeSet<&str> = zones.iter().filter_map(|it| it.1).collect();
        let alone = zones.iter().filter(|it| it.1.is_none()).count();
        let stopping = members.iter().filter(|it| it.stopping).map(|it| it.node);
        Self {
            count: named.len().saturating_add(alone),
            of_nodes: zones,
            stopping: stopping.collect(),
        }
    }

    fn zone(&self, node: NodeId) -> Option<&'a str> {
        let place = self.of_nodes.binary_search_by_key(&node, |it| it.0).ok()?;
        self.of_nodes.get(place)?.1
    }

    /// Those of `walked` that are the first of their zone.
    fn apart(&self, walked: &[NodeId]) -> Vec<NodeId> {
        let mut seen = BTreeSet::new();
        let first = |node: &&NodeId| self.zone(**node).is_none_or(|zone| seen.insert(zone));
        walked.iter().filter(first).copied().collect()
    }

    fn choose(&self, ring: &Ring, slot: Slot, replicas: usize) -> Replicas {
        let apart = replicas.min(self.count);
        let walked = ring.walk(slot, |found| {
            found.len() >= replicas && self.apart(found).len() >= apart
        });
        let mut chosen = self.apart(&walked);
        chosen.truncate(replicas);
        // Too few zones: the next nodes along the ring, whatever their zone.
        let rest = walked.iter().filter(|node| !chosen.contains(node)).copied();
        let rest: Vec<NodeId> = rest.take(replicas.saturating_sub(chosen.len())).collect();
        chosen.extend(rest);
        // Who is about to stop should not own, if another can.
        chosen.sort_by_key(|node| self.stopping.contains(node));
        Replicas::of(&chosen)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn members(zones: &[&str]) -> Vec<Member> {
        let numbered = zones.iter().zip(1..);
        let member = |(zone, id): (&&str, u128)| Member {
            node: NodeId(id * 0x9e37_79b9),
            weight: 1,
            zone: (*zone).to_owned(),
            stopping: false,
        };
        numbered.map(member).collect()
    }

    #[test]
    fn a_slot_has_so_many_different_nodes_as_are_wanted_or_one_if_there_are_too_few() {
        for (nodes, wanted, expected) in [(5, 3, 3), (3, 3, 3), (2, 3, 1), (1, 3, 1), (5, 1, 1)] {
            let targets = targets(&members(&vec![""; nodes]), wanted).unwrap();
            assert!(targets.iter().all(|it| it.as_slice().len() == expected));
        }
        assert_eq!(targets(&[], 3), None);
    }

    #[test]
    fn the_owner_is_the_one_that_the_ring_names() {
        let members = members(&["", "", "", "", ""]);
        let weights: Vec<_> = members.iter().map(|it| (it.node, it.weight)).collect();
        let owners = Ring::new(&weights).owners().unwrap();
        for wanted in [1, 3] {
            let targets = targets(&members, wanted).unwrap();
            let first: Vec<_> = targets.iter().map(|it| it.as_slice()[0]).collect();
            assert_eq!(first, owners, "{wanted} replicas");
        }
    }

    #[test]
    fn replicas_stand_in_different_zones_where_there_are_enough() {
        for zones in [
            ["a", "a", "b", "b", "c", "c"],
            ["a", "a", "a", "a", "b", "c"],
            ["a", "a", "a", "a", "b", "b"],
            ["a", "a", "a", "a", "", ""],
        ] {
            let members = members(&zones);
            let zone_of: BTreeMap<NodeId, &str> = members
                .iter()
                .map(|it| (it.node, it.zone.as_str()))
                .collect();
            let possible = Zones::of(&members.iter().collect::<Vec<_>>()).count.min(3);
            for it in targets(&members, 3).unwrap() {
                let named: BTreeSet<_> = it.as_slice().iter().map(|node| zone_of[node]).collect();
                let alone = it.as_slice().iter().filter(|node| zone_of[node].is_empty());
                let alone = alone.count().saturating_sub(1);
                assert_eq!((it.as_slice().len(), named.len() + alone), (3, possible));
            }
        }
    }

    #[test]
    fn a_node_about_to_stop_owns_nothing_and_keeps_its_replicas() {
        let mut members = members(&["", "", "", ""]);
        let before = targets(&members, 3).unwrap();
        members[1].stopping = true;
        let stopping = members[1].node;
        let after = targets(&members, 3).unwrap();
        for (before, after) in before.iter().zip(&after) {
            let set = |it: &Replicas| it.as_slice().iter().copied().collect::<BTreeSet<_>>();
            assert_eq!(set(before), set(after), "the replicas stay");
            assert_ne!(after.as_slice().first(), Some(&stopping));
        }
        // With one replica all of it is its ownership.
        let alone = targets(&members, 1).unwrap();
        assert!(alone.iter().all(|it| !it.contains(stopping)));
    }
}
