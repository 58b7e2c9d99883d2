//! How the replicas of slots stand, as an admin is told.

use serde::{Deserialize, Serialize};

/// An epoch of a slot: a ballot that somebody ran with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlotEpoch {
    /// Counts the ballots of all nodes; 0 stands for no epoch.
    pub counter: u64,
    /// Id of the node whose ballot it is.
    pub node: u128,
}

/// Who decides for a slot, and who holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlotConfiguration {
    /// Counts the configurations of the slot.
    pub version: u64,
    /// The epoch in which the owner serves.
    pub epoch: SlotEpoch,
    /// Id of the node that decides.
    pub owner: u128,
    /// Ids of the nodes that hold the slot, the owner included.
    pub replicas: Vec<u128>,
}

/// What one node knows and holds of a slot.
#[expect(clippy::struct_excessive_bools, reason = "each says another thing")]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SlotView {
    /// Id of the node that answers.
    pub node: u128,
    /// The slot.
    pub slot: u16,
    /// Below this epoch it takes part in nothing of the slot.
    pub promised: SlotEpoch,
    /// The newest configuration that it knows to be chosen.
    pub chosen: Option<SlotConfiguration>,
    /// A configuration that it has accepted and that it does not know to be chosen, and under which
    /// ballot.
    pub accepted: Option<(SlotEpoch, SlotConfiguration)>,
    /// Whether its state counts; it does not from a loss of unsynced commits until it was repaired.
    pub complete: bool,
    /// Whether the slot's state is there.
    pub holds: bool,
    /// Whether it decides for the slot.
    pub serves: bool,
    /// How far its state is: the epoch, and
    pub at: SlotEpoch,
    /// how many commits of the slot in that epoch it has.
    pub n: u64,
    /// The slot clock there.
    pub clock_ms: u64,
    /// The epoch whose commits it takes in from the owner, if it does.
    pub followed: Option<SlotEpoch>,
    /// Ids of the other nodes that have all of the slot and follow; only the node that serves it knows.
    pub in_sync: Vec<u128>,
    /// Whether it serves the slot, and has reached no majority of its replicas for too long: nothing is
    /// granted then.
    pub without_majority: bool,
    /// Ids of the nodes that should hold the slot, the one that should own it first.
    pub targets: Vec<u128>,
}

/// Nodes that hold slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplicaSet {
    /// Their ids, the owner included.
    pub replicas: Vec<u128>,
    /// Those among them that have all of the slots and follow, by their places, the lowest bit first;
    /// the owner is one of them.
    pub in_sync: u8,
}

/// How the replicas of slots stand, as far as one node knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RingReplicas {
    /// On how many nodes the operator wants each slot; 0: the node did not tell.
    pub wanted: u8,
    /// On how many nodes it can be, with those that take slots.
    pub possible: u8,
    /// Nodes that take slots, those that are down included until they are given up.
    pub members: u32,
    /// The sets of nodes that hold what this node serves, each once.
    pub sets: Vec<ReplicaSet>,
    /// Runs of slots in order: how many, and the place of their set in `sets` (65535: this node does
    /// not serve them).
    pub runs: Vec<(u16, u16)>,
    /// Slots that it holds for another node that owns them, and
    pub held: u32,
    /// those among them whose commits it does not take in.
    pub behind: u32,
}

/// The link on which commits go to a replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplicaLink {
    /// Id of the node at its other end.
    pub node: u128,
    /// Whether it is up.
    pub linked: bool,
    /// Commits that were sent and are not acknowledged.
    pub owed: u64,
    /// Commits that were sent and are not known to be synced there.
    pub unsynced: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::{AdminRequest, AdminResponse, Owner, Ring, RingNode};
    use crate::protocol::golden::pinned;

    fn epoch(counter: u64) -> SlotEpoch {
        SlotEpoch { counter, node: 1 }
    }

    fn configuration(version: u64) -> SlotConfiguration {
        SlotConfiguration {
            version,
            epoch: epoch(2),
            owner: 1,
            replicas: vec![1, 3],
        }
    }

    #[test]
    fn slots_keep_their_bytes() {
        let mut frame = Vec::new();
        crate::protocol::frame::encode(&AdminRequest::Slot(4095), &mut frame).unwrap();
        assert_eq!(frame, [3, 0, 0, 0, 9, 0xff, 0x1f]);
        let view = SlotView {
            node: 7,
            slot: 4095,
            promised: epoch(8),
            chosen: Some(configuration(9)),
            accepted: Some((epoch(8), configuration(10))),
            complete: true,
            holds: true,
            serves: false,
            at: epoch(11),
            n: 12,
            clock_ms: 300,
            followed: Some(epoch(13)),
            in_sync: vec![14],
            without_majority: true,
            targets: vec![15, 16],
        };
        pinned(
            &AdminResponse::Slot(Box::new(view)),
            "290000000a07ff1f080101090201010201030108010a0201010201030101000b010cac02010d01010e01020f10",
        );
    }

    #[test]
    fn rings_and_owners_keep_their_bytes() {
        let ring = Ring {
            node: 1,
            nodes: vec![RingNode::default()],
            runs: vec![(4096, 0, 65_535)],
            replicas: RingReplicas {
                wanted: 3,
                possible: 1,
                members: 2,
                sets: vec![ReplicaSet {
                    replicas: vec![1, 2],
                    in_sync: 0b10,
                }],
                runs: vec![(4095, 0), (1, 65_535)],
                held: 4,
                behind: 5,
            },
            ..Ring::default()
        };
        pinned(
            &AdminResponse::Ring(Box::new(ring)),
            "2b0000000501010000000000000001802000ffff030000000000000000030102010201020202ff1f0001ffff030405",
        );
        let owner = Owner {
            slot: 1,
            epoch: 2,
            version: 3,
            owner: 4,
            owner_address: "a:1".to_owned(),
            target: 5,
            replicas: vec![4, 6],
            served: true,
            in_sync: vec![6],
        };
        pinned(
            &AdminResponse::Owner(owner),
            "10000000060102030403613a3105020406010106",
        );
    }
}
