use proptest::prelude::*;

use super::*;
use crate::types::{Configuration, HOLDERS_TOLD};

const ME_NODE: NodeId = NodeId(1);

fn record(slot: u16, version: u64, counter: u64, owner: u128) -> SlotRecord {
    let node = NodeId(owner);
    SlotRecord {
        slot: Slot::new(slot).unwrap(),
        chosen: Configuration {
            version,
            epoch: Epoch { counter, node },
            owner: node,
            replicas: Replicas::one(node),
        },
    }
}

/// The same, held by these too.
fn held(slot: u16, version: u64, owner: u128, replicas: &[u128]) -> SlotRecord {
    let mut record = record(slot, version, version, owner);
    let replicas: Vec<NodeId> = replicas.iter().copied().map(NodeId).collect();
    record.chosen.replicas = Replicas::of(&replicas);
    record
}

/// The runs of slots that one node owns.
fn owner_runs(map: &SlotMap) -> Vec<(u16, Option<u16>)> {
    let directory = map.directory();
    let runs = directory.runs.iter();
    runs.map(|&(slots, set)| (slots, directory.sets[usize::from(set)][0]))
        .collect()
}

fn owner(map: &SlotMap, slot: u16) -> Option<u128> {
    let slot = Slot::new(slot).unwrap();
    let owner = map.owner(slot).map(|node| node.0);
    assert_eq!(map.is_mine(slot), owner == Some(ME_NODE.0));
    owner
}

#[test]
fn only_newer_records_change_an_owner() {
    let map = SlotMap::new(ME_NODE);
    assert_eq!(owner(&map, 7), None);
    for (version, counter, node, news, expected) in [
        (2, 20, 5, true, 5),
        (1, 10, 4, false, 5),
        (2, 20, 5, false, 5),
        (3, 30, 1, true, 1),
        (4, 40, 6, true, 6),
        (3, 30, 1, false, 6),
    ] {
        assert_eq!(map.apply(&[record(7, version, counter, node)]), news);
        assert_eq!(owner(&map, 7), Some(expected));
    }
    assert_eq!(owner(&map, 8), None);
}

#[test]
fn what_a_node_answers_is_taken_until_a_record_says_more() {
    let map = SlotMap::new(ME_NODE);
    let slot = Slot::new(3).unwrap();
    let epoch = |counter, node| Epoch {
        counter,
        node: NodeId(node),
    };
    map.apply(&[record(3, 2, 20, 5)]);
    assert!(!map.hint(slot, epoch(19, 9)), "an older reign");
    assert!(!map.hint(slot, epoch(20, 5)), "known already");
    assert!(map.hint(slot, epoch(30, 6)));
    assert_eq!(owner(&map, 3), Some(6));
    assert!(!map.apply(&[record(3, 2, 20, 5)]), "an older reign");
    assert!(map.apply(&[record(3, 3, 30, 6)]), "its version is news");
    assert_eq!(map.known(slot).unwrap().version, 3);
    assert!(map.apply(&[record(3, 4, 31, 1)]));
    assert_eq!(owner(&map, 3), Some(1));
}

#[test]
fn the_directory_names_owners_that_can_be_reached_in_runs() {
    let map = SlotMap::new(ME_NODE);
    assert_eq!(owner_runs(&map), [(SLOT_COUNT, None)]);
    let all: Vec<SlotRecord> = (0..SLOT_COUNT)
        .map(|slot| record(slot, 1, 1, if slot < 1000 { 1 } else { 2 }))
        .collect();
    map.apply(&all);
    assert_eq!(owner_runs(&map), [(SLOT_COUNT, None)], "no addresses");
    let nodes = [(NodeId(2), "b:1".to_owned()), (NodeId(1), "a:1".to_owned())];
    assert!(map.set_nodes(&nodes));
    assert!(!map.set_nodes(&nodes));
    let expected = [(NodeId(1), "a:1".into()), (NodeId(2), "b:1".into())];
    assert_eq!(map.directory().nodes, expected);
    assert_eq!(owner_runs(&map), [(1000, Some(0)), (3096, Some(1))]);
    map.set_nodes(&nodes[1..]);
    assert_eq!(map.address(NodeId(2)), None);
    assert_eq!(owner_runs(&map), [(1000, Some(0)), (3096, None)]);
}

#[test]
fn the_directory_names_each_set_of_holders_once_the_owner_first_and_the_others_by_rank() {
    let map = SlotMap::new(ME_NODE);
    let nodes = [1, 2, 3].map(|node| (NodeId(node), format!("n{node}:1")));
    map.set_nodes(&nodes);
    map.apply(&[
        held(0, 1, 1, &[1, 2, 3]),
        held(1, 1, 2, &[3, 1, 2]),
        held(2, 1, 1, &[1, 2, 3]),
        held(3, 1, 9, &[9, 1]),
        held(4, 1, 2, &[9, 2, 1]),
    ]);
    let directory = map.directory();
    let sets: [[Option<u16>; 3]; 4] = [
        [Some(0), Some(1), Some(2)],
        [Some(1), Some(2), Some(0)],
        [None; 3],
        [Some(1), Some(0), None],
    ];
    assert_eq!(
        directory.sets, sets,
        "nodes without an address are left out"
    );
    assert_eq!(
        directory.runs,
        [(1, 0), (1, 1), (1, 0), (1, 2), (1, 3), (4091, 2)]
    );
    // A replica that is replaced is news, though the owner stays.
    let tag = map.tag();
    assert!(map.apply(&[held(0, 2, 1, &[1, 3, 2])]));
    assert_ne!(map.tag(), tag);
    assert_eq!(map.directory().sets[0], [Some(0), Some(2), Some(1)]);
    // Who is known as the owner by an answer only takes over from the others that hold the slot.
    let slot = Slot::new(0).unwrap();
    let node = NodeId(3);
    assert!(map.hint(slot, Epoch { counter: 9, node }));
    assert_eq!(map.directory().sets[0], [Some(2), Some(0), Some(1)]);
}

#[test]
fn of_more_nodes_than_a_frame_holds_the_sets_of_only_the_owners_are_named() {
    for (count, told) in [(100, HOLDERS_TOLD), (500, 1)] {
        let map = SlotMap::new(ME_NODE);
        let nodes: Vec<_> = (0..count)
            .map(|n| {
                (
                    NodeId(n),
                    format!("node-{n}.a-rather-long-name.example.com:7400"),
                )
            })
            .collect();
        map.set_nodes(&nodes);
        let records: Vec<SlotRecord> = (0..SLOT_COUNT)
            .map(|slot| {
                let owner = u128::from(slot) % count;
                let second = u128::from(slot / 7) % count;
                held(slot, 1, owner, &[owner, second, (second + 3) % count])
            })
            .collect();
        map.apply(&records);
        let directory = map.directory();
        let sets = directory.sets.iter();
        let named = sets.map(|set| set.iter().flatten().count()).max();
        assert_eq!(named, Some(told));
        assert_eq!(owner_runs(&map).len(), usize::from(SLOT_COUNT));
    }
}

#[test]
fn nodes_that_know_the_same_have_the_same_tag_and_every_change_another() {
    let maps = [SlotMap::new(NodeId(1)), SlotMap::new(NodeId(2))];
    let nodes = [(NodeId(1), "a:1".to_owned()), (NodeId(2), "b:1".to_owned())];
    for (map, backwards) in maps.iter().zip([false, true]) {
        let mut records = vec![record(1, 1, 1, 1), record(2, 1, 2, 2)];
        if backwards {
            records.reverse();
            map.set_nodes(&nodes);
        }
        map.apply(&records);
        map.set_nodes(&nodes);
        map.set_policies(77);
    }
    let [map, other] = maps;
    assert_eq!(map.directory(), other.directory());
    let mut tags = vec![map.tag()];
    map.set_policies(78);
    tags.push(map.tag());
    map.apply(&[record(1, 2, 3, 2)]);
    tags.push(map.tag());
    map.set_nodes(&[(NodeId(1), "a:2".to_owned()), nodes[1].clone()]);
    tags.push(map.tag());
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 4);
    assert!(!tags.contains(&0));
}

#[test]
fn places_of_nodes_that_are_gone_are_used_again() {
    let map = SlotMap::new(ME_NODE);
    for n in 0..4 * u64::try_from(NODES_MAX).unwrap() {
        let node = u128::from(n) + 100;
        map.set_nodes(&[(NodeId(node), "x:1".to_owned())]);
        map.apply(&[record(0, n + 1, n + 1, node)]);
        assert_eq!(owner(&map, 0), Some(node));
    }
    // More owners at once than there is room for: their slots are unowned, the others' are not.
    let map = SlotMap::new(ME_NODE);
    let records: Vec<SlotRecord> = (0..1000)
        .map(|n| record(n, 1, 1, u128::from(n) + 100))
        .collect();
    map.apply(&records);
    assert_eq!(owner(&map, 510), Some(610));
    assert_eq!(owner_runs(&map).len(), 1, "no addresses");
}

#[test]
fn a_directory_of_long_addresses_is_cut_to_what_a_frame_holds() {
    let map = SlotMap::new(ME_NODE);
    let nodes: Vec<(NodeId, String)> = (0..500).map(|n| (NodeId(n), "h".repeat(250))).collect();
    map.set_nodes(&nodes);
    let directory = map.directory();
    assert!((100..200).contains(&directory.nodes.len()));
}

proptest! {
    /// Any order of the same records leads to the same map.
    #[test]
    fn the_order_of_news_does_not_matter(
        news in proptest::collection::vec((0..4_u16, 1..30_u64, 1..5_u128), 1..40),
        swaps in proptest::collection::vec((0..40_usize, 0..40_usize), 0..40),
    ) {
        // A version has one epoch and one owner.
        let records: Vec<SlotRecord> = news
            .iter()
            .map(|&(slot, version, _)| {
                record(slot, version, version * 10, u128::from(version % 4) + 1)
            })
            .collect();
        let mut shuffled = records.clone();
        for (a, b) in swaps {
            let len = shuffled.len();
            shuffled.swap(a % len, b % len);
        }
        let (one, other) = (SlotMap::new(ME_NODE), SlotMap::new(ME_NODE));
        one.apply(&records);
        for record in shuffled {
            other.apply(&[record]);
        }
        for slot in 0..4 {
            let newest = records.iter().filter(|r| r.slot.number() == slot)
                .max_by_key(|r| r.chosen.version);
            prop_assert_eq!(owner(&one, slot), newest.map(|r| r.chosen.owner.0));
            prop_assert_eq!(owner(&other, slot), owner(&one, slot));
        }
    }
}
