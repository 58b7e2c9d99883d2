//! DOES IT HOLD WHEN EVERYTHING GOES WRONG: whole clusters of the real state machines over a
//! simulated network, disk and clock, decided by one seed, judged by true time after every step.
//!
//! A run has two phases. In the first, faults happen and nothing may be granted that must not be
//! ([`invariants`]); in the second, faults have stopped and everything must become available again.
//! What is real: [`crate::ownership`], [`crate::replication`], the SWIM of [`crate::membership`], the window
//! and key states and slot clocks of [`crate::limiter`]. What is modelled after the node: commits
//! and their durability, links to replicas, transfers of states, proxies, clients with their denial cache, the weights
//! of nodes and what targets follow from them.
//!
//! - [`world`]: the world and its loop; [`options`] what a run is like.
//! - [`mod@mutations`]: protections that can be switched off, to see that the judge notices.
//! - [`run`]: what the binary and the tests call.

mod clients;
mod clocks;
mod copies;
mod coverage;
mod disk;
mod effects;
mod faults;
mod following;
mod follows;
mod installs;
mod invariants;
mod judge;
mod ledger;
mod linked;
mod links;
mod liveness;
mod lives;
mod machine;
mod messages;
mod mutations;
mod options;
mod queue;
mod random;
mod run;
mod serving;
mod sight;
mod starts;
mod state;
mod transfers;
mod upkeep;
mod wire;
mod words;
mod world;

pub use coverage::Coverage;
pub use judge::Violation;
pub use run::{Outcome, Plan, mutations, not_switched_off};

#[cfg(test)]
mod tests;
