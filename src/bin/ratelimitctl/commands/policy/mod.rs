//! `policy`: the policy set of the whole cluster.

mod command;
mod difference;

pub(crate) use command::{Args, run};
