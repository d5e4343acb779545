//! The socket file beside the database, by which commands on this machine ask the server.
//!
//! The file's mode lets its owner and root connect, and nobody else. So a request that comes through it needs no token
//! and may do everything.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::umask;
use tokio::net::UnixListener;

/// Longest path that a socket's address takes: the kernel's 108 bytes hold a NUL too.
const PATH_BYTES_MAX: usize = 107;

/// A server's end of the socket file, which is removed when this is dropped.
#[derive(Debug)]
pub struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: another server's file at the same path is not removed.
    id: (u64, u64),
}

impl UnixSocket {
    /// Makes the file with mode 0600 and listens on it. A file that a killed server left is removed first.
    ///
    /// The caller has the database beside it locked, so no other server makes this file meanwhile.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AddrInUse`] if another server answers there; [`ErrorKind::AlreadyExists`] if another kind of file
    /// is there; else what the file system says.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let listener = with_short_path(path, |short| {
            match net::UnixStream::connect(short) {
                Ok(_) => return Err(ErrorKind::AddrInUse.into()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    // Said of an ordinary file too.
                    if !fs::symlink_metadata(short)?.file_type().is_socket() {
                        return Err(ErrorKind::AlreadyExists.into());
                    }
                    fs::remove_file(short)?;
                }
                Err(error) => return Err(error),
            }
            // Of the whole process, but for this moment and to less: files that other threads make now get no more
            // rights than they should.
            let usual = umask(Mode::from_raw_mode(0o177));
            let bound = net::UnixListener::bind(short);
            umask(usual);
            bound
        })?;
        listener.set_nonblocking(true)?;
        let made = fs::symlink_metadata(path)?;
        let id = (made.dev(), made.ino());
        Ok(Self { listener: UnixListener::from_std(listener)?, path: path.to_owned(), id })
    }

    pub(super) async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.id) {
            // What stays is removed by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Connects to the server that listens on a socket file.
///
/// # Errors
///
/// [`ErrorKind::NotFound`] or [`ErrorKind::ConnectionRefused`] if none does; [`ErrorKind::PermissionDenied`] if the
/// file is another user's.
pub fn connect(path: &Path) -> io::Result<net::UnixStream> {
    with_short_path(path, |short| net::UnixStream::connect(short))
}

/// Gives a path to the same file that is short enough for a socket's address: a long one leads through the open folder.
fn with_short_path<T>(path: &Path, use_it: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return use_it(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidFilename.into());
    };
    let folder = File::open(folder)?;
    use_it(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}
