//! redb on the file: opening it with a check of everything, reading committed states, and committing.
//!
//! A file is opened with the engine's writes kept in memory (see `guarded_disk`). Only when all its checksums fit and
//! its tables are this program's does anything go to the disk. So a file that is refused is left as it was.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{Database, ReadTransaction, ReadableDatabase as _, WriteTransaction};

use super::disk::Disk;
use super::error::StoreError;
use super::file::ENGINE_MAGIC;
use super::guarded_disk::{Backend, GuardedDisk};
use super::schema;

/// Memory that redb may use for pages: a day of ten times the usual traffic fits, and it is far below its default
/// of 1 GiB.
const PAGE_CACHE_BYTES: usize = 32 * 1024 * 1024;

/// The engine on the file, from one opening to the next.
pub(super) struct Engine {
    /// The state before the commit under way: what readers get if it fails.
    last_good: Mutex<Option<Arc<ReadTransaction>>>,
    database: Database,
    disk: Arc<GuardedDisk>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Engine").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens a database for writing and checks all of it, or makes the tables on an empty disk.
    ///
    /// - `before_writing`: called before anything is written to the disk.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, which is unchanged then, or [`StoreError::Engine`] if the disk fails.
    pub(super) fn open(disk: &Arc<dyn Disk>, before_writing: impl FnOnce()) -> Result<Self, StoreError> {
        if disk.length().map_err(StoreError::io)? == 0 {
            before_writing();
            let engine = Self::start(GuardedDisk::to_disk(Arc::clone(disk)), false)?;
            schema::create(&engine.database)?;
            engine.check_fault()?;
            return Ok(engine);
        }
        let engine = Self::check(disk)?;
        before_writing();
        engine.disk.apply().map_err(StoreError::io)?;
        if !schema::check(&engine.database)? {
            // The process ended between making the file and making its tables.
            schema::create(&engine.database)?;
            engine.check_fault()?;
        }
        Ok(engine)
    }

    /// Checks all of a file that must have this program's tables, or none. Its writes stay in memory until
    /// [`Engine::retry_writes`].
    ///
    /// # Errors
    ///
    /// As [`Engine::open`].
    pub(super) fn check(disk: &Arc<dyn Disk>) -> Result<Self, StoreError> {
        if !is_closed(&**disk) {
            // The process before this one may have left data in the system's memory that no sync confirmed.
            disk.forget();
        }
        let engine = Self::start(GuardedDisk::in_memory(Arc::clone(disk)), true)?;
        schema::check(&engine.database)?;
        Ok(engine)
    }

    /// Opens a database that must have this program's tables, and checks all of it. What is written to it stays in
    /// memory.
    ///
    /// # Errors
    ///
    /// As [`Engine::open`].
    pub(super) fn open_to_read(disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        let engine = Self::start(GuardedDisk::in_memory(disk), true)?;
        if schema::check(&engine.database)? {
            Ok(engine)
        } else {
            Err(StoreError::Damaged("it holds no tables".to_owned()))
        }
    }

    /// Starts the engine; with `check` it compares every checksum, and repairs what a killed process left.
    fn start(disk: std::io::Result<GuardedDisk>, check: bool) -> Result<Self, StoreError> {
        let disk = Arc::new(disk.map_err(StoreError::io)?);
        let mut builder = Database::builder();
        builder.set_cache_size(PAGE_CACHE_BYTES).set_check_integrity_on_open(check);
        let backend = Backend(Arc::clone(&disk));
        // The engine may panic on a file that was made to harm. Nothing of it is used after that.
        let started = catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(backend)));
        let database = started.map_err(|_| StoreError::Damaged("the engine panicked".to_owned()))?;
        let database = database.map_err(|error| StoreError::Engine(Box::new(error.into())))?;
        Ok(Self { last_good: Mutex::default(), database, disk })
    }

    fn last_good(&self) -> MutexGuard<'_, Option<Arc<ReadTransaction>>> {
        self.last_good.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a commit. Until it is on the disk, readers get the state before it.
    pub(super) fn begin(&self) -> Result<WriteTransaction, StoreError> {
        self.check_fault()?;
        let before = self.database.begin_read()?;
        *self.last_good() = Some(Arc::new(before));
        Ok(self.database.begin_write()?)
    }

    /// Ends a commit. Returns after the sync.
    ///
    /// # Errors
    ///
    /// [`CommitError::NotCommitted`] if nothing of it is in the file, or ever will be; [`CommitError::Unconfirmed`] if
    /// it may be.
    pub(super) fn commit(&self, tx: WriteTransaction) -> Result<(), CommitError> {
        if let Err(error) = self.check_fault() {
            return Err(CommitError::NotCommitted(tx.abort().err().map_or(error, StoreError::from)));
        }
        tx.commit().map_err(|error| CommitError::Unconfirmed(error.into()))?;
        self.check_fault().map_err(CommitError::Unconfirmed)?;
        *self.last_good() = None;
        Ok(())
    }

    /// Ends a transaction that changed nothing.
    pub(super) fn abort(&self, tx: WriteTransaction) -> Result<(), StoreError> {
        tx.abort()?;
        self.check_fault()?;
        *self.last_good() = None;
        Ok(())
    }

    /// Tries the disk again after a failed write: a commit that was unconfirmed is on the disk then, and readers see
    /// it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`] if the disk fails still.
    pub(super) fn retry_writes(&self) -> Result<(), StoreError> {
        self.disk.apply().map_err(StoreError::io)?;
        self.check_fault()?;
        *self.last_good() = None;
        Ok(())
    }

    /// Whether the engine answers nothing any more, as a read has failed; it has to be opened again.
    pub(super) fn is_dead(&self) -> bool {
        self.disk.failed_read().is_some()
    }

    /// Tries the read again that failed: opening the engine again costs a check of the whole file.
    pub(super) fn check_failed_read(&self) -> Result<(), StoreError> {
        self.disk.repeat_failed_read().map_err(StoreError::io)
    }

    /// Keeps the engine from reading and writing: another one is about to be opened on the disk, or the file is another
    /// program's.
    pub(super) fn retire(&self) {
        self.disk.retire();
    }

    /// Whether another program has written to the file.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`] if the disk can not be read.
    pub(super) fn is_overwritten(&self) -> Result<bool, StoreError> {
        self.disk.is_overwritten().map_err(StoreError::io)
    }

    /// Says why nothing can be committed.
    pub(super) fn check_fault(&self) -> Result<(), StoreError> {
        if self.is_dead() {
            return Err(StoreError::io(std::io::Error::other("the file can not be read")));
        }
        self.disk.fault().map_or(Ok(()), |fault| Err(StoreError::io(fault)))
    }

    /// Begins to read the last commit that is on the disk.
    pub(super) fn begin_read(&self) -> Result<Arc<ReadTransaction>, StoreError> {
        let tx = Arc::new(self.database.begin_read()?);
        // Asked after the transaction has begun: if it shows a commit that is not on the disk, the failure is known
        // already.
        let before = if self.disk.fault().is_some() { self.last_good().clone() } else { None };
        Ok(before.unwrap_or(tx))
    }
}

/// Why a commit did not succeed.
#[derive(Debug)]
pub(super) enum CommitError {
    /// It left no trace.
    NotCommitted(StoreError),
    /// It is not known to be on the disk, and may be there or come there later.
    Unconfirmed(StoreError),
}

/// Whether the process that wrote a file last has closed it: a flag in the header, by redb's `docs/design.md`.
fn is_closed(disk: &dyn Disk) -> bool {
    const RECOVERY_REQUIRED: u8 = 2;
    let mut header = [0; ENGINE_MAGIC.len() + 1];
    let is_read = disk.read(0, &mut header).is_ok();
    is_read && header.split_last().is_some_and(|(flags, magic)| magic == ENGINE_MAGIC && flags & RECOVERY_REQUIRED == 0)
}
