//! Anything that a node may say, sound or not.

use proptest::prelude::*;

use super::super::message::{Becoming, Message, Proposal, Refused, SealedSlot};
use super::world::{epoch, node, slot};
use crate::types::{
    Configuration, Epoch, NodeId, Position, Replicas, Slot, SlotRecord, SlotSet, SlotTime,
};

/// Slots that are spoken of.
pub(super) const SLOTS: u16 = 5;

pub(super) fn any_epoch() -> impl Strategy<Value = Epoch> {
    (prop_oneof![9 => 0u64..12, 1 => any::<u64>()], 1u128..=3).prop_map(|it| epoch(it.0, it.1))
}

pub(super) fn any_slot() -> impl Strategy<Value = Slot> {
    (0..SLOTS).prop_map(slot)
}

pub(super) fn any_slots() -> impl Strategy<Value = SlotSet> {
    prop::collection::vec(any_slot(), 0..4).prop_map(|it| it.into_iter().collect())
}

fn any_configuration() -> impl Strategy<Value = Configuration> {
    let sound = (1u64..6, any_epoch(), prop::collection::vec(1u128..=3, 0..3));
    sound.prop_map(|(version, epoch, others)| {
        let others = others.into_iter().map(node);
        let nodes: Vec<NodeId> = [epoch.node].into_iter().chain(others).collect();
        Configuration {
            version,
            epoch,
            owner: epoch.node,
            replicas: Replicas::of(&nodes),
        }
    })
}

fn odd_configuration() -> impl Strategy<Value = Configuration> {
    prop_oneof![
        8 => any_configuration(),
        1 => (any_configuration(), 1u128..=4).prop_map(|(it, owner)| Configuration { owner: node(owner), ..it }),
        1 => any_configuration().prop_map(|it| Configuration { version: u64::MAX, ..it }),
    ]
}

fn sealed_slot() -> impl Strategy<Value = SealedSlot> {
    (
        any_slot(),
        prop::option::of(odd_configuration()),
        prop::option::of((any_epoch(), odd_configuration())),
        (any_epoch(), 0u64..9, 0u64..99),
        any::<bool>(),
    )
        .prop_map(
            |(slot, chosen, accepted, (epoch, n, clock), complete)| SealedSlot {
                slot,
                chosen,
                accepted,
                at: Position { epoch, n },
                clock: SlotTime::from_ms(clock),
                complete,
            },
        )
}

fn refused() -> impl Strategy<Value = Vec<Refused>> {
    let one = (
        any_slot(),
        any_epoch(),
        prop::option::of(odd_configuration()),
    );
    let one = one.prop_map(|(slot, promised, chosen)| Refused {
        slot,
        promised,
        chosen,
    });
    prop::collection::vec(one, 0..3)
}

fn proposal() -> impl Strategy<Value = Proposal> {
    (any_slot(), odd_configuration(), odd_configuration()).prop_map(|(slot, base, proposed)| {
        Proposal {
            slot,
            base,
            proposed: Configuration {
                version: base.version.wrapping_add(1),
                ..proposed
            },
        }
    })
}

fn becoming() -> impl Strategy<Value = Becoming> {
    (any_slot(), any_epoch(), 0u64..9).prop_map(|(slot, epoch, n)| Becoming {
        slot,
        at: Position { epoch, n },
        clock: SlotTime::ZERO,
    })
}

pub(super) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        3 => (any_epoch(), any_slots()).prop_map(|(ballot, slots)| Message::Seal { ballot, slots }),
        4 => (any_epoch(), prop::collection::vec(sealed_slot(), 0..4), refused())
            .prop_map(|(ballot, slots, refused)| Message::Sealed { ballot, slots, refused }),
        3 => (any_epoch(), prop::collection::vec(proposal(), 0..4))
            .prop_map(|(ballot, slots)| Message::Accept { ballot, slots }),
        4 => (any_epoch(), any_slots(), refused())
            .prop_map(|(ballot, slots, refused)| Message::Accepted { ballot, slots, refused }),
        1 => prop::collection::vec(any::<u64>(), 0..70).prop_map(|groups| Message::Digest { groups }),
        3 => (any_epoch(), prop::collection::vec(becoming(), 0..4))
            .prop_map(|(ballot, slots)| Message::Become { ballot, slots }),
        2 => (any_epoch(), any_slots(), any_slots())
            .prop_map(|(ballot, slots, refused)| Message::Became { ballot, slots, refused }),
        1 => (1u128..=4).prop_map(|n| Message::AskHeard { owner: node(n) }),
        1 => (1u128..=4, any::<bool>())
            .prop_map(|(n, lately)| Message::Heard { owner: node(n), lately }),
        2 => prop::collection::vec((any_slot(), odd_configuration()), 0..4).prop_map(|it| {
            let records = it.into_iter().map(|(slot, chosen)| SlotRecord { slot, chosen });
            Message::Chosen { records: records.collect() }
        }),
    ]
}
