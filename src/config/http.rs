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
    "tls_cert",
    "tls_key",
    "tls_client_ca",
];

/// Those among them that name the files of TLS.
pub(super) const HTTP_TLS_KEYS: &[&str] = &["tls_cert", "tls_key", "tls_client_ca"];

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
    /// `tls_cert`: the file of the certificate that HTTPS is answered with, in PEM, with those behind
    /// it that lead to its authority. Default none: HTTP in the clear.
    pub tls_cert: Option<PathBuf>,
    /// `tls_key`: the file of its private key. Default none.
    pub tls_key: Option<PathBuf>,
    /// `tls_client_ca`: the file of the authorities whose certificates clients must have, whatever
    /// they ask for. Default none: anybody may ask.
    pub tls_client_ca: Option<PathBuf>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: None,
            headers: HeaderStyle::Ietf,
            deny_status: 429,
            key_from: KeyFrom::default(),
            trusted_proxies: 0,
            token: None,
            token_file: None,
            timeout: Duration::from_secs(1),
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
        }
    }
}

/// Reads the table; its relative paths are relative to `base`.
pub(super) fn http(reader: &mut Reader<'_>, table: &Table<'_>, base: &Path) -> HttpConfig {
    let default = HttpConfig::default();
    let styles = HeaderStyle::ALL.map(|it| (it.as_str(), it));
    let path = |reader: &mut Reader<'_>, key| reader.path(table, key).map(|it| base.join(it));
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
        token_file: path(reader, "token_file"),
        timeout: reader
            .duration(table, "timeout", TIMEOUT)
            .unwrap_or(default.timeout),
        tls_cert: path(reader, "tls_cert"),
        tls_key: path(reader, "tls_key"),
        tls_client_ca: path(reader, "tls_client_ca"),
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

impl HttpConfig {
    /// Takes what the command line says of TLS: a certificate and its key.
    pub(super) fn override_tls(
        &mut self,
        (cert, key): (Option<PathBuf>, Option<PathBuf>),
        origin: &mut Origin,
    ) {
        if cert.is_some() || key.is_some() {
            origin.http_tls = None;
        }
        self.tls_cert = cert.or_else(|| self.tls_cert.take());
        self.tls_key = key.or_else(|| self.tls_key.take());
    }

    /// What is wrong or odd with the files of TLS together: a message, and what to do.
    fn check_tls(&self) -> Option<(Severity, &'static str, &'static str)> {
        let together = "name both a certificate and its key, or neither for HTTP in the clear";
        match (&self.tls_cert, &self.tls_key, &self.tls_client_ca) {
            (Some(_), None, _) => {
                let message = "`tls_cert` is useless without its key: set `tls_key` too";
                Some((Severity::Error, message, together))
            }
            (None, Some(_), _) => {
                let message = "`tls_key` is useless without its certificate: set `tls_cert` too";
                Some((Severity::Error, message, together))
            }
            (None, None, Some(_)) => {
                let message =
                    "`tls_client_ca` would let anybody in without `tls_cert` and `tls_key`";
                Some((Severity::Error, message, "set these too, or leave it out"))
            }
            (Some(_), Some(_), _) if self.listen.is_none() => {
                let message = "`tls_cert` does nothing unless `listen` of [http] is set";
                let hint = "set it, such as \"0.0.0.0:7480\", or give --http";
                Some((Severity::Warning, message, hint))
            }
            (Some(_), Some(_), _) | (None, None, None) => None,
        }
    }
}

impl NodeConfig {
    /// Tells what is wrong with TLS, and warns of HTTP that anybody can reach.
    pub(super) fn check_http(&self, origin: &Origin) -> Vec<Diagnostic> {
        let tls = self.http.check_tls().map(|(severity, message, hint)| {
            origin.diagnostic(severity, origin.http_tls.as_ref(), message, hint)
        });
        tls.into_iter().chain(self.check_reach(origin)).collect()
    }

    fn check_reach(&self, origin: &Origin) -> Option<Diagnostic> {
        let listen = self.http.listen?;
        if listen.ip().to_canonical().is_loopback() || self.http.tls_client_ca.is_some() {
            return None;
        }
        let scheme = if self.http.tls_cert.is_some() {
            "https"
        } else {
            "http"
        };
        let message = format!(
            "whoever can reach {scheme}://{listen} can use all limits, since checks over HTTP need no certificate"
        );
        let hint = "let only your proxies reach it, listen on 127.0.0.1, or set tls_client_ca";
        Some(origin.diagnostic(Severity::Warning, origin.http.as_ref(), &message, hint))
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
