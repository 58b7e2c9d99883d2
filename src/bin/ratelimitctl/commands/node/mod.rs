//! `node`: a node's part in the cluster.

mod command;
mod drain;
mod remove;

pub(crate) use command::{Args, run};
