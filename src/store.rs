//! The one file: signals, overlays, outcomes, rates and tokens in a redb database.
//!
//! Synchronous and typed. Reading goes through a [`Snapshot`], one committed state for as long as it is held (MVCC). All writing
//! goes through the one [`Writer`] thread, which groups what waits into one durable commit and acknowledges after the sync. A commit is
//! an entry in the `log`, which is in the same file (`area`). Its rows are laid over the engine's tables (`rows`) until those get them,
//! many commits at once, from a thread beside the writer. `opened` puts the two together.
//! redb and bincode do not show outside this module, and nothing here knows of HTTP, caches or clocks.
//!
//! redb runs in its default mode on purpose: one exclusive writer, one-phase commits with checksums. Under `quick_repair` and the
//! modes that share the file between processes, a torn copy of the live file can open as silently wrong data.
//!
//! A failed write does not stop the reading: see `layer`. A copy of the file may be made at any time: see `copy_gate`, and
//! [`back_up`] for where that does not work. Damage is found and not served: all of a file is checked before anything of it is, by
//! `checksums` where the file was closed properly and by the engine where it was not, whose way of falling back to the commit before is
//! held against what `mark` remembers; see also [`verify`].
//!
//! A file that was closed properly is not written to before the first write: that it is open is noted in it, and synced, right before
//! that. So a start costs no sync, and whoever only reads leaves the file as it was, to the last byte.

mod area;
mod backup;
mod check;
mod checksums;
mod codec;
mod copy_gate;
mod disk;
mod layer;
mod log;
mod mark;
mod opened;
mod rows;
mod schema;
mod snapshot;
mod tables;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use disk::FileDisk;
use layer::Volume;
use opened::Opened;

pub use backup::{Replacing, back_up, compact, link, restore};
pub use check::{Contents, contents, verify};
pub(crate) use checksums::ENGINE_MAGIC;
pub use copy_gate::{CopyGate, Unavailable, Waited};
pub use disk::Disk;
pub use snapshot::{Counts, Snapshot, StoredOutcome, StoredOverlay, StoredSignal};
pub use writer::{
    Acknowledge, Change, Commit, Condition, Effect, GateWaits, IMPORT_RECORDS_MAX, Imported, Operation, Precedence,
    Receipt, Refusal, WriteError, Writer,
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
    /// The file does not hold what it must.
    #[error("the file is damaged: {0}")]
    Damaged(String),
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

impl StoreError {
    /// Whether the file holds something that it must not, so that trying again is of no use.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) | Self::CorruptRow { .. } => true,
            Self::Engine(error) => match &**error {
                redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) => true,
                redb::Error::Io(error) => {
                    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether there was no room on the device.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Engine(error) if matches!(&**error, redb::Error::Io(error) if disk::is_full(error)))
    }

    fn io(error: io::Error) -> Self {
        Self::Engine(Box::new(redb::Error::Io(error)))
    }
}

/// An open database.
#[derive(Debug)]
pub struct Store {
    volume: Arc<Volume>,
    /// Replaced when the file has to be opened again.
    opened: RwLock<Arc<Opened>>,
    path: PathBuf,
    /// Where this store itself waits before it writes; the writer has a gate of its own.
    gate: Mutex<CopyGate>,
}

impl Drop for Store {
    fn drop(&mut self) {
        // Closing the file writes to it too, if anything has been written.
        if !self.is_untouched() {
            self.wait_for_copies();
            self.wipe_log();
        }
    }
}

impl Store {
    /// Opens a database, or makes one: its folder with mode 0700, the file with mode 0600.
    ///
    /// The whole file is checked: a damaged one is refused here and not met later. What is refused is not changed, not
    /// even by the engine's own tidying.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`], [`StoreError::NewerSchema`], [`StoreError::NotOurs`], [`StoreError::Create`],
    /// [`StoreError::Damaged`] or [`StoreError::Engine`].
    pub fn open_or_create(path: &Path) -> Result<Arc<Self>, StoreError> {
        Self::create_if_absent(path)?;
        Self::open(path)
    }

    /// As [`Store::open_behind_gate`], but makes a database where there is none.
    ///
    /// # Errors
    ///
    /// As [`Store::open_or_create`].
    pub fn open_or_create_behind_gate(path: &Path, limit: Duration) -> Result<Arc<Self>, StoreError> {
        Self::create_if_absent(path)?;
        Self::open_behind_gate(path, limit)
    }

    fn create_if_absent(path: &Path) -> Result<(), StoreError> {
        let failed = |at: &Path| {
            let at = at.to_owned();
            move |source| StoreError::Create { path: at, source }
        };
        let folder = folder_of(path);
        if !folder.exists() {
            make_private_folder(folder).map_err(failed(folder))?;
        }
        if !path.exists() {
            let new = beside(path, ".new");
            make_file(&new).map_err(failed(&new))?;
            let disk = lock_file(&new).map_err(failed(&new))?.ok_or_else(in_use(&new))?;
            drop(Self::open_on(Arc::new(disk), &new)?);
            // Under its name only when it is whole, and there after a crash once its folder's entry is.
            fs::rename(&new, path).and_then(|()| sync_folder(folder)).map_err(failed(path))?;
        }
        Ok(())
    }

    /// Opens a database that is there.
    ///
    /// # Errors
    ///
    /// As [`Store::open_or_create`], and [`StoreError::Absent`].
    pub fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        Self::open_on(Arc::new(lock_database(path)?), path)
    }

    /// As [`Store::open`], but waits for copies of the file that others are making before it writes anything. From then on all that
    /// the store writes by itself, as an import does, waits for copies too; a writer waits at the gate that it is given.
    ///
    /// - `limit`: as [`CopyGate::new`] takes it; where there can be no gate, nothing waits.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_behind_gate(path: &Path, limit: Duration) -> Result<Arc<Self>, StoreError> {
        // Locked first: whoever is told that the file is in use should not wait for it.
        let disk = lock_database(path)?;
        let gate = CopyGate::counting_later(path, limit).unwrap_or_else(|unavailable| {
            tracing::debug!(error = &unavailable as &dyn std::error::Error, "nothing waits for copies");
            CopyGate::off()
        });
        let gate = Mutex::new(gate);
        let store = Self::open_with(Arc::new(disk), path, || report_wait(lock(&gate).wait(&NEVER)))?;
        *store.gate() = gate.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(store)
    }

    /// Opens the database on any disk, or makes one on an empty disk: for tests that let the disk fail. `path` is where it is
    /// said to be.
    ///
    /// # Errors
    ///
    /// As [`Store::open_or_create`].
    pub fn open_on(disk: Arc<dyn Disk>, path: &Path) -> Result<Arc<Self>, StoreError> {
        Self::open_with(disk, path, || {})
    }

    fn open_with(disk: Arc<dyn Disk>, path: &Path, before_writing: impl Fn()) -> Result<Arc<Self>, StoreError> {
        let volume = Volume::new(disk);
        let opened = RwLock::new(Arc::new(Opened::in_earnest(&volume, false, before_writing)?));
        Ok(Self::new(volume, opened, path))
    }

    /// Opens a database that is never changed by it, and that no other process may be writing to. Writing to it changes
    /// nothing but what this process sees.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_to_read(path: &Path) -> Result<Arc<Self>, StoreError> {
        if !path.exists() {
            return Err(StoreError::Absent(path.to_owned()));
        }
        let disk = FileDisk::open_to_read(path).map_err(StoreError::io)?;
        let disk = disk.ok_or_else(|| StoreError::InUse(path.to_owned()))?;
        let volume = Volume::new(Arc::new(disk));
        if volume.is_empty().map_err(StoreError::io)? {
            return Err(StoreError::Damaged("it is empty".to_owned()));
        }
        let opened = RwLock::new(Arc::new(Opened::to_look_at(&volume)?));
        Ok(Self::new(volume, opened, path))
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
        self.opened().snapshot()
    }

    fn new(volume: Arc<Volume>, opened: RwLock<Arc<Opened>>, path: &Path) -> Arc<Self> {
        Arc::new(Self { volume, opened, path: path.to_owned(), gate: Mutex::new(CopyGate::off()) })
    }

    fn gate(&self) -> MutexGuard<'_, CopyGate> {
        lock(&self.gate)
    }

    /// Whether the file is as it was before it was opened, and will be if nothing is written.
    fn is_untouched(&self) -> bool {
        self.opened().layer.is_to_land()
    }

    /// Leaves waiting for copies to a writer: the gate that the store was opened behind is for it. `None` if there is none.
    ///
    /// Another one would do as well, but the system takes 10 ms to let go of a gate.
    pub fn pass_gate(&self) -> Option<CopyGate> {
        let gate = std::mem::replace(&mut *self.gate(), CopyGate::off());
        gate.is_watching().then_some(gate)
    }

    /// Does what is to be done last before the file is closed.
    fn wipe_log(&self) {
        if let Err(error) = self.opened().wipe_log() {
            // The next start has more to check.
            tracing::debug!(error = &error as &dyn std::error::Error, "the log could not be wiped");
        }
    }

    fn wait_for_copies(&self) {
        report_wait(self.gate().wait(&NEVER));
    }

    /// Marks the file as holding the change `seq` on the disk, unless somebody may be copying the file; returns whether that was done.
    fn mark(&self, seq: u64, gate: &mut CopyGate) -> bool {
        gate.is_clear()
            && self.opened().layer.mark(seq).unwrap_or_else(|error| {
                // What was to be marked is on the disk all the same, and no less safe than without marks.
                tracing::debug!(error = &error as &dyn std::error::Error, "the file could not be marked");
                false
            })
    }

    fn opened(&self) -> Arc<Opened> {
        Arc::clone(&self.opened.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens the file anew after a failure, when the change `seq` is known to be on the disk. Nobody reads through what is returned until
    /// [`Store::replace`].
    fn open_again(&self, seq: u64) -> Result<Arc<Opened>, StoreError> {
        let old = self.opened();
        // If it was reading that failed, the old engine must not write behind the new one's back.
        old.layer.set_apart(io::Error::other("the file is being opened again"));
        self.volume.mend_mark(seq).and_then(|()| self.volume.settle()).map_err(StoreError::io)?;
        Ok(Arc::new(Opened::in_earnest(&self.volume, true, || {})?))
    }

    fn replace(&self, opened: Arc<Opened>) {
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = opened;
    }
}

/// A wait at the gate ends when the copy does or its time is up; nothing else is in such a hurry.
static NEVER: AtomicBool = AtomicBool::new(false);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report_wait(Waited { time, overran, events_lost }: Waited) {
    if !time.is_zero() {
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(time_us, overran, events_lost, "waited for a copy of the file");
    }
}

/// Opens the file of a database that is there, and keeps every other process from doing so.
fn lock_database(path: &Path) -> Result<FileDisk, StoreError> {
    if !path.exists() {
        return Err(StoreError::Absent(path.to_owned()));
    }
    let disk = lock_file(path).map_err(StoreError::io)?.ok_or_else(in_use(path))?;
    // A new database gets its name when it has its tables. What is empty here was one, or is a copy that broke off at its beginning.
    if disk.length().map_err(StoreError::io)? == 0 {
        return Err(StoreError::Damaged("it is empty".to_owned()));
    }
    Ok(disk)
}

fn in_use(path: &Path) -> impl FnOnce() -> StoreError {
    let path = path.to_owned();
    || StoreError::InUse(path)
}

/// Opens the file at a path for writing and keeps every other process from doing so; `None` if another one has it.
///
/// Whoever had it may have put another file in its place before letting go: what was locked then is not the database any more,
/// and whatever is written to it is lost.
fn lock_file(path: &Path) -> io::Result<Option<FileDisk>> {
    loop {
        let before = file_id(path)?;
        let disk = FileDisk::open(path)?;
        if disk.is_none() || file_id(path)? == before {
            return Ok(disk);
        }
    }
}

#[cfg(unix)]
fn file_id(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn file_id(path: &Path) -> io::Result<std::time::SystemTime> {
    fs::metadata(path)?.created()
}

/// Bytes that may still be written to the disk that holds a file, `None` where the system does not say.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder_of(path)).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The folder of a file, `.` if its path names none.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// The path of a file with something after its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Makes an empty file in the place of any that a crash left behind.
fn make_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => private_file().create_new(true).open(path).map(drop),
    }
}

/// Makes new and renamed files in a folder survive a power cut.
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
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
