//! What nodes tell each other about slots, as it travels; see the ownership room for what it means.
//!
//! A message about all slots does not fit one frame: the sender cuts it with [`WireMessage::split`].
//! Each slot is answered for itself, so a part is as good as the whole.

use serde::{Deserialize, Serialize};

use super::bounded;
use crate::types::{
    Configuration, Epoch, NodeId, Position, REPLICAS_MAX, Replicas, SLOT_COUNT, Slot, SlotSet,
};

/// Most slots that a [`WireMessage::Sealed`] answers with a promise: at their longest they fit a
/// frame together with [`REFUSED_MAX`].
pub(crate) const SEALED_MAX: usize = 100;

/// Most refused slots of a message.
pub(crate) const REFUSED_MAX: usize = 100;

/// Most slots of a [`WireMessage::Accept`].
pub(crate) const PROPOSALS_MAX: usize = 180;

/// Most records of a [`WireMessage::Chosen`].
pub(crate) const RECORDS_MAX: usize = 380;

/// Most slots of a [`WireMessage::Become`].
pub(crate) const BECOMING_MAX: usize = 800;

/// Groups of slots that a digest tells apart.
pub(crate) const DIGEST_GROUPS_MAX: usize = SLOT_COUNT as usize / 64;

/// An epoch or ballot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireEpoch {
    /// Compared first.
    pub(crate) counter: u64,
    /// The node that reigns.
    pub(crate) node: u128,
}

/// How far the state of a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WirePosition {
    /// The reign.
    pub(crate) epoch: WireEpoch,
    /// The slot's commits in it.
    pub(crate) n: u64,
}

/// A set of slots: the words of its bitmap, without the empty ones at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct WireSlots(#[serde(deserialize_with = "words")] Vec<u64>);

/// What was chosen about a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireConfiguration {
    /// Counts the configurations of the slot.
    pub(crate) version: u64,
    /// The owner's reign.
    pub(crate) epoch: WireEpoch,
    /// Who decides.
    pub(crate) owner: u128,
    /// Who holds the state.
    #[serde(deserialize_with = "replicas")]
    pub(crate) replicas: Vec<u128>,
}

/// What a replica that has promised holds of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireSealed {
    /// Which slot.
    pub(crate) slot: u16,
    /// The newest configuration known to be chosen.
    pub(crate) chosen: Option<WireConfiguration>,
    /// What it has accepted but does not know to be chosen.
    pub(crate) accepted: Option<(WireEpoch, WireConfiguration)>,
    /// How far its state is.
    pub(crate) at: WirePosition,
    /// The highest slot time that its state has seen.
    pub(crate) clock_ms: u64,
    /// Whether the state is all there.
    pub(crate) complete: bool,
}

/// A slot that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireRefused {
    /// Which slot.
    pub(crate) slot: u16,
    /// What was promised.
    pub(crate) promised: WireEpoch,
    /// The newest configuration known to be chosen.
    pub(crate) chosen: Option<WireConfiguration>,
}

/// A configuration to accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireProposal {
    /// Which slot.
    pub(crate) slot: u16,
    /// What the proposer knows to be chosen.
    pub(crate) base: WireConfiguration,
    /// Of the version behind it.
    pub(crate) proposed: WireConfiguration,
}

/// A slot record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireRecord {
    /// Which slot.
    pub(crate) slot: u16,
    /// What was chosen.
    pub(crate) chosen: WireConfiguration,
}

/// A slot whose state becomes that of another epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireBecoming {
    /// Which slot.
    pub(crate) slot: u16,
    /// What the state must be now.
    pub(crate) at: WirePosition,
    /// The highest slot time that it has seen.
    pub(crate) clock_ms: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum WireMessage {
    /// Promise this ballot for these slots.
    Seal {
        /// The sender's ballot.
        ballot: WireEpoch,
        /// Which slots.
        slots: WireSlots,
    },
    /// Promised, slot by slot.
    Sealed {
        /// The ballot of the `Seal`.
        ballot: WireEpoch,
        /// Each slot that the ballot was promised.
        #[serde(deserialize_with = "sealed")]
        slots: Vec<WireSealed>,
        /// Each that it was not.
        #[serde(deserialize_with = "refused")]
        refused: Vec<WireRefused>,
    },
    /// Accept these configurations.
    Accept {
        /// The sender's ballot.
        ballot: WireEpoch,
        /// What to accept.
        #[serde(deserialize_with = "proposals")]
        slots: Vec<WireProposal>,
    },
    /// Accepted and synced.
    Accepted {
        /// The ballot of the `Accept`.
        ballot: WireEpoch,
        /// The slots that were accepted.
        slots: WireSlots,
        /// Those that were not.
        #[serde(deserialize_with = "refused")]
        refused: Vec<WireRefused>,
    },
    /// Hashes of the sender's newest records, 64 slots to a group.
    Digest {
        /// One hash a group, in order.
        #[serde(deserialize_with = "groups")]
        groups: Vec<u64>,
    },
    /// Configurations that are chosen.
    Chosen {
        /// The records.
        #[serde(deserialize_with = "records")]
        records: Vec<WireRecord>,
    },
    /// Slots whose state becomes that of the ballot.
    Become {
        /// The sender's ballot.
        ballot: WireEpoch,
        /// Which slots, and as what.
        #[serde(deserialize_with = "becoming")]
        slots: Vec<WireBecoming>,
    },
    /// They did, or not.
    Became {
        /// The ballot of the `Become`.
        ballot: WireEpoch,
        /// The slots that did.
        slots: WireSlots,
        /// Those that did not.
        refused: WireSlots,
    },
    /// Has this owner spoken to you lately?
    AskHeard {
        /// The owner.
        owner: u128,
    },
    /// It has, or has not.
    Heard {
        /// The owner.
        owner: u128,
        /// Whether it has.
        lately: bool,
    },
}

macro_rules! bounded_lists {
    ($($name:ident: $item:ty, $max:expr;)+) => {$(
        fn $name<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<$item>, D::Error> {
            bounded::at_most::<_, _, { $max }>(from)
        }
    )+};
}

bounded_lists! {
    words: u64, SLOT_COUNT as usize / 64;
    replicas: u128, REPLICAS_MAX;
    sealed: WireSealed, SEALED_MAX;
    refused: WireRefused, REFUSED_MAX;
    proposals: WireProposal, PROPOSALS_MAX;
    groups: u64, DIGEST_GROUPS_MAX;
    records: WireRecord, RECORDS_MAX;
    becoming: WireBecoming, BECOMING_MAX;
}

impl From<Epoch> for WireEpoch {
    fn from(epoch: Epoch) -> Self {
        Self {
            counter: epoch.counter,
            node: epoch.node.0,
        }
    }
}

impl From<WireEpoch> for Epoch {
    fn from(epoch: WireEpoch) -> Self {
        Self {
            counter: epoch.counter,
            node: NodeId(epoch.node),
        }
    }
}

impl From<Position> for WirePosition {
    fn from(position: Position) -> Self {
        Self {
            epoch: position.epoch.into(),
            n: position.n,
        }
    }
}

impl From<WirePosition> for Position {
    fn from(position: WirePosition) -> Self {
        Self {
            epoch: position.epoch.into(),
            n: position.n,
        }
    }
}

impl From<&SlotSet> for WireSlots {
    fn from(slots: &SlotSet) -> Self {
        let words = slots.words();
        let used = words.iter().rposition(|&word| word != 0);
        let used = used.map_or(0, |last| last.saturating_add(1));
        Self(words.iter().copied().take(used).collect())
    }
}

impl From<&WireSlots> for SlotSet {
    fn from(slots: &WireSlots) -> Self {
        let mut words = *Self::EMPTY.words();
        for (place, word) in words.iter_mut().zip(&slots.0) {
            *place = *word;
        }
        Self::from_words(words)
    }
}

impl From<&Configuration> for WireConfiguration {
    fn from(configuration: &Configuration) -> Self {
        let replicas = configuration.replicas.as_slice();
        Self {
            version: configuration.version,
            epoch: configuration.epoch.into(),
            owner: configuration.owner.0,
            replicas: replicas.iter().map(|node| node.0).collect(),
        }
    }
}

/// A value that no honest node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadWire {
    /// There is no such slot.
    #[error("there is no slot {0}")]
    Slot(u16),
    /// A configuration whose replicas are none, the same twice, or lack the owner.
    #[error("a configuration whose replicas cannot be")]
    Replicas,
    /// A node's entry with an address or another field that cannot be.
    #[error("an entry of the roster that cannot be")]
    Node,
}

impl TryFrom<&WireConfiguration> for Configuration {
    type Error = BadWire;

    fn try_from(wire: &WireConfiguration) -> Result<Self, BadWire> {
        let nodes: Vec<NodeId> = wire.replicas.iter().copied().map(NodeId).collect();
        let replicas = Replicas::of(&nodes);
        let owner = NodeId(wire.owner);
        if replicas.as_slice() != nodes || !replicas.contains(owner) {
            return Err(BadWire::Replicas);
        }
        Ok(Self {
            version: wire.version,
            epoch: wire.epoch.into(),
            owner,
            replicas,
        })
    }
}

/// The slot of a number from the wire.
///
/// # Errors
/// [`BadWire::Slot`].
pub(crate) fn slot(number: u16) -> Result<Slot, BadWire> {
    Slot::new(number).ok_or(BadWire::Slot(number))
}
