//! WHO MAY DECIDE: the registers that say who owns each slot, and the one procedure seal, install,
//! accept that moves a slot, takes it back after a start, and later takes it over from a dead owner.
//!
//! `step(now, event) -> effects`, and nothing else: no socket, disk, clock or thread. The rules are
//! those of the replication protocol: O (owner), R (replica), T (the procedure), by their names. A
//! slot's owner is what a majority of its replicas has accepted; with one replica that is the owner
//! alone, and the procedure is a plain hand-off.
//!
//! - [`record`]: the durable register of a slot, and its bytes.
//! - [`message`]: what nodes tell each other.
//! - [`event`]: what can happen to a node, and what it wants done.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]
#![warn(clippy::wildcard_enum_match_arm)]

pub(crate) mod event;
pub(crate) mod message;
pub(crate) mod record;
