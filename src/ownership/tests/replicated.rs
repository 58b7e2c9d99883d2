//! Three replicas: the same procedure, by majorities; how replicas come to have what their owner has,
//! and what follows when it is gone.

use std::time::Duration;

use super::super::event::{Effect, Event};
use super::super::message::Message;
use super::world::{SLOTS, World, epoch, node, slot};

/// How many nodes have accepted node 1's configuration of version 2, or know it chosen, on disk.
fn accepted(world: &World) -> usize {
    let has = |n: u128| {
        let register = world.at(n).registers[0].unwrap();
        let accepted = register.accepted.map(|it| it.1).or(register.chosen);
        accepted.is_some_and(|it| it.version >= 2 && it.owner == node(1))
    };
    (1..=3).filter(|n| has(*n)).count()
}

#[test]
fn an_owner_serves_when_a_majority_has_accepted_and_not_before() {
    let mut world = World::replicated();
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.at(1).serves(), [0u16; 0], "alone it is no majority");
    world.connect_all();
    world.now = world.now.plus(Duration::from_secs(1));
    world.event(1, Event::Tick);
    while world.at(1).serves().is_empty() {
        let before = accepted(&world);
        assert!(world.micro_step());
        assert!(
            world.at(1).serves().is_empty() || before >= 2,
            "T8: {before} of 3"
        );
    }
    world.run();
    world.check_settled();
    assert_eq!(accepted(&world), 3);
}

#[test]
fn two_of_three_are_enough_and_one_is_not() {
    let mut world = World::replicated();
    world.crash(3);
    world.connect_all();
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.at(1).serves().len(), usize::from(SLOTS));
    world.crash(1);
    world.crash(2);
    world.start(1);
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.at(1).serves(), [0u16; 0]);
    let writes = world
        .at(1)
        .log
        .iter()
        .filter(|it| matches!(it, Effect::Persist { .. }));
    assert!(
        writes.count() < 20,
        "it waits for a majority instead of trying in vain"
    );
    world.start(2);
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.at(1).serves().len(), usize::from(SLOTS));
}

#[test]
fn a_crash_at_any_step_of_the_start_leaves_a_way_on() {
    for cut_at in (0..60).step_by(4) {
        for crashed in 1..=3 {
            let mut world = World::replicated();
            world.connect_all();
            world.now = world.now.plus(Duration::from_secs(1));
            world.event(1, Event::Tick);
            for _ in 0..cut_at {
                world.micro_step_of(cut_at);
                world.grant();
            }
            world.crash(crashed);
            world.run_for(Duration::from_secs(3));
            world.start(crashed);
            world.run_for(Duration::from_secs(12));
            world.check_settled();
            assert!(world.at(1).life.record(slot(0)).unwrap().version >= 2);
        }
    }
}

pub(super) const ALL: [u16; 6] = [0, 1, 2, 3, 4, 5];

/// A cluster whose slots have nodes 1 to 3 as replicas, and rest.
pub(super) fn at_rest(count: u128) -> World {
    let mut world = World::replicated_among(count);
    world.connect_all();
    world.retarget();
    world.run_for(Duration::from_secs(3));
    world.check_settled();
    world
}

#[test]
fn a_grant_is_given_when_a_majority_has_it() {
    let mut world = at_rest(3);
    let given = |world: &World| {
        world
            .granted
            .get(&slot(0))
            .map_or(0, std::collections::BTreeSet::len)
    };
    let before = given(&world);
    world.grant();
    assert_eq!(given(&world), before);
    world.run();
    assert_eq!(given(&world), before + 1);
    world.crash(2);
    world.crash(3);
    world.grant();
    world.run();
    assert_eq!(given(&world), before + 1, "alone it is no majority");
}

#[test]
fn the_slots_of_an_owner_that_is_gone_are_taken_over_and_go_back() {
    let mut world = at_rest(3);
    world.grant();
    world.crash(1);
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.at(2).serves(), ALL, "the first by rank");
    assert!(world.granted[&slot(0)].len() > 10, "two of three serve on");
    world.start(1);
    world.run_for(Duration::from_secs(8));
    world.check_settled();
    assert_eq!(world.at(1).serves(), ALL);
}

#[test]
fn an_owner_that_stands_still_is_taken_over_and_gives_nothing_afterwards() {
    let mut world = at_rest(3);
    world.paused.insert(node(1));
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.at(2).serves(), ALL);
    assert_eq!(world.at(1).serves(), ALL, "it does not know");
    world.paused.clear();
    world.grant();
    world.run_for(Duration::from_secs(8));
    world.check_settled();
}

#[test]
fn an_owner_that_a_majority_hears_is_left_alone() {
    let mut world = at_rest(3);
    world.cut_between(1, 2);
    let epoch = world.at(1).life.record(slot(0)).unwrap().epoch;
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.at(1).life.record(slot(0)).unwrap().epoch, epoch);
    assert_eq!(world.at(1).serves(), ALL);
}

#[test]
fn who_comes_back_asks_whom_it_reaches_before_it_takes_over_from_whom_it_does_not() {
    let mut world = at_rest(3);
    world.crash(3);
    world.run_for(Duration::from_secs(1));
    world.start(3);
    world.cut(3);
    world.run_for(Duration::from_secs(3));
    let epoch = world.at(1).life.record(slot(0)).unwrap().epoch;
    world.connect(node(3), node(2));
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.at(1).life.record(slot(0)).unwrap().epoch, epoch);
    assert_eq!(world.at(1).serves(), ALL, "node 2 hears it");
}

#[test]
fn one_replica_becomes_three_and_three_become_one() {
    let mut world = World::new(4);
    world.lenient = true;
    world.run_for(Duration::from_millis(500));
    for targets in [
        &[1, 2, 3][..],
        &[1],
        &[2],
        &[2, 3, 4],
        &[3],
        &[4, 1, 2],
        &[1],
    ] {
        world.target_all(&ALL, targets);
        world.run_for(Duration::from_secs(8));
        world.check_settled();
    }
}

#[test]
fn replicas_are_replaced_and_ownership_follows_the_targets() {
    let mut world = at_rest(5);
    for targets in [
        [1, 2, 4],
        [2, 1, 4],
        [5, 4, 2],
        [1, 3, 2],
        [4, 5, 1],
        [2, 3, 4],
    ] {
        world.target_all(&ALL, &targets);
        world.run_for(Duration::from_secs(8));
        world.check_settled();
    }
}

#[test]
fn five_replicas_survive_two() {
    let mut world = at_rest(5);
    world.target_all(&ALL, &[1, 2, 3, 4, 5]);
    world.run_for(Duration::from_secs(8));
    world.check_settled();
    world.crash(1);
    world.crash(2);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.at(3).serves(), ALL);
}

/// What is done to a cluster, and cut short after so many steps by a crash or a lost connection.
fn cut_short(begin: impl Fn(&mut World), crashed: u128, lost: bool) {
    for cut_at in (0..120).step_by(7) {
        let mut world = at_rest(4);
        begin(&mut world);
        world.now = world.now.plus(Duration::from_millis(300));
        world.tick(1);
        for step in 0..cut_at {
            world.micro_step();
            if step % 10 == 0 {
                world.grant();
            }
        }
        if lost {
            world.cut(crashed);
            world.run_for(Duration::from_secs(2));
            world.connect_all();
        } else {
            world.crash(crashed);
            world.retarget();
            world.run_for(Duration::from_secs(3));
            world.start(crashed);
        }
        world.run_for(Duration::from_secs(12));
        world.check_settled();
    }
}

#[test]
fn a_crash_at_any_step_of_a_replacement_leaves_a_way_on() {
    for crashed in [1, 2, 4] {
        cut_short(|world| world.target_all(&ALL, &[1, 2, 4]), crashed, false);
    }
}

#[test]
fn a_lost_connection_at_any_step_of_a_replacement_leaves_a_way_on() {
    for lost in [1, 2, 4] {
        cut_short(|world| world.target_all(&ALL, &[4, 2, 1]), lost, true);
    }
}

#[test]
fn a_replica_that_lost_state_counts_for_nothing_until_it_has_caught_up() {
    let mut world = at_rest(3);
    world.grant();
    world.run();
    world.lose_power(2);
    world.start(2);
    world.run_for(Duration::from_secs(3));
    world.check_settled();
    assert!(world.at(2).registers[0].unwrap().complete);
    // The owner too.
    world.grant();
    world.run();
    world.lose_power(1);
    world.start(1);
    world.run_for(Duration::from_secs(8));
    world.check_settled();
}

#[test]
fn slots_start_empty_only_when_all_have_said_that_too_few_know() {
    let mut world = at_rest(3);
    world.lose_power(1);
    world.lose_power(2);
    world.crash(3);
    world.start(1);
    world.start(2);
    world.run_for(Duration::from_secs(8));
    assert_eq!(world.at(1).serves(), [0u16; 0], "the third may know");
    assert_eq!(world.at(2).serves(), [0u16; 0]);
    world.start(3);
    world.run_for(Duration::from_secs(15));
    world.check_settled();
}

#[test]
fn a_replica_that_promised_more_makes_its_owner_reign_anew() {
    let mut world = at_rest(3);
    let seal = Message::Seal {
        ballot: epoch(70, 2),
        slots: ALL.iter().map(|n| slot(*n)).collect(),
    };
    let from = node(2);
    world.event(
        3,
        Event::Received {
            from,
            message: seal,
        },
    );
    world.run_for(Duration::from_secs(6));
    world.check_settled();
    assert!(world.at(1).life.record(slot(0)).unwrap().epoch > epoch(70, 2));
}

#[test]
fn a_learner_drops_what_nobody_wants_any_more() {
    let mut world = at_rest(4);
    // Node 3 is away, so that the owner can not make node 4 a replica together with it.
    world.target_all(&ALL, &[1, 2, 3, 4]);
    world.crash(3);
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.at(4).states.len(), 6, "it learns");
    world.target_all(&ALL, &[1, 2, 3]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.at(4).states.len(), 0);
    assert!(!world.at(4).registers[0].unwrap().complete);
    // In the same reign of its owner.
    world.target_all(&ALL, &[1, 2, 3, 4]);
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.at(4).states.len(), 6, "it learns again");
    world.target_all(&ALL, &[1, 2, 3]);
    world.run_for(Duration::from_secs(1));
    world.start(3);
    world.run_for(Duration::from_secs(6));
    world.check_settled();
}

#[test]
fn one_replica_alone_is_never_watched_or_taken_over() {
    let mut world = World::new(3);
    world.run_for(Duration::from_secs(1));
    world.crash(1);
    world.run_for(Duration::from_secs(20));
    for n in [2, 3] {
        let asks = |it: &&Effect| {
            matches!(
                it,
                Effect::Send {
                    message: Message::AskHeard { .. },
                    ..
                } | Effect::CatchUp { .. }
            )
        };
        assert_eq!(world.at(n).log.iter().filter(asks).count(), 0);
    }
}
