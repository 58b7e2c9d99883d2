//! The cluster as all its nodes see it: asks every one, and compares what they say.
//!
//! - [`ask`]: finds the nodes and asks them all at the same time.
//! - [`picture`]: puts their answers together; where they differ, most of them are believed.
//! - [`replicas`]: on how many nodes the slots are.
//! - [`remarks`]: says in words what is not as it should be.
//! - [`slots`]: whose the slots are.

mod ask;
mod picture;
mod remarks;
mod replicas;
mod slots;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use ask::{Cluster, ToldSlot, find_node};
#[cfg(test)]
pub(crate) use picture::Answer;
pub(crate) use picture::{NodeLine, Picture, Seen};
pub(crate) use slots::{Range, Slots, moves, ranges};

/// A node's id as it is printed everywhere.
pub(crate) fn id(node: u128) -> String {
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        node >> 96,
        (node >> 80) & 0xffff,
        (node >> 64) & 0xffff,
        (node >> 48) & 0xffff,
        node & 0xffff_ffff_ffff
    )
}

/// Whether a node in this state has gone from the cluster: it owns nothing and is not asked.
pub(crate) fn has_gone(state: &str) -> bool {
    state == "left" || state == "removed"
}

/// The beginning of a node's id, which tells it from the others of its cluster.
pub(crate) fn short(node: u128) -> String {
    format!("{:08x}", node >> 96)
}
