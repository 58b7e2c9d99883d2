//! Messages go over the wire and come back as they were, however long they are.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{ownership_frames, ownership_message, roster_entry, roster_frames};
use crate::membership::identity::Address;
use crate::membership::roster::{NODES_MAX, Roster, RosterEntry, Standing, WEIGHT_MAX};
use crate::ownership::message::{Becoming, Message, Proposal, Refused, SealedSlot};
use crate::protocol::frame::{FRAME_BYTES_MAX, decode, encode};
use crate::protocol::ownership::{BadWire, WireMessage};
use crate::protocol::peer::PeerFrame;
use crate::types::{
    BootCounter, Configuration, Epoch, NodeId, Position, REPLICAS_MAX, Replicas, Slot, SlotRecord,
    SlotSet, SlotTime,
};

/// What arrives when `frames` are sent.
fn sent(frames: &[PeerFrame]) -> Vec<PeerFrame> {
    let over_the_wire = |frame| {
        let mut bytes = Vec::new();
        encode(frame, &mut bytes).unwrap();
        assert!(bytes.len() <= 4 + FRAME_BYTES_MAX);
        decode(&bytes[4..]).unwrap()
    };
    frames.iter().map(over_the_wire).collect()
}

fn messages(message: &Message) -> Vec<Message> {
    let frames = sent(&ownership_frames(message)).into_iter();
    let messages = frames.map(|frame| match frame {
        PeerFrame::Ownership(wire) => ownership_message(&wire).unwrap(),
        other => panic!("{other:?}"),
    });
    messages.collect()
}

fn longest_epoch() -> Epoch {
    Epoch {
        counter: u64::MAX,
        node: NodeId(u128::MAX),
    }
}

fn longest() -> Configuration {
    let nodes: Vec<NodeId> = (0..5).map(|n| NodeId(u128::MAX - n)).collect();
    assert_eq!(nodes.len(), REPLICAS_MAX);
    Configuration {
        version: u64::MAX,
        epoch: longest_epoch(),
        owner: nodes[4],
        replicas: Replicas::of(&nodes),
    }
}

/// All slots, each at its longest.
fn longest_messages() -> [Message; 7] {
    let ballot = longest_epoch();
    let sealed = |slot| SealedSlot {
        slot,
        chosen: Some(longest()),
        accepted: Some((longest_epoch(), longest())),
        at: Position {
            epoch: longest_epoch(),
            n: u64::MAX,
        },
        clock: SlotTime::from_ms(u64::MAX),
        complete: true,
    };
    let refused = |slot| Refused {
        slot,
        promised: longest_epoch(),
        chosen: Some(longest()),
    };
    let proposal = |slot| Proposal {
        slot,
        base: longest(),
        proposed: longest(),
    };
    let record = |slot| SlotRecord {
        slot,
        chosen: longest(),
    };
    [
        Message::Seal {
            ballot,
            slots: Slot::all().collect(),
        },
        Message::Sealed {
            ballot,
            slots: Slot::all().map(sealed).collect(),
            refused: Slot::all().map(refused).collect(),
        },
        Message::Accept {
            ballot,
            slots: Slot::all().map(proposal).collect(),
        },
        Message::Accepted {
            ballot,
            slots: Slot::all().collect(),
            refused: Slot::all().map(refused).collect(),
        },
        Message::Digest {
            groups: vec![u64::MAX; 64],
        },
        Message::Chosen {
            records: Slot::all().map(record).collect(),
        },
        Message::Became {
            ballot,
            slots: Slot::all().collect(),
            refused: Slot::all().collect(),
        },
    ]
}

#[test]
fn what_replicas_say_comes_over_whole() {
    let becoming = |slot| Becoming {
        slot,
        at: Position {
            epoch: longest_epoch(),
            n: u64::MAX,
        },
        clock: SlotTime::from_ms(u64::MAX),
    };
    let becoming: Vec<Becoming> = Slot::all().map(becoming).collect();
    let ballot = longest_epoch();
    let slots = becoming.clone();
    let parts = messages(&Message::Become { ballot, slots });
    let parts = parts.into_iter().map(|part| match part {
        Message::Become { ballot: it, slots } if it == ballot => slots,
        other => panic!("{other:?}"),
    });
    assert_eq!(parts.flatten().collect::<Vec<_>>(), becoming);
    let owner = NodeId(u128::MAX);
    let lately = true;
    for message in [
        Message::AskHeard { owner },
        Message::Heard { owner, lately },
    ] {
        assert_eq!(messages(&message), [message]);
    }
}

#[test]
fn a_message_about_all_slots_comes_over_whole_in_parts_that_fit() {
    for message in longest_messages() {
        let parts = messages(&message);
        let mut whole: Option<Message> = None;
        for part in parts {
            whole = Some(match (whole, part) {
                (None, part) => part,
                (
                    Some(Message::Sealed {
                        ballot,
                        slots,
                        refused,
                    }),
                    Message::Sealed {
                        slots: s,
                        refused: r,
                        ..
                    },
                ) => {
                    let (slots, refused) = ([slots, s].concat(), [refused, r].concat());
                    Message::Sealed {
                        ballot,
                        slots,
                        refused,
                    }
                }
                (Some(Message::Accept { ballot, slots }), Message::Accept { slots: s, .. }) => {
                    Message::Accept {
                        ballot,
                        slots: [slots, s].concat(),
                    }
                }
                (
                    Some(Message::Accepted {
                        ballot,
                        slots,
                        refused,
                    }),
                    Message::Accepted {
                        slots: s,
                        refused: r,
                        ..
                    },
                ) => {
                    assert!(s.is_empty());
                    Message::Accepted {
                        ballot,
                        slots,
                        refused: [refused, r].concat(),
                    }
                }
                (Some(Message::Chosen { records }), Message::Chosen { records: r }) => {
                    Message::Chosen {
                        records: [records, r].concat(),
                    }
                }
                (whole, part) => panic!("{whole:?} and {part:?}"),
            });
        }
        assert_eq!(whole, Some(message));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let chosen = longest();
    let record = |chosen| Message::Chosen {
        records: vec![SlotRecord {
            slot: Slot::new(4095).unwrap(),
            chosen,
        }],
    };
    let spoilt = |spoil: fn(&mut crate::protocol::ownership::WireRecord)| {
        let frames = ownership_frames(&record(chosen));
        let [PeerFrame::Ownership(WireMessage::Chosen { records })] = &frames[..] else {
            panic!("{frames:?}");
        };
        let mut records = records.clone();
        spoil(&mut records[0]);
        ownership_message(&WireMessage::Chosen { records })
    };
    assert_eq!(spoilt(|_| {}), Ok(record(chosen)));
    assert_eq!(spoilt(|it| it.slot = 4096), Err(BadWire::Slot(4096)));
    assert_eq!(spoilt(|it| it.chosen.owner = 1), Err(BadWire::Replicas));
    assert_eq!(
        spoilt(|it| it.chosen.replicas.clear()),
        Err(BadWire::Replicas)
    );
    assert_eq!(
        spoilt(|it| it.chosen.replicas[0] = it.chosen.replicas[1]),
        Err(BadWire::Replicas)
    );
}

#[test]
fn a_whole_roster_comes_over_in_parts_that_fit() {
    let mut roster = Roster::default();
    for n in 0..u128::try_from(NODES_MAX).unwrap() {
        let address = |port| Address::new(&format!("{}:1{port:04}", "h".repeat(253))).unwrap();
        let standings = [
            Standing::Active,
            Standing::Draining,
            Standing::Left,
            Standing::Removed,
        ];
        let entry = RosterEntry {
            node: NodeId(u128::MAX - n),
            boot: BootCounter(u64::MAX),
            revision: u64::MAX,
            standing: standings[usize::try_from(n % 4).unwrap()],
            weight: WEIGHT_MAX,
            policies: u64::MAX,
            addresses: (0..4).map(address).collect(),
            certificate: "c".repeat(64),
            zone: "z".repeat(64),
        };
        assert_eq!(roster.merge(entry), Ok(true));
    }
    let mut copy = Roster::default();
    for frame in sent(&roster_frames(roster.entries())) {
        let PeerFrame::Roster(nodes) = frame else {
            panic!("{frame:?}");
        };
        for node in &nodes {
            assert_eq!(copy.merge(roster_entry(node).unwrap()), Ok(true));
        }
    }
    assert_eq!(copy, roster);
    assert_eq!(roster_frames([]), []);
}

fn any_epoch() -> impl Strategy<Value = Epoch> {
    (any::<u64>(), any::<u128>()).prop_map(|(counter, node)| Epoch {
        counter,
        node: NodeId(node),
    })
}

fn any_configuration() -> impl Strategy<Value = Configuration> {
    let nodes = vec(any::<u128>(), 1..6);
    (any::<u64>(), any_epoch(), nodes).prop_map(|(version, epoch, nodes)| {
        let nodes: Vec<NodeId> = nodes.into_iter().map(NodeId).collect();
        Configuration {
            version,
            epoch,
            owner: nodes[0],
            replicas: Replicas::of(&nodes),
        }
    })
}

fn any_slot() -> impl Strategy<Value = Slot> {
    (0..4096_u16).prop_map(|n| Slot::new(n).unwrap())
}

proptest! {
    #[test]
    fn any_message_comes_back_as_it_was(
        ballot in any_epoch(),
        slots in vec(any_slot(), 0..40),
        chosen in prop::option::of(any_configuration()),
        accepted in prop::option::of((any_epoch(), any_configuration())),
        n: u64,
        complete: bool,
    ) {
        let set: SlotSet = slots.iter().copied().collect();
        let refused: Vec<Refused> = slots
            .iter()
            .map(|&slot| Refused { slot, promised: ballot, chosen })
            .collect();
        let sealed = |&slot: &Slot| SealedSlot {
            slot,
            chosen,
            accepted,
            at: Position { epoch: ballot, n },
            clock: SlotTime::from_ms(n),
            complete,
        };
        let sealed = Message::Sealed {
            ballot,
            slots: slots.iter().map(sealed).collect(),
            refused: refused.clone(),
        };
        for message in [
            Message::Seal { ballot, slots: set.clone() },
            sealed,
            Message::Accepted { ballot, slots: set, refused },
        ] {
            prop_assert_eq!(messages(&message), std::slice::from_ref(&message));
        }
    }
}
