//! What cannot be is refused and counted, and what the ownership is told.

use super::world::{ME, World, epoch, set, slot};
use crate::replication::{Parts, Refusal, Report};
use crate::types::{Epoch, NodeId, Position, SlotSet};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

/// Slot 0 on A, which is in sync, and B, which is not; commits 1 to 3 were sent.
fn world() -> (World, u64) {
    let mut world = World::new();
    world.connect(A);
    world.connect(B);
    world.serve(slot(0), &[A, B], &[A]);
    (0..3).for_each(|_| world.commit(&[slot(0)], 1));
    world.tracker.reports();
    let link = world.replicas[&A].link.unwrap();
    (world, link)
}

fn at(counter: u64, n: u64) -> Position {
    Position {
        epoch: epoch(counter),
        n,
    }
}

#[test]
fn what_cannot_be_is_counted_and_moves_nothing() {
    type Forged = fn(&mut World, u64);
    let forged: [(Refusal, Forged); 9] = [
        (Refusal::ForeignLink, |world, link| {
            world.tracker.applied(A, link + 9, 3, &SlotSet::EMPTY);
        }),
        (Refusal::NeverSent, |world, link| {
            assert!(!world.tracker.applied(A, link, 4, &SlotSet::EMPTY));
        }),
        (Refusal::NotApplied, |world, link| {
            assert!(!world.tracker.synced(A, link, 3));
        }),
        (Refusal::Backwards, |world, link| {
            assert!(world.tracker.applied(A, link, 2, &SlotSet::EMPTY));
            assert!(!world.tracker.applied(A, link, 1, &SlotSet::EMPTY));
        }),
        (Refusal::NotServed, |world, link| {
            world.tracker.in_sync(A, link, &[(slot(2), at(1, 3))]);
        }),
        (Refusal::OtherEpoch, |world, link| {
            world.tracker.in_sync(A, link, &[(slot(0), at(2, 3))]);
        }),
        (Refusal::Position, |world, link| {
            world.tracker.in_sync(A, link, &[(slot(0), at(1, 4))]);
        }),
        (Refusal::Promise, |world, link| {
            world.tracker.deaf(A, link, &[(slot(0), epoch(1))]);
        }),
        (Refusal::NotFed, |world, _| {
            world.connect(NodeId(3));
            let link = world.replicas[&NodeId(3)].link.unwrap();
            let said = [(slot(0), at(1, 3))];
            world.tracker.in_sync(NodeId(3), link, &said);
        }),
    ];
    for (refusal, forge) in forged {
        let (mut world, link) = world();
        forge(&mut world, link);
        assert_eq!(world.tracker.refusals().count(refusal), 1, "{refusal:?}");
        let acknowledged = if refusal == Refusal::Backwards { 2 } else { 0 };
        assert_eq!(world.tracker.replicated().appended, acknowledged);
    }
}

#[test]
fn acknowledgements_of_an_old_link_count_for_nothing() {
    let (mut world, link) = world();
    world.connect(A);
    assert!(world.tracker.applied(A, link, 3, &SlotSet::EMPTY));
    world.tracker.in_sync(A, link, &[(slot(0), at(1, 3))]);
    assert_eq!(world.tracker.replicated().appended, 0);
    assert_eq!(world.tracker.refusals().count(Refusal::ForeignLink), 2);
}

#[test]
fn who_says_to_be_in_sync_but_lacks_what_was_sent_before_its_link_is_told() {
    let (mut world, _) = world();
    world.connect(A);
    let link = world.replicas[&A].link.unwrap();
    world.tracker.reports();
    world.tracker.in_sync(A, link, &[(slot(0), at(1, 2))]);
    let behind = Report::Behind {
        peer: A,
        link,
        slots: set(&[slot(0)]),
    };
    assert_eq!(world.tracker.reports(), [behind]);
    world.tracker.in_sync(A, link, &[(slot(0), at(1, 3))]);
    let in_sync = Report::InSync {
        peer: A,
        slots: set(&[slot(0)]),
    };
    assert_eq!(world.tracker.reports(), [in_sync]);
}

#[test]
fn a_replica_that_follows_before_the_slot_is_served_is_in_sync_from_the_first() {
    let in_sync = Report::InSync {
        peer: A,
        slots: set(&[slot(0)]),
    };
    // whether or not the candidate has heard what it became
    for became in [&[A][..], &[]] {
        let mut world = World::new();
        world.connect(A);
        world.connect(B);
        let link = world.replicas[&A].link.unwrap();
        world.tracker.in_sync(A, link, &[(slot(0), at(1, 0))]);
        assert_eq!(world.tracker.reports(), []);
        world.serve(slot(0), &[A, B], became);
        assert_eq!(world.tracker.reports(), [in_sync.clone()]);
    }
}

#[test]
fn what_was_said_of_another_reign_or_link_or_taken_back_does_not_count_later() {
    let early = |position, then: fn(&mut World, u64)| {
        let mut world = World::new();
        world.connect(A);
        world.connect(B);
        let link = world.replicas[&A].link.unwrap();
        world.tracker.in_sync(A, link, &[(slot(0), position)]);
        then(&mut world, link);
        world.tracker.reports();
        world.serve(slot(0), &[A, B], &[]);
        world.tracker.reports()
    };
    assert_eq!(early(at(2, 0), |_, _| {}), []);
    assert_eq!(early(at(1, 1), |_, _| {}), []);
    assert_eq!(early(at(1, 0), |world, _| world.connect(A)), []);
    let taken_back = |world: &mut World, link| {
        world.tracker.out_of_sync(A, link, &set(&[slot(0)]));
    };
    assert_eq!(early(at(1, 0), taken_back), []);
}

#[test]
fn a_refused_slot_and_a_lost_link_are_told_as_out_of_sync_and_a_promise_as_deaf() {
    let out = Report::OutOfSync {
        peer: A,
        slots: set(&[slot(0)]),
    };
    let (mut refusing, link) = world();
    refusing.tracker.applied(A, link, 3, &set(&[slot(0)]));
    assert_eq!(refusing.tracker.reports(), [out.clone()]);
    assert_eq!(refusing.tracker.replicated().appended, 0);
    let (mut lost, _) = world();
    lost.lose(A);
    assert_eq!(lost.tracker.reports(), [out.clone()]);
    let (mut deaf, link) = world();
    let promised = Epoch {
        counter: 5,
        node: B,
    };
    deaf.tracker.deaf(A, link, &[(slot(0), promised)]);
    let told = Report::Deaf {
        peer: A,
        slots: vec![(slot(0), promised)],
    };
    assert_eq!(deaf.tracker.reports(), [out, told]);
}

#[test]
fn a_peer_that_owes_too_much_is_given_up() {
    let (mut world, link) = world();
    let mut parts = Parts::default();
    let mut number = 3;
    while parts.full().is_empty() {
        number += 1;
        world
            .tracker
            .committed(number, &[(slot(0), at(1, number))], &mut parts);
    }
    assert_eq!(number, (1 << 16) + 1);
    assert!(parts.full().contains(&(A, link)));
    assert!(world.tracker.peers().all(|peer| !peer.linked));
}

#[test]
fn peers_are_asked_to_sync_once_for_each_number() {
    let (mut world, link) = world();
    let mut ask = Vec::new();
    world.tracker.ask_sync(false, &mut ask);
    assert!(ask.is_empty());
    world.tracker.ask_sync(true, &mut ask);
    assert_eq!(ask.first(), Some(&(A, link, 3)));
    ask.clear();
    world.tracker.ask_sync(true, &mut ask);
    assert!(ask.is_empty());
}

#[test]
fn a_learner_gets_commits_and_its_acknowledgements_do_not_count() {
    let (mut world, _) = world();
    world.connect(NodeId(3));
    let link = world.replicas[&NodeId(3)].link.unwrap();
    world.begin_copy(NodeId(3), slot(0));
    world.end_copy(NodeId(3));
    world.commit(&[slot(0)], 1);
    while world.deliver(NodeId(3)) {}
    while world.hear(NodeId(3)) {}
    let told = world.tracker.reports();
    let in_sync = Report::InSync {
        peer: NodeId(3),
        slots: set(&[slot(0)]),
    };
    assert_eq!(told, [in_sync]);
    assert_eq!(world.tracker.replicated().appended, 0);
    assert_eq!(world.tracker.given(NodeId(3), link), [(slot(0), epoch(1))]);
    world.tracker.unfeed(NodeId(3), link, &set(&[slot(0)]));
    assert_eq!(world.tracker.given(NodeId(3), link), []);
    assert_ne!(ME, NodeId(3));
}
