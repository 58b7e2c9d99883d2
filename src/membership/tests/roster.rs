//! The roster: merged alike everywhere, kept byte for byte, and who is let in.

use proptest::prelude::*;

use crate::membership::identity::Address;
use crate::membership::roster::{
    Claim, NODES_MAX, Roster, RosterEntry, RosterError, Standing, WEIGHT_MAX,
};
use crate::types::{BootCounter, NodeId};

fn entry(node: u128, boot: u64, revision: u64, standing: Standing) -> RosterEntry {
    RosterEntry {
        node: NodeId(node),
        boot: BootCounter(boot),
        revision,
        standing,
        weight: 1,
        policies: 7,
        addresses: vec![Address::new("a.example:7400").unwrap()],
        certificate: "a".to_owned(),
        zone: String::new(),
    }
}

fn of(entries: impl IntoIterator<Item = RosterEntry>) -> Roster {
    let mut roster = Roster::default();
    for entry in entries {
        roster.merge(entry).unwrap();
    }
    roster
}

#[test]
fn the_later_word_wins_and_tombstones_win_over_it() {
    use Standing::{Active, Draining, Left, Removed};
    // Of each pair the second one wins.
    let cases = [
        ((1, 1, Active), (1, 2, Active)),
        ((1, 9, Active), (2, 1, Active)),
        ((1, 1, Active), (1, 2, Draining)),
        ((1, 9, Active), (1, 1, Left)),
        ((1, 9, Draining), (1, 1, Left)),
        ((1, 9, Left), (2, 1, Active)),
        ((9, 9, Active), (1, 1, Removed)),
        ((9, 9, Left), (1, 1, Removed)),
    ];
    for ((boot, revision, standing), winner) in cases {
        let loser = entry(1, boot, revision, standing);
        let winner = entry(1, winner.0, winner.1, winner.2);
        for order in [[&loser, &winner], [&winner, &loser]] {
            let roster = of(order.map(Clone::clone));
            assert_eq!(roster.get(NodeId(1)), Some(&winner), "{loser:?}");
        }
    }
}

fn any_entry() -> impl Strategy<Value = RosterEntry> {
    let standing = prop_oneof![
        Just(Standing::Active),
        Just(Standing::Draining),
        Just(Standing::Left),
        Just(Standing::Removed)
    ];
    let place = prop::collection::vec(0..3_u8, 1..4);
    let numbers = (1..4_u128, 0..3_u64, 0..3_u64, 1..=WEIGHT_MAX, any::<u64>());
    (numbers, standing, place, "[a-c]{0,2}", "[a-c\u{e4}]{0,2}").prop_map(
        |((node, boot, revision, weight, policies), standing, place, certificate, zone)| {
            let address = |n| Address::new(&format!("h{n}:1")).unwrap();
            RosterEntry {
                weight,
                policies,
                addresses: place.into_iter().map(address).collect(),
                certificate,
                zone,
                ..entry(node, boot, revision, standing)
            }
        },
    )
}

proptest! {
    #[test]
    fn order_and_repetition_do_not_matter(
        entries in prop::collection::vec(any_entry(), 0..12),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let once = of(entries.clone());
        let mut backwards: Vec<_> = entries.iter().rev().cloned().collect();
        if !entries.is_empty() {
            backwards.extend(again.iter().map(|it| it.get(&entries).clone()));
        }
        let other = of(backwards);
        prop_assert_eq!(&once, &other);
        prop_assert_eq!(once.digest(), other.digest());
    }

    #[test]
    fn bytes_give_back_what_they_were_made_of(entries in prop::collection::vec(any_entry(), 0..6)) {
        let roster = of(entries);
        prop_assert_eq!(Roster::from_bytes(&roster.to_bytes()), Some(roster));
    }

    #[test]
    fn other_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut versioned = vec![1];
        versioned.extend_from_slice(&bytes);
        for bytes in [bytes, versioned] {
            if let Some(roster) = Roster::from_bytes(&bytes) {
                prop_assert_eq!(roster.to_bytes(), bytes);
            }
        }
    }
}

#[test]
fn a_roster_keeps_its_bytes() {
    let mut first = entry(1, 2, 3, Standing::Draining);
    first.weight = 4;
    first.zone = "z".to_owned();
    let bytes = of([first]).to_bytes();
    let mut expected = vec![1, 1, 0];
    expected.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(&[1, 4, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    expected.extend_from_slice(b"\x01\x0e\x00a.example:7400\x01\x00a\x01\x00z");
    assert_eq!(bytes, expected);
    for cut in 0..bytes.len() {
        assert_eq!(Roster::from_bytes(&bytes[..cut]), None);
    }
}

#[test]
fn the_ring_is_made_of_those_that_take_slots_or_will_be_back() {
    use Standing::{Active, Draining, Left, Removed, Stopping};
    let members = |roster: &Roster| -> Vec<(NodeId, u32)> {
        roster
            .ring_members()
            .map(|it| (it.node, it.weight))
            .collect()
    };
    let mut heavy = entry(1, 1, 1, Active);
    heavy.weight = 3;
    let mut roster = of([
        entry(5, 1, 1, Stopping),
        heavy,
        entry(2, 1, 1, Draining),
        entry(3, 1, 1, Left),
        entry(4, 1, 1, Removed),
    ]);
    assert_eq!(members(&roster), [(NodeId(1), 3), (NodeId(5), 1)]);
    assert!(roster.restate(NodeId(1), Draining));
    assert!(!roster.restate(NodeId(1), Draining));
    assert_eq!(members(&roster), [(NodeId(5), 1)]);
    assert!(roster.remove(NodeId(5)));
    assert!(!roster.restate(NodeId(5), Active));
    assert!(!roster.remove(NodeId(6)));
    assert_eq!(members(&roster), []);
}

#[test]
fn what_a_node_publishes_goes_over_what_it_said_before() {
    let mut roster = of([entry(1, 2, 4, Standing::Draining)]);
    let own = entry(1, 2, 0, Standing::Draining);
    assert_eq!(roster.publish(own.clone()), Ok(false));
    let mut heavier = own;
    heavier.weight = 2;
    assert_eq!(roster.publish(heavier), Ok(true));
    assert_eq!(roster.get(NodeId(1)).map(|it| it.revision), Some(5));
    assert_eq!(roster.publish(entry(1, 3, 0, Standing::Active)), Ok(true));
    assert_eq!(roster.publish(entry(1, 2, 0, Standing::Active)), Ok(false));
    assert!(roster.remove(NodeId(1)));
    let again = roster.publish(entry(1, 9, 0, Standing::Active));
    assert_eq!(again, Err(RosterError::Removed { node: NodeId(1) }));
}

#[test]
fn bounds_are_kept() {
    let mut roster = Roster::default();
    let most = u128::try_from(NODES_MAX).unwrap();
    for node in 1..=most {
        assert_eq!(roster.merge(entry(node, 1, 1, Standing::Active)), Ok(true));
    }
    let one_more = entry(most + 1, 1, 1, Standing::Active);
    assert_eq!(roster.merge(one_more), Err(RosterError::Full));
    assert_eq!(roster.merge(entry(1, 1, 1, Standing::Active)), Ok(false));
    assert_eq!(roster.merge(entry(1, 1, 2, Standing::Active)), Ok(true));
    assert_eq!(Roster::from_bytes(&roster.to_bytes()), Some(roster));

    let sound = entry(1, 1, 1, Standing::Active);
    let mut unsound = [(); 5].map(|()| sound.clone());
    unsound[0].addresses.clear();
    unsound[1].weight = 0;
    unsound[2].weight = WEIGHT_MAX + 1;
    unsound[3].certificate = "c".repeat(65);
    unsound[4].zone = "a\nb".to_owned();
    for entry in unsound {
        let node = entry.node;
        let refused = Roster::default().merge(entry);
        assert_eq!(refused, Err(RosterError::Unsound { node }));
    }
}

#[test]
fn a_node_that_is_not_what_it_claims_is_told_why() {
    let mut gone = entry(2, 1, 1, Standing::Removed);
    gone.certificate = String::new();
    let roster = of([entry(1, 5, 1, Standing::Active), gone]);
    let known = Address::new("a.example:7400").unwrap();
    let other = Address::new("b.example:7400").unwrap();
    let cases = [
        (1, 5, &known, "a", true, None),
        (1, 5, &known, "a", false, None),
        (1, 5, &other, "a", false, None),
        (1, 6, &other, "a", true, None),
        (3, 1, &other, "x", false, None),
        (1, 5, &other, "a", true, Some("was copied; stop one")),
        (
            1,
            4,
            &known,
            "a",
            false,
            Some("is an old copy or runs elsewhere"),
        ),
        (1, 5, &known, "b", false, Some("its own certificate")),
        (
            2,
            9,
            &known,
            "a",
            false,
            Some("with an empty data directory"),
        ),
    ];
    for (node, boot, address, certificate, is_alive, told) in cases {
        let claim = Claim {
            node: NodeId(node),
            boot: BootCounter(boot),
            address,
            certificate,
        };
        let admitted = roster.admit(claim, is_alive);
        let error = admitted.err().map(|error| error.to_string());
        match (told, error) {
            (None, None) => {}
            (Some(told), Some(error)) if error.contains(told) => {}
            (told, error) => panic!("{claim:?}: {error:?}, not {told:?}"),
        }
    }
}
