//! One slot of a table: frozen, dropped, in quarantine, copied.

use super::cluster::slots;
use super::*;
use crate::limiter::codec::{decode_row, encode_row};
use crate::limiter::installed::Installed;
use crate::limiter::key_state::Marks;
use crate::limiter::policy::WINDOW_MS_MAX;
use crate::limiter::transfer::{Staging, StagingError};

fn alone() -> (Table, Limits) {
    let capacity = Capacity {
        keys_max: 100,
        bytes_max: u64::MAX,
        evicts: true,
    };
    (
        open_table(capacity, 1, 1),
        Limits::from(Limit::new(5, 1000).unwrap()),
    )
}

fn asked<'a>(table: &Table, limits: &'a Limits, key: u8) -> Asked<'a> {
    Asked {
        id: state_id(key),
        limits,
        shape: table.shapes.intern(Shape::of(limits)).unwrap(),
        cost: 1,
        journaled: true,
        absent_at: None,
    }
}

#[test]
fn a_frozen_slot_answers_nothing_and_its_neighbours_go_on() {
    let (table, limits) = alone();
    let [slot, other] = slots();
    let now = SlotTime::from_ms(50);
    table.freeze(&[slot].into_iter().collect(), now);
    assert!(!table.is_served(slot) && table.is_served(other));
    let asked_of = |key| asked(&table, &limits, key);
    assert_eq!(table.check(now, &asked_of(2)), Outcome::NotServed);
    assert_eq!(table.peek(now, &asked_of(2)), Outcome::NotServed);
    let reserve = Reserve {
        id: ReservationId(1),
        ttl_ms: 5,
    };
    assert_eq!(
        table.reserve(now, &asked_of(2), reserve),
        Ok(Outcome::NotServed)
    );
    assert_eq!(
        table.change(now, &asked_of(2), Change::Reset),
        Err(ChangeError::NotServed)
    );
    assert_eq!(
        table.inspect(now, &asked_of(2)),
        Err(ChangeError::NotServed)
    );
    let later = now.plus_ms(1000);
    assert_eq!(table.slot_now(slot, later), now, "its clock stands");
    assert!(matches!(
        table.check(later, &asked_of(1)),
        Outcome::Decided { .. }
    ));
    let at = table.position(slot).epoch;
    assert!(table.serve(slot, at).is_err(), "a sealed reign is over");
}

#[test]
fn a_dropped_slot_leaves_nothing_behind() {
    let (table, limits) = alone();
    let now = SlotTime::from_ms(50);
    for key in 0..20 {
        table.check(now, &asked(&table, &limits, key));
    }
    table.quarantine(state_id(22), now);
    let kept: Vec<StateId> = (0..20).filter(|key| key % 2 == 1).map(state_id).collect();
    table.drop_slot(slots()[0]);
    let stripe = table.lock(state_id(0));
    let mut ids: Vec<StateId> = stripe.records.iter().map(|record| record.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, kept);
    assert!(stripe.quarantine.is_empty());
    drop(stripe);
    assert_eq!(table.counters().keys, 10);
    let mut record = Vec::new();
    table.take_commit(now, &mut record);
    let mut committed = Vec::new();
    crate::limiter::commit_record::read(&record, |entry| committed.push(entry.id)).unwrap();
    assert_eq!(committed, kept);
    assert_eq!(table.position(slots()[0]), Position::default());
}

#[test]
fn a_quarantine_is_forgotten_only_when_no_window_can_be_left() {
    let (table, _) = alone();
    let began = SlotTime::from_ms(400);
    table.quarantine_slot(slots()[0], began);
    table.quarantine(state_id(1), began);
    let hour_ms = 3_600_000;
    let hour_later = began.plus_ms(hour_ms);
    assert_eq!(table.quarantined(hour_later, hour_ms), 2);
    assert_eq!(table.quarantined(hour_later.plus_ms(1), hour_ms), 0);
    table.end_quarantines(began.plus_ms(WINDOW_MS_MAX));
    assert_eq!(table.quarantined(hour_later, WINDOW_MS_MAX), 2);
    table.end_quarantines(began.plus_ms(WINDOW_MS_MAX).plus_ms(1));
    assert!(table.lock(state_id(0)).quarantine.is_empty());
}

#[test]
fn what_is_known_of_a_damaged_key_is_never_written_over_its_damage() {
    let (table, limits) = alone();
    let now = SlotTime::from_ms(400);
    table.check(now, &asked(&table, &limits, 4));
    table.quarantine(state_id(4), now);
    let (mut cursor, mut rows) = (UnsavedCursor::default(), Vec::new());
    while table.unsaved(&mut cursor, &mut rows) {}
    assert_eq!(rows, []);
    assert_eq!(table.counters().keys, 0);
}

#[test]
fn quarantine_moves_with_the_slot_and_ends_by_its_clock() {
    let (table, limits) = alone();
    let [slot, _] = slots();
    let now = SlotTime::from_ms(400);
    for key in [2, 4] {
        table.check(now, &asked(&table, &limits, key));
    }
    table.quarantine(state_id(4), now);
    let mut export = table.begin_export([slot].into_iter().collect());
    let (mut rows, disk) = (Vec::new(), Disk::default());
    while table.export_copy(&mut export, &disk, &mut rows).unwrap() {}
    table.freeze(export.slots(), now);
    while table.export_rest(&mut export, &disk, &mut rows).unwrap() {}
    let (_, digest, clock) = export.digests().unwrap()[0];
    assert_eq!((digest.count, clock), (2, now));
    let mut staging = Staging::new(slot, 1 << 20);
    for (id, row) in rows {
        staging.take(id, row).unwrap();
    }
    let rows = staging.finish(clock, digest).unwrap();

    let (other, _) = alone();
    let (epoch, install_at) = (epoch(9), SlotTime::from_ms(90_000));
    let installed = Installed::new(start_of(epoch), start_of(epoch), clock, install_at);
    other.install(other.prepare(slot, &rows).unwrap(), &installed);
    other.serve(slot, epoch).unwrap();
    let check = |key, after_ms| {
        let now = install_at.plus_ms(after_ms);
        other.check(now, &asked(&other, &limits, key))
    };
    let granted = |outcome| matches!(outcome, Outcome::Decided { verdict, .. } if verdict.granted);
    assert!(granted(check(2, 0)));
    assert_eq!(
        check(4, 1),
        Outcome::Quarantined {
            retry_after_ms: 1001
        }
    );
    assert!(granted(check(4, 1003)));
}

#[test]
fn a_slot_whose_state_is_lost_denies_all_its_keys_for_one_window() {
    let (table, limits) = alone();
    let [slot, _] = slots();
    let (epoch, now) = (epoch(9), SlotTime::from_ms(400));
    let id = StateId::first_of(slot);
    let row = crate::limiter::codec::quarantine_row(id, SlotTime::ZERO);
    assert!(decode_row(id, &row).is_ok());
    let installed = Installed::new(start_of(epoch), start_of(epoch), SlotTime::ZERO, now);
    table.install(table.prepare(slot, &[(id, row)]).unwrap(), &installed);
    table.serve(slot, epoch).unwrap();
    let check = |key, at_ms| {
        let at = SlotTime::from_ms(at_ms);
        table.check(at, &asked(&table, &limits, key))
    };
    for key in [2, 4] {
        let outcome = check(key, 1401);
        assert_eq!(outcome, Outcome::Quarantined { retry_after_ms: 1 });
    }
    assert!(matches!(check(1, 1401), Outcome::Decided { .. }));
    assert!(matches!(check(2, 1402), Outcome::Decided { .. }));
}

#[test]
fn a_lost_or_altered_row_is_noticed_by_the_receiver() {
    let (table, limits) = alone();
    let [slot, _] = slots();
    let now = SlotTime::from_ms(400);
    for key in [2, 4, 6] {
        table.check(now, &asked(&table, &limits, key));
    }
    table.freeze(&[slot].into_iter().collect(), now);
    let mut export = table.begin_export([slot].into_iter().collect());
    let (mut rows, disk) = (Vec::new(), Disk::default());
    while table.export_rest(&mut export, &disk, &mut rows).unwrap() {}
    let (_, digest, clock) = export.digests().unwrap()[0];
    for skipped in 0..=rows.len() {
        let mut staging = Staging::new(slot, 1 << 20);
        for (n, (id, row)) in rows.iter().enumerate() {
            if n != skipped {
                staging.take(*id, row.clone()).unwrap();
            }
        }
        let finished = staging.finish(clock, digest);
        let whole = skipped == rows.len();
        assert_eq!(finished.is_ok(), whole);
        assert!(whole || matches!(finished, Err(StagingError::Mismatch { .. })));
    }
}

#[test]
fn a_change_takes_the_mark_of_a_copy_off() {
    let (table, limits) = alone();
    let now = SlotTime::from_ms(400);
    table.check(now, &asked(&table, &limits, 2));
    let mut export = table.begin_export([slots()[0]].into_iter().collect());
    let disk = Disk::default();
    while table
        .export_copy(&mut export, &disk, &mut Vec::new())
        .unwrap()
    {}
    let is_copied = || {
        let stripe = table.lock(state_id(2));
        let state = stripe.records.get(state_id(2)).unwrap();
        state.marks.has(Marks::COPIED)
    };
    assert!(is_copied());
    table.peek(now, &asked(&table, &limits, 2));
    assert!(is_copied());
    table.check(now, &asked(&table, &limits, 2));
    assert!(!is_copied());
}

#[test]
fn a_row_that_was_read_before_its_slot_was_replaced_is_not_taken_in() {
    let (table, limits) = alone();
    let (slot, now) = (slots()[0], SlotTime::from_ms(400));
    let mut full = KeyState::new();
    full.check(&limits, 5, now).unwrap();
    let shape = Shape::of(&limits);
    let row = encode_row(state_id(2), &full, &shape, &Reservations::default());
    table.note_evicted(slot, now.plus_ms(9000));
    let cold = table.check(now, &asked(&table, &limits, 2));
    let Outcome::Cold { evictions } = cold else {
        panic!("{cold:?}")
    };
    let installed = Installed::new(start_of(epoch(9)), start_of(epoch(9)), now, now);
    table.install(table.prepare(slot, &[]).unwrap(), &installed);
    table.serve(slot, epoch(9)).unwrap();
    let thawed = table.thaw(state_id(2), Some(&row), evictions, now);
    assert_eq!(thawed, Ok(Thawed::Here));
    let verdict = table.check(now, &asked(&table, &limits, 2));
    assert!(matches!(verdict, Outcome::Decided { verdict, .. } if verdict.remaining == 4));
}
