//! `cluster`: what is of the whole cluster: whether it can lose a node, and its settings.

mod command;
mod replicas;
mod standing;

pub(crate) use command::{Args, run};
