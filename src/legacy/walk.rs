//! The tree of old files, entry by entry.
//!
//! The order is the same on every run and every machine: by the bytes of the names, folder by folder. A folder with
//! millions of files is sorted in bounded memory. Every entry that is not a folder is one file seen; links are not
//! followed, so that no loop can be walked and no file is seen twice under two names. A file or folder that can not be
//! read is an entry with a reason, and so is a database in the tree: no entry is left out.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{self, Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};

use super::reason::Refusal;
use super::recognise::FILE_BYTES_MAX;
use super::sorter::{Sorted, Sorter};
use crate::domain::UnixMillis;
use crate::store::{ENGINE_MAGIC, FileId};

/// Memory for the names of one folder; more are sorted on disk.
const FOLDER_BYTES_MAX: usize = 8 << 20;

/// No database is smaller: it has a page for its header. A mission is, and so need not be opened to tell.
const DATABASE_BYTES_MIN: u64 = 4_096;

/// A tree of old files.
#[derive(Debug)]
pub struct Tree {
    /// With all links resolved.
    root: PathBuf,
    /// The database that the files go into. It may be in the tree, and to open it makes its writer wait.
    excluded: Option<FileId>,
}

impl Tree {
    /// Finds a tree.
    ///
    /// # Errors
    ///
    /// If there is no folder that can be read.
    pub fn open(tree: &Path) -> Result<Self> {
        let root = fs::canonicalize(tree).with_context(|| format!("cannot find {}", tree.display()))?;
        fs::read_dir(&root).with_context(|| format!("cannot read {}", root.display()))?;
        Ok(Self { root, excluded: None })
    }

    /// Makes every walk report the file at `path`, under any of its names, as a database that is not opened. Does
    /// nothing if there is no such file.
    pub fn exclude_file(&mut self, path: &Path) {
        self.excluded = fs::metadata(path).ok().map(|metadata| FileId::of(&metadata));
    }

    /// The folder, with all links resolved.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Refuses a path that leads into the tree; it need not be there yet.
    ///
    /// # Errors
    ///
    /// If it does.
    pub(super) fn require_outside(&self, path: &Path) -> Result<()> {
        let mut at = PathBuf::new();
        for part in path::absolute(path)?.components() {
            match part {
                path::Component::ParentDir => drop(at.pop()),
                part => at.push(part),
            }
            at = fs::canonicalize(&at).unwrap_or(at);
        }
        if at.starts_with(&self.root) {
            bail!("{} lies inside the tree {}", path.display(), self.root.display());
        }
        Ok(())
    }

    /// Whether a file is a database, by what it is or by how it begins. `metadata` is that of the file itself, not of
    /// what it links to.
    pub(super) fn is_database(&self, path: &Path, metadata: &Metadata) -> bool {
        if !metadata.is_file() || metadata.len() < DATABASE_BYTES_MIN {
            return false;
        }
        let begins = || {
            let mut bytes = [0; ENGINE_MAGIC.len()];
            File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).is_ok() && bytes == ENGINE_MAGIC
        };
        self.excluded == Some(FileId::of(metadata)) || begins()
    }

    /// Why an entry that is no folder is not read, as far as its inode tells.
    fn refusal_of(&self, path: &Path, found: &Metadata) -> Option<Refusal> {
        let kind = found.file_type();
        if kind.is_file() {
            (self.excluded == Some(FileId::of(found))).then_some(Refusal::Database)
        } else if kind.is_symlink() {
            Some(refusal_of_link(path))
        } else if kind.is_socket() {
            Some(Refusal::Socket)
        } else if kind.is_fifo() {
            Some(Refusal::Fifo)
        } else {
            Some(Refusal::Device)
        }
    }

    /// Begins a walk.
    ///
    /// # Errors
    ///
    /// If the root can not be read.
    pub(super) fn walk(&self) -> Result<Walk<'_>> {
        let mut walk = Walk { tree: self, open: Vec::new(), folders: 1 };
        let names = walk.names(Path::new("")).with_context(|| format!("cannot read {}", self.root.display()))?;
        walk.open.push((PathBuf::new(), names));
        Ok(walk)
    }

    /// Calls `work` with every entry of the tree on several threads, and `each` with the results in the order of the
    /// walk on this one; returns the number of folders.
    ///
    /// # Errors
    ///
    /// If the root can not be read, a folder not be sorted, or `each` fails.
    pub(super) fn for_each<T: Send>(
        &self,
        work: impl Fn(LoadedEntry) -> T + Sync,
        mut each: impl FnMut(T) -> Result<()>,
    ) -> Result<u64> {
        /// Files that are read at once: enough that starting threads for them costs nothing.
        const BATCH_FILES: usize = 1_024;
        /// Most threads: one disk feeds no more.
        const THREADS_MAX: usize = 4;
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        let read = |entries: &[Entry]| -> Vec<T> { entries.iter().map(|entry| work(self.load(entry))).collect() };
        let mut walk = self.walk()?;
        let mut done: Vec<T> = Vec::new();
        loop {
            let batch: Vec<Entry> = walk.by_ref().take(BATCH_FILES).collect::<Result<_>>()?;
            if batch.is_empty() && done.is_empty() {
                return Ok(walk.folders);
            }
            done = thread::scope(|scope| {
                let shares = batch.chunks(batch.len().div_ceil(threads).max(1));
                let readers: Vec<_> = shares.map(|share| scope.spawn(|| read(share))).collect();
                // The batch before is taken while this one is read.
                done.into_iter().try_for_each(&mut each)?;
                let read =
                    readers.into_iter().map(|reader| reader.join().map_err(|_| anyhow!("a reading thread panicked")));
                Ok::<_, anyhow::Error>(read.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
            })?;
        }
    }

    /// Reads one entry. A file that can not be read is an answer, not an error.
    fn load(&self, entry: &Entry) -> LoadedEntry {
        let path = self.root.join(&entry.path);
        let entry = entry.clone();
        if let Some(refusal) = entry.refusal {
            let stat = fs::symlink_metadata(&path).map(|metadata| Stat::of(&metadata)).unwrap_or_default();
            return LoadedEntry { entry, stat, content: Err(refusal) };
        }
        let (stat, content) = read(&path).unwrap_or((Stat::default(), Err(Refusal::Unreadable)));
        LoadedEntry { entry, stat, content }
    }
}

/// One entry of the tree that is not a readable folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path from the root of the tree.
    pub(super) path: PathBuf,
    /// `None` for a regular file; else why it is not read.
    pub(super) refusal: Option<Refusal>,
}

/// A walk over a tree.
#[derive(Debug)]
pub(super) struct Walk<'t> {
    tree: &'t Tree,
    /// The folders around the current entry, each with the names that are left.
    open: Vec<(PathBuf, Sorted)>,
    /// Folders seen, the root too.
    folders: u64,
}

impl Walk<'_> {
    /// Reads and sorts the names in a folder.
    fn names(&self, folder: &Path) -> Result<Sorted> {
        let mut sorter = Sorter::new(FOLDER_BYTES_MAX);
        for entry in fs::read_dir(self.tree.root.join(folder))? {
            sorter.push(entry?.file_name().as_bytes(), &[])?;
        }
        sorter.finish()
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (folder, names) = self.open.last_mut()?;
            let Some(pair) = names.next() else {
                self.open.pop();
                continue;
            };
            let name = match pair {
                Ok((name, _)) => name,
                Err(error) => return Some(Err(error)),
            };
            let path = folder.join(OsStr::from_bytes(&name));
            let full = self.tree.root.join(&path);
            let refusal = match fs::symlink_metadata(&full) {
                Ok(found) if found.is_dir() => match self.names(&path) {
                    Ok(names) => {
                        self.folders += 1;
                        self.open.push((path, names));
                        continue;
                    }
                    Err(_) => Some(Refusal::UnreadableDirectory),
                },
                Ok(found) => self.tree.refusal_of(&full, &found),
                Err(_) => Some(Refusal::Unreadable),
            };
            return Some(Ok(Entry { path, refusal }));
        }
    }
}

fn refusal_of_link(path: &Path) -> Refusal {
    match fs::metadata(path) {
        Ok(_) => Refusal::Symlink,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Refusal::SymlinkDangling,
        // Too many links on the way: the kernel's word for a loop.
        Err(_) => Refusal::SymlinkLoop,
    }
}

/// What a file's inode says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stat {
    /// Size in bytes.
    pub(super) bytes: u64,
    /// Space on disk, in bytes.
    pub(super) disk_bytes: u64,
    /// Last change, in nanoseconds since 1970.
    pub(super) modified_ns: i64,
    /// Permissions, as `chmod` takes them.
    pub(super) mode: u32,
}

impl Stat {
    /// Reads what the file system says.
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            // POSIX counts blocks of 512 bytes, whatever the file system's own are.
            disk_bytes: metadata.blocks() * 512,
            modified_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
            mode: metadata.mode() & 0o7777,
        }
    }

    /// The last change as a moment.
    pub(super) fn modified(&self) -> UnixMillis {
        UnixMillis::new(self.modified_ns.div_euclid(1_000_000))
    }
}

/// One entry with its bytes.
#[derive(Debug)]
pub(super) struct LoadedEntry {
    /// Which.
    pub(super) entry: Entry,
    /// What its inode says; of a link, that of the link.
    pub(super) stat: Stat,
    /// The bytes, or why there are none.
    pub(super) content: Result<Vec<u8>, Refusal>,
}

/// Reads a file, unless it is a database or too large.
fn read(path: &Path) -> std::io::Result<(Stat, Result<Vec<u8>, Refusal>)> {
    let mut file = File::open(path)?;
    let stat = Stat::of(&file.metadata()?);
    let is_too_large = stat.bytes > FILE_BYTES_MAX;
    // One byte more than allowed tells that the file has grown since.
    let bytes_max = if is_too_large { ENGINE_MAGIC.len() as u64 } else { FILE_BYTES_MAX + 1 };
    let mut bytes = Vec::with_capacity(usize::try_from(stat.bytes.min(bytes_max)).unwrap_or(0) + 1);
    file.by_ref().take(bytes_max).read_to_end(&mut bytes)?;
    let content = if bytes.starts_with(ENGINE_MAGIC) {
        Err(Refusal::Database)
    } else if is_too_large {
        Err(Refusal::TooLarge)
    } else {
        Ok(bytes)
    };
    Ok((stat, content))
}
