//! What a data directory looks like, judged by the names in it before anything is opened.
//!
//! ```text
//! DIR/lock        held by the process that uses the directory
//! DIR/watermark   see `watermark.rs`
//! DIR/db/         RocksDB
//! ```

use std::io;
use std::path::{Path, PathBuf};

/// Names that an otherwise empty directory may hold: ours before the database was made, the
/// certificates that are looked for here by default, and what file systems put at the root of a
/// disk.
const NEGLIGIBLE: [&str; 4] = ["lock", "watermark", "certs", "lost+found"];

/// The paths in a data directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) watermark: PathBuf,
    pub(super) db: PathBuf,
}

/// What is at the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing at all.
    Missing,
    /// A file, or something else that is no directory.
    NotADirectory,
    /// A directory without a database.
    Empty,
    /// A directory that somebody else uses for something else; a name in it.
    Foreign(String),
    /// A database without one of the files that it cannot be without.
    Incomplete(&'static str),
    /// A database, as far as names can tell.
    Database,
}

impl Layout {
    pub(super) fn of(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            lock: root.join("lock"),
            watermark: root.join("watermark"),
            db: root.join("db"),
        }
    }

    /// Looks at the names.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn content(&self) -> io::Result<Content> {
        match std::fs::metadata(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Content::Missing),
            Err(error) => return Err(error),
            Ok(found) if !found.is_dir() => return Ok(Content::NotADirectory),
            Ok(_) => {}
        }
        let mut names = names_in(&self.root)?;
        if !names.iter().any(|name| name == "db") {
            names.retain(|name| !NEGLIGIBLE.contains(&name.as_str()));
            return Ok(names.pop().map_or(Content::Empty, Content::Foreign));
        }
        let names = names_in(&self.db)?;
        Ok(if names.iter().any(|name| name == "CURRENT") {
            Content::Database
        } else if names.iter().any(|name| is_database_file(name)) {
            Content::Incomplete("db/CURRENT")
        } else {
            // The creation was interrupted before RocksDB had written anything that counts.
            Content::Empty
        })
    }
}

/// Whether there is no database at `path` yet, as far as names can tell.
pub(crate) fn is_new(path: &Path) -> bool {
    let content = Layout::of(path).content();
    matches!(content, Ok(Content::Missing | Content::Empty))
}

fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    let names: io::Result<Vec<String>> = std::fs::read_dir(dir)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect();
    let mut names = names?;
    names.sort();
    Ok(names)
}

fn is_database_file(name: &str) -> bool {
    let has_extension = |wanted: &str| {
        Path::new(name)
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
    };
    has_extension("sst") || has_extension("log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_judged_by_the_names_in_it() {
        let cases: [(&[&str], Content); 9] = [
            (&[], Content::Empty),
            (&["lost+found/x", "lock", "watermark"], Content::Empty),
            (&["notes.txt"], Content::Foreign("notes.txt".into())),
            (
                &["PG_VERSION", "lock"],
                Content::Foreign("PG_VERSION".into()),
            ),
            (&["db/LOG"], Content::Empty),
            (&["db/MANIFEST-000001"], Content::Empty),
            (
                &["db/000012.sst", "db/MANIFEST-000005"],
                Content::Incomplete("db/CURRENT"),
            ),
            (&["db/000012.log"], Content::Incomplete("db/CURRENT")),
            (&["db/CURRENT", "anything"], Content::Database),
        ];
        for (files, expected) in cases {
            let dir = tempfile::tempdir().unwrap();
            for file in files {
                let path = dir.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, b"").unwrap();
            }
            let content = Layout::of(dir.path()).content().unwrap();
            assert_eq!(content, expected, "{files:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(Layout::of(&file).content().unwrap(), Content::NotADirectory);
        let missing = dir.path().join("missing");
        assert_eq!(Layout::of(&missing).content().unwrap(), Content::Missing);
    }
}
