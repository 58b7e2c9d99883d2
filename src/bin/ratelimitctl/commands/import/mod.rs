//! `import`: turns the limits of other rate limiters into a `limits.toml`.
//!
//! - [`command`]: the command.
//! - [`draft`]: the policies and rules so far, and what could not be carried over.
//! - [`yaml`]: YAML with the lines that it stands in.
//! - [`envoy`]: a file of envoyproxy/ratelimit.
//! - [`limitador`]: a file of Limitador, whose conditions [`condition`] reads.

mod command;
mod condition;
mod draft;
mod envoy;
mod limitador;
#[cfg(test)]
mod tests;
mod yaml;

pub(crate) use command::{Args, run};
