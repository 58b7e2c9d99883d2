//! `ratelimitctl` as scripts see it: what stands on stdout, what on stderr, and the exit code.

mod ctl;

mod certs;
mod cluster;
mod config;
mod import;
mod load;
mod online;
mod redis;
mod replay;
mod wal;
