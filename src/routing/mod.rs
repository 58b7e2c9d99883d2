//! WHOSE IS IT: the hash and slot of a key. Which node owns a slot comes with the cluster.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]
#![warn(clippy::wildcard_enum_match_arm)]

mod key_hash;
mod sip13;

pub(crate) use key_hash::KeyHasher;
