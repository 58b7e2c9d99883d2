//! The owner's side: what goes to whom, who has it, and how far all of it is on a majority.
//!
//! - [`peers`]: each peer's link, and how far it has acknowledged what was sent on it.
//! - [`classes`]: slots by the peers that are in sync for them: what holds for one of a class holds
//!   for all, so that an acknowledgement costs the classes and not the slots.
//! - [`served`]: a slot that is served, and who gets its commits.
//! - [`parts`]: a commit by the peers that its groups go to.
//! - [`losses`]: tickets whose commits no majority has.
//! - [`tracker`]: the door; [`standing`]: how a slot stands and moves; [`heard`]: what replicas say.
//!
//! **The invariant.** The watermark passes a commit only when each of its slots is on a majority at
//! the reign that the commit was made in, or is lost for that ticket.

mod classes;
mod heard;
mod losses;
mod parts;
mod peers;
mod served;
mod standing;
#[expect(
    clippy::module_inception,
    reason = "the struct that the room is named after is in the file named after it"
)]
mod tracker;

pub(crate) use parts::Parts;
pub(crate) use tracker::{PeerView, Tracker};
