//! Database files: who holds the lock, which file stands at a path, and how a file takes the place of another.
//!
//! A process locks the file that it has open as a database, so that no other process opens it. A process that only
//! tries for the lock closes the file between two tries: a server lets its commits wait while another process has its
//! file open (see `copy_gate`).
//!
//! Whatever replaces a file does it by a [`Replacement`]: databases, backups, exports and reports.
//!
//! Nothing here reads or writes the content of a database.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::disk::{Disk as _, FileDisk};
use super::error::StoreError;

/// What every file of the engine begins with.
pub(crate) const ENGINE_MAGIC: &[u8] = b"redb\x1A\x0A\xA9\x0D\x0A";
/// What stands after the name of a file that is being written.
const PART: &str = ".part";

/// Whether there is a file. That a folder on the way may not be searched is an error, and not the file's absence.
pub(super) fn is_there(path: &Path) -> Result<bool, StoreError> {
    path.try_exists().map_err(StoreError::io)
}

/// Opens a database file and locks it.
///
/// # Errors
///
/// [`StoreError::Absent`], [`StoreError::InUse`], [`StoreError::Damaged`] for an empty file, or [`StoreError::Engine`].
pub(super) fn lock_database(path: &Path, access: Access) -> Result<FileDisk, StoreError> {
    if !is_there(path)? {
        return Err(StoreError::Absent(path.to_owned()));
    }
    let disk = lock(path, access).map_err(StoreError::io)?.ok_or_else(|| StoreError::InUse(path.to_owned()))?;
    // A new database gets its name when it has its tables, so an empty file is what a failed copy left.
    if disk.length().map_err(StoreError::io)? == 0 {
        return Err(StoreError::Damaged("it is empty".to_owned()));
    }
    Ok(disk)
}

/// What a process does with a file, and what others may not do meanwhile.
#[derive(Clone, Copy)]
pub(super) enum Access {
    /// It reads; others may read too.
    Read,
    /// It writes; others may do nothing.
    Write,
}

/// Opens any file and locks it; `None` if another process has a lock that stands against it.
///
/// The process that had the lock may have put another file at the path before it gave the lock back. Then this locks
/// the new file.
fn lock(path: &Path, access: Access) -> io::Result<Option<FileDisk>> {
    loop {
        let before = file_id(path)?;
        let disk = open_locked(path, access)?;
        if disk.is_none() || file_id(path)? == before {
            return Ok(disk);
        }
    }
}

/// Tries for a second: a process that is about to end, or that another process has just started, holds a lock a moment
/// longer.
fn open_locked(path: &Path, access: Access) -> io::Result<Option<FileDisk>> {
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
        let file = OpenOptions::new().read(true).write(matches!(access, Access::Write)).open(path)?;
        let is_locked = match access {
            Access::Read => is_locked(file.try_lock_shared())?,
            Access::Write => is_locked(file.try_lock())?,
        };
        if is_locked {
            return Ok(Some(FileDisk(file)));
        }
    }
    Ok(None)
}

/// Whether a process has got a lock.
fn is_locked(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        // A file system without locks: the manual says that the operator has to take care there.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What tells a file from any other, whatever its names: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(u64, u64);

impl FileId {
    /// Which file this describes.
    pub(crate) fn of(found: &Metadata) -> Self {
        Self(found.dev(), found.ino())
    }
}

/// Which file stands at a path, or where a symbolic link there leads.
pub(super) fn file_id(path: &Path) -> io::Result<FileId> {
    fs::metadata(path).map(|found| FileId::of(&found))
}

impl FileDisk {
    /// Which file this is.
    pub(super) fn id(&self) -> io::Result<FileId> {
        self.0.metadata().map(|found| FileId::of(&found))
    }
}

/// Bytes that may still be written to the disk that holds a file, `None` where the system does not say.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    // Of the file and not of its folder: a link may lead to another disk.
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Who may do what to a file, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// The permission bits of the file.
    pub mode: u32,
    /// The number of the user to whom it belongs.
    pub owner: u32,
    /// The number of the user that this process runs as.
    pub user: u32,
    /// Its folder.
    pub folder: PathBuf,
    /// The permission bits of the folder.
    pub folder_mode: u32,
    /// The name of its file system, if that is none for a database.
    pub unfit_file_system: Option<&'static str>,
}

/// Looks at a file and its folder.
///
/// # Errors
///
/// Those of the system, as where the file is not there.
pub fn file_facts(path: &Path) -> io::Result<FileFacts> {
    const PERMISSIONS: u32 = 0o777;
    // Of the file and not of the link to it.
    let path = path.canonicalize()?;
    let (file, folder) = (fs::metadata(&path)?, folder_of(&path).to_owned());
    Ok(FileFacts {
        mode: file.mode() & PERMISSIONS,
        owner: file.uid(),
        user: rustix::process::geteuid().as_raw(),
        folder_mode: fs::metadata(&folder)?.mode() & PERMISSIONS,
        folder,
        unfit_file_system: unfit_file_system(&path)?,
    })
}

/// The name of the file system of a file, if it is one of a network, or of memory.
#[cfg(target_os = "linux")]
fn unfit_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    let magic = rustix::fs::statfs(path)?.f_type;
    // From `linux/magic.h` and the sources of the file systems.
    let unfit = [
        (0x6969, "nfs"),
        (0x517B, "smb"),
        (0xFF53_4D42, "cifs"),
        (0xFE53_4D42, "smb2"),
        (0x6573_5546, "fuse"),
        (0x0102_1997, "9p"),
        (0x5346_414F, "afs"),
        (0x00C3_6400, "ceph"),
        (0x0102_1994, "tmpfs"),
    ];
    Ok(unfit.into_iter().find(|(known, _)| *known == magic).map(|(_, name)| name))
}

#[cfg(not(target_os = "linux"))]
fn unfit_file_system(_: &Path) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// The most files that this process may have open; `None` without a limit.
#[must_use]
pub fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
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

/// The path to which symbolic links lead from `path`, whether there is a file or not.
fn follow_links(path: &Path) -> io::Result<PathBuf> {
    /// As many as the kernel follows.
    const LINKS_MAX: usize = 40;
    let mut real = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&real) {
            Ok(target) => real = folder_of(&real).join(target),
            // It is not a link, or it is not there.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(real);
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP.into())
}

/// Makes new and renamed files in a folder survive a power cut.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it that are not there, each with mode 0700.
///
/// # Errors
///
/// If one can not be made: a symbolic link that leads nowhere is not followed.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a file with mode 0600.
///
/// # Errors
///
/// If there is something of that name already, a symbolic link too: nothing is ever written through one.
pub fn make_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// A file that is written beside another, as `.part`, and then takes its place as a whole.
///
/// - No symbolic link is followed at the name of the `.part`. At the name of the file, [`of`](Self::of) follows links
///   and [`private`](Self::private) does not.
/// - When this is dropped without a [`commit`](Self::commit), nothing is left. What a killed process left is removed by
///   the next that writes a file of the same name.
#[derive(Debug)]
pub struct Replacement {
    /// The path to replace, without links.
    target: PathBuf,
    part: PathBuf,
    /// The new file, locked: no other process takes it for a leftover.
    file: File,
    /// The old file, locked.
    old: Option<FileDisk>,
    /// The other name that the old file has been given.
    kept: Option<PathBuf>,
    is_committed: bool,
}

impl Replacement {
    /// Makes an empty file for the place of the one at `path`, or of the one to which symbolic links lead from there.
    ///
    /// - The new file has the owner, the group and the mode of the old one; without an old one its mode is 0600, and
    ///   that of a folder that is made for it 0700.
    /// - The old file must be nobody's database, and becomes nobody's meanwhile: a process that has it open would go on
    ///   writing to a file without a name, and lose all that it acknowledges from then on.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if a process has the file at `path` open as a database, this process too;
    /// [`StoreError::Create`] if another process is writing a file for the same place, if `path` is not a file, or if
    /// no file can be made.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        let target = follow_links(path).map_err(cannot_make(path))?;
        let folder = follow_links(folder_of(&target)).map_err(cannot_make(folder_of(&target)))?;
        make_private_folder(&folder).map_err(cannot_make(&folder))?;
        let mut new = Self::private(&target)?;
        // After the lock on the new file: of two processes that both find no old file, the second would replace what
        // the first has made.
        new.old = match lock(&new.target, Access::Read) {
            Ok(None) => return Err(StoreError::InUse(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            locked => locked.map_err(cannot_make(path))?,
        };
        if let Some(old) = &new.old {
            old.0.metadata().and_then(|old| copy_owner(&old, &new.file)).map_err(cannot_make(path))?;
        }
        Ok(new)
    }

    /// Makes an empty file with mode 0600 for the place of whatever is called `path`: a symbolic link there is
    /// replaced, and the file that it leads to stays. The folder must be there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Create`] if another process is writing a file for the same place, or if no file can be made.
    pub fn private(path: &Path) -> Result<Self, StoreError> {
        let part = beside(path, PART);
        let file = create_part(&part).map_err(cannot_make(&part))?;
        Ok(Self { target: path.to_owned(), part, file, old: None, kept: None, is_committed: false })
    }

    /// The new file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file that is replaced, if there is one.
    pub(super) fn old(&self) -> Option<&FileDisk> {
        self.old.as_ref()
    }

    /// Keeps the file that is replaced under another name: its own, with `suffix` after it, and a number if a file has
    /// that name already. Returns the path, or `None` if no file is replaced.
    ///
    /// # Errors
    ///
    /// [`StoreError::Create`].
    pub(super) fn keep_old(&mut self, suffix: &str) -> Result<Option<PathBuf>, StoreError> {
        let Some(FileDisk(old)) = &self.old else { return Ok(None) };
        let mut kept = beside(&self.target, suffix);
        for number in 2_u64.. {
            match link_or_copy(&self.target, old, &kept) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot_make(&kept)(error)),
                Ok(()) => break,
            }
            kept = beside(&self.target, &format!("{suffix}-{number}"));
        }
        // The old file has two names on the disk before it loses the first.
        sync_folder(folder_of(&kept)).map_err(cannot_make(&kept))?;
        self.kept = Some(kept.clone());
        Ok(Some(kept))
    }

    /// Lets `write` fill the new file, then puts it in the place of the old one.
    ///
    /// # Errors
    ///
    /// That of `write`, or as [`commit`](Self::commit).
    pub fn write<T, E: From<StoreError>>(self, write: impl FnOnce(&mut dyn Write) -> Result<T, E>) -> Result<T, E> {
        let mut out = BufWriter::new(&self.file);
        let written = write(&mut out)?;
        out.flush().map_err(cannot_make(&self.part))?;
        drop(out);
        self.commit()?;
        Ok(written)
    }

    /// Puts the new file in the place of the old one. Both survive a power cut at any moment.
    ///
    /// # Errors
    ///
    /// [`StoreError::Create`]; unless it is the last sync that failed, the old file is still there.
    pub fn commit(mut self) -> Result<(), StoreError> {
        self.file.sync_all().map_err(cannot_make(&self.part))?;
        // The engine gives the lock back when it closes the file.
        if !self.is_own_part().map_err(cannot_make(&self.part))? {
            return Err(cannot_make(&self.target)(busy()));
        }
        fs::rename(&self.part, &self.target).map_err(explain_rename).map_err(cannot_make(&self.target))?;
        self.is_committed = true;
        sync_folder(folder_of(&self.target)).map_err(cannot_make(&self.target))
    }

    /// Locks the new file, and says whether it still has its name.
    fn is_own_part(&self) -> io::Result<bool> {
        Ok(is_locked(self.file.try_lock())? && has_name(&self.file, &self.part)?)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if self.is_committed {
            return;
        }
        // What can not be removed here is removed by the next process that writes a file of the same name.
        if self.is_own_part().unwrap_or(false) {
            let _ = fs::remove_file(&self.part);
        }
        let _ = self.kept.as_ref().map(fs::remove_file);
    }
}

/// Removes each `.part` in a folder that a killed process left of a file whose name `is_meant` knows.
///
/// # Errors
///
/// Those of the file system.
pub fn remove_leftovers(folder: &Path, is_meant: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_str().and_then(|name| name.strip_suffix(PART)).is_some_and(&is_meant) {
            match remove_leftover(&entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::ResourceBusy => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Makes an empty file with mode 0600 and locks it, in the place of one that a killed process left.
fn create_part(part: &Path) -> io::Result<File> {
    loop {
        // A new file is never one that a link leads to.
        match make_private_file(part) {
            Ok(file) if is_locked(file.try_lock())? && has_name(&file, part)? => return Ok(file),
            // Another process took it for a leftover before it was locked.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => remove_leftover(part)?,
            Err(error) => return Err(error),
        }
    }
}

/// Removes a `.part`, or a link of that name, unless a process is writing it.
fn remove_leftover(part: &Path) -> io::Result<()> {
    match rustix::fs::open(part, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
    {
        Ok(found) => {
            let found = File::from(found);
            if !is_locked(found.try_lock())? {
                return Err(busy());
            }
            // A process that held the lock before may have put its own file there.
            if has_name(&found, part)? { fs::remove_file(part) } else { Ok(()) }
        }
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::LOOP) => fs::remove_file(part),
        Err(error) => Err(error.into()),
    }
}

/// Whether it is this file that has the name, and no link to it.
fn has_name(file: &File, name: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(name) {
        Ok(found) => Ok(FileId::of(&found) == FileId::of(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives a file the owner, the group and the mode of another.
fn copy_owner(from: &Metadata, to: &File) -> io::Result<()> {
    let (own, uid, gid) = (to.metadata()?, from.uid(), from.gid());
    if (own.uid(), own.gid()) != (uid, gid) {
        fchown(to, Some(uid), Some(gid)).map_err(|error| {
            let detail = format!(
                "the file that is there belongs to user {uid} and group {gid}, and so must the new one: run this as \
                 that user or as root ({error})"
            );
            io::Error::new(error.kind(), detail)
        })?;
    }
    to.set_permissions(from.permissions())
}

/// Gives a file another name, which no file has yet; where the file system can not do that, copies it.
fn link_or_copy(path: &Path, mut file: &File, new: &Path) -> io::Result<()> {
    match fs::hard_link(path, new) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
        linked => return linked,
    }
    let mut copy = make_private_file(new)?;
    let copied = io::copy(&mut file, &mut copy).and_then(|_| copy_owner(&file.metadata()?, &copy));
    copied.and_then(|()| copy.sync_all()).inspect_err(|_| {
        // The error that is reported says what stands in the way here too.
        let _ = fs::remove_file(new);
    })
}

fn busy() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "another process is writing it")
}

fn explain_rename(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::ResourceBusy {
        let detail = "it is a mount point, and no other file can take its place: mount its folder instead, or work where it comes from";
        return io::Error::new(error.kind(), detail);
    }
    error
}

/// The error for a file or folder that can not be made.
pub(super) fn cannot_make(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    |source| StoreError::Create { path, source }
}
