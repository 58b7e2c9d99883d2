//! The plain move from one owner to the next, cut at each of its steps.

use std::time::Duration;

use super::world::{SLOTS, World, node};

const ALL: [u16; 6] = [0, 1, 2, 3, 4, 5];

/// A cluster of `count` in which node 1 serves all, and slots 0 to 3 shall go to node 2.
fn before_the_move(count: u128) -> World {
    assert_eq!(usize::from(SLOTS), ALL.len());
    let mut world = World::new(count);
    world.run_for(Duration::from_millis(400));
    assert_eq!(world.at(1).serves(), ALL);
    world.target(&[0, 1, 2, 3], 2);
    world.now = world.now.plus(Duration::from_millis(300));
    world.event(2, super::super::event::Event::Tick);
    world
}

/// How many micro-steps the move takes.
fn steps_of_the_move() -> usize {
    let mut world = before_the_move(3);
    let mut steps = 0;
    while world.micro_step() {
        steps += 1;
        world.grant();
    }
    assert_eq!(world.at(2).serves(), [0, 1, 2, 3]);
    steps
}

#[test]
fn a_slot_moves_to_its_target_and_nothing_is_forgotten() {
    let mut world = before_the_move(3);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.at(2).serves(), [0, 1, 2, 3]);
    assert_eq!(world.at(1).serves(), [4, 5]);
    world.check_settled();
    assert!(
        !world.at(1).states.keys().any(|it| it.number() < 4),
        "R8: the state went"
    );
}

#[test]
fn a_crash_at_any_step_leaves_one_owner_and_a_way_on() {
    for cut_at in 0..=steps_of_the_move() {
        for crashed in [vec![1], vec![2], vec![1, 2]] {
            let mut world = before_the_move(3);
            for _ in 0..cut_at {
                world.micro_step();
                world.grant();
            }
            for n in &crashed {
                world.crash(*n);
            }
            world.retarget();
            world.run_for(Duration::from_secs(3));
            for n in &crashed {
                world.start(*n);
            }
            world.run_for(Duration::from_secs(8));
            world.check_settled();
        }
    }
}

#[test]
fn a_lost_connection_at_any_step_leaves_one_owner_and_a_way_on() {
    for cut_at in 0..=steps_of_the_move() {
        for lost in [1, 2] {
            let mut world = before_the_move(3);
            for _ in 0..cut_at {
                world.micro_step();
                world.grant();
            }
            world.cut(lost);
            // Long enough for the old owner to take back what was sealed.
            world.run_for(Duration::from_secs(2 * (cut_at as u64 % 2)));
            world.connect_all();
            world.run_for(Duration::from_secs(8));
            world.check_settled();
        }
    }
}

#[test]
fn an_owner_that_is_sealed_and_left_alone_takes_its_slots_back() {
    for cut_at in 0..steps_of_the_move() {
        let mut world = before_the_move(2);
        for _ in 0..cut_at {
            world.micro_step();
        }
        world.crash(2);
        world.run_for(Duration::from_secs(3));
        for n in 0..4 {
            let record = world.at(1).life.record(super::world::slot(n)).unwrap();
            let served = world.at(1).serves().contains(&n);
            assert!(
                served || record.owner == node(2),
                "slot {n}, cut at {cut_at}"
            );
        }
    }
}
