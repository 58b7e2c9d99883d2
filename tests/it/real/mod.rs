//! Programs of others against a running cluster of ours, one file a program. `tools/real` installs them;
//! where one is missing its test fails and says so.

mod asking;
mod backend;
mod caddy;
mod envoy;
mod metrics;
mod nginx;
mod openapi;
mod page;
mod program;
mod python;
mod redis;
