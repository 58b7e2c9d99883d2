//! Three replicas: the same procedure, by majorities; how replicas come to have what their owner has,
//! and what follows when it is gone.

use std::time::Duration;

use super::super::event::Effect;
use super::world::{SLOTS, World, node, slot};

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
    world.event(1, super::super::event::Event::Tick);
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
            world.event(1, super::super::event::Event::Tick);
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
