//! `[http]` of `node.toml`: whether and how the node answers HTTP.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::diagnostic::{Diagnostic, Severity};
use super::node::NodeConfig;
use super::node_file::{Origin, address, count};
use super::reader::{Reader, Table};
use crate::types::{BearerToken, HeaderStyle, KeyFrom};

/// Statuses by which a request can be refused.
const DENY_STATUS: RangeInclusive<u64> = 400..=599;
const TRUSTED_PROXIES: RangeInclusive<u64> = 0..=16;
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// The keys of the table.
pub(super) const HTTP_KEYS: &[&str] = &[
    "listen",
    "headers",
    "deny_status",
    "key_from",
    "trusted_proxies",
    "token_file",
    "timeout",
];

/// `[http]`: whether and how the node answers HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpConfig {
    /// `listen`: address and port (TCP). `None`, the default: the node answers no HTTP.
    pub listen: Option<SocketAddr>,
    /// `headers`: which headers tell of limits. Default `"ietf"`.
    pub headers: HeaderStyle,
    /// `deny_status`: the status of a denial, 400 to 599. Default 429; nginx's `auth_request` knows
    /// 401 and 403 only.
    pub deny_status: u16,
    /// `key_from`: where the key comes from that no request names: `"request"` (the default: it must),
    /// `"client-address"` or `"header:NAME"`.
    pub key_from: KeyFrom,
    /// `trusted_proxies`: how many proxies stand in front whose `X-Forwarded-For` is believed, 0 to
    /// 16. Default 0: the client is who connects.
    pub trusted_proxies: usize,
    /// What whoever looks at keys or resets them must show as `Authorization: Bearer`, for programs
    /// that embed a node; no key of the file.
    pub token: Option<BearerToken>,
    /// `token_file`: the file that holds it. Default none: nobody may.
    pub token_file: Option<PathBuf>,
    /// `timeout`: how long a request waits that does not say, 1 ms to 1 min. Default 1 s.
    pub timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: None,
            headers: HeaderStyle::default(),
            deny_status: 429,
            key_from: KeyFrom::default(),
            trusted_proxies: 0,
            token: None,
            token_file: None,
            timeout: Duration::from_secs(1),
        }
    }
}

/// Reads the table; its relative paths are relative to `base`.
pub(super) fn http(reader: &mut Reader<'_>, table: &Table<'_>, base: &Path) -> HttpConfig {
    let default = HttpConfig::default();
    let styles = HeaderStyle::ALL.map(|it| (it.as_str(), it));
    let status = reader.whole(table, "deny_status", DENY_STATUS);
    let config = HttpConfig {
        listen: address(reader, table, "listen"),
        headers: reader
            .word(table, "headers", &styles)
            .unwrap_or(default.headers),
        deny_status: status
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or(default.deny_status),
        key_from: key_from(reader, table).unwrap_or(default.key_from),
        trusted_proxies: count(reader, table, "trusted_proxies", TRUSTED_PROXIES)
            .unwrap_or(default.trusted_proxies),
        token: None,
        token_file: reader.path(table, "token_file").map(|it| base.join(it)),
        timeout: reader
            .duration(table, "timeout", TIMEOUT)
            .unwrap_or(default.timeout),
    };
    if let (Some(found), false) = (
        table.get("trusted_proxies"),
        config.key_from == KeyFrom::ClientAddress || config.trusted_proxies == 0,
    ) {
        let message = "`trusted_proxies` does nothing unless key_from is \"client-address\"";
        reader.warn(&found.span, message, None);
    }
    config
}

fn key_from(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<KeyFrom> {
    let text = reader.text(table, "key_from")?;
    let name = text.value.strip_prefix("header:").map(str::trim);
    match (text.value, name) {
        ("request", _) => Some(KeyFrom::Request),
        ("client-address", _) => Some(KeyFrom::ClientAddress),
        (_, Some(name)) if is_header_name(name) => Some(KeyFrom::Header(name.to_ascii_lowercase())),
        _ => {
            let message = format!("`key_from` cannot be \"{}\"", text.value);
            let hint = "write \"request\", \"client-address\" or \"header:x-api-key\"";
            reader.error(&text.span, message, Some(hint));
            None
        }
    }
}

fn is_header_name(name: &str) -> bool {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(fit)
}

impl NodeConfig {
    /// Warns of HTTP that anybody can reach.
    pub(super) fn check_http(&self, origin: &Origin) -> Option<Diagnostic> {
        let listen = self.http.listen?;
        if listen.ip().to_canonical().is_loopback() {
            return None;
        }
        let message = format!(
            "whoever can reach http://{listen} can use all limits, since checks over HTTP need no certificate"
        );
        let hint = "let only your proxies reach it, or listen on 127.0.0.1";
        Some(origin.diagnostic(Severity::Warning, origin.http.as_ref(), &message, hint))
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
