//! MAY IT PASS: policies, the sliding window, key states and the table that holds them.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]
#![warn(clippy::wildcard_enum_match_arm)]

#[cfg(feature = "server")]
mod bucket_lists;
#[cfg(feature = "server")]
pub(crate) mod codec;
#[cfg(feature = "server")]
pub(crate) mod commit_record;
pub mod descriptors;
#[cfg(feature = "server")]
pub(crate) mod installed;
#[cfg(feature = "server")]
mod key_state;
pub mod policy;
#[cfg(feature = "server")]
pub(crate) mod positions;
#[cfg(feature = "server")]
pub(crate) mod reservation;
#[cfg(feature = "server")]
pub(crate) mod shape;
#[cfg(feature = "server")]
mod slot_clock;
#[cfg(feature = "server")]
mod slot_clocks;
#[cfg(feature = "server")]
pub(crate) mod table;
#[cfg(feature = "server")]
pub(crate) mod top_keys;
#[cfg(feature = "server")]
pub(crate) mod transfer;
#[cfg(feature = "server")]
pub mod window;

#[cfg(feature = "server")]
pub(crate) use reservation::RESERVATIONS_MAX;
#[cfg(feature = "server")]
pub(crate) use slot_clock::real_ms;
#[cfg(feature = "server")]
pub(crate) use slot_clocks::SlotClocks;

#[cfg(feature = "server")]
pub use key_state::{CostAboveLimit, KeyState, Verdict};
#[cfg(feature = "server")]
pub use slot_clock::{ClockStamp, SlotClock, StartClocks, resume};
