//! The promises of the room.

mod answers;
mod arbitrary;
mod disk;
mod gossip;
mod judge;
mod moves;
mod record;
mod replica_schedules;
mod replicas;
mod replicated;
mod schedules;
mod steps;
mod vouched;
mod world;
