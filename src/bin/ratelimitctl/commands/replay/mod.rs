//! `replay`: what would this limit have done to yesterday's traffic?
//!
//! The requests of a log are sorted by time, since servers write them as they end, and decided by
//! the limiter's own window on the log's time. Nothing is asked of a node.

mod access_log;
mod bounded_lines;
mod command;
mod decide;
mod report;
mod traffic;

pub(crate) use command::{Args, run};
