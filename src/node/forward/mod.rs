//! Checks of keys that another node owns, or that wait a moment for their owner to be known: passed
//! on to the owner, at most once more when it turns out to be another one, and answered by the
//! policy's `on_failure` when the owner cannot be reached.
//!
//! The way of such a check: [`clustered`] asks the node's own limiter ([`local`]) first; what that
//! does not serve is sorted by owner into one request each ([`batch`]), sent at the same time over
//! this worker's own connections ([`peers`]), and the answers are sorted out ([`checks`]). A request
//! that another node has passed on is never passed on again: it is decided here, waits while its slot
//! is sealed here, or is told who owns it. So no check makes more than two hops, and one retry.
//!
//! A check of a key that is only in the store goes the same way, as far as a thread that reads it
//! ([`reading`]).
//!
//! A check waits for its own owner only: each owner, and each sealed slot, has a task of its own, and
//! each peer a queue of its own with a bound.

mod batch;
mod checks;
mod clustered;
mod commands;
mod forwarder;
mod local;
mod pace;
mod peers;
mod reading;
#[cfg(test)]
mod tests;

pub(crate) use clustered::Clustered;
pub(crate) use forwarder::{Forwarder, Waits};
pub(crate) use local::Local;
pub(crate) use peers::peer_setup;
