//! `top`: the cluster, live.

mod command;
mod screen;

pub(crate) use command::{Args, run};
