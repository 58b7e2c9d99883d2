//! The node's part in its cluster: the one thread that carries out what membership, ownership and
//! policies want, and what the rest of the node sees of it.
//!
//! - [`mod@birth`]: how a node becomes one of its cluster, and the thread; [`stored`]: what
//!   its store says of that.
//! - [`control`]: the loop; [`talk`] is what peers and operators say to it, [`members`] who they are,
//!   [`targets`] who should hold what, [`effects`] what the ownership wants done.
//! - [`judge`]: what peers send and what cannot be; what this node must not do any more.
//! - [`replicas`]: what the ownership wants of the node as a replica.
//! - [`pull`] and [`hold`]: the two ends of a slot's way from node to node.
//! - [`seals`]: how long slots that move are without an owner.
//! - [`handle`], [`view`] and [`standings`]: what the rest of the node reads and asks.

mod birth;
mod control;
#[cfg(test)]
mod copy_tests;
mod effects;
mod handle;
mod hold;
mod judge;
mod members;
mod pull;
mod replicas;
mod seals;
mod stand_down;
mod standings;
mod stored;
mod talk;
mod targets;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use birth::{Membership, Part, birth};
pub(crate) use handle::Cluster;
pub(crate) use stored::{PolicyText, set_of};
pub(crate) use view::{owner, ring};
