//! The promises of the room.

mod moves;
mod world;
