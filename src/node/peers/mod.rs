//! The connections between the nodes of a cluster.
//!
//! Each node keeps one control connection to every other node, over which it talks, and listens on
//! those that the others keep to it. When both work, the two are in *session*: only then are frames
//! sent and delivered. When either is lost or made anew, the other is given up too and a new session
//! begins with empty queues on both sides, so that no message outlives the connection that it
//! belongs to (R6). Gossip goes in datagrams, session or not.
//!
//! - [`PeerNet`] lives on the control thread's runtime, dials, and hands out [`PeerEvent`]s.
//! - [`Door`] is shared with the workers, whose endpoints take in what the others dial: it says who
//!   is let in, and passes on what they send, by one bounded queue. When that is full, nothing more
//!   is read.
//! - A fetcher ([`bulk`]) opens bulk streams from wherever they are needed.
//! - A [`LinkDialer`] dials the connections that carry commits to replicas, and a [`LinkDoor`] takes
//!   those that others dial; what is said on them is no business of this room.
//! - [`join()`] makes a node without a cluster one of a cluster.
//!
//! Who a peer is, is decided by its certificate: the name in it belongs to one node id, as the
//! roster says, and a node id to the highest boot counter that was seen.

mod admission;
mod arrivals;
mod backoff;
mod bulk;
mod counts;
mod dial;
mod door;
mod event;
mod join;
mod link;
mod net;
mod outgoing;
mod own;
mod seeds;
mod session;
#[cfg(test)]
pub(super) mod tests;

pub(crate) use backoff::Backoff;
pub(crate) use bulk::{BulkError, BulkLine, BulkReader, BulkSender};
pub(crate) use door::Door;
pub(crate) use event::PeerEvent;
pub(crate) use join::{Joiner, join};
pub(crate) use link::{DialledLink, LinkDialer, LinkDoor, Misconduct, Passage, VisitingLink};
pub(crate) use net::PeerNet;
pub(crate) use own::{ClusterIdentity, Own, requests_answer};
