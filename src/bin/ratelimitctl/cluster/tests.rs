use distributed_rate_limiter::client::{HandOff, NodeLoad, ReplicaSet, Ring, RingNode, Status};

use super::picture::{Answer, Counted, Rates};
use super::*;

pub(crate) use super::picture::Seen;

/// The view of `node`, of a cluster of `ids` at 10.0.0.1:7400 and so on.
pub(crate) fn ring(node: u128, ids: &[u128], runs: &[(u16, u16, u16)]) -> Ring {
    let mut ring = Ring::default();
    ring.node = node;
    ring.runs = runs.to_vec();
    for (n, &id) in ids.iter().enumerate() {
        let mut line = RingNode::default();
        line.node = id;
        line.address = format!("10.0.0.{}:7400", n + 1);
        line.state = "alive".into();
        line.boot_counter = 1;
        line.weight = 1;
        line.policies = 0xabcd_0000_0000_0000;
        ring.nodes.push(line);
    }
    let place = ids.iter().position(|&id| id == node);
    let own = runs.iter().filter(|run| Some(usize::from(run.1)) == place);
    ring.load.slots = own.map(|run| u32::from(run.0)).sum();
    ring
}

/// A node that gave this answer, or this reason for none.
pub(crate) fn seen(node: u128, answer: Result<Ring, &str>) -> Seen {
    let answer = answer.map_err(str::to_owned).map(|ring| {
        let (status, round_trip_us) = (None, 500);
        let before = Some(Counted::default());
        Box::new(Answer {
            ring,
            status,
            round_trip_us,
            before,
        })
    });
    let address = "10.0.0.99:7400".to_owned();
    Seen {
        node,
        address,
        answer,
    }
}

/// A node that gave this answer.
pub(crate) fn answers(ring: Ring) -> Seen {
    seen(ring.node, Ok(ring))
}

/// A cluster of `count` nodes with ids 1, 2, … in the top 32 bits that all agree, under load.
pub(crate) fn healthy(count: u16) -> Vec<Seen> {
    let ids: Vec<u128> = (1..=u128::from(count)).map(|n| n << 96).collect();
    let each = 4096 / count;
    let runs: Vec<_> = (0..count)
        .map(|n| {
            let rest = if n == 0 { 4096 - each * count } else { 0 };
            (each + rest, n, n)
        })
        .collect();
    let one = |&id: &u128| {
        let mut ring = ring(id, &ids, &runs);
        ring.load.keys = 12_345;
        ring.load.checks = 90_000;
        ring.load.proxied = 10_000;
        ring.load.uptime_ms = 10_000;
        ring.load.unsynced_commits = 3;
        answers(ring)
    };
    ids.iter().map(one).collect()
}

/// The same with three replicas each, all in sync: on the owner and the two nodes behind it.
pub(crate) fn replicated(count: u16) -> Vec<Seen> {
    let mut all = healthy(count);
    for place in 0..count {
        change(&mut all, usize::from(place), |ring| {
            let mut set = ReplicaSet::default();
            let behind = (0..3).map(|n| (place + n) % count);
            set.replicas = behind.map(|n| ring.nodes[usize::from(n)].node).collect();
            set.in_sync = 0b111;
            let own = |run: &(u16, u16, u16)| if run.1 == place { 0 } else { u16::MAX };
            ring.replicas.runs = ring.runs.iter().map(|run| (run.0, own(run))).collect();
            ring.replicas.sets = vec![set];
            (ring.replicas.wanted, ring.replicas.possible) = (3, 3);
            (ring.replicas.members, ring.replicas.held) =
                (count.into(), 2 * 4096 / u32::from(count));
        });
    }
    all
}

/// Changes the answer of the node at `place`.
pub(crate) fn change(all: &mut [Seen], place: usize, change: impl FnOnce(&mut Ring)) {
    change(&mut all[place].answer.as_mut().unwrap().ring);
}

fn hand_off(from: u128, to: u128, slots: u32, step: &str) -> HandOff {
    let mut hand_off = HandOff::default();
    (hand_off.from, hand_off.to, hand_off.slots) = (from, to, slots);
    hand_off.step = step.into();
    hand_off
}

#[test]
fn a_cluster_that_agrees_gives_no_remark_and_every_slot_an_owner() {
    for count in [1, 2, 3, 30] {
        let picture = Picture::of(&healthy(count));
        assert_eq!(picture.remarks, Vec::<String>::new(), "{count}");
        assert!(picture.agreed && picture.unowned() == 0);
        assert_eq!(picture.nodes.len(), usize::from(count));
        let slots: u64 = picture.nodes.iter().map(|node| node.slots).sum();
        assert_eq!((slots, picture.slots.count()), (4096, 4096));
        let order: Vec<_> = picture.nodes.iter().map(|node| node.node >> 96).collect();
        assert_eq!(order, (1..=u128::from(count)).collect::<Vec<_>>());
    }
    assert_eq!(Picture::of(&[]).nodes.len(), 0);
}

/// Of a cluster of three that is changed so, whether it agrees, and what is said of it.
type Case = (fn(&mut [Seen]), bool, &'static [&'static str]);

fn check(cases: &[Case]) {
    for (change, agreed, expected) in cases {
        let mut all = healthy(3);
        change(&mut all);
        let picture = Picture::of(&all);
        assert_eq!(picture.remarks, *expected);
        assert_eq!(picture.agreed, *agreed, "{expected:?}");
    }
}

#[test]
fn slots_that_nodes_disagree_about_are_said_in_words() {
    #[rustfmt::skip]
    check(&[
        (
            |all| change(all, 1, |ring| {
                ring.runs = vec![(1366, 1, 0), (1365, 1, 1), (1365, 65_535, 2)];
            }),
            false,
            &[
                "00000002 thinks that it owns 1,366 slots; most say 00000001",
                "00000002 knows no owner of 1,365 slots; most say 00000003",
            ],
        ),
        (
            |all| change(all, 2, |ring| ring.runs[0].2 = 1),
            true,
            &["00000003 would give 1,366 slots to other nodes than most would: it sees other members or weights"],
        ),
        (
            |all| (0..3).for_each(|place| change(all, place, |ring| ring.runs[0].1 = 65_535)),
            true,
            &[
                "1,366 slots have no owner that any node knows",
                "00000001 serves 1,366 slots, and owns 0",
            ],
        ),
        (
            |all| change(all, 0, |ring| {
                ring.nodes.pop();
                (ring.runs[2].1, ring.runs[2].2) = (65_535, 65_535);
            }),
            false,
            &[
                "00000001 knows no owner of 1,365 slots; most say 00000003",
                "00000001 would give 1,365 slots to other nodes than most would: it sees other members or weights",
                "00000001 does not know of 00000003",
            ],
        ),
    ]);
    let mut all = healthy(2);
    change(&mut all, 1, |ring| ring.runs = vec![(4096, 1, 1)]);
    let said = "00000002 thinks that it owns 2,048 slots; the other says 00000001";
    assert_eq!(Picture::of(&all).remarks[0], said);
}

#[test]
fn nodes_that_are_not_well_are_said_in_words() {
    #[rustfmt::skip]
    check(&[
        (
            |all| all[1].answer = Err("no answer within 3 s".into()),
            false,
            &["00000002 at 10.0.0.99:7400 does not answer: no answer within 3 s"],
        ),
        (
            |all| [0, 2].into_iter().for_each(|place| {
                change(all, place, |ring| ring.nodes[1].state = "down".into());
            }),
            true,
            &["00000002 answers, but is down to 00000001 and another node"],
        ),
        (
            |all| change(all, 1, |ring| ring.nodes[1].policies = 0x1234_5678_0000_0000),
            true,
            &["00000002 has another policy set in force (12345678) than most (abcd0000)"],
        ),
        (
            |all| {
                let mut status = Status::default();
                status.storage = "no space left".into();
                all[0].answer.as_mut().unwrap().status = Some(status);
            },
            true,
            &["00000001 grants nothing, its storage failed: no space left"],
        ),
    ]);
}

#[test]
fn nodes_that_were_meant_to_be_one_cluster_and_are_not_are_found() {
    let alone = |n: u128| answers(ring(n << 96, &[n << 96], &[(4096, 0, 0)]));
    let picture = Picture::of(&[alone(1), alone(2)]);
    let said = "00000001 and 00000002 are not of one cluster; was each started with --create?";
    assert!(
        picture.remarks.contains(&said.to_owned()),
        "{:?}",
        picture.remarks
    );
    assert!(!picture.agreed);
}

#[test]
fn trouble_with_every_node_of_many_is_counted_and_not_listed() {
    let mut all = healthy(30);
    for seen in &mut all[1..] {
        seen.answer = Err("gone".into());
    }
    let picture = Picture::of(&all);
    let said: Vec<_> = picture
        .remarks
        .iter()
        .filter(|it| it.contains("answer"))
        .collect();
    assert_eq!(said.len(), 8, "{:?}", picture.remarks);
    assert!(
        picture
            .remarks
            .contains(&"… and 21 more like these".to_owned())
    );
    // All the same the one that answers knows the others.
    assert_eq!(picture.nodes[29].state, "alive");
    assert_eq!(picture.nodes[29].address, "10.0.0.30:7400");
    assert!(picture.nodes[29].own.is_none());
}

#[test]
fn a_hand_off_is_told_once_by_the_node_that_takes() {
    let (one, two, three) = (1_u128 << 96, 2_u128 << 96, 3_u128 << 96);
    let mut all = healthy(3);
    change(&mut all, 0, |ring| {
        ring.hand_offs = vec![
            hand_off(one, two, 9, "old"),
            hand_off(one, three, 4, "seal"),
        ];
    });
    change(&mut all, 1, |ring| {
        ring.hand_offs = vec![
            hand_off(one, two, 5, "fetch"),
            hand_off(one, two, 6, "seal"),
        ];
    });
    let told: Vec<_> = Picture::of(&all)
        .hand_offs
        .into_iter()
        .map(|it| (it.to, it.slots, it.step))
        .collect();
    let expected = [(two, 5, "fetch"), (two, 6, "seal"), (three, 4, "seal")];
    assert_eq!(
        told,
        expected.map(|(to, slots, step)| (to, slots, step.to_owned()))
    );
}

#[test]
fn rates_are_of_the_time_between_two_samples_or_since_the_start() {
    let at = |uptime_ms, checks, proxied| {
        let mut load = NodeLoad::default();
        (load.uptime_ms, load.checks, load.proxied) = (uptime_ms, checks, proxied);
        Counted::of(&load, None)
    };
    let now = at(10_000, 5000, 100);
    for (before, checks, proxied) in [
        (None, 500, 10),
        (Some(at(8000, 4000, 100)), 500, 0),
        // It has started again since.
        (Some(at(20_000, 90_000, 0)), 500, 10),
        // Asked twice at the same moment.
        (Some(now), 500, 10),
    ] {
        let rates = now.rates(before);
        let expected = Rates {
            checks,
            proxied,
            ..Rates::default()
        };
        assert_eq!(rates, expected, "{before:?}");
    }
    assert_eq!(Counted::default().rates(None), Rates::default());
}
