//! The hashes that stand for keys everywhere below the wire.

use std::fmt;

use super::Slot;

/// SipHash-1-3 of a key to 128 bits under the cluster's secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyHash(pub(crate) u128);

impl KeyHash {
    /// The name of the key's state under a policy: the policy's hash mixed into the low 64 bits,
    /// so that all states of a key stay in one slot.
    pub(crate) const fn state_id(self, policy_hash: u64) -> StateId {
        StateId(self.0 ^ policy_hash as u128)
    }

    /// The slot that all states of the key live in.
    pub(crate) const fn slot(self) -> Slot {
        Slot::of_hash(self.0)
    }
}

/// Names the state of one key under one policy; also its key on disk (big-endian).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StateId(pub(crate) u128);

impl StateId {
    /// The slot that the state lives in: the top 12 bits.
    pub(crate) const fn slot(self) -> Slot {
        Slot::of_hash(self.0)
    }

    /// The lowest id of a slot, which stands for the slot as a whole where no state can be meant: no
    /// key's hash ever comes out at it.
    pub(crate) const fn first_of(slot: Slot) -> Self {
        Self((slot.number() as u128) << 116)
    }

    /// The 16 bytes under which the state is stored.
    pub(crate) const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The reverse of [`StateId::to_bytes`].
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({:032x})", self.0)
    }
}

impl fmt::Debug for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateId({:032x})", self.0)
    }
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_of_a_key_lives_in_the_keys_slot() {
        let hash = KeyHash(0xabc0_0000_0000_0000_0123_4567_89ab_cdef);
        assert_eq!(hash.state_id(0).slot(), Slot::new(0xabc).unwrap());
        assert_eq!(hash.state_id(u64::MAX).slot(), Slot::new(0xabc).unwrap());
        assert_ne!(hash.state_id(1), hash.state_id(2));
        assert_eq!(
            StateId::from_bytes(hash.state_id(7).to_bytes()),
            hash.state_id(7)
        );
    }
}
