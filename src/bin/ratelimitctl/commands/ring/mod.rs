//! `ring`: the whole cluster, as all its nodes see it.

mod command;
mod drawn;
mod lists;

pub(crate) use command::{Args, run};
