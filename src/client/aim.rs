//! Where a check belongs: its key's slot, and the name of its state, both from the key's hash under
//! the cluster's secret.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::check::Check;
use super::core::Core;
use super::denial_cache::{Asked, DenialId};
use crate::routing::KeyHasher;
use crate::types::{Decision, Slot};

/// Where a check belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aim {
    pub(super) slot: Slot,
    /// Names the key under its policy.
    pub(super) id: DenialId,
}

/// The cluster's key-hash secret, read by every call and changed only when the seeds lead to another
/// cluster. Who reads it while it changes aims wrong, which costs a round trip.
pub(super) struct Secret([AtomicU64; 2]);

impl Secret {
    /// This secret.
    pub(super) fn new(secret: &[u8; 16]) -> Self {
        let new = Self([AtomicU64::new(0), AtomicU64::new(0)]);
        new.set(secret);
        new
    }

    /// Another one from now on.
    pub(super) fn set(&self, secret: &[u8; 16]) {
        let bits = u128::from_le_bytes(*secret);
        let [low, high] = &self.0;
        low.store(low_half(bits), Ordering::Relaxed);
        high.store(low_half(bits >> 64), Ordering::Relaxed);
    }

    /// Where a check of `key` under `policy` belongs.
    pub(super) fn aim(&self, policy: &str, key: &str) -> Aim {
        let [low, high] = &self.0;
        let low = u128::from(low.load(Ordering::Relaxed));
        let high = u128::from(high.load(Ordering::Relaxed));
        let hasher = KeyHasher::new(&(low | high << 64).to_le_bytes());
        let state = hasher.key(key).state_id(hasher.policy(policy));
        Aim {
            slot: state.slot(),
            id: state.0,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Core {
    /// Where a check belongs; `None` while no routes are known.
    pub(super) fn aim(&self, check: &Check<'_>) -> Option<Aim> {
        self.aim_at(check.policy(), check.key())
    }

    /// Where a key under a policy belongs; `None` while no routes are known.
    pub(super) fn aim_at(&self, policy: &str, key: &str) -> Option<Aim> {
        let routed = self.routed.load(Ordering::Relaxed);
        routed.then(|| self.secret.aim(policy, key))
    }

    /// An earlier denial that answers the check, if there is one. Of limits that a request carries
    /// none is kept: they can be others each time.
    pub(super) fn denial(
        &self,
        check: &Check<'_>,
        aim: Option<Aim>,
        now: Duration,
    ) -> Option<Decision> {
        if check.is_carried() {
            return None;
        }
        self.denials.find(aim, check.asked(), now)
    }

    /// Keeps the answer to the check if it is a denial that stays true.
    pub(super) fn keep_denial(
        &self,
        check: &Check<'_>,
        aim: Option<Aim>,
        asked: Asked,
        decision: &Decision,
    ) {
        if !check.is_carried() {
            self.denials.keep(aim, check.asked(), asked, decision);
        }
    }

    /// For a call that gives permits of the key back: drops its denial, now and when the guard is
    /// dropped.
    pub(super) fn giving_back(&self, aim: Option<Aim>) -> impl Drop + '_ {
        self.denials.dropping(aim, || self.now())
    }
}

fn low_half(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_aimed_where_the_nodes_would_look_for_it() {
        let bytes = [9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let hasher = KeyHasher::new(&bytes);
        let secret = Secret::new(&[0; 16]);
        secret.set(&bytes);
        let aim = secret.aim("api", "user-42");
        let state = hasher.key("user-42").state_id(hasher.policy("api"));
        assert_eq!((aim.slot, aim.id), (state.slot(), state.0));
        let other = secret.aim("login", "user-42");
        assert_eq!(aim.slot, other.slot, "all policies of a key in one slot");
        assert_ne!(aim.id, other.id);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
