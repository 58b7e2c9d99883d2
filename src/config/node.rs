//! `node.toml`: how one node runs. Every field of [`NodeConfig`] says its key, unit, default and
//! bounds; `config/node.toml` shows them all.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cluster::ClusterConfig;
use super::diagnostic::{Checked, ConfigError, Diagnostic, Place, Severity, conclude};
use super::http::HttpConfig;
use super::node_file::{Origin, read_node};
use super::overrides::NodeOverrides;
use super::resp::RespConfig;
use super::source::Source;
use crate::telemetry::{LogFormat, check_level};

/// How one node runs.
///
/// Paths in a file are relative to the file's directory, those on the command line to the working
/// directory, as is a default when there is no file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeConfig {
    /// `data_dir`: where counts are kept. Default `./data`.
    pub data_dir: PathBuf,
    /// `listen`: address and port for QUIC. Port 0 takes a free one. Default `127.0.0.1:7400`.
    pub listen: SocketAddr,
    /// `policies`: the policy file. Default `limits.toml`.
    pub policies: PathBuf,
    /// `certs`: directory of the certificates. `None`, the default: `certs` in `data_dir`; see
    /// [`NodeConfig::certs_dir`].
    pub certs: Option<PathBuf>,
    /// `insecure`: ask clients for no certificate. Default `false`.
    pub insecure: bool,
    /// `create`: make a new node if `data_dir` is empty. Default `false`, so that a wrong path or
    /// a disk that is not mounted does not begin with empty counts.
    pub create: bool,
    /// `workers`: threads that serve, 0 to 1024. Default 0: one for each core.
    pub workers: usize,
    /// `after_power_loss`: what to do after an unclean reboot. Default `"accept"`.
    pub after_power_loss: AfterPowerLoss,
    /// `[cluster]`: how the node finds the others, and how they reach it.
    pub cluster: ClusterConfig,
    /// `[table]`: how many states are kept in memory.
    pub table: TableConfig,
    /// `[storage]`: when counts are synced and checkpointed.
    pub storage: StorageConfig,
    /// `[clock]`: which time is credited after a reboot.
    pub clock: ClockConfig,
    /// `[server]`: bounds of what clients may ask at once.
    pub server: ServerConfig,
    /// `[log]`: what is logged and how.
    pub log: LogConfig,
    /// `[http]`: whether and how the node answers HTTP.
    pub http: HttpConfig,
    /// `[resp]`: the Redis protocol. Off by default.
    pub resp: RespConfig,
}

/// What to do after an unclean reboot, which may have cost the last second's grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AfterPowerLoss {
    /// `"accept"`: go on with what is there, and say what may be missing. The default.
    #[default]
    Accept,
    /// `"quarantine"`: deny every key (or do what its policy's `on_failure` says) until one
    /// window has passed.
    Quarantine,
}

impl AfterPowerLoss {
    /// The word used in `node.toml` and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Quarantine => "quarantine",
        }
    }
}

/// `[table]`: how many key states are kept in memory. At either bound states that are on disk
/// leave memory first; a live count is never thrown away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableConfig {
    /// `max_keys`: most states, 1 to 4,000,000,000. Default 10,000,000.
    pub max_keys: u64,
    /// `max_memory`: most bytes of states, 1 MiB to 16 TiB. Default 2 GiB: room for `max_keys`
    /// of usual size.
    pub max_memory_bytes: u64,
}

/// `[storage]`: when counts are synced and checkpointed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageConfig {
    /// `sync_interval`: time between background syncs, 10 ms to 1 min. Default 1 s. A power loss
    /// costs at most this long of the grants with durability `process`.
    pub sync_interval: Duration,
    /// `checkpoint_interval`: time between checkpoints, 100 ms to 1 hour. Default 5 s. The longer,
    /// the more is replayed by a start after a crash.
    pub checkpoint_interval: Duration,
    /// `checkpoint_bytes`: journal bytes after which a checkpoint is made at once, 1 MiB to
    /// 16 GiB. Default 64 MiB.
    pub checkpoint_bytes: u64,
}

/// `[clock]`: which time is credited after a reboot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClockConfig {
    /// `max_error`: how wrong the wall clock may be, 0 s to 1 day; that much less is credited for
    /// the time the machine was down. `"off"`, here `None`, credits nothing. Default 5 s.
    pub max_error: Option<Duration>,
}

/// `[server]`: bounds of what clients may ask at once.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerConfig {
    /// `max_connections`: most connections open at once, 1 to 1,000,000. Default 20,000.
    pub max_connections: usize,
    /// `max_in_flight`: most requests that wait for their answer at once, over all connections,
    /// 1 to 10,000,000. Default 65,536. What is above is answered `Overloaded` at once.
    pub max_in_flight: usize,
    /// `drain_timeout`: how long a stopping node hands its slots to others, and waits for requests
    /// in flight, 0 s to 1 hour. Default 30 s.
    pub drain_timeout: Duration,
}

/// `[log]`: what is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogConfig {
    /// `format`: `"human"` or `"json"`. Default `"human"`.
    pub format: LogFormat,
    /// `level`: a level, or directives such as `"info,distributed_rate_limiter::storage=debug"`.
    /// Default `"info"`. `RUST_LOG` in the environment wins.
    pub level: String,
    /// `otlp`: the OpenTelemetry collector that gets traces of sampled requests. Default none: what
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` says in the environment, or no traces.
    pub otlp: Option<String>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7400)),
            policies: PathBuf::from("limits.toml"),
            certs: None,
            insecure: false,
            create: false,
            workers: 0,
            after_power_loss: AfterPowerLoss::default(),
            cluster: ClusterConfig::default(),
            table: TableConfig::default(),
            storage: StorageConfig::default(),
            clock: ClockConfig::default(),
            server: ServerConfig::default(),
            log: LogConfig::default(),
            http: HttpConfig::default(),
            resp: RespConfig::default(),
        }
    }
}

impl Default for TableConfig {
    fn default() -> Self {
        Self {
            max_keys: 10_000_000,
            max_memory_bytes: 2 << 30,
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            sync_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(5),
            checkpoint_bytes: 64 << 20,
        }
    }
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self {
            max_error: Some(Duration::from_secs(5)),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            max_in_flight: 65_536,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Human,
            level: "info".to_owned(),
            otlp: None,
        }
    }
}

impl NodeConfig {
    /// The configuration from the file that `overrides` names, if any, with `overrides` on top,
    /// checked as a whole.
    ///
    /// # Errors
    /// [`ConfigError`] with every mistake of the file, or of the settings together.
    pub fn load(overrides: NodeOverrides) -> Result<Checked<Self>, ConfigError> {
        let mut origin = Origin::default();
        let mut config = Self::default();
        let mut diagnostics = Vec::new();
        if let Some(path) = &overrides.config {
            let file;
            (file, origin) = read_node(&Source::read(path)?, path.parent())?;
            (config, diagnostics) = (file.value, file.warnings);
        }
        diagnostics.extend(config.override_by(overrides, &mut origin));
        diagnostics.extend(config.check_against(&origin));
        conclude(config, diagnostics, 0)
    }

    /// What is wrong with the settings together, and what is odd: see [`Severity`].
    pub fn check(&self) -> Vec<Diagnostic> {
        self.check_against(&Origin::default())
    }

    /// The directory of the certificates.
    pub fn certs_dir(&self) -> PathBuf {
        self.certs
            .clone()
            .unwrap_or_else(|| self.data_dir.join("certs"))
    }

    /// Whether other machines may be able to reach the node.
    pub fn is_public(&self) -> bool {
        !self.listen.ip().to_canonical().is_loopback()
    }

    fn override_by(&mut self, overrides: NodeOverrides, origin: &mut Origin) -> Option<Diagnostic> {
        fn replace<T>(value: &mut T, by: Option<T>) -> bool {
            let replaced = by.is_some();
            if let Some(by) = by {
                *value = by;
            }
            replaced
        }
        let NodeOverrides {
            config: _,
            data_dir,
            listen,
            policies,
            certs,
            create,
            join,
            advertise,
            weight,
            replicas,
            zone,
            insecure,
            log_format,
            log_level,
            http,
            http_cert,
            http_key,
            resp,
        } = overrides;
        replace(&mut self.data_dir, data_dir);
        replace(&mut self.policies, policies);
        replace(&mut self.create, create);
        replace(&mut self.log.format, log_format);
        replace(&mut self.cluster.weight, weight);
        replace(&mut self.cluster.replicas, replicas);
        replace(&mut self.cluster.zone, zone);
        self.cluster.advertise = advertise.or_else(|| self.cluster.advertise.take());
        if replace(&mut self.cluster.join, join) {
            origin.join = None;
        }
        if let Some(listen) = resp {
            self.resp.listen = Some(listen);
            origin.resp = None;
        }
        self.certs = certs.or_else(|| self.certs.take());
        if replace(&mut self.listen, listen) {
            origin.listen = None;
        }
        if replace(&mut self.insecure, insecure) {
            origin.insecure = None;
        }
        if http.is_some() {
            self.http.listen = http;
            origin.http = None;
        }
        self.http.override_tls((http_cert, http_key), origin);
        let level = log_level?;
        let problem = check_level(&level).err().map(|error| {
            let message = error.to_string();
            Diagnostic::new(Severity::Error, "--log-level", None, &message, None)
        });
        self.log.level = level;
        problem
    }

    fn check_against(&self, origin: &Origin) -> Vec<Diagnostic> {
        let mut found = self.check_cluster(origin);
        found.extend(self.check_access(origin));
        found.extend(self.check_http(origin));
        found.extend(self.check_resp(origin));
        found
    }

    fn check_access(&self, origin: &Origin) -> Option<Diagnostic> {
        if !self.is_public() {
            return None;
        }
        let (listen, certs) = (self.listen, self.certs_dir());
        if self.insecure {
            let message = format!("`insecure` lets anyone who can reach {listen} use all limits");
            let hint = "give clients certificates with `ratelimitctl certs client`";
            let place = origin.insecure.as_ref();
            return Some(origin.diagnostic(Severity::Warning, place, &message, hint));
        }
        if has_certificates(&certs) {
            return None;
        }
        let certs = certs.display();
        let message = format!(
            "other machines can reach {listen}, but there are no certificates in {certs} to know clients by"
        );
        let hint = if self.cluster.join.is_empty() {
            format!(
                "make them with `ratelimitctl certs init --dir {certs}`, listen on 127.0.0.1, or set insecure"
            )
        } else {
            "make one with `ratelimitctl certs node` where the ca.key of the cluster is, and copy it here".to_owned()
        };
        Some(origin.diagnostic(Severity::Error, origin.listen.as_ref(), &message, &hint))
    }
}

fn has_certificates(dir: &Path) -> bool {
    dir.read_dir()
        .is_ok_and(|mut entries| entries.next().is_some())
}

impl Origin {
    pub(super) fn diagnostic(
        &self,
        severity: Severity,
        place: Option<&Place>,
        message: &str,
        hint: &str,
    ) -> Diagnostic {
        let file = match (place, &self.file) {
            (Some(_), Some(file)) => file.as_str(),
            (_, _) => "settings",
        };
        Diagnostic::new(severity, file, place.cloned(), message, Some(hint))
    }
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
