//! `top`: the cluster, live.

mod command;
mod screen;
mod scroll;

pub(crate) use command::{Args, run};
