//! Any order of writes, messages, commits, crashes, power losses, pauses, lost connections and changes
//! of mind among nodes with three replicas: nothing that was given is forgotten, and when it stops
//! all is served again, by whom it should be.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::world::{SLOTS, World, node};

const NODES: u128 = 4;

#[derive(Debug, Clone)]
enum Happening {
    Step(usize),
    Grant,
    Wait(u64),
    Cut(u128, u128),
    Connect,
    Crash(u128),
    LosePower(u128),
    Pause(u128),
    Target(u16, Vec<u128>),
}

fn targets() -> impl Strategy<Value = Vec<u128>> {
    let nodes: Vec<u128> = (1..=NODES).collect();
    let many = Just(nodes).prop_shuffle();
    (many, prop_oneof![4 => Just(3usize), 1 => Just(1usize)]).prop_map(|(mut nodes, count)| {
        nodes.truncate(count);
        nodes
    })
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        60 => any::<usize>().prop_map(Happening::Step),
        8 => Just(Happening::Grant),
        8 => (1u64..15).prop_map(Happening::Wait),
        2 => (1..=NODES, 1..=NODES).prop_map(|(a, b)| Happening::Cut(a, b)),
        3 => Just(Happening::Connect),
        2 => (1..=NODES).prop_map(Happening::Crash),
        1 => (1..=NODES).prop_map(Happening::LosePower),
        1 => (1..=NODES).prop_map(Happening::Pause),
        2 => (0..SLOTS, targets()).prop_map(|(slot, nodes)| Happening::Target(slot, nodes)),
    ]
}

fn happen(world: &mut World, happening: &Happening) {
    match happening {
        Happening::Step(choice) => {
            world.micro_step_of(*choice);
        }
        Happening::Grant => world.grant(),
        Happening::Wait(ticks) => world.tick(*ticks),
        Happening::Cut(a, b) if a == b => {}
        Happening::Cut(a, b) => world.cut_between(*a, *b),
        Happening::Connect => world.connect_all(),
        // Down and up again: what happens in between is the others' alone.
        Happening::Crash(n) | Happening::LosePower(n) if !world.at(*n).up => world.start(*n),
        Happening::Crash(n) => world.crash(*n),
        Happening::LosePower(n) => world.lose_power(*n),
        Happening::Pause(n) => {
            if !world.paused.remove(&node(*n)) {
                world.paused.insert(node(*n));
            }
        }
        Happening::Target(slot, nodes) => world.target_all(&[*slot], nodes),
    }
}

/// Faults stop: all becomes available again, at its targets.
fn heal(world: &mut World) {
    world.paused.clear();
    for n in 1..=NODES {
        if !world.nodes[&node(n)].up {
            world.start(n);
        }
    }
    world.connect_all();
    world.retarget();
    world.run_for(Duration::from_secs(20));
    world.check_settled();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        // Beside this file: what has failed once is tried first.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("seeds"))),
        ..ProptestConfig::default()
    })]
    #[test]
    fn nothing_given_is_forgotten_and_there_is_a_way_on(
        happenings in prop::collection::vec(happening(), 0..400),
    ) {
        let mut world = World::replicated_among(NODES);
        world.connect_all();
        for it in &happenings {
            happen(&mut world, it);
        }
        heal(&mut world);
    }
}
