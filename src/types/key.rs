//! Keys and the hashes that stand for them everywhere below the wire.

use std::fmt;

use super::Slot;

/// Longest key, in bytes of UTF-8.
pub const KEY_BYTES_MAX: usize = 256;

/// Why a string cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nearly always a header or field that was not there; limiting all such requests together
    /// would be a surprise, so it is refused.
    #[error("the key is empty; send the user, address or API key that is limited")]
    Empty,
    /// Longer than [`KEY_BYTES_MAX`].
    #[error("the key has {bytes} bytes, at most {KEY_BYTES_MAX} are allowed; send a hash of it")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
}

/// Checks that `key` has 1 to [`KEY_BYTES_MAX`] bytes.
///
/// # Errors
/// [`KeyError`], naming what is wrong. Nothing was counted.
pub const fn check_key(key: &str) -> Result<(), KeyError> {
    match key.len() {
        0 => Err(KeyError::Empty),
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(KeyError::TooLong { bytes }),
    }
}

/// SipHash-1-3 of a key to 128 bits under the cluster's secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub u128);

impl KeyHash {
    /// The slot that the key lives in: the top 12 bits.
    pub const fn slot(self) -> Slot {
        Slot::of_hash(self.0)
    }

    /// The name of the key's state under a policy: the policy's hash mixed into the low 64 bits,
    /// so that all states of a key stay in one slot.
    pub const fn state_id(self, policy_hash: u64) -> StateId {
        StateId(self.0 ^ policy_hash as u128)
    }
}

/// Names the state of one key under one policy; also its key on disk (big-endian).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId(pub u128);

impl StateId {
    /// The slot that the state lives in: the top 12 bits.
    pub const fn slot(self) -> Slot {
        Slot::of_hash(self.0)
    }

    /// The 16 bytes under which the state is stored.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The reverse of [`StateId::to_bytes`].
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
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
    fn keys_have_1_to_256_bytes() {
        let cases = [
            (0, Err(KeyError::Empty)),
            (1, Ok(())),
            (256, Ok(())),
            (257, Err(KeyError::TooLong { bytes: 257 })),
        ];
        for (bytes, expected) in cases {
            assert_eq!(check_key(&"k".repeat(bytes)), expected, "{bytes} bytes");
        }
    }

    #[test]
    fn every_policy_of_a_key_lives_in_the_keys_slot() {
        let hash = KeyHash(0xabc0_0000_0000_0000_0123_4567_89ab_cdef);
        assert_eq!(hash.slot(), Slot::new(0xabc).unwrap());
        assert_eq!(hash.state_id(u64::MAX).slot(), hash.slot());
        assert_ne!(hash.state_id(1), hash.state_id(2));
        assert_eq!(
            StateId::from_bytes(hash.state_id(7).to_bytes()),
            hash.state_id(7)
        );
    }
}
