//! The register of a slot, as each of its replicas keeps it: what it decides by R3 and R4, and the
//! bytes in which it is stored.
//!
//! Invariant: `promised` and the version of `chosen` never fall, and `accepted` is of the version
//! behind `chosen` or none.
//!
//! ```text
//! register      = format (1; now 1) flags (1; 1 complete, 2 chosen, 4 accepted)
//!                 promised [chosen] [accepted]
//! promised      = epoch
//! chosen        = configuration
//! accepted      = epoch configuration
//! configuration = version (8) epoch owner (16) count (1) replicas (16 each)
//! epoch         = counter (8) node (16)
//! ```
//!
//! All integers are little-endian. The checksum is that of the value of `meta` it is stored in.

use crate::types::{Configuration, Epoch, NodeId, REPLICAS_MAX, Replicas};

const FORMAT: u8 = 1;
const COMPLETE: u8 = 1;
const CHOSEN: u8 = 2;
const ACCEPTED: u8 = 4;

/// What a node has promised and accepted about a slot, and what it knows to be chosen. Durable and
/// synced before anything that rests on it is said (R3, R4). It is never deleted: for a slot that
/// the node no longer holds it is the tombstone (R8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Register {
    /// No message of a lower epoch is taken any more.
    pub(crate) promised: Epoch,
    /// The newest configuration known to be chosen.
    pub(crate) chosen: Option<Configuration>,
    /// A configuration of the version behind `chosen` that this node has accepted, and under which
    /// ballot. Accepted is not chosen.
    pub(crate) accepted: Option<(Epoch, Configuration)>,
    /// Whether the state that goes with the register is all there (R5).
    pub(crate) complete: bool,
}

/// Bytes that are no register. Nothing of them may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegisterError {
    /// Written by a newer version of the software.
    #[error("its format {0} is not known to this version of the software")]
    Format(u8),
    /// The bytes end too early, hold too much, or a value is out of bounds.
    #[error("its content is not well formed")]
    Content,
}

impl Register {
    /// Of each slot of a cluster that `node` creates: it owns it, and its empty state is whole.
    pub(crate) fn of_creator(node: NodeId) -> Self {
        let epoch = Epoch { counter: 1, node };
        Self {
            promised: epoch,
            chosen: Some(Configuration {
                version: 1,
                epoch,
                owner: node,
                replicas: Replicas::one(node),
            }),
            accepted: None,
            complete: true,
        }
    }

    /// The version of the newest configuration known to be chosen, 0 if none is.
    pub(crate) fn version(&self) -> u64 {
        self.chosen.map_or(0, |it| it.version)
    }

    /// R3: promises `ballot` iff it is above what was promised. It counts once it is synced.
    pub(super) fn promise(&mut self, ballot: Epoch) -> bool {
        let may = self.promised < ballot;
        if may {
            self.promised = ballot;
        }
        may
    }

    /// R4: accepts `proposed` on top of `base` iff nothing higher was promised and nothing newer
    /// than `base` is known to be chosen. It counts once it is synced.
    pub(super) fn accept(
        &mut self,
        ballot: Epoch,
        base: Configuration,
        proposed: Configuration,
    ) -> bool {
        let may = self.promised <= ballot
            && self.version() <= base.version
            && self.agrees_with(&base)
            && base.version.checked_add(1) == Some(proposed.version);
        if may {
            self.promised = ballot;
            self.chosen = Some(base);
            self.accepted = Some((ballot, proposed));
        }
        may
    }

    /// Takes note that `chosen` is chosen, if that is news.
    pub(super) fn learn(&mut self, chosen: Configuration) -> bool {
        let news = self.version() < chosen.version;
        if news {
            self.chosen = Some(chosen);
            self.accepted = self.accepted.filter(|it| it.1.version > chosen.version);
        }
        news
    }

    /// Whether `other` does not contradict what is known to be chosen: one configuration is chosen
    /// for each version, and epochs rise with versions (I4).
    pub(super) fn agrees_with(&self, other: &Configuration) -> bool {
        self.chosen
            .is_none_or(|it| match it.version.cmp(&other.version) {
                std::cmp::Ordering::Less => it.epoch < other.epoch,
                std::cmp::Ordering::Equal => it == *other,
                std::cmp::Ordering::Greater => it.epoch > other.epoch,
            })
    }

    /// The bytes of the module's table.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let flags = flag(self.complete, COMPLETE)
            | flag(self.chosen.is_some(), CHOSEN)
            | flag(self.accepted.is_some(), ACCEPTED);
        let mut bytes = Vec::with_capacity(192);
        bytes.extend([FORMAT, flags]);
        put_epoch(&mut bytes, self.promised);
        if let Some(chosen) = &self.chosen {
            put_configuration(&mut bytes, chosen);
        }
        if let Some((ballot, accepted)) = &self.accepted {
            put_epoch(&mut bytes, *ballot);
            put_configuration(&mut bytes, accepted);
        }
        bytes
    }

    /// The reverse of [`Register::encode`].
    ///
    /// # Errors
    /// [`RegisterError`] for all that `encode` does not write.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RegisterError> {
        match bytes.first() {
            None => return Err(RegisterError::Content),
            Some(&FORMAT) => {}
            Some(&newer) => return Err(RegisterError::Format(newer)),
        }
        let mut rest = Rest(bytes.get(1..).unwrap_or_default());
        rest.register()
            .filter(|_| rest.0.is_empty())
            .ok_or(RegisterError::Content)
    }
}

/// Whether a configuration can have been chosen at all: an owner reigns by its own ballot, and is
/// one of the replicas.
pub(super) fn is_sound(configuration: &Configuration) -> bool {
    configuration.version > 0
        && configuration.epoch.counter > 0
        && configuration.owner == configuration.epoch.node
        && configuration.replicas.contains(configuration.owner)
}

/// Whether both are the same nodes, whatever their ranks.
pub(super) fn same_nodes(one: &Replicas, other: &Replicas) -> bool {
    let (one, other) = (one.as_slice(), other.as_slice());
    one.len() == other.len() && one.iter().all(|it| other.contains(it))
}

fn put_epoch(bytes: &mut Vec<u8>, epoch: Epoch) {
    bytes.extend(epoch.counter.to_le_bytes());
    bytes.extend(epoch.node.0.to_le_bytes());
}

fn put_configuration(bytes: &mut Vec<u8>, it: &Configuration) {
    bytes.extend(it.version.to_le_bytes());
    put_epoch(bytes, it.epoch);
    bytes.extend(it.owner.0.to_le_bytes());
    let nodes = it.replicas.as_slice();
    bytes.push(u8::try_from(nodes.len()).unwrap_or(u8::MAX));
    for node in nodes {
        bytes.extend(node.0.to_le_bytes());
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn node(&mut self) -> Option<NodeId> {
        Some(NodeId(u128::from_le_bytes(self.take()?)))
    }

    fn epoch(&mut self) -> Option<Epoch> {
        Some(Epoch {
            counter: u64::from_le_bytes(self.take()?),
            node: self.node()?,
        })
    }

    fn configuration(&mut self) -> Option<Configuration> {
        let version = u64::from_le_bytes(self.take()?);
        let epoch = self.epoch()?;
        let owner = self.node()?;
        let [count] = self.take()?;
        let nodes: Vec<NodeId> = (0..count).map_while(|_| self.node()).collect();
        let replicas = Replicas::of(&nodes);
        let whole = nodes.len() == usize::from(count)
            && nodes.len() <= REPLICAS_MAX
            && replicas.as_slice().len() == nodes.len();
        whole.then_some(Configuration {
            version,
            epoch,
            owner,
            replicas,
        })
    }

    fn register(&mut self) -> Option<Register> {
        let [flags] = self.take()?;
        if flags & !(COMPLETE | CHOSEN | ACCEPTED) != 0 {
            return None;
        }
        let promised = self.epoch()?;
        let chosen = match flags & CHOSEN {
            0 => None,
            _ => Some(self.configuration()?),
        };
        let accepted = match flags & ACCEPTED {
            0 => None,
            _ => Some((self.epoch()?, self.configuration()?)),
        };
        Some(Register {
            promised,
            chosen,
            accepted,
            complete: flags & COMPLETE != 0,
        })
    }
}
