//! A slot that follows its owner: whatever way the owner's commits come, it is as the owner's or
//! refuses them.

use std::collections::BTreeSet;

use super::following::{
    OWNER, Owner, REPLICA, Side, apply, assert_same, both, group_of, install, replica_of,
};
use super::*;
use crate::limiter::commit_record::cut;
use crate::limiter::table::{Applied, LoadError, ServedCopy, StoredRows};
use crate::limiter::transfer::Row;

proptest! {
    #[test]
    fn however_groups_come_it_is_as_the_owner_or_refuses(
        steps in prop::collection::vec(step(), 1..150),
        order in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8), 0..60),
        keys_max in prop::sample::select(vec![5u64, 100]),
    ) {
        let mut owner = Owner::new(100);
        let mut replica = replica_of(&owner, keys_max);
        for step in &steps {
            owner.step(step);
        }
        owner.commit();
        for (which, then) in order {
            if owner.log.is_empty() {
                break;
            }
            let (slot, raw) = which.get(&owner.log);
            let before = replica.table.position(*slot);
            let at = group_of(raw).at;
            let expected = if at.n <= before.n {
                Applied::Known
            } else if at.n == before.n + 1 {
                Applied::Done
            } else {
                Applied::Gap { at: before }
            };
            prop_assert_eq!(apply(&mut replica, raw), expected);
            let after = if expected == Applied::Done { at } else { before };
            prop_assert_eq!(replica.table.position(*slot), after);
            match then {
                0 => replica.checkpoint(),
                1 => replica.table.make_room(SlotTime::ZERO),
                2 => drop(replica.table.sweep(SlotTime::ZERO)),
                _ => {}
            }
        }
        for (_, raw) in &owner.log {
            apply(&mut replica, raw);
        }
        assert_same(&owner, &replica, &both().into_iter().collect());
    }

    #[test]
    fn a_copy_at_any_moments_and_the_commits_since_are_what_the_owner_has(
        before in prop::collection::vec(step(), 0..80),
        during in prop::collection::vec((step(), any::<bool>()), 0..80),
        keys_max in prop::sample::select(vec![5u64, 100]),
    ) {
        let mut owner = Owner::new(keys_max);
        let mut replica = Side::new(REPLICA, &owner.limits, 100);
        for step in &before {
            owner.step(step);
        }
        // As an owner does it: what is committed from here on goes to the replica too.
        owner.commit();
        owner.log.clear();
        let n0: Vec<_> = both().into_iter().map(|slot| (slot, owner.at(slot))).collect();
        let mut copy = ServedCopy::new(both().into_iter().collect());
        let mut copied = BTreeMap::new();
        let mut during = during.into_iter();
        loop {
            let mut rows = Vec::new();
            let more = owner.side.table.copy_served(&mut copy, &owner.side.disk, &mut rows).unwrap();
            copied.extend(rows);
            if !more {
                break;
            }
            for (step, then) in during.by_ref() {
                owner.step(&step);
                if then {
                    break;
                }
            }
        }
        let clock = owner.now;
        during.for_each(|(step, _)| owner.step(&step));
        owner.commit();
        for (slot, at) in n0 {
            let rows: Vec<Row> = copied.iter().map(|(id, row)| (*id, row.clone())).collect();
            replica.disk.rows.extend(rows.iter().filter(|it| it.0.slot() == slot).cloned());
            install(&replica, slot, at, &rows, clock);
        }
        let log = std::mem::take(&mut owner.log);
        for (_, raw) in &log {
            prop_assert_eq!(apply(&mut replica, raw), Applied::Done);
        }
        assert_same(&owner, &replica, &both().into_iter().collect());
    }

    #[test]
    fn bytes_that_nobody_wrote_change_nothing_that_is_told(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
    ) {
        let mut owner = Owner::new(100);
        let replica = replica_of(&owner, 100);
        owner.step(&Step::Check { key: 2, cost: 3 });
        owner.step(&Step::Reserve { key: 4, cost: 3 });
        owner.commit();
        let mut raw = owner.log[0].1.clone();
        let from = at.index(raw.len());
        raw.truncate(from);
        raw.extend(&bytes);
        for group in cut(OWNER, &raw).flatten() {
            let before = replica.table.position(group.slot);
            let applied = replica.table.apply(&group, &replica.disk);
            let after = replica.table.position(group.slot);
            prop_assert_eq!(after != before, applied == Ok(Applied::Done));
        }
    }
}

#[test]
fn a_slot_that_is_served_frozen_or_of_another_reign_takes_nothing_in() {
    let mut owner = Owner::new(100);
    let mut replica = replica_of(&owner, 100);
    let slot = both()[0];
    let at = owner.at(slot);
    owner.step(&Step::Check { key: 2, cost: 3 });
    owner.commit();
    let raw = owner.log[0].1.clone();
    let closed = Applied::Closed { at };

    replica
        .table
        .freeze(&[slot].into_iter().collect(), SlotTime::ZERO);
    assert!(!replica.table.is_followed(slot));
    assert_eq!(apply(&mut replica, &raw), closed, "after a promise");
    replica.table.follow(slot, at.epoch).unwrap();
    assert!(replica.table.is_followed(slot));
    let other = cut(NodeId(7), &raw).next().unwrap().unwrap();
    assert_eq!(replica.table.apply(&other, &replica.disk), Ok(closed));
    assert!(replica.table.follow(slot, epoch(2)).is_err());
    assert!(
        replica.table.serve(slot, at.epoch).is_err(),
        "it was followed"
    );
    replica.table.drop_slot(slot);
    let at = Position::default();
    assert_eq!(apply(&mut replica, &raw), Applied::Closed { at });
    assert!(replica.table.follow(slot, epoch(1)).is_err());

    let at = owner.at(slot);
    assert!(owner.side.table.follow(slot, at.epoch).is_err(), "its own");
    assert_eq!(apply(&mut owner.side, &raw), Applied::Closed { at });
    assert!(owner.side.table.is_served(slot));
}

#[test]
fn the_clock_of_a_followed_slot_is_what_was_told_of_its_reign() {
    let mut owner = Owner::new(100);
    let replica = replica_of(&owner, 100);
    let (slot, now) = (both()[0], owner.now);
    let shown = || replica.table.slot_now(slot, SlotTime::from_ms(1_000_000));
    let published = || replica.table.clocks.reached(slot);
    assert_eq!((shown(), published()), (now, Some(now)), "it does not run");
    replica.table.note_clock(slot, epoch(2), now.plus_ms(70));
    assert_eq!(shown(), now, "another reign's");
    replica.table.note_clock(slot, epoch(1), now.plus_ms(50));
    replica.table.note_clock(slot, epoch(1), now.plus_ms(20));
    let told = now.plus_ms(50);
    assert_eq!((shown(), published()), (told, Some(told)));
    owner.step(&Step::Wait(80));
    owner.step(&Step::Check { key: 2, cost: 3 });
    owner.commit();
    let applied = replica
        .table
        .apply(&group_of(&owner.log[0].1), &replica.disk);
    assert_eq!(applied, Ok(Applied::Done));
    let told = now.plus_ms(79);
    assert_eq!((shown(), published()), (told, Some(told)), "as the owner's");
    assert_eq!(owner.side.table.slot_now(slot, owner.now), told);
    replica
        .table
        .freeze(&[slot].into_iter().collect(), SlotTime::from_ms(1_000_000));
    assert_eq!((shown(), published()), (told, None));
    replica.table.note_clock(slot, epoch(1), now.plus_ms(900));
    assert_eq!(shown(), told, "it is sealed");
}

#[test]
fn what_has_expired_by_the_owners_clock_is_forgotten_and_old_buckets_go() {
    let mut owner = Owner::new(100);
    let mut replica = replica_of(&owner, 100);
    for _ in 0..400 {
        owner.step(&Step::Check { key: 2, cost: 1 });
        owner.step(&Step::Wait(40));
        owner.commit();
    }
    for (_, raw) in std::mem::take(&mut owner.log) {
        assert_eq!(apply(&mut replica, &raw), Applied::Done);
        let stripe = replica.table.lock(state_id(2));
        let state = stripe.records.get(state_id(2)).unwrap();
        assert!(state.buckets(0).count() <= 62);
    }
    replica.checkpoint();
    assert_eq!(replica.table.sweep(SlotTime::ZERO), 0);
    replica
        .table
        .note_clock(both()[0], epoch(1), owner.now.plus_ms(2000));
    assert_eq!(replica.table.sweep(SlotTime::ZERO), 1);
    assert_eq!(replica.table.counters().keys, 0);
}

#[test]
fn a_state_becomes_that_of_a_new_reign_only_where_it_is_exactly_there_and_written() {
    let mut owner = Owner::new(100);
    let replica = replica_of(&owner, 100);
    let slot = both()[0];
    let table = &replica.table;
    owner.step(&Step::Check { key: 2, cost: 3 });
    owner.commit();
    let before = table.position(slot);
    table
        .apply(&group_of(&owner.log[0].1), &replica.disk)
        .unwrap();
    let at = owner.at(slot);
    let (next, clock) = (epoch(9), SlotTime::from_ms(123));
    let mark = |at| table.mark_if_at((slot, at, clock), next, SlotTime::from_ms(77), u64::MAX);
    assert_eq!(mark(before), None);
    assert_eq!(mark(at), None, "its last commit may be lost by a crash");
    assert!(table.is_followed(slot));
    assert_eq!(table.positions(u64::MAX)[0].1, before);
    table.journaled(slot, at);
    assert_eq!(table.positions(u64::MAX)[0].1, at);
    let installed = mark(at).unwrap();
    assert_eq!((installed.at, installed.clock), (start_of(next), clock));
    assert_eq!(installed.replay_after, before, "the journal has the rest");
    assert!(!table.is_followed(slot), "nothing comes in between");
    table.install_own(slot, &installed);
    assert_eq!(table.slot_now(slot, SlotTime::from_ms(9999)), clock);
    table.follow(slot, next).unwrap();
    assert_eq!(
        replica.seen(state_id(2), owner.now),
        owner.side.seen(state_id(2), owner.now)
    );
}

#[test]
fn a_full_table_refuses_more_than_an_eighth_above_its_capacity() {
    let mut owner = Owner::new(1000);
    let replica = replica_of(&owner, 16);
    for key in 0..40 {
        owner.step(&Step::Check {
            key: key * 2,
            cost: 1,
        });
        owner.commit();
    }
    let applied = owner.log.iter().map(|(_, raw)| {
        let applied = replica.table.apply(&group_of(raw), &replica.disk);
        applied.unwrap()
    });
    let applied: BTreeSet<_> = applied.map(|it| format!("{it:?}")).collect();
    assert!(applied.contains("Full"), "{applied:?}");
    assert_eq!(replica.table.counters().keys, 32);
}

/// A store that cannot read.
struct Broken;

impl StoredRows for Broken {
    type Error = ();

    fn row(&self, _: StateId) -> Result<Option<Vec<u8>>, ()> {
        Err(())
    }

    fn rows(&self, _: Slot, _: Option<StateId>) -> Result<Vec<Row>, ()> {
        Err(())
    }
}

#[test]
fn a_state_whose_row_cannot_be_read_is_not_taken_for_one_that_counts_nothing() {
    let mut owner = Owner::new(100);
    let replica = replica_of(&owner, 100);
    let slot = both()[0];
    owner.step(&Step::Check { key: 2, cost: 3 });
    owner.commit();
    replica.table.note_evicted(slot, owner.now.plus_ms(900));
    let group = group_of(&owner.log[0].1);
    let before = replica.table.position(slot);
    let refused = replica.table.apply(&group, &Broken);
    assert_eq!(refused, Err(LoadError::Unreadable(state_id(2))));
    assert_eq!(replica.table.position(slot), before);
    assert_eq!(replica.table.counters().keys, 0);
}

#[test]
fn a_followed_slot_is_not_handed_over_as_if_it_stood_still() {
    let owner = Owner::new(100);
    let replica = replica_of(&owner, 100);
    let (slot, disk) = (both()[0], Disk::default());
    let mut export = replica.table.begin_export([slot].into_iter().collect());
    let rest = replica
        .table
        .export_rest(&mut export, &disk, &mut Vec::new());
    assert!(matches!(rest, Err(ExportError::StillServed(of)) if of == slot));
}
