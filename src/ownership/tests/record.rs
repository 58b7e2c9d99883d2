//! What a register decides, and its bytes.

use proptest::prelude::*;

use super::super::record::{Register, RegisterError};
use super::world::{epoch, node};
use crate::types::{Configuration, Epoch, Replicas};

fn configuration(version: u64, epoch: Epoch, replicas: &[u128]) -> Configuration {
    let replicas: Vec<_> = replicas.iter().map(|n| node(*n)).collect();
    Configuration {
        version,
        epoch,
        owner: epoch.node,
        replicas: Replicas::of(&replicas),
    }
}

#[test]
fn the_bytes_are_these() {
    let register = Register {
        promised: epoch(3, 0x0102),
        chosen: Some(configuration(2, epoch(1, 7), &[7])),
        accepted: Some((epoch(3, 9), configuration(3, epoch(3, 9), &[9, 7]))),
        complete: true,
    };
    let node = |n: u8| [vec![n], vec![0; 15]].concat();
    let number = |n: u8| [vec![n], vec![0; 7]].concat();
    let promised = [number(3), vec![2, 1], vec![0; 14]].concat();
    let chosen = [number(2), number(1), node(7), node(7), vec![1], node(7)].concat();
    let accepted = [
        [number(3), node(9)].concat(),
        [
            number(3),
            number(3),
            node(9),
            node(9),
            vec![2],
            node(9),
            node(7),
        ]
        .concat(),
    ];
    let bytes = [vec![1, 7], promised.clone(), chosen, accepted.concat()].concat();
    assert_eq!(register.encode(), bytes);
    assert_eq!(Register::decode(&bytes), Ok(register));

    let bare = Register {
        promised: epoch(3, 0x0102),
        ..Register::default()
    };
    assert_eq!(bare.encode(), [vec![1, 0], promised].concat());
}

#[test]
fn bytes_that_are_no_register_are_refused() {
    let good = Register::of_creator(node(1)).encode();
    let mut newer = good.clone();
    newer[0] = 2;
    assert_eq!(Register::decode(&newer), Err(RegisterError::Format(2)));
    let mut unknown_flag = good.clone();
    unknown_flag[1] |= 8;
    let mut six = good.clone();
    six[74] = 6;
    let bad = [
        Vec::new(),
        good[..good.len() - 1].to_vec(),
        [good, vec![0]].concat(),
        unknown_flag,
        six,
    ];
    for bytes in bad {
        assert_eq!(Register::decode(&bytes), Err(RegisterError::Content));
    }
}

#[test]
fn a_promise_is_made_once_and_never_below_another() {
    let mut register = Register::default();
    assert!(register.promise(epoch(2, 1)));
    assert!(!register.promise(epoch(2, 1)), "R3: not twice");
    assert!(!register.promise(epoch(1, 9)), "R3: not below");
    assert!(register.promise(epoch(2, 2)));
}

#[test]
fn only_what_follows_is_accepted() {
    let first = Register::of_creator(node(1));
    let base = first.chosen.unwrap();
    let proposed = configuration(2, epoch(5, 2), &[2]);
    let accepts = |promised: Epoch, base: Configuration, proposed: Configuration| {
        let mut register = Register { promised, ..first };
        let accepted = register.accept(epoch(5, 2), base, proposed);
        assert_eq!(accepted, register.accepted.is_some());
        accepted
    };
    assert!(accepts(epoch(5, 2), base, proposed));
    assert!(
        accepts(epoch(4, 9), base, proposed),
        "R4: a promise is not needed before"
    );
    assert!(
        !accepts(epoch(5, 3), base, proposed),
        "R4: more is promised"
    );
    let later = configuration(3, epoch(5, 2), &[2]);
    assert!(
        !accepts(epoch(5, 2), base, later),
        "not of the next version"
    );
    let other = configuration(1, epoch(1, 3), &[3]);
    assert!(
        !accepts(epoch(5, 2), other, proposed),
        "I4: another base of the same version"
    );
    let newer = configuration(2, epoch(4, 3), &[1]);
    assert!(accepts(epoch(5, 2), newer, later), "a base that is news");
    let mut ahead = first;
    assert!(ahead.learn(newer));
    assert!(
        !ahead.accept(epoch(5, 2), base, proposed),
        "R4: more is chosen"
    );
}

#[test]
fn what_is_learned_makes_an_older_acceptance_void() {
    let mut register = Register::of_creator(node(1));
    let base = register.chosen.unwrap();
    let second = configuration(2, epoch(5, 2), &[2]);
    assert!(register.accept(epoch(5, 2), base, second));
    assert!(register.learn(second));
    assert_eq!(register.accepted, None);
    assert!(!register.learn(base), "it never falls");
    assert_eq!(register.chosen, Some(second));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_read_as_they_are_written(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        flags in 0u8..8,
    ) {
        let framed = [vec![1, flags], bytes.clone()].concat();
        for bytes in [bytes, framed] {
            if let Ok(register) = Register::decode(&bytes) {
                prop_assert_eq!(register.encode(), bytes);
            }
        }
    }

    #[test]
    fn a_register_survives_its_bytes(
        counters in prop::array::uniform4(any::<u64>()),
        nodes in prop::collection::btree_set(any::<u128>(), 1..=5),
        flags in any::<[bool; 3]>(),
    ) {
        let nodes: Vec<u128> = nodes.into_iter().collect();
        let made = configuration(counters[0], epoch(counters[1], nodes[0]), &nodes);
        let register = Register {
            promised: epoch(counters[2], nodes[0]),
            chosen: flags[0].then_some(made),
            accepted: flags[1].then_some((epoch(counters[3], 4), made)),
            complete: flags[2],
        };
        prop_assert_eq!(Register::decode(&register.encode()), Ok(register));
    }
}
