//! Where the bytes of a database are: a file, or what a test puts in its place.
//!
//! A [`Disk`] is as plain as can be: it reads, writes, grows, syncs, and may fail at any of these. All that is clever about
//! failures is above it, so that a test that loses power or space at any operation meets the same code as a server does.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Where the bytes of a database are.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// Those of the device.
    fn length(&self) -> io::Result<u64>;

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    ///
    /// Those of the device, and [`io::ErrorKind::UnexpectedEof`] behind the end.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes `data` from `offset` on, which lies within the length. If it fails, any part of it may have been written.
    ///
    /// # Errors
    ///
    /// Those of the device.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts off, or adds zeros.
    ///
    /// # Errors
    ///
    /// Those of the device.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Returns once everything that was written survives a power cut.
    ///
    /// # Errors
    ///
    /// Those of the device; what was written since the last sync may be lost then, whatever a read shows.
    fn sync(&self) -> io::Result<()>;

    /// From now on reads show what the device has, as they would after a power cut: what the system merely remembers, since it could not
    /// write it, is gone. As far as that is possible; a disk without a cache has nothing to do.
    fn forget(&self) {}
}

/// A file.
#[derive(Debug)]
pub(super) struct FileDisk {
    file: File,
}

impl FileDisk {
    /// Opens a file for reading and writing and keeps every other process from doing so; `None` if another one has it.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        check_is_file(path)?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let locked = patiently(|| file.try_lock());
        Self::locked(file, locked)
    }

    /// Opens a file that is only looked at; `None` if another process may be writing to it.
    pub(super) fn open_to_read(path: &Path) -> io::Result<Option<Self>> {
        check_is_file(path)?;
        let file = File::open(path)?;
        let locked = patiently(|| file.try_lock_shared());
        Self::locked(file, locked)
    }

    fn locked(file: File, locked: Result<(), TryLockError>) -> io::Result<Option<Self>> {
        match locked {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            // A file system without locks: the README says who has to take care then.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Some(Self { file })),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Opening a pipe waits until somebody writes to it.
fn check_is_file(path: &Path) -> io::Result<()> {
    let is_file = fs::metadata(path)?.is_file();
    if is_file { Ok(()) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")) }
}

/// Tries for a second: a process that is just ending, or a child that this one is just starting, holds the lock a moment longer.
fn patiently(lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    const TRIES: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(20);
    for _ in 1..TRIES {
        match lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            decided => return decided,
        }
    }
    lock()
}

#[cfg(unix)]
impl Disk for FileDisk {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, data, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn forget(&self) {
        // Only what has been written, or has failed to be, can be forgotten.
        if let Err(error) = self.file.sync_data() {
            tracing::warn!(%error, "the disk did not take what a process before this one left to be written");
        }
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// Whether an error says that there is no room: on the device, in the quota, or for a file this large.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
