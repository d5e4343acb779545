//! Where the bytes of a database are: a file, or what a test puts in its place.
//!
//! A [`Disk`] reads, writes, changes its length and syncs, and any of these may fail. What to do about a failure is
//! decided above it, in `guarded_disk`, so a test that loses power or space at any operation runs the same code as a
//! server.

use std::fmt::Debug;
use std::fs::File;
use std::io;

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

    /// Drops what the operating system keeps in memory of the file, so that reads show what the device has.
    ///
    /// After a failed sync the system may still show data that never reached the device. A power cut would lose that
    /// data. A disk without such a cache does nothing.
    fn forget(&self) {}
}

/// A file that this process has locked.
#[derive(Debug)]
pub(super) struct FileDisk(pub(super) File);

#[cfg(unix)]
impl Disk for FileDisk {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, out, offset)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, data, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget(&self) {
        // The system drops only pages that it has written, or has failed to write.
        if let Err(error) = self.0.sync_data() {
            tracing::warn!(%error, "the disk did not take what a process before this one left to be written");
        }
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&self.0, 0, None, rustix::fs::Advice::DontNeed);
    }
}
