//! How records spread.

use std::time::Duration;

use super::super::event::{Effect, Event};
use super::super::message::Message;
use super::super::{Ownership, Refusal, Settings};
use super::world::{SLOTS, World, epoch, node, slot};
use crate::types::{Configuration, MonoTime, Replicas, SLOT_COUNT, SlotRecord};

#[test]
fn a_node_that_connects_learns_all_records() {
    let mut world = World::new(3);
    world.run();
    for n in 2..=3 {
        for number in 0..SLOTS {
            let record = world.at(n).life.record(slot(number));
            assert_eq!(record.unwrap().owner, node(1));
            let stored = world.at(n).registers[usize::from(number)];
            assert_eq!(stored.unwrap().chosen, record, "it is synced too");
        }
    }
}

#[test]
fn what_was_missed_is_learned_within_a_turn_of_all_peers() {
    let mut world = World::new(3);
    world.run_for(Duration::from_millis(400));
    world.target(&[0, 1], 2);
    // Node 3 is told nothing of what is chosen.
    for _ in 0..10 {
        world.now = world.now.plus(Duration::from_millis(100));
        world.event(2, Event::Tick);
        while world.micro_step() {
            world.messages.retain(|it| it.1 != node(3));
        }
    }
    assert_eq!(world.at(2).serves(), [0, 1]);
    assert_eq!(world.at(3).life.record(slot(0)).unwrap().owner, node(1));
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.at(3).life.record(slot(0)).unwrap().owner, node(2));
    world.check_settled();
}

#[test]
fn records_of_a_full_ring_come_in_frames_that_fit() {
    let mut life = Ownership::new(
        node(1),
        Ownership::founding(node(1)),
        Settings::default(),
        1,
    );
    let groups = vec![0; usize::from(SLOT_COUNT) / 64];
    let message = Message::Digest { groups };
    let effects = life.step(
        MonoTime::from_ns(1),
        Event::Received {
            from: node(2),
            message,
        },
    );
    let mut told = 0;
    for effect in effects {
        let Effect::Send {
            message: Message::Chosen { records },
            ..
        } = effect
        else {
            panic!("not a record: {effect:?}");
        };
        assert!(records.len() <= 256);
        told += records.len();
    }
    assert_eq!(told, usize::from(SLOT_COUNT));
}

#[test]
fn the_hashes_are_these() {
    let mut life = Ownership::new(
        node(1),
        Ownership::founding(node(1)),
        Settings::default(),
        1,
    );
    let effects = life.step(MonoTime::from_ns(1), Event::Connected { peer: node(2) });
    let [
        Effect::Send {
            message: Message::Digest { groups },
            ..
        },
    ] = effects.as_slice()
    else {
        panic!("not a digest: {effects:?}");
    };
    assert_eq!(groups.len(), 64);
    assert_eq!(
        [groups[0], groups[63]],
        [4_339_904_075_418_665_516, 11_744_127_405_433_678_460]
    );
}

#[test]
fn records_that_cannot_be_are_refused_and_counted() {
    let mut life = Ownership::new(
        node(1),
        Ownership::founding(node(1)),
        Settings::default(),
        1,
    );
    let good = Configuration {
        version: 2,
        epoch: epoch(2, 2),
        owner: node(2),
        replicas: Replicas::one(node(2)),
    };
    let strange_owner = Configuration {
        owner: node(3),
        ..good
    };
    let no_replica = Configuration {
        replicas: Replicas::one(node(3)),
        ..good
    };
    let old_epoch = Configuration {
        epoch: epoch(0, 2),
        ..good
    };
    let far = Configuration {
        epoch: epoch(1 << 40, 2),
        ..good
    };
    let same_version = Configuration { version: 1, ..good };
    let low = Configuration {
        epoch: epoch(1, 0),
        owner: node(0),
        replicas: Replicas::one(node(0)),
        ..good
    };
    for (bad, refusal) in [
        (strange_owner, Refusal::Unsound),
        (no_replica, Refusal::Unsound),
        (old_epoch, Refusal::Unsound),
        (far, Refusal::Counter),
        (same_version, Refusal::Contradiction),
        (low, Refusal::Contradiction),
    ] {
        let before = (life.refusals().count(refusal), life.register(slot(0)));
        let records = vec![SlotRecord {
            slot: slot(0),
            chosen: bad,
        }];
        let message = Message::Chosen { records };
        life.step(
            MonoTime::from_ns(1),
            Event::Received {
                from: node(2),
                message,
            },
        );
        let after = (life.refusals().count(refusal), life.register(slot(0)));
        assert_eq!(after, (before.0 + 1, before.1), "{bad:?}");
    }
    let message = Message::Digest { groups: vec![1, 2] };
    life.step(
        MonoTime::from_ns(1),
        Event::Received {
            from: node(2),
            message,
        },
    );
    assert_eq!(life.refusals().count(Refusal::Size), 1);
}
