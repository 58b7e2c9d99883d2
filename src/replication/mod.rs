//! IS IT ON ENOUGH NODES: which commits a majority of their slots' replicas has, and what a replica
//! takes in.
//!
//! Plain calls that return values: no socket, disk, clock or thread. The rules are those of the
//! replication protocol: O2 and O3 for the owner, R1 and R6 for the replica.
//!
//! - [`tracker`]: the owner's side. What goes to whom, who has what, how far all is on a majority,
//!   and what is lost because there is none.
//! - [`follower`]: the replica's side of one link: apply, keep for later, or refuse.
//! - [`waiters`]: who waits until a commit is on a majority.
//! - [`marks`]: appended or synced, for numbers of commits.
//! - [`refusal`]: what was refused of what peers said; [`report`]: what the ownership is to be told.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::float_arithmetic)
)]
#![warn(clippy::wildcard_enum_match_arm)]

mod follower;
mod marks;
mod refusal;
mod report;
mod tracker;
mod waiters;

#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "internals"))]
pub(crate) use follower::Group;
pub(crate) use follower::{Follower, Found, Taken};
pub(crate) use marks::{Goal, Marks};
pub(crate) use refusal::{Refusal, Refusals};
pub(crate) use report::Report;
pub(crate) use tracker::{Parts, PeerView, Tracker};
pub(crate) use waiters::{Queue, Waiters};
