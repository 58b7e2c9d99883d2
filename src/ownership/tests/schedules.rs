//! Any order of writes, messages, crashes, lost connections and changes of mind: never two that
//! serve, nothing forgotten, and when it stops all is served again.

use std::time::Duration;

use proptest::prelude::*;

use super::world::{SLOTS, World, node};

#[derive(Debug, Clone)]
enum Happening {
    Step(usize),
    Grant,
    Wait(u64),
    Cut(u128),
    Connect,
    Crash(u128),
    Target(u16, u128),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        40 => any::<usize>().prop_map(Happening::Step),
        5 => Just(Happening::Grant),
        6 => (1u64..15).prop_map(Happening::Wait),
        1 => (1u128..=3).prop_map(Happening::Cut),
        2 => Just(Happening::Connect),
        1 => (1u128..=3).prop_map(Happening::Crash),
        3 => (0..SLOTS, 1u128..=3).prop_map(|(slot, node)| Happening::Target(slot, node)),
    ]
}

fn happen(world: &mut World, happening: &Happening) {
    match *happening {
        Happening::Step(choice) => {
            world.micro_step_of(choice);
        }
        Happening::Grant => world.grant(),
        Happening::Wait(ticks) => {
            world.tick(ticks);
        }
        Happening::Cut(n) => world.cut(n),
        Happening::Connect => world.connect_all(),
        // Down and up again: what happens in between is the others' alone.
        Happening::Crash(n) if world.at(n).up => world.crash(n),
        Happening::Crash(n) => world.start(n),
        Happening::Target(slot, n) => world.target(&[slot], n),
    }
}

/// Faults stop: all becomes available again, at its target.
fn heal(world: &mut World) {
    for n in 1..=3 {
        if !world.nodes[&node(n)].up {
            world.start(n);
        }
    }
    world.connect_all();
    world.retarget();
    world.run_for(Duration::from_secs(15));
    world.check_settled();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn one_owner_at_most_and_a_way_on(happenings in prop::collection::vec(happening(), 0..250)) {
        let mut world = World::new(3);
        for it in &happenings {
            happen(&mut world, it);
        }
        heal(&mut world);
    }
}
