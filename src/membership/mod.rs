//! WHO IS ALIVE: SWIM, driven without sockets or clock, and the roster of the cluster's nodes.
//! Advisory: nothing here moves a slot.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]
#![warn(clippy::wildcard_enum_match_arm)]
