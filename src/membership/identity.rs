//! What a node is called among members, and where it is reached.
//!
//! A member is its node id: a node that comes back, at whatever address, replaces its earlier self
//! by a higher boot counter, and one that was taken for dead by a higher renewal. Two nodes at one
//! address are two members, of which the one that is gone is found dead like any other, since what
//! is sent to a node goes over connections that are bound to its id.
//!
//! Sent inside gossip as `postcard` writes `(node, address, boot, renewal)`; a golden vector pins it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{BootCounter, NodeId};

/// Longest address: a DNS name of 253 bytes, a colon and a port.
pub(crate) const ADDRESS_BYTES_MAX: usize = 259;

/// Where a node is reached: `host:port`, with a DNS name or an IP address (`[v6]:port`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(Box<str>);

impl Address {
    /// The address that `text` spells, or `None` if it is not of the form `host:port`.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let sound = text.len() <= ADDRESS_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && parts(text).is_some();
        sound.then(|| Self(text.into()))
    }

    /// As it was spelt.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name or IP address, without brackets, and the port.
    pub(crate) fn host_and_port(&self) -> (&str, u16) {
        // `new` has made sure that there are both.
        parts(&self.0).unwrap_or((&self.0, 0))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn parts(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&port| port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.is_empty()).then_some((host, port))
}

/// A member: one life of a node, between two times that it was taken for dead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "Spoken", try_from = "Spoken")]
pub(crate) struct Identity {
    /// Which node.
    pub(crate) node: NodeId,
    /// Where the others reach it.
    pub(crate) address: Address,
    /// Which start of it.
    pub(crate) boot: BootCounter,
    /// How often it was taken for dead since then, and came back.
    pub(crate) renewal: u32,
}

impl Identity {
    /// A node that has just started.
    pub(crate) const fn new(node: NodeId, address: Address, boot: BootCounter) -> Self {
        Self {
            node,
            address,
            boot,
            renewal: 0,
        }
    }

    const fn life(&self) -> (u64, u32) {
        (self.boot.0, self.renewal)
    }
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        let renewal = self.renewal.checked_add(1)?;
        Some(Self {
            renewal,
            ..self.clone()
        })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        // Of two that claim the same life all nodes must keep the same one, whichever.
        (self.life(), &self.address) > (adversary.life(), &adversary.address)
    }
}

/// An [`Identity`] as it is sent.
#[derive(Serialize, Deserialize)]
struct Spoken(u128, String, u64, u32);

impl From<Identity> for Spoken {
    fn from(identity: Identity) -> Self {
        Self(
            identity.node.0,
            identity.address.0.into(),
            identity.boot.0,
            identity.renewal,
        )
    }
}

/// An identity with an address that is none.
#[derive(Debug, thiserror::Error)]
#[error("a member's address is not of the form host:port")]
struct BadAddress;

impl TryFrom<Spoken> for Identity {
    type Error = BadAddress;

    fn try_from(spoken: Spoken) -> Result<Self, BadAddress> {
        let Spoken(node, address, boot, renewal) = spoken;
        Ok(Self {
            node: NodeId(node),
            address: Address::new(&address).ok_or(BadAddress)?,
            boot: BootCounter(boot),
            renewal,
        })
    }
}

#[cfg(test)]
mod tests {
    use foca::Identity as _;

    use super::*;

    fn identity(address: &str, boot: u64, renewal: u32) -> Identity {
        Identity {
            node: NodeId(300),
            address: Address::new(address).unwrap(),
            boot: BootCounter(boot),
            renewal,
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let cases = [
            ("limits.example:7400", Some(("limits.example", 7400))),
            ("127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("[::1]:7400", Some(("::1", 7400))),
            ("limits.example", None),
            ("::1:7400", None),
            ("[::1:7400", None),
            (":7400", None),
            ("host:0", None),
            ("host:70000", None),
            ("a host:7400", None),
            ("h\u{f6}st:7400", None),
            ("host\n:7400", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let address = Address::new(text);
            let parts = address.as_ref().map(Address::host_and_port);
            assert_eq!(parts, expected, "{text:?}");
        }
        let long = format!("{}:7400", "h".repeat(ADDRESS_BYTES_MAX - 5));
        assert!(Address::new(&long).is_some());
        assert!(Address::new(&format!("h{long}")).is_none());
    }

    #[test]
    fn the_later_life_of_a_node_wins() {
        let lives = [
            identity("a:1", 1, 0),
            identity("b:1", 1, 0),
            identity("a:1", 1, 1),
            identity("z:1", 1, 2),
            identity("a:1", 2, 0),
        ];
        for (n, earlier) in lives.iter().enumerate() {
            assert!(!earlier.win_addr_conflict(earlier));
            for later in &lives[n + 1..] {
                assert!(later.win_addr_conflict(earlier), "{later:?} {earlier:?}");
                assert!(!earlier.win_addr_conflict(later), "{earlier:?} {later:?}");
            }
        }
        let renewed = lives[4].renew().unwrap();
        assert!(renewed.win_addr_conflict(&lives[4]));
        assert_eq!(identity("a:1", 1, u32::MAX).renew(), None);
    }

    #[test]
    fn identities_keep_their_bytes_and_bad_addresses_are_refused() {
        let bytes = postcard::to_stdvec(&identity("a:1", 2, 3)).unwrap();
        assert_eq!(bytes, [0xac, 0x02, 3, b'a', b':', b'1', 2, 3]);
        let back: Identity = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back, identity("a:1", 2, 3));
        let bad = [0xac, 0x02, 3, b'a', b':', b'0', 2, 3];
        assert!(postcard::from_bytes::<Identity>(&bad).is_err());
    }
}
