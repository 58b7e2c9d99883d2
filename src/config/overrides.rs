//! What the command line says beside `node.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::telemetry::LogFormat;

/// What the command line says; each field that is there beats the file's key of the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeOverrides {
    /// `--config`: the file; without it every key has its default.
    pub config: Option<PathBuf>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--policies`
    pub policies: Option<PathBuf>,
    /// `--certs`
    pub certs: Option<PathBuf>,
    /// `--create`
    pub create: Option<bool>,
    /// `--join`
    pub join: Option<Vec<String>>,
    /// `--advertise`
    pub advertise: Option<String>,
    /// `--weight`
    pub weight: Option<u32>,
    /// `--replicas`
    pub replicas: Option<u8>,
    /// `--zone`
    pub zone: Option<String>,
    /// `--insecure`
    pub insecure: Option<bool>,
    /// `--log-format`
    pub log_format: Option<LogFormat>,
    /// `--log-level`
    pub log_level: Option<String>,
    /// `--http`
    pub http: Option<SocketAddr>,
    /// `--http-cert`
    pub http_cert: Option<PathBuf>,
    /// `--http-key`
    pub http_key: Option<PathBuf>,
    /// `--resp`
    pub resp: Option<SocketAddr>,
}
