//! What the room promises, shown by its parts together.

mod gossip;
mod network;
mod roster;
