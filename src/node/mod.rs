//! THE COMPOSITION ROOT: builds a node from its configuration; the only room that knows every
//! other, the only one that reads time ([`clock`]).

pub mod clock;

mod batch;
mod cluster;
mod data_dir;
mod engine;
mod follow;
mod forward;
mod hot;
mod incomplete;
mod journal;
pub(crate) mod peer_wire;
pub(crate) mod peers;
mod policies;
mod policy_sets;
mod service;
mod slots;
mod stamp;
mod start;
mod status;
mod tally;
mod upkeep;
mod workers;

mod edges;
mod error;
mod http;
mod limiter;
mod links;
mod mend;
mod quarantine;
mod replication;
mod run;

pub use data_dir::{DataReport, DirectoryError, holds_counts, read_data_dir};
pub use error::StartError;
pub use limiter::{CheckError, Limiter, LimiterOptions};
pub use run::{Node, NodeOptions};

#[cfg(test)]
mod cold_tests;
#[cfg(test)]
mod slots_tests;
#[cfg(test)]
mod tests;
