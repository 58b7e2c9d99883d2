//! Opening a data directory: what is there, whose it is, and what to tell when it cannot be used.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rocksdb::{DB, ErrorKind};

use super::layout::{Content, Layout};
use super::log_frames;
use super::meta::{self, FORMAT_OLDEST, FORMAT_VERSION, Identity};
use super::rocks::{Parts, RocksStore};
use super::settings::{self, LogRecovery};
use super::store::{Cause, Found, Store, StoreError};
use super::watermark::{BootId, Mark, Watermark};
use crate::limiter::SlotClocks;
use crate::types::BootCounter;

/// Which data directory to open, and how.
#[derive(Debug, Clone)]
pub(crate) struct OpenOptions {
    /// The directory.
    pub(crate) path: PathBuf,
    /// Make the directory if it is missing or empty; without effect if it is in use already.
    pub(crate) create: bool,
    /// Who the node is to be, if the directory is created.
    pub(crate) newborn: Identity,
    /// The machine's boot id of now.
    pub(crate) boot: BootId,
    /// By which expired rows are dropped.
    pub(crate) slot_clocks: Arc<SlotClocks>,
}

/// Why a data directory cannot be opened. Nothing in it was changed, unless a variant says so.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// There is no such directory.
    #[error("data directory {path} does not exist; pass --create to make it, or correct data_dir")]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The path is no directory.
    #[error("{path} is not a directory; correct data_dir")]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// The directory is empty; it may be a disk that is not mounted.
    #[error(
        "data directory {path} is empty; pass --create to begin anew, or mount the disk that \
         belongs there"
    )]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds something else.
    #[error("{path} is not a data directory: it holds `{name}`; use an empty directory")]
    NotADatabase {
        /// The directory.
        path: PathBuf,
        /// A name found in it.
        name: String,
    },
    /// Another process uses it; normal when a node is started twice.
    #[error("data directory {path} is used by another process; stop it or set data_dir")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It may not be written.
    #[error("data directory {path} cannot be written; correct its owner, mode or mount")]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: Cause,
    },
    /// No space is left.
    #[error("the disk of data directory {path} is full; make space and start again")]
    Full {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: Cause,
    },
    /// A newer version of the software wrote it.
    #[error(
        "data directory {path} has format {found}, this version knows up to {FORMAT_VERSION}; \
         run the newer version"
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// The format it has.
        found: u32,
    },
    /// An older version of the software wrote it.
    #[error(
        "data directory {path} has format {found}, this version needs {FORMAT_OLDEST} or later; \
         begin anew in an empty one with --create"
    )]
    OlderFormat {
        /// The directory.
        path: PathBuf,
        /// The format it has.
        found: u32,
    },
    /// A file that the database cannot be without is gone.
    #[error(
        "data directory {path} lacks `{name}`; restore the directory, or begin anew in an empty \
         one with --create"
    )]
    FileMissing {
        /// The directory.
        path: PathBuf,
        /// The file's name in it.
        name: String,
    },
    /// Files are damaged or gone so that RocksDB cannot open them.
    #[error(
        "the database in {path} is damaged; restore the directory, or begin anew in an empty one \
         with --create; `ratelimitctl wal verify {path}` lists what can be read"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// RocksDB's words.
        #[source]
        source: Cause,
    },
    /// A value that says who the node is cannot be read.
    #[error(
        "meta value `{name}` in {path} is missing or damaged; restore the directory, or begin anew \
         in an empty one with --create"
    )]
    MetaUnreadable {
        /// The directory.
        path: PathBuf,
        /// The value's name.
        name: String,
    },
    /// Anything else that the system reports.
    #[error("cannot open data directory {path}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: Cause,
    },
}

impl RocksStore {
    /// Opens a data directory and counts this start, or creates it.
    ///
    /// # Errors
    /// [`OpenError`], one variant for each thing that can be done about it.
    pub(crate) fn open(options: &OpenOptions) -> Result<Self, OpenError> {
        let layout = Layout::of(&options.path);
        let path = &layout.root;
        let io_error = |error| of_io(path, error);
        let creates = must_create(&layout, options.create)?;
        if creates {
            std::fs::create_dir_all(&layout.db).map_err(io_error)?;
        }
        let lock = lock(&layout)?;
        let (mut watermark, mark) = Watermark::open(&layout.watermark).map_err(io_error)?;
        if creates {
            if mark.is_some_and(|mark| mark != Mark::unborn(mark.boot)) {
                let (path, name) = (path.clone(), "db".to_owned());
                return Err(OpenError::FileMissing { path, name });
            }
            watermark
                .put(Mark::unborn(options.boot))
                .map_err(io_error)?;
            sync_dir(path).map_err(io_error)?;
        }
        let (db, salvaged) = open_db(&layout, options, creates)?;
        let found = Found {
            created: creates,
            mark,
            boot: options.boot,
            salvaged,
        };
        let store = Self::new(Parts {
            db,
            watermark: Some(watermark),
            lock: Some(lock),
            found,
            identity: options.newborn,
            slot_clocks: Arc::clone(&options.slot_clocks),
        });
        store.be_born_or_wake(path, creates, options)
    }

    /// Writes or reads who the node is, and counts the start.
    fn be_born_or_wake(
        mut self,
        path: &Path,
        creates: bool,
        options: &OpenOptions,
    ) -> Result<Self, OpenError> {
        let unreadable = |name: &str| unreadable(path, name);
        let of_store = |error| of_store(path, error);
        let format = self.meta(meta::FORMAT).map_err(of_store)?;
        // Anything but what an interrupted creation leaves is damage.
        let found = self.found();
        let is_unborn = |mark: Mark| mark == Mark::unborn(mark.boot);
        let unborn = format.is_none()
            && !found.salvaged
            && (creates || found.mark.is_some_and(is_unborn))
            && self.is_blank().map_err(of_store)?;
        if unborn && !creates && !options.create {
            let path = path.to_owned();
            return Err(OpenError::Empty { path });
        }
        if unborn {
            self.found_mut().created = true;
            self.put_birth(&options.newborn).map_err(of_store)?;
            self.put_mark(0, false).map_err(of_store)?;
        } else {
            let format =
                format.and_then(|format| Some(u32::from_le_bytes(format.try_into().ok()?)));
            let found = format.ok_or_else(|| unreadable(meta::FORMAT))?;
            self.upgrade(path, found)?;
        }
        self.finish_mending().map_err(of_store)?;
        let identity = self.meta(meta::IDENTITY).map_err(of_store)?;
        let identity = identity.as_deref().and_then(Identity::decode);
        let boots = self.meta(meta::BOOTS).map_err(of_store)?;
        let boots = boots.and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let boots = boots
            .ok_or_else(|| unreadable(meta::BOOTS))?
            .saturating_add(1);
        self.put_meta(meta::BOOTS, &boots.to_le_bytes())
            .map_err(of_store)?;
        self.wake(
            identity.ok_or_else(|| unreadable(meta::IDENTITY))?,
            BootCounter(boots),
        );
        Ok(self)
    }
}

/// Whether the database must be made; fails if it must be but may not.
fn must_create(layout: &Layout, create: bool) -> Result<bool, OpenError> {
    let path = layout.root.clone();
    match layout.content().map_err(|error| of_io(&path, error))? {
        Content::Database => Ok(false),
        Content::Missing | Content::Empty if create => Ok(true),
        Content::Missing => Err(OpenError::Missing { path }),
        Content::Empty => match Watermark::read(&layout.watermark) {
            Ok(Some(mark)) if mark != Mark::unborn(mark.boot) => {
                let name = "db".to_owned();
                Err(OpenError::FileMissing { path, name })
            }
            Ok(_) | Err(_) => Err(OpenError::Empty { path }),
        },
        Content::NotADirectory => Err(OpenError::NotADirectory { path }),
        Content::Foreign(name) => Err(OpenError::NotADatabase { path, name }),
        Content::Incomplete(name) => Err(OpenError::FileMissing {
            path,
            name: name.to_owned(),
        }),
    }
}

fn lock(layout: &Layout) -> Result<File, OpenError> {
    let path = &layout.root;
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&layout.lock)
        .map_err(|error| of_io(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.clone() }),
        Err(TryLockError::Error(error)) => Err(of_io(path, error)),
    }
}

/// Opens the database; if its log is damaged, around the damage, and says so.
fn open_db(layout: &Layout, options: &OpenOptions, create: bool) -> Result<(DB, bool), OpenError> {
    if !create {
        mend_logs(layout).map_err(|error| of_io(&layout.root, error))?;
    }
    let open = |recovery| {
        let database = settings::database(recovery, create);
        let known = DB::list_cf(&database, &layout.db).unwrap_or_default();
        let families = settings::column_families(Arc::clone(&options.slot_clocks), &known);
        DB::open_cf_descriptors(&database, &layout.db, families)
    };
    let first = match open(LogRecovery::TornTail) {
        Ok(db) => return Ok((db, false)),
        Err(error) if error.kind() == ErrorKind::Corruption => error,
        Err(error) => return Err(of_rocks(&layout.root, error)),
    };
    // Recovery puts everything in quarantine then, so what is kept need not be complete.
    for recovery in [LogRecovery::UpToDamage, LogRecovery::AroundDamage] {
        if let Ok(db) = open(recovery) {
            tracing::error!(damage = %first, "the write-ahead log is damaged; opened around it");
            return Ok((db, true));
        }
    }
    Err(of_rocks(&layout.root, first))
}

/// Puts right the damage to logs that RocksDB does not tell.
fn mend_logs(layout: &Layout) -> io::Result<()> {
    for (path, patches) in log_frames::damaged_files(&layout.db)? {
        tracing::error!(file = %path.display(), frames = patches.len(), "a log file is damaged");
        log_frames::patch(&path, &patches)?;
    }
    Ok(())
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    parent.map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn of_io(path: &Path, error: io::Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            OpenError::NotWritable {
                path,
                source: error.into(),
            }
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full {
            path,
            source: error.into(),
        },
        _ => OpenError::Io {
            path,
            source: error.into(),
        },
    }
}

fn of_rocks(path: &Path, error: rocksdb::Error) -> OpenError {
    let path = path.to_owned();
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["No space left on device", "Disk quota exceeded"]) {
        OpenError::Full {
            path,
            source: error.into(),
        }
    } else if says(&["Read-only file system", "Permission denied"]) {
        OpenError::NotWritable {
            path,
            source: error.into(),
        }
    } else if text.contains("LOCK") && says(&["lock hold by", "temporarily unavailable"]) {
        OpenError::InUse { path }
    } else if error.kind() == ErrorKind::Corruption || text.contains("No such file") {
        OpenError::Damaged {
            path,
            source: error.into(),
        }
    } else {
        OpenError::Io {
            path,
            source: error.into(),
        }
    }
}

fn unreadable(path: &Path, name: &str) -> OpenError {
    let (path, name) = (path.to_owned(), name.to_owned());
    OpenError::MetaUnreadable { path, name }
}

pub(super) fn of_store(path: &Path, error: StoreError) -> OpenError {
    let path = path.to_owned();
    match error {
        StoreError::MetaUnreadable { name } => OpenError::MetaUnreadable { path, name },
        StoreError::Unreadable { source } => OpenError::Damaged { path, source },
        StoreError::Full { source, .. } => OpenError::Full { path, source },
        StoreError::Failed { source, .. } => OpenError::Io { path, source },
        error @ (StoreError::Abandoned { .. } | StoreError::Closed) => OpenError::Io {
            path,
            source: error.into(),
        },
    }
}
