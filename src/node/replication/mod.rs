//! The way of a grant's wait for other nodes: commits out to the links, and who waits until a majority
//! has them.
//!
//! - [`replication`]: the one tracker of the node, behind its lock; what is looked at without it.
//! - [`send`]: a commit as frames, to each link its part.
//! - [`bits`]: sets of slots that are read without a lock.

mod bits;
#[expect(
    clippy::module_inception,
    reason = "the struct that the room is named after is in the file named after it"
)]
mod replication;
mod send;
#[cfg(test)]
mod tests;

pub(crate) use replication::Replication;
pub(crate) use send::Outgoing;
