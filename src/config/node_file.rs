//! Reads the keys of `node.toml`; [`NodeConfig`] tells what each means.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use toml::de::DeValue;

use super::cluster::{CLUSTER_KEYS, cluster};
use super::diagnostic::{Checked, ConfigError, Place};
use super::http::{HTTP_KEYS, HTTP_TLS_KEYS, HttpConfig, http};
use super::node::{
    AfterPowerLoss, ClockConfig, LogConfig, NodeConfig, ServerConfig, StorageConfig, TableConfig,
};
use super::reader::{Reader, Table, read};
use super::resp::{RESP_KEYS, resp};
use super::source::Source;
use crate::telemetry::{LogFormat, check_level};

const WORKERS: RangeInclusive<u64> = 0..=1024;
const MAX_KEYS: RangeInclusive<u64> = 1..=4_000_000_000;
const MAX_MEMORY: RangeInclusive<u64> = 1 << 20..=16 << 40;
const SYNC_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const CHECKPOINT_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);
const CHECKPOINT_BYTES: RangeInclusive<u64> = 1 << 20..=16 << 30;
const MAX_ERROR: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(86_400);
const MAX_CONNECTIONS: RangeInclusive<u64> = 1..=1_000_000;
const MAX_IN_FLIGHT: RangeInclusive<u64> = 1..=10_000_000;
const DRAIN_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

/// The keys at the top of the file.
pub(super) const TOP_KEYS: &[&str] = &[
    "data_dir",
    "listen",
    "policies",
    "certs",
    "insecure",
    "create",
    "workers",
    "after_power_loss",
    "cluster",
    "table",
    "storage",
    "clock",
    "server",
    "log",
    "http",
    "resp",
];

/// All tables with their keys; the file itself has no name.
pub(super) const TABLES: &[(&str, &[&str])] = &[
    ("", TOP_KEYS),
    ("cluster", CLUSTER_KEYS),
    ("table", &["max_keys", "max_memory"]),
    (
        "storage",
        &["sync_interval", "checkpoint_interval", "checkpoint_bytes"],
    ),
    ("clock", &["max_error"]),
    (
        "server",
        &["max_connections", "max_in_flight", "drain_timeout"],
    ),
    ("log", &["format", "level", "otlp"]),
    ("http", HTTP_KEYS),
    ("resp", RESP_KEYS),
];

/// Where the settings that are checked together come from.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    pub(super) file: Option<String>,
    pub(super) listen: Option<Place>,
    pub(super) insecure: Option<Place>,
    pub(super) join: Option<Place>,
    pub(super) http: Option<Place>,
    pub(super) http_tls: Option<Place>,
    pub(super) resp: Option<Place>,
}

/// Reads a node's configuration; its relative paths are relative to `base`.
pub(super) fn read_node(
    source: &Source,
    base: Option<&Path>,
) -> Result<(Checked<NodeConfig>, Origin), ConfigError> {
    let mut origin = Origin {
        file: Some(source.file.clone()),
        ..Origin::default()
    };
    let base = base.unwrap_or_else(|| Path::new(""));
    let checked = read(source, |reader, top| {
        let place = |key| top.get(key).map(|found| source.place(&found.span));
        origin.listen = place("listen");
        origin.insecure = place("insecure");
        let inner = |table, key| match top.get(table).map(|found| found.value) {
            Some(DeValue::Table(keys)) => keys.get(key).map(|it| source.place(&it.span())),
            Some(_) | None => None,
        };
        origin.join = inner("cluster", "join");
        origin.http = inner("http", "listen");
        let mut tls = HTTP_TLS_KEYS.iter();
        origin.http_tls = tls.find_map(|key| inner("http", key));
        origin.resp = inner("resp", "listen");
        node(reader, top, base)
    })?;
    Ok((checked, origin))
}

fn node(reader: &mut Reader<'_>, top: &Table<'_>, base: &Path) -> NodeConfig {
    only_known(reader, top);
    let default = NodeConfig::default();
    let path = |reader: &mut Reader<'_>, key| reader.path(top, key).map(|path| base.join(path));
    let power_loss = [AfterPowerLoss::Accept, AfterPowerLoss::Quarantine];
    NodeConfig {
        data_dir: path(reader, "data_dir").unwrap_or_else(|| base.join(&default.data_dir)),
        policies: path(reader, "policies").unwrap_or_else(|| base.join(&default.policies)),
        certs: path(reader, "certs"),
        listen: address(reader, top, "listen").unwrap_or(default.listen),
        insecure: reader.flag(top, "insecure").unwrap_or(default.insecure),
        create: reader.flag(top, "create").unwrap_or(default.create),
        workers: count(reader, top, "workers", WORKERS).unwrap_or(default.workers),
        after_power_loss: reader
            .word(
                top,
                "after_power_loss",
                &power_loss.map(|it| (it.as_str(), it)),
            )
            .unwrap_or(default.after_power_loss),
        cluster: in_table(reader, top, "cluster", cluster),
        table: in_table(reader, top, "table", table),
        storage: in_table(reader, top, "storage", storage),
        clock: in_table(reader, top, "clock", clock),
        server: in_table(reader, top, "server", server),
        log: in_table(reader, top, "log", log),
        http: http_table(reader, top, base),
        resp: in_table(reader, top, "resp", |reader, table| {
            resp(reader, table, base)
        }),
    }
}

/// Reads the table of this name, or gives its default.
fn in_table<T: Default>(
    reader: &mut Reader<'_>,
    top: &Table<'_>,
    name: &'static str,
    read: impl FnOnce(&mut Reader<'_>, &Table<'_>) -> T,
) -> T {
    let Some(table) = reader.table(top, name) else {
        return T::default();
    };
    only_known(reader, &table);
    read(reader, &table)
}

fn http_table(reader: &mut Reader<'_>, top: &Table<'_>, base: &Path) -> HttpConfig {
    let Some(table) = reader.table(top, "http") else {
        return HttpConfig::default();
    };
    only_known(reader, &table);
    http(reader, &table, base)
}

fn only_known(reader: &mut Reader<'_>, table: &Table<'_>) {
    let known = TABLES.iter().find(|(name, _)| *name == table.name);
    let known = known.map_or(&[][..], |(_, keys)| keys);
    reader.only(table, known, TABLES);
}

/// The whole number at `key`.
pub(super) fn count(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &'static str,
    bounds: RangeInclusive<u64>,
) -> Option<usize> {
    let number = reader.whole(table, key, bounds)?;
    usize::try_from(number).ok()
}

/// The address and port at `key`.
pub(super) fn address(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    key: &'static str,
) -> Option<std::net::SocketAddr> {
    let text = reader.text(table, key)?;
    let parsed = text.value.parse().ok();
    if parsed.is_none() {
        let message = format!(
            "`{key}` cannot be \"{}\"; it must be an address and a port",
            text.value
        );
        reader.error(
            &text.span,
            message,
            Some("write it like \"127.0.0.1:7400\" or \"[::1]:7400\""),
        );
    }
    parsed
}

fn table(reader: &mut Reader<'_>, table: &Table<'_>) -> TableConfig {
    let default = TableConfig::default();
    TableConfig {
        max_keys: reader
            .whole(table, "max_keys", MAX_KEYS)
            .unwrap_or(default.max_keys),
        max_memory_bytes: reader
            .size(table, "max_memory", MAX_MEMORY)
            .unwrap_or(default.max_memory_bytes),
    }
}

fn storage(reader: &mut Reader<'_>, table: &Table<'_>) -> StorageConfig {
    let default = StorageConfig::default();
    StorageConfig {
        sync_interval: reader
            .duration(table, "sync_interval", SYNC_INTERVAL)
            .unwrap_or(default.sync_interval),
        checkpoint_interval: reader
            .duration(table, "checkpoint_interval", CHECKPOINT_INTERVAL)
            .unwrap_or(default.checkpoint_interval),
        checkpoint_bytes: reader
            .size(table, "checkpoint_bytes", CHECKPOINT_BYTES)
            .unwrap_or(default.checkpoint_bytes),
    }
}

fn clock(reader: &mut Reader<'_>, table: &Table<'_>) -> ClockConfig {
    let off = matches!(
        table.get("max_error").map(|found| found.value),
        Some(DeValue::String(text)) if text == "off"
    );
    if off {
        return ClockConfig { max_error: None };
    }
    let given = reader.duration(table, "max_error", MAX_ERROR);
    ClockConfig {
        max_error: given.or_else(|| ClockConfig::default().max_error),
    }
}

fn server(reader: &mut Reader<'_>, table: &Table<'_>) -> ServerConfig {
    let default = ServerConfig::default();
    ServerConfig {
        max_connections: count(reader, table, "max_connections", MAX_CONNECTIONS)
            .unwrap_or(default.max_connections),
        max_in_flight: count(reader, table, "max_in_flight", MAX_IN_FLIGHT)
            .unwrap_or(default.max_in_flight),
        drain_timeout: reader
            .duration(table, "drain_timeout", DRAIN_TIMEOUT)
            .unwrap_or(default.drain_timeout),
    }
}

fn log(reader: &mut Reader<'_>, table: &Table<'_>) -> LogConfig {
    let default = LogConfig::default();
    let formats = [LogFormat::Human, LogFormat::Json].map(|it| (it.as_str(), it));
    let format = reader.word(table, "format", &formats);
    let level = reader.text(table, "level").map(|text| {
        if let Err(error) = check_level(text.value) {
            let hint = "write trace, debug, info, warn, error or off";
            reader.error(&text.span, error, Some(hint));
        }
        text.value.to_owned()
    });
    LogConfig {
        format: format.unwrap_or(default.format),
        level: level.unwrap_or(default.level),
        otlp: reader.text(table, "otlp").map(|text| text.value.to_owned()),
    }
}
