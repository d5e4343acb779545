//! An open database: the file, the engine on it, and the gate that every commit waits at.
//!
//! The file is this process's alone while it is open. Before each commit, and when a reader asks, the path must still
//! lead to the open file, and the file must be as the last commit left it. A file that was moved, replaced or removed
//! takes no writes, but is read; one that another program wrote to is neither read nor written any more.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::copy_gate::{CopyGate, GateStatus, GateWaits};
use super::disk::{Disk, FileDisk};
use super::engine::Engine;
use super::error::StoreError;
use super::file::{self, Access, FileId, Replacement, is_there};
use super::runs::Runs;
use super::snapshot::Snapshot;

/// An open database.
#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    /// Replaced when the engine has to be opened again.
    engine: RwLock<Arc<Engine>>,
    path: PathBuf,
    runs: Runs,
    /// Where every commit waits while another process may be copying the file.
    gate: Mutex<CopyGate>,
    gate_status: Arc<GateStatus>,
    /// Which file was opened; `None` for a disk that is no file.
    file: Option<FileId>,
    is_overwritten: AtomicBool,
}

impl Drop for Store {
    fn drop(&mut self) {
        // Closing the file writes to it, if it is still ours.
        if !self.find_overwritten() {
            self.wait_for_copies();
        }
    }
}

impl Store {
    /// Opens a database, or makes one: its folder with mode 0700, the file with mode 0600.
    ///
    /// The whole file is checked: a damaged one is refused here and not met later. A file that is refused is not
    /// changed, not even by the engine's own repair.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`], [`StoreError::NewerSchema`], [`StoreError::Unreleased`], [`StoreError::NotOurs`],
    /// [`StoreError::Create`], [`StoreError::Damaged`] or [`StoreError::Engine`].
    pub fn open_or_create(path: &Path) -> Result<Arc<Self>, StoreError> {
        Self::open_or_create_behind_gate(path, Duration::ZERO)
    }

    /// As [`Store::open_behind_gate`], but makes a database where there is none.
    ///
    /// # Errors
    ///
    /// As [`Store::open_or_create`].
    pub fn open_or_create_behind_gate(path: &Path, limit: Duration) -> Result<Arc<Self>, StoreError> {
        if !is_there(path)? {
            let new = Replacement::of(path)?;
            // Another process may have made it meanwhile.
            if new.old().is_none() {
                let disk = new.file().try_clone().map_err(StoreError::io)?;
                drop(Self::open_on(Arc::new(FileDisk(disk)), path)?);
                // The database gets its name when it is whole.
                new.commit()?;
            }
        }
        Self::open_behind_gate(path, limit)
    }

    /// Opens a database that is there.
    ///
    /// # Errors
    ///
    /// As [`Store::open_or_create`], and [`StoreError::Absent`].
    pub fn open(path: &Path) -> Result<Arc<Self>, StoreError> {
        Self::open_behind_gate(path, Duration::ZERO)
    }

    /// As [`Store::open`], but every commit waits for copies of the file that other processes are making, and so does
    /// the opening.
    ///
    /// - `limit`: how long one commit waits at most; zero: not at all. Where the system can not tell who copies the
    ///   file, nothing waits, and [`Store::unsafe_copies`] says why.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_behind_gate(path: &Path, limit: Duration) -> Result<Arc<Self>, StoreError> {
        let disk = file::lock_database(path, Access::Write)?;
        let mut gate = CopyGate::new(&disk, limit);
        let id = disk.id().map_err(StoreError::io)?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let engine = Engine::open(&disk, || gate.wait())?;
        Self::new(disk, engine, path, gate, Some(id))
    }

    /// Opens the database on any disk, or makes one on an empty disk: for tests that let the disk fail. `path` is where
    /// it is said to be.
    ///
    /// # Errors
    ///
    /// As [`Store::open_or_create`].
    pub fn open_on(disk: Arc<dyn Disk>, path: &Path) -> Result<Arc<Self>, StoreError> {
        let engine = Engine::open(&disk, || ())?;
        Self::new(disk, engine, path, CopyGate::off("there is no copy gate"), None)
    }

    /// Opens a database that it never changes, and that no process may write to meanwhile. What is written to it
    /// changes nothing but what this process sees.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_to_read(path: &Path) -> Result<Arc<Self>, StoreError> {
        let disk: Arc<dyn Disk> = Arc::new(file::lock_database(path, Access::Read)?);
        let engine = Engine::open_to_read(Arc::clone(&disk))?;
        Self::new(disk, engine, path, CopyGate::off("nothing is written to the file"), None)
    }

    fn new(
        disk: Arc<dyn Disk>,
        engine: Engine,
        path: &Path,
        gate: CopyGate,
        file: Option<FileId>,
    ) -> Result<Arc<Self>, StoreError> {
        let runs = Runs::begin(&*engine.begin_read()?)?;
        let (engine, gate_status, gate) = (RwLock::new(Arc::new(engine)), gate.status(), Mutex::new(gate));
        let is_overwritten = AtomicBool::new(false);
        Ok(Arc::new(Self { disk, engine, path: path.to_owned(), runs, gate, gate_status, file, is_overwritten }))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The runs that wrote to the file, and the one of this process.
    #[must_use]
    pub fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Takes a snapshot of the last commit.
    ///
    /// Whatever was acknowledged before this call is in it. It keeps old pages from being used again, so it is for one
    /// answer, not for as long as a client reads.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::Overwritten`].
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        if self.find_overwritten() {
            return Err(StoreError::Overwritten(self.path.clone()));
        }
        Snapshot::of(self.engine())
    }

    /// Says whether the file is still the one that was opened, as this process left it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Replaced`], which may pass, or [`StoreError::Overwritten`], which does not.
    pub fn check_file(&self) -> Result<(), StoreError> {
        if self.find_overwritten() {
            return Err(StoreError::Overwritten(self.path.clone()));
        }
        match &self.file {
            Some(opened) if file::file_id(&self.path).ok().as_ref() != Some(opened) => {
                Err(StoreError::Replaced(self.path.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether it was found that another program has written to the file. Costs nothing, and does not look.
    #[must_use]
    pub fn is_overwritten(&self) -> bool {
        self.is_overwritten.load(Ordering::SeqCst)
    }

    /// Whether another program has written to the file; from then on nothing is read or written here.
    fn find_overwritten(&self) -> bool {
        if self.is_overwritten() {
            return true;
        }
        let engine = self.engine();
        // A disk that can not be read is another matter.
        let is_found = self.file.is_some() && engine.is_overwritten().unwrap_or(false);
        if is_found && !self.is_overwritten.swap(true, Ordering::SeqCst) {
            engine.retire();
            tracing::error!(
                file = %self.path.display(),
                "another program wrote to the database file; nothing more is read from it or written to it"
            );
        }
        is_found
    }

    /// Why a copy of the live file that is made now may be torn, or is one of another file; `None` if copies are safe.
    #[must_use]
    pub fn unsafe_copies(&self) -> Option<String> {
        self.gate_status.unsafe_copies().or_else(|| self.check_file().err().map(|error| error.to_string()))
    }

    /// How long commits have waited for copies of the file.
    #[must_use]
    pub fn gate_waits(&self) -> GateWaits {
        self.gate_status.waits()
    }

    /// Waits until a commit does no harm to any copy of the file, and makes sure that the file is still ours to write
    /// to.
    pub(super) fn prepare_commit(&self) -> Result<(), StoreError> {
        self.wait_for_copies();
        self.check_file()
    }

    fn wait_for_copies(&self) {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }

    pub(super) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens the engine again after a failed read, with a check of the whole file. Nothing goes to the disk yet, and
    /// readers do not see it yet.
    pub(super) fn open_engine_again(&self) -> Result<Arc<Engine>, StoreError> {
        let old = self.engine();
        old.check_failed_read()?;
        old.retire();
        Ok(Arc::new(Engine::check(&self.disk)?))
    }

    /// Makes readers and writers use another engine.
    pub(super) fn replace_engine(&self, engine: Arc<Engine>) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = engine;
    }
}
