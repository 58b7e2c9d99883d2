//! The files in which certificates and keys rest: names, permissions, no silent overwriting.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{CertError, Role};

/// The authority's certificate.
pub(super) const CA_CERT: &str = "ca.pem";
/// The authority's key: with it anybody can join, so keep it off the nodes.
pub(super) const CA_KEY: &str = "ca.key";

/// Name of the file with a role's certificate.
pub(super) const fn cert_file(role: Role) -> &'static str {
    match role {
        Role::Node => "node.pem",
        Role::Client => "client.pem",
        Role::Admin => "admin.pem",
    }
}

/// Name of the file with a role's key.
pub(super) const fn key_file(role: Role) -> &'static str {
    match role {
        Role::Node => "node.key",
        Role::Client => "client.key",
        Role::Admin => "admin.key",
    }
}

/// The command that makes a role's files.
pub(super) const fn command(role: Role) -> &'static str {
    match role {
        Role::Node => "node NAME",
        Role::Client => "client NAME",
        Role::Admin => "admin NAME",
    }
}

/// What to do about files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// Fail, and write nothing. The default.
    #[default]
    Refuse,
    /// Put the new ones in their place.
    Replace,
}

/// A file to be written.
pub(super) struct NewFile<'a> {
    pub(super) name: &'static str,
    pub(super) text: &'a str,
    /// Whether only the owner may read it.
    pub(super) secret: bool,
}

/// Writes all `files` into `dir`, which is made if it is not there.
pub(super) fn write_all(
    dir: &Path,
    files: &[NewFile<'_>],
    existing: Existing,
) -> Result<Vec<PathBuf>, CertError> {
    let paths: Vec<_> = files.iter().map(|file| dir.join(file.name)).collect();
    if existing == Existing::Refuse
        && let Some(path) = paths.iter().find(|path| path.exists())
    {
        return Err(CertError::Exists { path: path.clone() });
    }
    make_dir(dir).map_err(|source| CertError::Write {
        path: dir.to_owned(),
        source,
    })?;
    for (file, path) in files.iter().zip(&paths) {
        write(file, path).map_err(|source| CertError::Write {
            path: path.clone(),
            source,
        })?;
    }
    Ok(paths)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Written beside its place and moved there, so that a crash leaves the old file or the new one.
fn write(file: &NewFile<'_>, path: &Path) -> io::Result<()> {
    let beside = path.with_extension("new");
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if file.secret { 0o600 } else { 0o644 });
    let mut output = options.open(&beside)?;
    output.write_all(file.text.as_bytes())?;
    output.sync_all()?;
    fs::rename(&beside, path)
}

/// Reads a file, or says which command makes it.
pub(super) fn read(path: &Path, command: &'static str) -> Result<Vec<u8>, CertError> {
    fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => CertError::Missing {
            path: path.to_owned(),
            command,
        },
        _other => CertError::Read {
            path: path.to_owned(),
            source,
        },
    })
}
