//! WHAT THE OPERATOR WANTS: `node.toml` and `limits.toml`, read with every mistake reported at its
//! place.
//!
//! A file is either wholly good or not used at all. [`ConfigError`] holds all its mistakes at once,
//! each as `file:line:column: error: …` with the line and, where there is one, a hint.

mod cluster;
mod diagnostic;
mod envoy;
mod http;
mod keys;
mod limits;
mod node;
mod node_file;
mod overrides;
mod quantities;
mod reader;
mod redundant;
mod reload;
mod render;
mod resp;
mod source;
mod suggest;
mod units;
mod validate;

pub use crate::types::{BearerToken, HeaderStyle, KeyFrom, NotAToken};
pub use cluster::ClusterConfig;
pub use diagnostic::{Checked, ConfigError, Diagnostic, Place, Severity};
pub use http::HttpConfig;
pub use node::{
    AfterPowerLoss, ClockConfig, LogConfig, NodeConfig, ServerConfig, StorageConfig, TableConfig,
};
pub use overrides::NodeOverrides;
pub use reload::{PolicyFile, Watch};
pub use render::render_policies;
pub use resp::{Password, PasswordError, RespConfig};
pub use units::{UnitError, format_bytes, format_duration, parse_bytes, parse_duration};
pub use validate::{FileKind, validate};

#[cfg(test)]
mod samples;
