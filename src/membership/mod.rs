//! WHO IS ALIVE: SWIM, driven without sockets or clock, and the roster of the cluster's nodes.
//! Advisory: nothing here moves a slot.
//!
//! - [`identity`]: what a node is called among members, and where it is reached.
//! - [`swim`]: who answers, by probes, suspicion and gossip; `step(now, event) -> effects`.
//! - [`cluster_settings`]: how many replicas the operator wants.
//! - [`roster`]: the durable list of the cluster's nodes, merged alike on every node.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]
#![warn(clippy::wildcard_enum_match_arm)]

mod alarms;
pub(crate) mod cluster_settings;
mod config;
mod event;
pub(crate) mod identity;
mod packet;
mod random;
pub(crate) mod roster;
mod roster_bytes;
pub(crate) mod swim;
#[cfg(test)]
mod tests;
