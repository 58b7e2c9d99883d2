//! What a data directory holds, without changing anything in it: `ratelimitctl wal status|verify`.
//!
//! The database is opened for reading only, with less and less demanded of it until it opens, so
//! that a damaged one still shows what can be read. It need not be free: a node may use it
//! meanwhile, and files that vanish under the reading then count as unreadable.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rocksdb::{DB, InfoLogger, LogLevel};
use tempfile::TempDir;

use super::layout::Layout;
use super::log_frames;
use super::meta::{self, Identity};
use super::open::OpenError;
use super::recovery::{Recovery, RecoverySink, recover};
use super::rocks::{Parts, RocksStore};
use super::settings::{self, LogRecovery};
use super::store::{Cause, Found, Scan, Store};
use super::watermark::{Mark, Watermark};
use crate::types::NodeId;

/// What a data directory holds.
#[derive(Debug)]
pub(crate) struct Report {
    /// Files in the directory and the database.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// The watermark; `None` if it is missing or damaged.
    pub(crate) mark: Option<Mark>,
    /// What is in the database, or why it does not open at all.
    pub(crate) database: Result<Inside, Cause>,
}

/// What a database holds.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Version of its format, if it can be read.
    pub(crate) format: Option<u32>,
    /// Whose it is, if that can be read.
    pub(crate) identity: Option<Identity>,
    /// How often a node was started on it, if that can be read.
    pub(crate) boots: Option<u64>,
    /// Names of the meta values that are there but damaged.
    pub(crate) bad_meta: Vec<String>,
    /// There may be more meta values that cannot even be listed.
    pub(crate) meta_is_broken: bool,
    /// Why RocksDB opened it only with less demanded of it.
    pub(crate) damage: Option<Cause>,
    /// What a start would recover, or why it would refuse.
    pub(crate) recovery: Result<Recovery, Cause>,
}

impl Report {
    /// Whether everything that was acknowledged can be read.
    pub(crate) fn is_whole(&self) -> bool {
        self.database.as_ref().is_ok_and(|inside| {
            inside.damage.is_none()
                && inside.bad_meta.is_empty()
                && !inside.meta_is_broken
                && inside.identity.is_some()
                && inside.recovery.as_ref().is_ok_and(Recovery::is_whole)
        })
    }
}

/// Reads all of a data directory, passing each row and record to `sink` to be checked.
///
/// # Errors
/// [`OpenError::Missing`] or [`OpenError::Io`] if there is no directory that can be listed; all
/// else is told in the [`Report`].
pub(crate) fn verify(dir: &Path, sink: &mut impl RecoverySink) -> Result<Report, OpenError> {
    let layout = Layout::of(dir);
    let (files, bytes) = size_of(dir).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => OpenError::Missing {
            path: dir.to_owned(),
        },
        _ => OpenError::Io {
            path: dir.to_owned(),
            source: error.into(),
        },
    })?;
    let mark = Watermark::read(&layout.watermark).ok().flatten();
    let database = readable_logs(&layout).and_then(|logs| {
        let (db, damage) = open_for_reading(&layout, logs.as_ref())?;
        Ok(look_inside(db, damage, mark, sink))
    });
    Ok(Report {
        files,
        bytes,
        mark,
        database,
    })
}

/// A place with copies of the logs put right, if RocksDB could not read them as they are.
fn readable_logs(layout: &Layout) -> Result<Option<TempDir>, Cause> {
    let damaged = log_frames::damaged_files(&layout.db)?;
    if damaged.is_empty() {
        return Ok(None);
    }
    if let Some((path, _)) = damaged.iter().find(|(path, _)| !log_frames::is_log(path)) {
        return Err(format!("{} is damaged", path.display()).into());
    }
    let copies = tempfile::tempdir()?;
    for entry in fs::read_dir(&layout.db)? {
        let path = entry?.path();
        if log_frames::is_log(&path) {
            let copy = copies.path().join(path.file_name().unwrap_or_default());
            fs::copy(&path, &copy)?;
            if let Some((_, patches)) = damaged.iter().find(|(damaged, _)| *damaged == path) {
                log_frames::patch(&copy, patches)?;
            }
        }
    }
    Ok(Some(copies))
}

fn look_inside(
    db: DB,
    damage: Option<rocksdb::Error>,
    mark: Option<Mark>,
    sink: &mut impl RecoverySink,
) -> Inside {
    let found = Found {
        created: false,
        mark,
        boot: mark.map(|mark| mark.boot).unwrap_or_default(),
        salvaged: damage.is_some(),
    };
    let store = RocksStore::new(Parts {
        db,
        watermark: None,
        lock: None,
        found,
        identity: Identity {
            node: NodeId(0),
            cluster: 0,
            key_secret: [0; 16],
            slot_count: 0,
            founder: false,
        },
        slot_clocks: Arc::default(),
    });
    let value = |name| store.meta(name).ok().flatten();
    let mut bad_meta = Vec::new();
    let scan = store.scan_meta(&mut |name, reads| {
        if !reads {
            bad_meta.push(name.to_owned());
        }
    });
    Inside {
        format: value(meta::FORMAT).and_then(|v| Some(u32::from_le_bytes(v.try_into().ok()?))),
        identity: value(meta::IDENTITY).and_then(|v| Identity::decode(&v)),
        boots: value(meta::BOOTS).and_then(|v| Some(u64::from_le_bytes(v.try_into().ok()?))),
        bad_meta,
        meta_is_broken: !matches!(scan, Ok(Scan::Whole)),
        damage: damage.map(Cause::from),
        recovery: recover(&store, sink).map_err(Cause::from),
    }
}

/// Opens the database as strictly as it allows; also why not more strictly.
fn open_for_reading(
    layout: &Layout,
    logs: Option<&TempDir>,
) -> Result<(DB, Option<rocksdb::Error>), rocksdb::Error> {
    let open = |recovery| {
        let mut database = settings::database(recovery, false);
        database.create_missing_column_families(false);
        // Once logs are tracked, RocksDB crashes when it reads without.
        database.set_track_and_verify_wals_in_manifest(true);
        if let Some(logs) = logs {
            database.set_wal_dir(logs.path());
        }
        // RocksDB's text log would be a new file in the directory.
        database.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Fatal, |_, _| ()));
        let known = DB::list_cf(&database, &layout.db)?;
        let families = settings::column_families(Arc::default(), &known);
        DB::open_cf_descriptors_read_only(&database, &layout.db, families, false)
    };
    let first = match open(LogRecovery::TornTail) {
        Ok(db) => return Ok((db, None)),
        Err(error) => error,
    };
    open(LogRecovery::UpToDamage)
        .or_else(|_| open(LogRecovery::AroundDamage))
        .map_or(Err(first.clone()), |db| Ok((db, Some(first))))
}

fn size_of(dir: &Path) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (more_files, more_bytes) = match entry.metadata() {
            Ok(found) if found.is_dir() => size_of(&entry.path())?,
            Ok(found) => (1, found.len()),
            // Deleted by the node that uses the directory.
            Err(_) => (0, 0),
        };
        files += more_files;
        bytes += more_bytes;
    }
    Ok((files, bytes))
}
