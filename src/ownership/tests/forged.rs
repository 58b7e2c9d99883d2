//! What replicas tell each other, forged: it is refused, counted where it cannot be honest, and changes
//! nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::Refusal;
use super::super::event::{Effect, Event};
use super::super::message::{Becoming, Message};
use super::super::record::Register;
use super::replicated::{ALL, at_rest};
use super::world::{World, epoch, node, slot, slots};
use crate::types::{Epoch, NodeId, Position, Slot, SlotSet, SlotTime};

/// A node's registers, what it serves, and what it follows.
type Stands = (Vec<Register>, Vec<u16>, BTreeMap<Slot, Epoch>);

fn stands(world: &World, n: u128) -> Stands {
    let it = world.at(n);
    let registers = Slot::all().map(|slot| it.life.register(slot));
    (registers.collect(), it.serves(), it.following.clone())
}

/// Tells node `to` something; what it wants done about that.
fn tell(world: &mut World, (from, to): (u128, u128), message: Message) -> Vec<Effect> {
    let begun = world.at(to).log.len();
    let from = NodeId(from);
    world.event(to, Event::Received { from, message });
    let effects = world.at(to).log[begun..].iter();
    let effects = effects.filter(|it| !matches!(it, Effect::WakeAt(_)));
    effects.cloned().collect()
}

/// Each of these is counted as its kind, and nothing follows from it.
fn refused(world: &mut World, cases: Vec<(u128, u128, Message, Refusal)>) {
    for (from, to, message, refusal) in cases {
        let name = format!("{message:?} from {from} to {to}");
        let before = stands(world, to);
        let counted = world.at(to).life.refusals().count(refusal);
        assert_eq!(tell(world, (from, to), message), [], "{name}");
        let now = world.at(to).life.refusals().count(refusal);
        assert_eq!(now, counted + 1, "{name}: {refusal:?}");
        assert!(stands(world, to) == before, "{name}");
    }
}

fn reign(world: &World) -> Epoch {
    world.at(1).life.record(slot(0)).unwrap().epoch
}

fn become_at(ballot: Epoch, of: u16, at: Position) -> Message {
    let clock = SlotTime::ZERO;
    let slot = slot(of);
    let slots = vec![Becoming { slot, at, clock }];
    Message::Become { ballot, slots }
}

fn became(ballot: Epoch, of: &[u16]) -> Message {
    Message::Became {
        ballot,
        slots: slots(of),
        refused: SlotSet::EMPTY,
    }
}

#[test]
fn nobody_becomes_what_another_has_not_asked_for_itself() {
    let mut world = at_rest(4);
    let at = world.at(2).states[&slot(0)].at;
    let cases = vec![
        (1, 2, become_at(epoch(90, 3), 0, at), Refusal::ForeignBallot),
        (3, 2, become_at(epoch(u64::MAX, 3), 0, at), Refusal::Counter),
        (2, 2, become_at(epoch(90, 2), 0, at), Refusal::OwnName),
    ];
    refused(&mut world, cases);
    world.check_settled();
}

#[test]
fn a_state_that_cannot_become_is_told_so_and_stays_as_it_is() {
    let mut world = at_rest(4);
    let at = world.at(2).states[&slot(0)].at;
    let reign = reign(&world);
    let above = epoch(reign.counter + 9, 3);
    let beyond = Position { epoch: above, n: 0 };
    for (name, ballot, of, at) in [
        ("below what is promised", epoch(1, 3), 0, at),
        ("never held here", above, 100, at),
        ("made of what comes later", above, 0, beyond),
    ] {
        let before = stands(&world, 2);
        let answer = Effect::Send {
            to: node(3),
            message: Message::Became {
                ballot,
                slots: SlotSet::EMPTY,
                refused: slots(&[of]),
            },
        };
        let effects = tell(&mut world, (3, 2), become_at(ballot, of, at));
        assert_eq!(effects, [answer], "{name}");
        assert!(stands(&world, 2) == before, "{name}");
    }
    world.run_for(Duration::from_secs(1));
    world.check_settled();
    assert_eq!(self::reign(&world), reign);
}

#[test]
fn who_was_not_told_to_become_has_not_become() {
    let mut world = at_rest(4);
    let reign = reign(&world);
    let cases = vec![
        (2, 1, became(epoch(90, 2), &[0]), Refusal::ForeignBallot),
        (2, 1, became(epoch(90, 1), &[0]), Refusal::Unasked),
        (2, 1, became(epoch(1, 1), &[0]), Refusal::Unasked),
        // Of its reign, but it does not serve the slot.
        (2, 1, became(reign, &[100]), Refusal::Unasked),
        (1, 2, became(epoch(90, 2), &[0]), Refusal::Unasked),
        (1, 1, became(reign, &[0]), Refusal::OwnName),
    ];
    refused(&mut world, cases);
    world.check_settled();
}

#[test]
fn no_majority_comes_of_those_who_were_not_told() {
    let mut world = at_rest(4);
    world.target_all(&ALL, &[1, 2, 4]);
    // Up to where the owner has installed, and waits for the new majority.
    let told = |world: &World| {
        let told = |it: &Effect| {
            let Effect::Send { message, .. } = it else {
                return None;
            };
            let Message::Become { ballot, slots } = message else {
                return None;
            };
            Some((*ballot, slots.first()?.slot))
        };
        world.at(1).log.iter().rev().find_map(told)
    };
    let last = told(&world);
    let mut now = last;
    for _ in 0..10_000 {
        now = told(&world);
        if now != last {
            break;
        }
        if !world.micro_step() {
            world.tick(1);
        }
    }
    let (ballot, slot) = now.filter(|_| now != last).unwrap();
    // Node 3 is to leave: it is no part of the new set, and was not told.
    let cases = vec![(3, 1, became(ballot, &[slot.number()]), Refusal::Unasked)];
    refused(&mut world, cases);
    world.run_for(Duration::from_secs(8));
    world.check_settled();
}

#[test]
fn hearsay_that_nobody_asked_for_is_left_aside() {
    let mut world = at_rest(4);
    let heard = |owner, lately| Message::Heard {
        owner: node(owner),
        lately,
    };
    let cases = [false, true].map(|lately| {
        vec![
            // The owner is well.
            (3, 2, heard(1, lately), Refusal::Unasked),
            // No owner of anything here, and nobody at all.
            (3, 2, heard(4, lately), Refusal::Unasked),
            (3, 2, heard(99, lately), Refusal::Unasked),
            (2, 2, heard(1, lately), Refusal::OwnName),
        ]
    });
    for cases in cases {
        refused(&mut world, cases);
    }
    world.check_settled();
}

#[test]
fn hearsay_of_those_who_were_not_asked_keeps_nobody_from_taking_over() {
    let mut world = at_rest(4);
    world.crash(1);
    world.cut_between(2, 4);
    for _ in 0..40 {
        world.tick(1);
        world.run();
        let lately = Message::Heard {
            owner: node(1),
            lately: true,
        };
        // Node 4 has no connection, and so was not asked.
        if world.at(2).serves().is_empty() {
            let cases = vec![(4, 2, lately, Refusal::Unasked)];
            refused(&mut world, cases);
        }
    }
    assert_eq!(world.at(2).serves(), ALL);
}
