//! Whole effect lists of single steps, and single rules.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test picks the effects that it is about"
)]

use std::time::Duration;

use super::super::event::{Effect, Event, Origin};
use super::super::message::Message;
use super::super::{Ownership, Refusal, Settings, Stage, Standing};
use super::world::{World, epoch, node, slot, slots};
use crate::types::{MonoTime, NodeId, Position, SLOT_COUNT, SlotTime};

/// What kind of effects a node wanted since `from`, without the digests and alarms.
fn kinds(world: &World, n: u128, from: usize) -> Vec<String> {
    let kind = |effect: &Effect| match effect {
        Effect::Send { to, message } => {
            let text = format!("{message:?}");
            let name = text.split(' ').next().unwrap_or_default().to_owned();
            (name != "Digest").then(|| format!("{name} to {}", to.0))
        }
        Effect::WakeAt(_) => None,
        other => {
            let text = format!("{other:?}");
            text.split(' ').next().map(str::to_owned)
        }
    };
    world.at(n).log[from..].iter().filter_map(kind).collect()
}

fn settled(count: u128) -> (World, Vec<usize>) {
    let mut world = World::new(count);
    world.run_for(Duration::from_millis(400));
    let from = (1..=count).map(|n| world.at(n).log.len()).collect();
    (world, from)
}

#[test]
fn a_move_is_these_effects_on_both_sides() {
    let (mut world, from) = settled(3);
    world.target(&[0, 1, 2], 2);
    world.run_for(Duration::from_millis(500));
    #[rustfmt::skip]
    assert_eq!(kinds(&world, 2, from[1]), [
        "PreCopy",
        "Freeze", "Persist", "Seal to 1",
        "Fetch",
        "Install",
        "Accept to 1",
        "Persist", "Serve", "Announce", "Chosen to 1", "Chosen to 3",
    ]);
    #[rustfmt::skip]
    assert_eq!(kinds(&world, 1, from[0]), [
        "Freeze", "Persist", "Sealed to 2",
        "Persist", "Accepted to 2",
        "Persist", "Announce",
        "Drop",
    ]);
    assert_eq!(kinds(&world, 3, from[2]), ["Persist", "Announce"]);
}

#[test]
fn a_start_seals_installs_and_accepts_in_one_batch() {
    let me = node(1);
    let mut life = Ownership::new(me, Ownership::founding(me), Settings::default(), 1);
    assert_eq!(
        life.standing(slot(0)),
        Standing::Sealed,
        "O5: not from memory"
    );
    let effects = life.step(MonoTime::from_ns(1), Event::Start);
    let [
        Effect::Freeze {
            task: frozen,
            slots,
        },
        Effect::Persist {
            task: persisted,
            registers,
        },
    ] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    assert_eq!((slots.len(), registers.len()), (4096, 4096));
    assert!(
        registers.iter().all(|it| it.1.promised == epoch(2, 1)),
        "T1"
    );
    let all = slots
        .iter()
        .map(|it| (it, Position::default(), SlotTime::default()));
    let frozen = Event::Frozen {
        task: *frozen,
        slots: all.collect(),
    };
    assert_eq!(
        life.step(MonoTime::from_ns(2), frozen),
        [],
        "not before it is synced"
    );
    let effects = life.step(MonoTime::from_ns(3), Event::Persisted { task: *persisted });
    let [
        Effect::Install {
            task,
            epoch: at,
            slots,
        },
    ] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    assert_eq!((*at, slots.len()), (epoch(2, 1), 4096));
    let accepted = slots.iter().map(|it| it.register.accepted.unwrap());
    assert!(
        accepted
            .into_iter()
            .all(|it| (it.0, it.1.version) == (epoch(2, 1), 2))
    );
    assert_eq!(life.progress()[0].step, Stage::Install);
    let effects = life.step(MonoTime::from_ns(4), Event::Installed { task: *task });
    let [
        Effect::Persist { registers, .. },
        Effect::Serve { slots },
        Effect::Announce { records },
    ] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    assert_eq!([registers.len(), slots.len(), records.len()], [4096; 3]);
    assert!(life.is_settled());
    assert_eq!(life.owned(), usize::from(SLOT_COUNT));
}

#[test]
fn a_node_that_lost_state_starts_its_slots_empty_in_quarantine() {
    let me = node(1);
    let mut registers = Ownership::founding(me);
    registers[3].as_mut().unwrap().complete = false;
    let mut life = Ownership::new(me, registers, Settings::default(), 1);
    let effects = life.step(MonoTime::from_ns(1), Event::Start);
    let [
        Effect::Freeze {
            task: frozen,
            slots,
        },
        Effect::Persist {
            task: persisted,
            registers,
        },
    ] = effects.as_slice()
    else {
        panic!("{effects:?}");
    };
    assert!(!registers[3].1.complete, "R5: stored first of all");
    let all = slots
        .iter()
        .map(|it| (it, Position::default(), SlotTime::default()));
    let frozen = Event::Frozen {
        task: *frozen,
        slots: all.collect(),
    };
    life.step(MonoTime::from_ns(2), frozen);
    let effects = life.step(MonoTime::from_ns(3), Event::Persisted { task: *persisted });
    let [Effect::Install { slots, .. }] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    let lost = slots.iter().filter(|it| it.origin == Origin::Lost);
    assert_eq!(lost.map(|it| it.slot).collect::<Vec<_>>(), [slot(3)]);
}

#[test]
fn a_refused_slot_leaves_its_neighbours_alone() {
    let (mut world, from) = settled(3);
    world.target(&[0, 1, 2], 2);
    world.now = world.now.plus(Duration::from_millis(300));
    world.event(2, Event::Tick);
    // Node 3 seals slot 1 first, and is never heard of again.
    let message = Message::Seal {
        ballot: epoch(70, 3),
        slots: slots(&[1]),
    };
    world.event(
        1,
        Event::Received {
            from: node(3),
            message,
        },
    );
    world.run();
    assert_eq!(world.at(2).serves(), [0, 2]);
    assert!(kinds(&world, 2, from[1]).contains(&"Serve".to_owned()));
    world.run_for(Duration::from_secs(6));
    world.check_settled();
    assert!(
        world.at(2).life.record(slot(1)).unwrap().epoch > epoch(70, 3),
        "the counter is adopted"
    );
}

#[test]
fn a_found_configuration_is_finished_unchanged_and_left_to_its_owner() {
    let (mut world, from) = settled(2);
    world.target(&[0], 2);
    world.now = world.now.plus(Duration::from_millis(300));
    world.event(2, Event::Tick);
    let accepted = |world: &World| world.at(1).registers[0].unwrap().accepted;
    while accepted(&world).is_none() {
        assert!(world.micro_step());
    }
    let (ballot, proposed) = accepted(&world).unwrap();
    world.crash(2);
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.at(1).life.record(slot(0)), Some(proposed), "T4");
    assert!(world.at(1).life.register(slot(0)).promised > ballot);
    #[rustfmt::skip]
    assert_eq!(kinds(&world, 1, from[0]), [
        "Freeze", "Persist", "Sealed to 2",
        "Persist", "Accepted to 2",
        "Freeze", "Persist",
        "Persist",
        "Persist", "Announce",
        "Drop",
    ]);
    assert_eq!(world.at(1).serves(), [1, 2, 3, 4, 5]);
    world.start(2);
    world.run_for(Duration::from_secs(2));
    world.check_settled();
}

#[test]
fn an_owner_that_was_sealed_by_a_node_that_went_away_serves_again() {
    let (mut world, _) = settled(2);
    let message = Message::Seal {
        ballot: epoch(70, 2),
        slots: slots(&[0, 1]),
    };
    world.event(
        1,
        Event::Received {
            from: node(2),
            message,
        },
    );
    assert_eq!(world.at(1).serves(), [2, 3, 4, 5], "O4: at once");
    assert_eq!(world.at(1).life.standing(slot(0)), Standing::Sealed);
    world.run_for(Duration::from_millis(900));
    assert_eq!(
        world.at(1).serves(),
        [2, 3, 4, 5],
        "the other may be about to finish"
    );
    world.run_for(Duration::from_millis(600));
    world.check_settled();
    assert!(world.at(1).life.record(slot(0)).unwrap().epoch > epoch(70, 2));
}

#[test]
fn who_learns_that_it_is_the_owner_runs_the_procedure() {
    let (mut world, _) = settled(2);
    world.target(&[0], 2);
    world.now = world.now.plus(Duration::from_millis(300));
    world.event(2, Event::Tick);
    // The connection is lost just when node 1 has accepted; node 1 finishes, and node 2 hears of it.
    while world.at(1).registers[0].unwrap().accepted.is_none() {
        assert!(world.micro_step());
    }
    world.cut(2);
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.at(2).serves(), [0u16; 0]);
    world.connect_all();
    world.run_for(Duration::from_secs(1));
    world.check_settled();
}

#[test]
fn at_most_so_many_batches_of_so_many_slots_run_at_a_time() {
    let me = node(1);
    let mut life = Ownership::new(node(2), Ownership::founding(me), Settings::default(), 1);
    let targets = vec![crate::types::Replicas::one(node(2)); usize::from(SLOT_COUNT)];
    let reachable = vec![node(1), node(2)];
    let at = |ms: u64| MonoTime::from_ns(ms * 1_000_000);
    life.step(at(1), Event::Connected { peer: me });
    let effects = life.step(at(2), Event::Retargeted { targets, reachable });
    assert_eq!(effects, [Effect::WakeAt(at(302))]);
    assert_eq!(
        pre_copies(&life.step(at(301), Event::Tick)),
        [],
        "not settled"
    );
    assert_eq!(pre_copies(&life.step(at(302), Event::Tick)), [(me, 64)]);
    assert_eq!(pre_copies(&life.step(at(303), Event::Tick)), []);
    assert_eq!(life.progress().len(), 1);
    assert!(!life.is_settled());
}

fn pre_copies(effects: &[Effect]) -> Vec<(NodeId, usize)> {
    let pre_copy = |it: &Effect| match it {
        Effect::PreCopy { from, slots, .. } => Some((*from, slots.len())),
        _ => None,
    };
    effects.iter().filter_map(pre_copy).collect()
}

#[test]
fn what_was_not_asked_or_cannot_be_is_refused_and_counted() {
    let (mut world, _) = settled(2);
    let sealed = |ballot| Message::Sealed {
        ballot,
        slots: Vec::new(),
        refused: Vec::new(),
    };
    let seal = |ballot| Message::Seal {
        ballot,
        slots: slots(&[0]),
    };
    for (from, message, refusal) in [
        (2, sealed(epoch(90, 1)), Refusal::Unasked),
        (2, sealed(epoch(90, 2)), Refusal::ForeignBallot),
        (2, seal(epoch(90, 3)), Refusal::ForeignBallot),
        (2, seal(epoch(u64::MAX, 2)), Refusal::Counter),
        (1, seal(epoch(90, 1)), Refusal::OwnName),
    ] {
        let before = world.at(1).life.refusals().count(refusal);
        let name = format!("{message:?}");
        world.event(
            1,
            Event::Received {
                from: node(from),
                message,
            },
        );
        assert_eq!(
            world.at(1).life.refusals().count(refusal),
            before + 1,
            "{name}"
        );
    }
    assert_eq!(world.at(1).serves(), [0, 1, 2, 3, 4, 5]);
}
