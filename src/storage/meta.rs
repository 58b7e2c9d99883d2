//! The bytes of meta values, and the ones that storage keeps for itself.
//!
//! Every value is stored behind a crc32 (u32 LE) over its name and itself.
//!
//! | name | value |
//! |---|---|
//! | `format` | version of the data directory's format (u32 LE) |
//! | `identity` | node id (u128 LE), cluster id (u128 LE), key secret (16 bytes), slot count (u16 LE), 1 if it created the cluster (u8) |
//! | `boots` | how often a node was started on it (u64 LE) |
//! | `register/NNNN` | of a slot: who owns it (the ownership's bytes) |
//! | `slot/NNNN` | of a slot: whose state its rows are (`limiter::installed`) |
//! | `positions` | how far all slots were at the last checkpoint (`limiter::positions`) |
//! | `mending` | 1 while the states are made anew from their copy (`storage::mend`) |
//! | `journal_floor` | commit number up to which the journal was dropped (u64 LE) |

use std::fmt;

use crate::types::{NodeId, Slot};

/// Version of the format that this build writes.
pub(crate) const FORMAT_VERSION: u32 = 3;

/// The oldest version that this build reads: 2 has commit records without clocks, marks without n,
/// and no positions.
pub(crate) const FORMAT_OLDEST: u32 = 2;

pub(super) const FORMAT: &str = "format";
pub(super) const IDENTITY: &str = "identity";
pub(super) const BOOTS: &str = "boots";
pub(super) const JOURNAL_FLOOR: &str = "journal_floor";

/// What names of registers begin with.
pub(super) const REGISTER: &str = "register/";
/// What names of the marks of slots begin with.
pub(super) const SLOT: &str = "slot/";

/// The name of a slot's value.
pub(super) fn slot_name(prefix: &str, slot: Slot) -> String {
    format!("{prefix}{:04}", slot.number())
}

/// The slot of a name that [`slot_name`] gave.
pub(super) fn slot_of(prefix: &str, name: &str) -> Option<Slot> {
    Slot::new(name.strip_prefix(prefix)?.parse().ok()?)
}

/// What is born with a data directory and never changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The node.
    pub(crate) node: NodeId,
    /// The cluster it belongs to.
    pub(crate) cluster: u128,
    /// Under which the cluster hashes keys.
    pub(crate) key_secret: [u8; 16],
    /// Number of slots of the cluster.
    pub(crate) slot_count: u16,
    /// Whether the node created the cluster, and so owns all slots of which nothing else is known.
    pub(crate) founder: bool,
}

const IDENTITY_BYTES: usize = 51;

impl Identity {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(IDENTITY_BYTES);
        bytes.extend_from_slice(&self.node.0.to_le_bytes());
        bytes.extend_from_slice(&self.cluster.to_le_bytes());
        bytes.extend_from_slice(&self.key_secret);
        bytes.extend_from_slice(&self.slot_count.to_le_bytes());
        bytes.push(u8::from(self.founder));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; IDENTITY_BYTES] = bytes.try_into().ok()?;
        Some(Self {
            node: NodeId(u128::from_le_bytes(bytes[..16].try_into().ok()?)),
            cluster: u128::from_le_bytes(bytes[16..32].try_into().ok()?),
            key_secret: bytes[32..48].try_into().ok()?,
            slot_count: u16::from_le_bytes(bytes[48..50].try_into().ok()?),
            founder: match bytes[50] {
                0 => false,
                1 => true,
                _ => return None,
            },
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret stays one.
        f.debug_struct("Identity")
            .field("node", &self.node)
            .field("cluster", &format_args!("{:032x}", self.cluster))
            .field("slot_count", &self.slot_count)
            .finish_non_exhaustive()
    }
}

/// `value` as it is stored under `name`.
pub(super) fn wrap(name: &str, value: &[u8]) -> Vec<u8> {
    [&crc(name, value).to_le_bytes(), value].concat()
}

/// The value in what is stored under `name`; `None` if it is damaged.
pub(super) fn unwrap(name: &str, stored: &[u8]) -> Option<Vec<u8>> {
    let (head, value) = stored.split_first_chunk()?;
    (u32::from_le_bytes(*head) == crc(name, value)).then(|| value.to_vec())
}

fn crc(name: &str, value: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(name.as_bytes());
    crc.update(&[0]);
    crc.update(value);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reads_under_its_own_name_and_undamaged_only() {
        let stored = wrap("clock", b"12345");
        assert_eq!(
            unwrap("clock", &stored).as_deref(),
            Some(b"12345".as_slice())
        );
        assert_eq!(unwrap("clocks", &stored), None);
        for at in 0..stored.len() {
            let mut damaged = stored.clone();
            damaged[at] ^= 0x40;
            assert_eq!(unwrap("clock", &damaged), None, "byte {at}");
            assert_eq!(unwrap("clock", &stored[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn an_identity_reads_back_and_hides_its_secret() {
        let identity = Identity {
            node: NodeId(1 << 100),
            cluster: 77,
            key_secret: *b"sixteen  bytes!!",
            slot_count: 4096,
            founder: true,
        };
        let bytes = identity.encode();
        assert_eq!(Identity::decode(&bytes), Some(identity));
        assert_eq!(Identity::decode(&bytes[..50]), None);
        assert!(!format!("{identity:?}").contains("key_secret"));
    }
}
