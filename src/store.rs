//! The one file: signals, overlays, outcomes, rates and tokens in a redb database.
//!
//! Synchronous and typed. Reading goes through a [`Snapshot`], one committed state for as long as it is held (MVCC). All writing
//! goes through the one [`Writer`] thread, which groups what waits into one durable commit and acknowledges after the sync.
//! redb and bincode do not show outside this module, and nothing here knows of HTTP, caches or clocks.
//!
//! redb runs in its default mode on purpose: one exclusive writer, one-phase commits with checksums. Under `quick_repair` and the
//! modes that share the file between processes, a torn copy of the live file can open as silently wrong data.

mod codec;
mod schema;
mod snapshot;
mod tables;
mod untouched;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadableDatabase};

use untouched::Untouched;

pub use codec::Changed;
pub use snapshot::{Counts, Snapshot, StoredOutcome, StoredOverlay, StoredSignal};
pub use writer::{
    Acknowledge, Change, Commit, Condition, Effect, IMPORT_RECORDS_MAX, Imported, Operation, Precedence, Receipt,
    Refusal, WriteError, Writer,
};

/// Memory that redb may use for pages: a day of ten times the usual traffic fits, and it is far below its default
/// of 1 GiB.
const PAGE_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Why the file could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the database open.
    #[error("another process has {} open", .0.display())]
    InUse(PathBuf),
    /// There is no database at this place.
    #[error("there is no database at {}", .0.display())]
    Absent(PathBuf),
    /// A newer program wrote the file.
    #[error("the file has schema {found}, this program reads up to {supported}: use a newer overlaid")]
    NewerSchema {
        /// The version in the file.
        found: u64,
        /// The newest version that this program knows.
        supported: u64,
    },
    /// It is a database, but not one of this program's.
    #[error("the file is a redb database of another program")]
    NotOurs,
    /// A record can not be read.
    #[error("damaged record in table {table}, key {key}: {detail}")]
    CorruptRow {
        /// Which table.
        table: &'static str,
        /// Which key.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The queue of writes is full.
    #[error("too many writes are waiting")]
    Busy,
    /// The writer has stopped.
    #[error("the writer has stopped")]
    Stopped,
    /// The folder or file could not be made.
    #[error("cannot make {}", .path.display())]
    Create {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The storage engine failed: the disk is full or broken, or the file is damaged.
    #[error("the storage engine failed")]
    Engine(#[source] Box<redb::Error>),
}

/// All of redb's error types become one.
macro_rules! engine_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for StoreError {
            fn from(error: $error) -> Self {
                Self::Engine(Box::new(error.into()))
            }
        })*
    };
}
engine_errors!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError);

/// An open database.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens a database, or makes one: its folder with mode 0700, the file with mode 0600.
    ///
    /// The whole file is checked: a damaged one is refused here and not met later. What is refused is not changed, not
    /// even by the engine's own tidying.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`], [`StoreError::NewerSchema`], [`StoreError::NotOurs`], [`StoreError::Create`] or
    /// [`StoreError::Engine`].
    pub fn open_or_create(path: &Path) -> Result<Arc<Self>, StoreError> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        if !folder.exists() {
            make_private_folder(folder).map_err(not_made(folder))?;
        }
        if !path.exists() {
            make(path, folder)?;
        }
        Self::open(path)
    }

    /// Opens a database that is there.
    ///
    /// # Errors
    ///
    /// As [`Store::open_or_create`], and [`StoreError::Absent`].
    pub fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        if !path.exists() {
            return Err(StoreError::Absent(path.to_owned()));
        }
        look_at(path)?;
        let database = builder().create(path).map_err(|error| not_opened(path, error))?;
        schema::ensure(&database)?;
        Ok(Arc::new(Self { database, path: path.to_owned() }))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a snapshot of the last commit.
    ///
    /// Whatever was acknowledged before this call is in it. It keeps old pages from being used again, so it is for one
    /// answer, not for as long as a client reads.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`].
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot::new(self.database.begin_read()?))
    }
}

/// Makes an empty database under another name first: a kill halfway would leave a file that is no database, and that no start
/// after it could open.
fn make(path: &Path, folder: &Path) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Two programs that start at once each make their own.
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    private_file().create_new(true).open(&new).map_err(not_made(&new))?;
    let made = builder().create(&new).map_err(|error| not_opened(path, error)).and_then(|new| schema::ensure(&new));
    let linked = made.map(|()| fs::hard_link(&new, path));
    fs::remove_file(&new).map_err(not_made(&new))?;
    match linked? {
        // Another program was first: its file is as good, and may hold something already.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        linked => linked.map_err(not_made(path))?,
    }
    // A file is only there after a crash once its folder's entry is.
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(not_made(folder))
}

fn not_made(at: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = at.to_owned();
    move |source| StoreError::Create { path, source }
}

/// Refuses a file that is damaged or not this program's, before the engine opens it in earnest: that changes it.
fn look_at(path: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::Engine(Box::new(redb::Error::Io(error)));
    let file = fs::OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.len() == 0 {
        return Ok(());
    }
    let database = builder().create_with_backend(Untouched::new(file)?).map_err(|error| not_opened(path, error))?;
    schema::is_empty(&database).map(|_| ())
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(PAGE_CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn not_opened(path: &Path, error: redb::DatabaseError) -> StoreError {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        other => StoreError::Engine(Box::new(other.into())),
    }
}

#[cfg(unix)]
fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(unix)]
fn private_file() -> fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(not(unix))]
fn private_file() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.write(true);
    options
}
