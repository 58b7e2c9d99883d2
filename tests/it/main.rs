//! Tests from the outside: the programs as a person or another program meets them.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![expect(
    clippy::print_stdout,
    reason = "shown when a test fails: seeds and logs"
)]

mod cli;
mod cluster;
mod concurrency;
mod crash;
mod damage;
mod disk;
mod evicted;
mod http;
mod https;
mod packaging;
mod real;
mod reload;
mod remembered;
mod shutdown;
mod support;
mod tidy;
