//! `load`: a load generator. A closed loop of so many calls in flight, spread over connections and
//! threads, each thread with a runtime of its own.

mod command;
mod generate;
mod history;
mod keys;
mod progress;
mod report;
mod tally;
mod worker;

pub(crate) use command::{Args, run};
