//! `slot`: a slot on every node that has to do with it, side by side.

mod command;
mod drawn;

pub(crate) use command::{Args, run};
