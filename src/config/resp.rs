//! `[resp]` of `node.toml`: the Redis protocol, which is off unless it is told where to listen.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Severity};
use super::node::NodeConfig;
use super::node_file::{Origin, address};
use super::reader::{Reader, Table};

/// The keys of the table.
pub(super) const RESP_KEYS: &[&str] = &["listen", "password", "password_file"];

/// Longest password, in bytes.
const PASSWORD_BYTES_MAX: usize = 512;

/// `[resp]`: the Redis protocol over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RespConfig {
    /// `listen`: address and port. `None`, the default: it is off.
    pub listen: Option<SocketAddr>,
    /// `password`: what clients must say with `AUTH`, 1 to 512 bytes. Default none. An address that
    /// other machines can reach needs one. It travels in the clear.
    pub password: Option<Password>,
    /// `password_file`: a file with the password on its first line. It wins over `password`.
    pub password_file: Option<PathBuf>,
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// Why there is no password to use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Its file cannot be read.
    #[error("cannot read the password of [resp] from {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is empty or too long.
    #[error("the password of [resp] must have 1 to {PASSWORD_BYTES_MAX} bytes")]
    Length,
}

impl Password {
    /// A password, if it can be one.
    ///
    /// # Errors
    /// [`PasswordError::Length`].
    pub fn new(text: &str) -> Result<Self, PasswordError> {
        if (1..=PASSWORD_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PasswordError::Length)
        }
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl RespConfig {
    /// The password, read from its file if it is there.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn load_password(&self) -> Result<Option<Password>, PasswordError> {
        let Some(path) = &self.password_file else {
            return Ok(self.password.clone());
        };
        let text = std::fs::read_to_string(path).map_err(|source| PasswordError::File {
            path: path.clone(),
            source,
        })?;
        Password::new(text.lines().next().unwrap_or_default()).map(Some)
    }

    const fn has_password(&self) -> bool {
        self.password.is_some() || self.password_file.is_some()
    }
}

/// Reads the table; its relative paths are relative to `base`.
pub(super) fn resp(reader: &mut Reader<'_>, table: &Table<'_>, base: &Path) -> RespConfig {
    let password = reader.text(table, "password").and_then(|text| {
        let password = Password::new(text.value);
        if let Err(error) = &password {
            reader.error(&text.span, error, None);
        }
        password.ok()
    });
    let password_file = reader
        .path(table, "password_file")
        .map(|path| base.join(path));
    RespConfig {
        listen: address(reader, table, "listen"),
        password,
        password_file,
    }
}

impl NodeConfig {
    /// What is wrong with who may use the Redis protocol.
    pub(super) fn check_resp(&self, origin: &Origin) -> Option<Diagnostic> {
        let listen = self.resp.listen?;
        if listen.ip().to_canonical().is_loopback() || self.resp.has_password() {
            return None;
        }
        let (severity, message) = if self.insecure {
            let message = format!("`insecure` lets anyone who can reach {listen} use all limits");
            (Severity::Warning, message)
        } else {
            let message = format!(
                "other machines can reach {listen}, but [resp] has no password to know clients by"
            );
            (Severity::Error, message)
        };
        let hint = "set password_file in [resp], or listen on 127.0.0.1";
        Some(origin.diagnostic(severity, origin.resp.as_ref(), &message, hint))
    }
}
