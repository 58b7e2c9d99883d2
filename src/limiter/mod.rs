//! MAY IT PASS: policies, the sliding window, key states and the table that holds them.
#![warn(
    clippy::arithmetic_side_effects,
    clippy::float_arithmetic,
    clippy::wildcard_enum_match_arm
)]

#[cfg(feature = "server")]
pub(crate) mod codec;
pub mod policy;
