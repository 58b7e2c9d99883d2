//! What a follower applies, keeps, refuses, and tells.

use super::world::{ME, epoch, set, slot};
use crate::replication::follower::Gap;
use crate::replication::{Follower, Found, Taken};
use crate::types::{Epoch, NodeId, Position, SlotSet, SlotTime};

fn at(counter: u64, n: u64) -> Position {
    Position {
        epoch: epoch(counter),
        n,
    }
}

fn take(follower: &mut Follower, counter: u64, n: u64) -> Taken {
    follower.take(slot(0), at(counter, n), SlotTime::ZERO, b"group")
}

fn kept(follower: &mut Follower, counter: u64, n: u64) -> Result<Vec<u64>, Gap> {
    let groups = follower.follow(slot(0), at(counter, n))?;
    Ok(groups.iter().map(|group| group.at.n).collect())
}

fn follower() -> Follower {
    Follower::new(ME, SlotSet::EMPTY)
}

#[test]
fn what_came_before_the_state_is_handed_back_in_order_and_what_comes_next_is_applied() {
    let mut follower = follower();
    for n in [4, 5, 5, 6, 7] {
        assert_eq!(take(&mut follower, 1, n), Taken::Kept);
    }
    assert_eq!(follower.behind(), set(&[slot(0)]));
    assert_eq!(follower.behind(), SlotSet::EMPTY);
    assert!(follower.kept_bytes() > 0);
    assert_eq!(kept(&mut follower, 1, 5), Ok(vec![6, 7]));
    assert_eq!(take(&mut follower, 1, 8), Taken::Apply);
    assert!(follower.follows(slot(0), epoch(1)) && follower.kept_bytes() == 0);
    assert_eq!(follower.take_refused(), SlotSet::EMPTY);
}

#[test]
fn a_gap_before_what_was_kept_is_said_and_told_again() {
    let mut follower = follower();
    take(&mut follower, 1, 7);
    follower.behind();
    let gap = Gap {
        slot: slot(0),
        at: at(1, 5),
    };
    assert_eq!(kept(&mut follower, 1, 5), Err(gap));
    assert_eq!(follower.behind(), set(&[slot(0)]));
    // What comes meanwhile goes on from there.
    assert_eq!(take(&mut follower, 1, 8), Taken::Kept);
    assert_eq!(kept(&mut follower, 1, 7), Ok(vec![8]));
}

#[test]
fn a_gap_in_what_arrives_is_refused_until_the_slot_catches_up_anew() {
    let mut follower = follower();
    take(&mut follower, 1, 1);
    assert_eq!(take(&mut follower, 1, 3), Taken::Refused);
    assert_eq!(take(&mut follower, 1, 4), Taken::Refused);
    assert!(kept(&mut follower, 1, 3).is_err());
    follower.restart(&set(&[slot(0)]));
    assert_eq!(take(&mut follower, 1, 5), Taken::Kept);
    assert_eq!(kept(&mut follower, 1, 4), Ok(vec![5]));
}

#[test]
fn only_the_newest_reign_is_kept() {
    let mut follower = follower();
    take(&mut follower, 1, 9);
    assert_eq!(take(&mut follower, 2, 1), Taken::Kept);
    assert_eq!(take(&mut follower, 1, 10), Taken::Refused);
    assert_eq!(take(&mut follower, 2, 2), Taken::Kept);
    assert_eq!(kept(&mut follower, 2, 0), Ok(vec![1, 2]));
    // A later reign ends this one.
    assert_eq!(take(&mut follower, 3, 1), Taken::Kept);
    assert_eq!(follower.behind(), set(&[slot(0)]));
    assert_eq!(take(&mut follower, 2, 3), Taken::Refused);
    assert!(kept(&mut follower, 2, 2).is_err());
}

#[test]
fn the_reign_of_another_node_is_refused() {
    let mut follower = follower();
    let epoch = Epoch {
        counter: 1,
        node: NodeId(7),
    };
    let at = Position { epoch, n: 1 };
    let taken = follower.take(slot(0), at, SlotTime::ZERO, b"group");
    assert_eq!(taken, Taken::Refused);
    assert_eq!(follower.take_refused(), set(&[slot(0)]));
}

#[test]
fn what_the_table_cannot_apply_is_refused_told_and_kept_where_it_may_be_of_use() {
    for (found, is_kept) in [(Found::Gap, true), (Found::Closed, false)] {
        let mut follower = follower();
        assert_eq!(kept(&mut follower, 1, 0), Ok(vec![]));
        assert_eq!(take(&mut follower, 1, 1), Taken::Apply);
        let group = (at(1, 1), SlotTime::ZERO, &b"group"[..]);
        assert!(follower.applied(slot(0), group, Found::Done));
        let group = (at(1, 4), SlotTime::ZERO, &b"group"[..]);
        assert!(!follower.applied(slot(0), group, found));
        assert_eq!(follower.take_refused(), set(&[slot(0)]));
        assert_eq!(follower.behind(), set(&[slot(0)]));
        assert_eq!(follower.kept_bytes() > 0, is_kept);
    }
}

#[test]
fn what_is_kept_is_bounded_and_a_slot_without_room_catches_up_anew() {
    let mut follower = follower();
    let megabyte = vec![0; 1 << 20];
    let mut n = 0;
    let full = loop {
        n += 1;
        match follower.take(slot(0), at(1, n), SlotTime::ZERO, &megabyte) {
            Taken::Kept => assert!(n < 16),
            full @ (Taken::Apply | Taken::Refused) => break full,
        }
    };
    assert_eq!((full, n, follower.kept_bytes()), (Taken::Refused, 16, 0));
    assert!(kept(&mut follower, 1, 3).is_err());
    follower.restart(&set(&[slot(0)]));
    assert_eq!(take(&mut follower, 1, 17), Taken::Kept);
}

#[test]
fn a_new_link_has_all_slots_behind() {
    let mut follower = Follower::new(ME, set(&[slot(0), slot(1)]));
    assert_eq!(follower.behind(), set(&[slot(0), slot(1)]));
    assert_eq!(take(&mut follower, 1, 1), Taken::Kept);
}

#[test]
fn a_state_that_lacks_what_came_and_was_given_up_never_follows() {
    let all = set(&[slot(0)]);
    let given_up: [fn(&mut Follower, &SlotSet); 3] = [
        |follower, slots| follower.close(slots),
        |follower, slots| follower.restart(slots),
        |follower, _| {
            // The slot was sealed just before.
            assert_eq!(kept(follower, 1, 1), Ok(vec![]));
            assert_eq!(take(follower, 1, 2), Taken::Apply);
            let group = (at(1, 2), SlotTime::ZERO, &b"group"[..]);
            assert!(!follower.applied(slot(0), group, Found::Closed));
        },
    ];
    for give_up in given_up {
        let mut follower = follower();
        follower.close(&all);
        assert_eq!(take(&mut follower, 1, 1), Taken::Kept);
        give_up(&mut follower, &all);
        assert!(kept(&mut follower, 1, 0).is_err());
        // What comes next does not hide it,
        take(&mut follower, 1, 3);
        assert!(kept(&mut follower, 1, 0).is_err());
        // a state that has it follows, and so does one of a later reign.
        assert_eq!(kept(&mut follower, 1, 3), Ok(vec![]));
        assert_eq!(kept(&mut follower, 2, 0), Ok(vec![]));
    }
}

#[test]
fn what_is_only_kept_is_not_acknowledged() {
    let mut follower = follower();
    assert_eq!(take(&mut follower, 1, 1), Taken::Kept);
    assert_eq!(follower.take_refused(), set(&[slot(0)]));
    assert_eq!(take(&mut follower, 1, 2), Taken::Kept);
    // Once it is handed back it is applied before anything else is said.
    assert_eq!(kept(&mut follower, 1, 0), Ok(vec![1, 2]));
    assert_eq!(follower.take_refused(), SlotSet::EMPTY);
}
