//! Tells whether a file is in order, whichever of the two it is.

use std::path::Path;

use toml::de::DeTable;

use super::diagnostic::{Checked, ConfigError};
use super::limits::{self, parse_policies};
use super::node_file::{self, read_node};
use super::source::Source;

/// Which configuration file a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// Policies: `limits.toml`.
    Limits,
    /// A node's settings: `node.toml`.
    Node,
}

/// Reads the file at `path` as what it mostly is, by the keys at its top. What depends on the
/// machine, such as whether certificates are there, is not looked at.
///
/// # Errors
/// [`ConfigError`] with every mistake of the file.
pub fn validate(path: &Path) -> Result<Checked<FileKind>, ConfigError> {
    let source = Source::read(path)?;
    let kind = kind_of(&source);
    let warnings = match kind {
        FileKind::Limits => parse_policies(&source)?.warnings,
        FileKind::Node => read_node(&source, path.parent())?.0.warnings,
    };
    Ok(Checked {
        value: kind,
        warnings,
    })
}

fn kind_of(source: &Source) -> FileKind {
    let (root, _) = DeTable::parse_recoverable(&source.text);
    let keys = || root.get_ref().keys().map(|key| key.get_ref().as_ref());
    let of = |known: &[&str]| keys().filter(|key| known.contains(key)).count();
    if of(node_file::TOP_KEYS) > of(limits::TOP_KEYS) {
        FileKind::Node
    } else {
        FileKind::Limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_what_it_mostly_is() {
        let cases = [
            ("", FileKind::Limits),
            ("[policy.a]\nlimit = \"1/s\"", FileKind::Limits),
            ("listen = \"127.0.0.1:1\"\n[log]", FileKind::Node),
            ("listen = \n", FileKind::Node),
            ("max_policies = 1\n[policy.a]\n[log]", FileKind::Limits),
        ];
        for (text, expected) in cases {
            assert_eq!(kind_of(&Source::new("f", text)), expected, "{text}");
        }
    }

    #[test]
    fn a_mistake_in_either_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.toml");
        for (text, expected) in [
            (
                "policy.a.limit = 3",
                ":1:18: error: `limit` must be a string",
            ),
            ("listen = 3", ":1:10: error: `listen` must be a string"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = validate(&path).unwrap_err().to_string();
            let expected = format!("{}{expected}", path.display());
            assert!(error.starts_with(&expected), "{error}");
        }
        // Whether certificates are there is a matter of the machine that serves.
        std::fs::write(&path, "listen = \"0.0.0.0:1\"").unwrap();
        assert_eq!(validate(&path).unwrap().value, FileKind::Node);
    }
}
