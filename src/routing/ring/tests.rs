use proptest::prelude::*;

use super::*;
use crate::types::Replicas;

/// Node ids as random as real ones, the same at each run (splitmix64).
struct Ids(u64);

impl Ids {
    fn next_half(&mut self) -> u128 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u128::from(z ^ (z >> 31))
    }

    fn members(seed: u64, count: usize) -> Vec<(NodeId, u32)> {
        let mut ids = Self(seed.wrapping_mul(0x1234_5678_9abc_def1));
        let member = |_| (NodeId(ids.next_half() << 64 | ids.next_half()), 1);
        (0..count).map(member).collect()
    }
}

fn owners(members: &[(NodeId, u32)]) -> Vec<NodeId> {
    Ring::new(members).owners().unwrap()
}

/// The largest share over the mean, in thousandths.
fn unevenness(members: &[(NodeId, u32)]) -> usize {
    let owners = owners(members);
    let share = |node| owners.iter().filter(|&&owner| owner == node).count();
    let largest = members.iter().map(|&(node, _)| share(node)).max().unwrap();
    largest * members.len() * 1000 / owners.len()
}

const SEEDS: u64 = 20;

/// Nodes; the largest share over the mean in thousandths, median and worst of 20 seeds; what is
/// promised of both; the most that a join moves over the ideal share.
const FIGURES: [(usize, [usize; 2], [usize; 2], usize); 4] = [
    (3, [1031, 1073], [1080, 1120], 1046),
    (5, [1047, 1135], [1120, 1180], 1113),
    (10, [1098, 1164], [1180, 1250], 1152),
    (30, [1186, 1281], [1300, 1450], 1150),
];

impl Ring {
    /// The first `r` different nodes that follow the slot on the ring; fewer if there are fewer.
    fn targets(&self, slot: Slot, r: usize) -> Replicas {
        let walked = self.walk(slot, |found| found.len() >= r);
        Replicas::of(walked.get(..r.min(walked.len())).unwrap_or_default())
    }
}

#[test]
fn shares_are_as_even_as_promised() {
    for (nodes, figures, promised, _) in FIGURES {
        let each = (0..SEEDS).map(|seed| unevenness(&Ids::members(seed, nodes)));
        let mut each: Vec<usize> = each.collect();
        each.sort_unstable();
        let found = [each[10], each[19]];
        assert_eq!(found, figures, "{nodes} nodes");
        assert!(found[0] <= promised[0] && found[1] <= promised[1]);
    }
}

#[test]
fn a_join_moves_slots_to_the_newcomer_only_and_few_more_than_its_share() {
    for (nodes, _, _, most_moved) in FIGURES {
        let mut most = 0;
        for seed in 0..SEEDS {
            let members = Ids::members(seed, nodes + 1);
            let newcomer = members[nodes].0;
            let (before, after) = (owners(&members[..nodes]), owners(&members));
            let changed: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
            assert!(changed.iter().all(|&(_, &after)| after == newcomer));
            most = most.max(changed.len() * (nodes + 1) * 1000 / after.len());
        }
        assert_eq!(most, most_moved, "{nodes} nodes");
        assert!(most <= 1300);
    }
}

/// All nodes of a cluster must agree, whatever their version: these may never change.
#[test]
fn places_and_targets_keep_their_values() {
    let point = Point {
        node: NodeId(7),
        number: 3,
    };
    let slot = |number| Slot::new(number).unwrap();
    assert_eq!(point.place(), 0x2af7_7221_7e50_4f0e);
    assert_eq!(SlotPoint(slot(9)).place(), 0x32aa_b9f4_6c9e_bd21);
    let [one, two, three] = [1, 2, u128::MAX].map(NodeId);
    let ring = Ring::new(&[(one, 1), (two, 2), (three, 1)]);
    for (number, expected) in [
        (0, [three, two, one]),
        (1, [three, one, two]),
        (2, [two, one, three]),
        (1000, [three, one, two]),
        (4095, [three, one, two]),
    ] {
        assert_eq!(ring.targets(slot(number), 3).as_slice(), expected);
    }
}

#[test]
fn a_share_follows_the_weight_and_weight_zero_gets_none() {
    let [none, one, three] = [5, 6, 7].map(NodeId);
    let owners = owners(&[(none, 0), (one, 1), (three, 3)]);
    let share = |node| owners.iter().filter(|&&owner| owner == node).count();
    assert_eq!((share(none), share(one) + share(three)), (0, 4096));
    assert!((2900..3250).contains(&share(three)), "{}", share(three));
    assert_eq!(Ring::new(&[(none, 0)]).owners(), None);
    assert_eq!(
        Ring::new(&[]).targets(Slot::new(0).unwrap(), 3).as_slice(),
        []
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    /// The obvious model: all places in one list, walked on from the slot's.
    #[test]
    fn targets_are_the_next_different_nodes_in_whatever_order_members_come(
        members in proptest::collection::btree_map(0..1000_u128, 0..3_u32, 0..6),
        slot in 0..4096_u16,
        r in 0..5_usize,
    ) {
        let mut members: Vec<_> = members.into_iter().map(|(id, w)| (NodeId(id), w)).collect();
        let slot = Slot::new(slot).unwrap();
        let mut places: Vec<(u64, NodeId)> = members
            .iter()
            .flat_map(|&(node, weight)| (0..POINTS * weight).map(move |number| Point { node, number }))
            .map(|point| (point.place(), point.node))
            .collect();
        places.sort_unstable();
        let at = SlotPoint(slot).place();
        let behind = places.iter().filter(|place| place.0 >= at);
        let mut expected = Vec::new();
        for &(_, node) in behind.chain(&places) {
            if expected.len() < r && !expected.contains(&node) {
                expected.push(node);
            }
        }
        let found = Ring::new(&members).targets(slot, r);
        prop_assert_eq!(found.as_slice(), &expected);
        members.reverse();
        prop_assert_eq!(Ring::new(&members).targets(slot, r), found);
    }
}
