//! Links: the connections that carry commits from an owner to its replicas.
//!
//! A link is dialled by the owner, to each node that it is in session with, and made anew when it is
//! lost or the session is. What was on its way is then lost, and the replica begins with all slots
//! behind (R6). It carries commits one way and acknowledgements the other, on one stream, in order.
//!
//! - The owner's side of each link runs on one of the workers ([`keeper`]), where most of the commits
//!   are made and waited for: commits are put into a peer's [`outbox`] by whoever commits, and written
//!   many at once; what is acknowledged goes straight to the replication, which wakes who waits. A
//!   thread of its own begins and ends them, and tells the replication that time passes ([`owner`]).
//! - The replica's side runs on the worker that has accepted the connection ([`replica`],
//!   [`visitor`]): all that is there is applied, appended as one record and acknowledged in one
//!   write. What the control loop and that task share of a link is a [`visit`]; what is said only
//!   once it is synced is in [`syncs`].
//! - [`event`] is what the control loop gets to know, [`heard`] who was heard of.
//!
//! What counts for what is decided by the replication room and by the table; here nothing is.

mod event;
mod handle;
mod heard;
mod keeper;
mod outbox;
mod owner;
mod replica;
mod syncs;
mod visit;
mod visitor;

pub(crate) use event::LinkEvent;
pub(crate) use handle::Links;
pub(crate) use owner::Berth;

#[cfg(test)]
pub(in crate::node) mod tests;
