//! The promises of the room.

mod answers;
mod arbitrary;
mod disk;
mod forged;
mod gossip;
mod judge;
mod moves;
mod outside;
mod record;
mod replica_schedules;
mod replicas;
mod replicated;
mod sayings;
mod schedules;
mod steps;
mod vouched;
mod world;
