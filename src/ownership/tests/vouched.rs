//! What the operator's word does.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks the effects that it is about"
)]

use std::time::Duration;

use super::super::event::{Effect, Event, Origin};
use super::super::{Refusal, Standing};
use super::world::{World, node, slot};

fn orphaned() -> World {
    let mut world = World::new(3);
    world.run_for(Duration::from_millis(400));
    world.crash(1);
    world.target(&[0, 1, 2, 3], 2);
    world.target(&[4, 5], 3);
    world.run_for(Duration::from_secs(3));
    assert_eq!(
        world.at(2).serves(),
        [0u16; 0],
        "losing sight of a node moves nothing"
    );
    world
}

#[test]
fn slots_of_a_node_that_is_gone_start_empty_and_move_to_their_targets() {
    let mut world = orphaned();
    world.event(2, Event::Vouched { gone: node(1) });
    assert_eq!(world.at(2).serves(), [0u16; 0], "not before it is written");
    world.run_for(Duration::from_secs(4));
    assert_eq!(world.at(2).serves(), [0, 1, 2, 3]);
    assert_eq!(world.at(3).serves(), [4, 5]);
    let installs = world.at(2).log.iter().filter_map(|it| match it {
        Effect::Install { slots, .. } => Some(slots),
        _ => None,
    });
    let origins: Vec<Origin> = installs.flatten().map(|it| it.origin).collect();
    assert_eq!(origins, [Origin::Lost; 6], "empty, and denied for a window");
}

#[test]
fn the_node_that_is_told_takes_all_whatever_its_targets_are() {
    let mut world = orphaned();
    world.target(&[0, 1, 2, 3, 4, 5], 3);
    world.event(2, Event::Vouched { gone: node(1) });
    world.run();
    assert_eq!(world.at(2).serves(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(world.at(3).serves(), [0u16; 0], "which nobody has told");
    world.run_for(Duration::from_secs(4));
    assert_eq!(world.at(3).serves(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_node_that_was_given_up_yields_when_it_hears_of_it() {
    let mut world = orphaned();
    world.event(2, Event::Vouched { gone: node(1) });
    world.run_for(Duration::from_secs(1));
    world.start_unchecked(1);
    world.run();
    assert_eq!(world.at(1).serves(), [0u16; 0]);
    assert_eq!(
        world.at(1).life.standing(slot(0)),
        Standing::Elsewhere { owner: node(2) }
    );
}

#[test]
fn a_node_that_is_connected_is_not_gone() {
    let mut world = World::new(2);
    world.run();
    world.target(&[0], 2);
    for gone in [1, 2] {
        world.event(2, Event::Vouched { gone: node(gone) });
    }
    world.run();
    assert_eq!(world.at(2).serves(), [0u16; 0]);
    assert_eq!(world.at(2).life.refusals().count(Refusal::Alive), 2);
}

#[test]
fn a_crash_before_it_is_written_leaves_it_to_the_operator_again() {
    let mut world = orphaned();
    world.event(2, Event::Vouched { gone: node(1) });
    world.crash(2);
    world.start(2);
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.at(2).serves(), [0u16; 0]);
    assert_eq!(world.at(3).life.record(slot(0)).unwrap().owner, node(1));
    world.event(2, Event::Vouched { gone: node(1) });
    world.run_for(Duration::from_secs(4));
    assert_eq!(world.at(2).serves(), [0, 1, 2, 3]);
}

#[test]
fn slots_of_several_replicas_start_empty_only_when_all_are_gone() {
    let mut world = World::replicated_among(4);
    world.connect_all();
    world.retarget();
    world.run_for(Duration::from_secs(3));
    for n in 1..=3 {
        world.crash(n);
    }
    world.target_all(&[0, 1, 2, 3, 4, 5], &[4]);
    for gone in 1..=3 {
        assert_eq!(world.at(4).serves(), [0u16; 0]);
        world.event(4, Event::Vouched { gone: node(gone) });
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!(world.at(4).serves(), [0, 1, 2, 3, 4, 5]);
}
