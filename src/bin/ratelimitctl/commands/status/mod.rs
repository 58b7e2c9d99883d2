//! `status`: how a node is.

mod command;
mod replicas;

pub(crate) use command::{Args, run};
