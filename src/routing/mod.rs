//! WHOSE IS IT: the hash and slot of a key, who owns each slot, and who should.
//!
//! - [`placement`], [`ring`]: who should hold each slot, by the members alone.
//! - [`slot_map`]: who does own it, by the newest records known.
//! - [`router`]: where a check of a slot goes, from this node's point of view.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]
#![warn(clippy::wildcard_enum_match_arm)]

mod key_hash;
#[cfg(feature = "server")]
pub(crate) mod placement;
#[cfg(feature = "server")]
mod ring;
#[cfg(feature = "server")]
pub(crate) mod router;
mod sip13;
#[cfg(feature = "server")]
pub(crate) mod slot_map;

pub(crate) use key_hash::KeyHasher;
