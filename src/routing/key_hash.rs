//! Hashes keys and policy names under the cluster's secret: SipHash-1-3 (Aumasson and Bernstein,
//! 2012), to 128 and 64 bits. Keyed, so that nobody outside can choose keys that collide, and so
//! that a disk tells nothing about the keys that were limited.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use super::sip13::Sip13;
use crate::types::KeyHash;

/// Hashes under one secret.
#[derive(Clone)]
pub(crate) struct KeyHasher {
    keys: Sip13,
    policies: SipHasher13,
}

impl KeyHasher {
    /// A hasher under `secret`.
    pub(crate) fn new(secret: &[u8; 16]) -> Self {
        let mut policies = SipHasher13::new_with_key(secret);
        policies.write(b"policy\0");
        Self {
            keys: Sip13::new(secret),
            policies,
        }
    }

    /// The hash of a key.
    #[inline]
    pub(crate) fn key(&self, key: &str) -> KeyHash {
        KeyHash(self.keys.hash(key.as_bytes()))
    }

    /// The hash of a policy's name.
    pub(crate) fn policy(&self, name: &str) -> u64 {
        let mut hasher = self.policies;
        hasher.write(name.as_bytes());
        hasher.finish128().h1
    }
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher { secret: .. }")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored rows are named by these: they may never change.
    #[test]
    fn hashes_keep_their_values() {
        let hasher = KeyHasher::new(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!(
            format!("{:?}", hasher.key("")),
            "KeyHash(013030dd6adb62fdbea58827b2bc7ee7)"
        );
        assert_eq!(
            format!("{:?}", hasher.key("user-42")),
            "KeyHash(fa1e596a7801a28c1480d1661dadf4ee)"
        );
        assert_eq!(hasher.policy("api"), 17_490_850_420_875_453_988);
    }
}
