//! Database files: who holds the lock, which file stands at a path, and how files and folders are made.
//!
//! A process locks the file that it has open as a database, so that no other process opens it. Whoever only tries for the lock closes the
//! file between two tries: a server lets its commits wait while another process has its file open (see `copy_gate`).
//!
//! Nothing here reads or writes the content of a database.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::disk::{Disk as _, FileDisk};
use super::error::StoreError;

/// What every file of the engine begins with.
pub(crate) const ENGINE_MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";

/// Opens a database file for writing, locked against every other process.
///
/// # Errors
///
/// [`StoreError::Absent`], [`StoreError::InUse`], [`StoreError::Damaged`] for an empty file, or [`StoreError::Engine`].
pub(super) fn lock_database(path: &Path) -> Result<FileDisk, StoreError> {
    if !path.exists() {
        return Err(StoreError::Absent(path.to_owned()));
    }
    let disk = lock(path).map_err(StoreError::io)?.ok_or_else(in_use(path))?;
    refuse_empty(disk)
}

/// Opens a database file for reading; no process may write to it meanwhile.
///
/// # Errors
///
/// As [`lock_database`].
pub(super) fn lock_database_shared(path: &Path) -> Result<FileDisk, StoreError> {
    if !path.exists() {
        return Err(StoreError::Absent(path.to_owned()));
    }
    let disk = open_locked(path, OpenOptions::new().read(true), File::try_lock_shared);
    refuse_empty(disk.map_err(StoreError::io)?.ok_or_else(in_use(path))?)
}

/// A new database gets its name when it has its tables, so an empty file is what a failed copy left.
fn refuse_empty(disk: FileDisk) -> Result<FileDisk, StoreError> {
    if disk.length().map_err(StoreError::io)? == 0 {
        return Err(StoreError::Damaged("it is empty".to_owned()));
    }
    Ok(disk)
}

/// The error for a file that another process has locked.
pub(super) fn in_use(path: &Path) -> impl FnOnce() -> StoreError {
    let path = path.to_owned();
    || StoreError::InUse(path)
}

/// Opens any file for writing, locked against every other process; `None` if another process has the lock.
///
/// The process that had the lock may have put another file at the path before it gave the lock back. Then this locks the new file.
pub(super) fn lock(path: &Path) -> io::Result<Option<FileDisk>> {
    loop {
        let before = file_id(path)?;
        let disk = open_locked(path, OpenOptions::new().read(true).write(true), File::try_lock)?;
        if disk.is_none() || file_id(path)? == before {
            return Ok(disk);
        }
    }
}

/// Tries for a second: a process that is about to end, or that another process has just started, holds a lock a moment longer.
fn open_locked(
    path: &Path,
    options: &OpenOptions,
    try_lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> io::Result<Option<FileDisk>> {
    const TRIES: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        // Opening a named pipe would wait until another process writes to it.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let file = options.open(path)?;
        match try_lock(&file) {
            Ok(()) => return Ok(Some(FileDisk(file))),
            Err(TryLockError::WouldBlock) => {}
            // A file system without locks: the manual says that the operator has to take care there.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                return Ok(Some(FileDisk(file)));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// What tells a file from any other, whatever its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    #[cfg(unix)]
    device_and_inode: (u64, u64),
    #[cfg(not(unix))]
    created: std::time::SystemTime,
}

impl FileId {
    fn of(found: &fs::Metadata) -> io::Result<Self> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            Ok(Self { device_and_inode: (found.dev(), found.ino()) })
        }
        #[cfg(not(unix))]
        Ok(Self { created: found.created()? })
    }
}

/// Which file stands at a path, or where a symbolic link there leads.
pub(super) fn file_id(path: &Path) -> io::Result<FileId> {
    FileId::of(&fs::metadata(path)?)
}

impl FileDisk {
    /// Which file this is.
    pub(super) fn id(&self) -> io::Result<FileId> {
        FileId::of(&self.0.metadata()?)
    }
}

/// Bytes that may still be written to the disk that holds a file, `None` where the system does not say.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder_of(path)).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The folder of a file, `.` if its path names none.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// The path of a file with a suffix after its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// Makes an empty file with mode 0600, in the place of one that a crash left behind.
pub(super) fn make_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => private_file().create_new(true).open(path).map(drop),
    }
}

/// Makes new and renamed files in a folder survive a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder with mode 0700, and those above it.
#[cfg(unix)]
pub(super) fn make_private_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a folder, and those above it.
#[cfg(not(unix))]
pub(super) fn make_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(unix)]
fn private_file() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(not(unix))]
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    options
}
