//! The watermark never passes what no majority has, and gets everywhere once acknowledgements come.

use proptest::collection::vec;
use proptest::prelude::*;

use super::world::{ME, PEERS, World, slot};
use crate::replication::Goal;
use crate::types::NodeId;

#[derive(Debug, Clone)]
enum Op {
    Serve(u16, u8, u8),
    Stop(u16),
    Commit(u8, u64),
    Connect(u128),
    Lose(u128),
    Deliver(u128),
    Sync(u128),
    Hear(u128),
    BeginCopy(u128, u16),
    EndCopy(u128),
    Seal(u128, u16),
    Pass(u64),
    Forge(u128, u64, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let peer = 1..=PEERS;
    let on = 0..3u16;
    prop_oneof![
        2 => (on.clone(), 0..16u8, 0..16u8).prop_map(|(s, c, b)| Op::Serve(s, c, b)),
        1 => on.clone().prop_map(Op::Stop),
        10 => (0..8u8, 1..3u64).prop_map(|(slots, ahead)| Op::Commit(slots, ahead)),
        2 => peer.clone().prop_map(Op::Connect),
        1 => peer.clone().prop_map(Op::Lose),
        10 => peer.clone().prop_map(Op::Deliver),
        3 => peer.clone().prop_map(Op::Sync),
        12 => peer.clone().prop_map(Op::Hear),
        4 => (peer.clone(), on.clone()).prop_map(|(p, s)| Op::BeginCopy(p, s)),
        4 => peer.clone().prop_map(Op::EndCopy),
        1 => (peer.clone(), on).prop_map(|(p, s)| Op::Seal(p, s)),
        2 => (0..400u64).prop_map(Op::Pass),
        1 => (peer, 1..5u64, 1..50u64).prop_map(|(p, link, n)| Op::Forge(p, link, n)),
    ]
}

/// At most four of the peers, by the bits of `mask`.
fn nodes(mask: u8) -> Vec<NodeId> {
    let bits = (0..PEERS).filter(|bit| mask & (1 << bit) != 0);
    bits.map(|bit| NodeId(bit + 1)).collect()
}

fn run(world: &mut World, op: &Op) {
    match *op {
        Op::Serve(on, replicas, became) => {
            let replicas = nodes(replicas);
            let linked = |peer: &NodeId| world.replicas[peer].link.is_some();
            let became: Vec<NodeId> = nodes(became)
                .into_iter()
                .filter(|peer| replicas.contains(peer) && linked(peer))
                .collect();
            world.serve(slot(on), &replicas, &became);
        }
        Op::Stop(on) => world.stop(slot(on)),
        Op::Commit(slots, ahead) => {
            let on = (0..3u16).filter(|n| slots & (1 << n) != 0).map(slot);
            world.commit(&on.collect::<Vec<_>>(), ahead);
        }
        Op::Connect(peer) => world.connect(NodeId(peer)),
        Op::Lose(peer) => world.lose(NodeId(peer)),
        Op::Deliver(peer) => {
            world.deliver(NodeId(peer));
        }
        Op::Sync(peer) => world.sync(NodeId(peer)),
        Op::Hear(peer) => {
            world.hear(NodeId(peer));
        }
        Op::BeginCopy(peer, on) => world.begin_copy(NodeId(peer), slot(on)),
        Op::EndCopy(peer) => world.end_copy(NodeId(peer)),
        Op::Seal(peer, on) => world.seal(NodeId(peer), slot(on)),
        Op::Pass(ms) => world.pass(ms),
        Op::Forge(peer, link, ahead) => {
            let (peer, through) = (NodeId(peer), world.number + ahead);
            let link = world.replicas[&peer].link.unwrap_or(link);
            let marks = world.tracker.replicated();
            world
                .tracker
                .applied(peer, link, through, &super::world::set(&[]));
            world.tracker.synced(peer, link, through);
            world.tracker.synced(NodeId(9), link, 1);
            world.tracker.synced(ME, link, 1);
            assert_eq!(world.tracker.replicated(), marks);
        }
    }
}

fn explore(ops: &[Op]) {
    let mut world = World::new();
    for op in ops {
        run(&mut world, op);
        world.check();
    }
    world.settle();
    let marks = world.tracker.replicated();
    assert_eq!((marks.appended, marks.synced), (world.number, world.number));
    // The next commits are not lost, and get there as well.
    let slots: Vec<_> = world.serving.keys().copied().collect();
    world.commit(&slots, 1);
    world.settle();
    for slot in slots {
        assert!(world.tracker.has_majority(slot));
        for goal in [Goal::Appended, Goal::Synced] {
            assert!(!world.tracker.is_lost(slot, world.number, goal));
        }
    }
    assert_eq!(world.tracker.replicated().synced, world.number);
}

proptest! {
    #[test]
    fn what_the_watermark_passes_is_on_a_majority_or_lost(ops in vec(op(), 1..150)) {
        explore(&ops);
    }
}

#[test]
fn a_commit_is_replicated_when_one_of_two_others_has_it() {
    let mut world = World::new();
    let peers = [NodeId(1), NodeId(2)];
    for peer in peers {
        world.connect(peer);
    }
    world.serve(slot(0), &peers, &peers);
    world.commit(&[slot(0)], 1);
    assert_eq!(world.tracker.replicated().appended, 0);
    world.deliver(NodeId(2));
    world.hear(NodeId(2));
    let marks = world.tracker.replicated();
    assert_eq!((marks.appended, marks.synced), (1, 0));
    world.sync(NodeId(2));
    world.hear(NodeId(2));
    assert_eq!(world.tracker.replicated().synced, 1);
}

#[test]
fn a_ticket_between_two_commits_is_of_the_later_one() {
    let mut world = World::new();
    world.connect(NodeId(1));
    world.serve(slot(0), &[NodeId(1)], &[NodeId(1)]);
    world.commit(&[slot(0)], 1);
    world.settle();
    assert_eq!(world.tracker.replicated().appended, 1);
    // Numbers 2 and 3 were given to what other owners have committed.
    world.commit(&[slot(0)], 3);
    assert_eq!(world.tracker.replicated().appended, 1);
    world.settle();
    assert_eq!(world.tracker.replicated().appended, 4);
}

#[test]
fn a_slot_without_a_majority_holds_others_back_for_a_moment_only() {
    let mut world = World::new();
    let peers = [NodeId(1), NodeId(2)];
    for peer in peers {
        world.connect(peer);
    }
    world.serve(slot(0), &peers, &peers);
    world.serve(slot(1), &[], &[]);
    for peer in peers {
        world.lose(peer);
    }
    world.commit(&[slot(0), slot(1)], 1);
    world.pass(0);
    world.pass(500);
    assert_eq!(world.tracker.replicated().appended, 0);
    assert!(world.tracker.has_majority(slot(0)));
    world.pass(1);
    assert_eq!(world.tracker.replicated().appended, 1);
    assert!(!world.tracker.has_majority(slot(0)));
    assert!(world.tracker.is_lost(slot(0), 1, Goal::Appended));
    assert!(!world.tracker.is_lost(slot(1), 1, Goal::Appended));
    world.settle();
    assert!(world.tracker.has_majority(slot(0)));
    assert!(world.tracker.is_lost(slot(0), 1, Goal::Appended));
    assert!(!world.tracker.is_lost(slot(0), 2, Goal::Appended));
}

#[test]
fn what_is_outstanding_when_a_slot_is_sealed_is_lost() {
    let mut world = World::new();
    let peers = [NodeId(1), NodeId(2)];
    for peer in peers {
        world.connect(peer);
    }
    world.serve(slot(0), &peers, &peers);
    world.commit(&[slot(0)], 1);
    world.deliver(NodeId(1));
    world.hear(NodeId(1));
    world.commit(&[slot(0)], 1);
    world.stop(slot(0));
    let is_lost = |ticket| world.tracker.is_lost(slot(0), ticket, Goal::Appended);
    assert_eq!([1, 2, 3, 4].map(is_lost), [false, true, true, true]);
    assert_eq!(world.tracker.replicated().appended, world.number);
}
