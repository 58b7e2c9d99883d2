//! WHO MAY DECIDE: the registers that say who owns each slot, and the one procedure seal, install,
//! accept that moves a slot, takes it back after a start, and later takes it over from a dead owner.
//!
//! `step(now, event) -> effects`, and nothing else: no socket, disk, clock or thread. The rules are
//! those of the replication protocol: O (owner), R (replica), T (the procedure), by their names. A
//! slot's owner is what a majority of its replicas has accepted; with one replica that is the owner
//! alone, and the procedure is a plain hand-off.
//!
//! - [`record`]: the durable register of a slot, what it decides, and its bytes.
//! - [`message`]: what nodes tell each other.
//! - [`event`]: what can happen to a node, and what it wants done.
//! - [`member`]: R3 and R4, as a replica.
//! - [`candidate`], [`attempt`], [`spread`], [`interrupt`], [`coordinator`]: T1 to T9, for a slot, a
//!   batch, its replicas, what comes between, and all batches.
//! - [`owner`]: O1, O4, O5: what is served in this life of the process.
//! - [`following`], [`becoming`], [`catch_up`]: R1 and R2, how a replica comes to have what its owner
//!   has.
//! - [`reconfigure`], [`takeover`]: when the replicas of a slot change, and when a silent owner's slots
//!   are taken over.
//! - [`rebalance`], [`gossip`], [`vouch`]: why a slot moves, how others hear of it, and what the
//!   operator's word does.
//! - [`ledger`], [`outbox`]: what all of these share, and what a step wants done.
//! - [`ownership`]: the one door, `step`; [`reconcile`]: what follows when a register has changed.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]
#![warn(clippy::wildcard_enum_match_arm)]

mod attempt;
mod becoming;
mod candidate;
mod catch_up;
mod coordinator;
pub(crate) mod event;
mod following;
mod gossip;
mod interrupt;
mod ledger;
mod member;
pub(crate) mod message;
mod outbox;
mod owner;
#[expect(
    clippy::module_inception,
    reason = "the struct that the room is named after is in the file named after it"
)]
mod ownership;
mod rebalance;
mod reconcile;
mod reconfigure;
pub(crate) mod record;
mod refusal;
mod settings;
mod spread;
mod takeover;
mod vouch;

#[cfg(test)]
mod tests;

pub(crate) use coordinator::Stage;
pub(crate) use ownership::Ownership;
#[cfg(test)]
pub(crate) use ownership::Standing;
pub(crate) use refusal::{Refusal, Refusals};
pub(crate) use settings::Settings;
