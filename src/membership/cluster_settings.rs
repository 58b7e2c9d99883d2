//! What the operator wants of the whole cluster: how many replicas a slot has. Every node keeps a
//! copy; of two the later one wins, so that all end with the same whatever they hear.
//!
//! ```text
//! settings = format (1; now 1) version (8, little-endian) replicas (1)
//! ```

const FORMAT: u8 = 1;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClusterSettings {
    /// Counts the changes; 0 is what a node starts with that has heard of none.
    version: u64,
    /// Nodes that hold each slot, if there are as many: 1 or 3.
    replicas: u8,
}

/// A number of replicas that no cluster has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a slot has 1 or 3 replicas, not {0}: with 2, the loss of either stops grants")]
pub(crate) struct NotReplicas(pub(crate) u8);

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            version: 0,
            replicas: 1,
        }
    }
}

impl ClusterSettings {
    /// Those of another node, or a cluster's first ones.
    ///
    /// # Errors
    /// [`NotReplicas`].
    pub(crate) fn new(version: u64, replicas: u8) -> Result<Self, NotReplicas> {
        match replicas {
            1 | 3 => Ok(Self { version, replicas }),
            other => Err(NotReplicas(other)),
        }
    }

    /// Counts the changes.
    pub(crate) const fn version(self) -> u64 {
        self.version
    }

    /// Nodes that hold each slot, if there are as many.
    pub(crate) const fn replicas(self) -> u8 {
        self.replicas
    }

    /// What holds after an operator has asked for `replicas`.
    ///
    /// # Errors
    /// [`NotReplicas`].
    pub(crate) fn with_replicas(self, replicas: u8) -> Result<Self, NotReplicas> {
        Self::new(self.version.saturating_add(1), replicas)
    }

    /// Takes over those of another node if they are later; whether they were.
    pub(crate) fn merge(&mut self, other: Self) -> bool {
        let later = other > *self;
        if later {
            *self = other;
        }
        later
    }

    /// The bytes to store.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.push(self.replicas);
        bytes
    }

    /// The reverse of [`ClusterSettings::to_bytes`]; `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[FORMAT], rest) = bytes.split_first_chunk()? else {
            return None;
        };
        let (version, &[replicas]) = rest.split_first_chunk()? else {
            return None;
        };
        Self::new(u64::from_le_bytes(*version), replicas).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_one_wins_on_every_node() {
        let first = ClusterSettings::default();
        let three = first.with_replicas(3).unwrap();
        let one = three.with_replicas(1).unwrap();
        for order in [
            [first, three, one],
            [one, three, first],
            [three, one, first],
        ] {
            let mut known = ClusterSettings::default();
            for it in order {
                known.merge(it);
            }
            assert_eq!(known, one);
        }
        // Two operators at once, at two nodes: one of both, the same everywhere.
        let (mut a, mut b) = (
            first.with_replicas(3).unwrap(),
            first.with_replicas(1).unwrap(),
        );
        a.merge(b);
        b.merge(a);
        assert_eq!(a, b);
    }

    #[test]
    fn settings_read_back_whole_or_not_at_all() {
        let settings = ClusterSettings::new(300, 3).unwrap();
        let bytes = settings.to_bytes();
        assert_eq!(bytes, [1, 44, 1, 0, 0, 0, 0, 0, 0, 3]);
        assert_eq!(ClusterSettings::from_bytes(&bytes), Some(settings));
        for len in 0..bytes.len() {
            assert_eq!(ClusterSettings::from_bytes(&bytes[..len]), None);
        }
        for bad in [[&bytes[..9], &[2]].concat(), [&bytes[..], &[0]].concat()] {
            assert_eq!(ClusterSettings::from_bytes(&bad), None);
        }
        assert_eq!(ClusterSettings::new(1, 2), Err(NotReplicas(2)));
    }
}
