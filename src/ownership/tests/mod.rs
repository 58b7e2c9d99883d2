//! The promises of the room.

mod answers;
mod arbitrary;
mod gossip;
mod moves;
mod record;
mod replicated;
mod schedules;
mod steps;
mod vouched;
mod world;
