//! The tree of old files, entry by entry.
//!
//! The order is the same on every run and every machine: by the bytes of the names, folder by folder. A folder with
//! millions of files is sorted in bounded memory. Every entry that is not a folder is one file seen; links are not
//! followed, so that no loop can be walked and no file is seen twice under two names. What can not be read is an entry
//! with a reason, never a gap. A database that lies in the tree is no mission: it is such an entry too.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, File, FileType, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, FileTypeExt, MetadataExt};
use std::path::{self, Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;

use anyhow::{Context as _, Result, anyhow, bail};

use super::reason::Refusal;
use super::recognise::FILE_BYTES_MAX;
use super::sorter::{Sorted, Sorter};
use crate::domain::UnixMillis;
use crate::store::ENGINE_MAGIC;

/// Memory for the names of one folder; more are sorted on disk.
const FOLDER_BYTES_MAX: usize = 8 << 20;

/// No database is smaller: it has a page for its header. A mission is, and so need not be opened to tell.
const DATABASE_BYTES_MIN: u64 = 4_096;

/// Device and inode of the database that this process works on.
///
/// It is one for the whole process, as `--data` is, and known here by more than its content: to open it is to hold back whoever
/// writes to it.
static OWN_DATABASE: OnceLock<(u64, u64)> = OnceLock::new();

/// Makes every walk of this process leave the file at `path` alone, under whatever name it meets it. A file that is not there needs
/// nothing.
pub fn leave_alone(path: &Path) {
    if let Ok(metadata) = fs::metadata(path) {
        // The first stays: a process has one database.
        let _ = OWN_DATABASE.set(file_id(&metadata));
    }
}

fn file_id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether a file is a database, by what it is or by how it begins. `metadata` is that of the file itself, not of what it links to.
pub(super) fn is_database(path: &Path, metadata: &Metadata) -> bool {
    if !metadata.is_file() || metadata.len() < DATABASE_BYTES_MIN {
        return false;
    }
    let begins = || {
        let mut bytes = [0; ENGINE_MAGIC.len()];
        File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).is_ok() && bytes == ENGINE_MAGIC
    };
    OWN_DATABASE.get() == Some(&file_id(metadata)) || begins()
}

/// Finds a tree, with all links resolved.
///
/// # Errors
///
/// If there is no folder that can be read.
pub fn find(tree: &Path) -> Result<PathBuf> {
    let root = fs::canonicalize(tree).with_context(|| format!("cannot find {}", tree.display()))?;
    fs::read_dir(&root).with_context(|| format!("cannot read {}", root.display()))?;
    Ok(root)
}

/// Refuses a path that leads into a tree, which need not be there yet.
///
/// # Errors
///
/// If it does, or there is no tree.
pub fn require_outside(tree: &Path, path: &Path) -> Result<()> {
    let root = find(tree)?;
    let mut at = PathBuf::new();
    for part in path::absolute(path)?.components() {
        match part {
            path::Component::ParentDir => drop(at.pop()),
            part => at.push(part),
        }
        at = fs::canonicalize(&at).unwrap_or(at);
    }
    if at.starts_with(&root) {
        bail!("{} lies inside the tree {}", path.display(), tree.display());
    }
    Ok(())
}

/// One entry of the tree that is not a readable folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies, from the root of the tree.
    pub path: PathBuf,
    /// `None` for a regular file; else why it is not read.
    pub refusal: Option<Refusal>,
}

/// A walk over a tree.
#[derive(Debug)]
pub struct Walk {
    root: PathBuf,
    temporary: PathBuf,
    /// The folders that the walk is inside of, and what is left of each.
    open: Vec<(PathBuf, Sorted)>,
    /// Folders seen, the root too.
    folders: u64,
}

impl Walk {
    /// Begins at a folder; `temporary` is where folders too large for memory are sorted.
    ///
    /// # Errors
    ///
    /// If `root` is no folder that can be read.
    pub fn new(root: &Path, temporary: &Path) -> Result<Self> {
        let root = find(root)?;
        let names = sorted_names(&root, temporary).with_context(|| format!("cannot read {}", root.display()))?;
        Ok(Self { root, temporary: temporary.to_owned(), open: vec![(PathBuf::new(), names)], folders: 1 })
    }

    /// The folder that the walk began at, with all links resolved.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How many folders were seen so far.
    #[must_use]
    pub const fn folders(&self) -> u64 {
        self.folders
    }
}

impl Iterator for Walk {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (folder, names) = self.open.last_mut()?;
            let Some(pair) = names.next() else {
                self.open.pop();
                continue;
            };
            let (name, kind) = match pair {
                Ok(pair) => pair,
                Err(error) => return Some(Err(error)),
            };
            let path = folder.join(OsStr::from_bytes(&name));
            let refusal = match &*kind {
                b"file" => None,
                b"folder" => match sorted_names(&self.root.join(&path), &self.temporary) {
                    Ok(names) => {
                        self.folders += 1;
                        self.open.push((path, names));
                        continue;
                    }
                    Err(_) => Some(Refusal::UnreadableDirectory),
                },
                b"link" => Some(refusal_of_link(&self.root.join(&path))),
                b"socket" => Some(Refusal::Socket),
                b"fifo" => Some(Refusal::Fifo),
                b"device" => Some(Refusal::Device),
                b"database" => Some(Refusal::Database),
                _ => Some(Refusal::Unreadable),
            };
            return Some(Ok(Entry { path, refusal }));
        }
    }
}

/// Reads the names of a folder, each with what it is.
fn sorted_names(folder: &Path, temporary: &Path) -> Result<Sorted> {
    let mut sorter = Sorter::new(temporary.to_owned(), FOLDER_BYTES_MAX);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = if is_own(&entry) { "database" } else { entry.file_type().map_or("unknown", kind_of) };
        sorter.push(entry.file_name().as_bytes(), kind.as_bytes())?;
    }
    sorter.finish()
}

/// Whether an entry is this process's database; the folder says the inode, so that no other entry costs anything.
fn is_own(entry: &DirEntry) -> bool {
    let is = |own: &(u64, u64)| own.1 == entry.ino() && entry.metadata().is_ok_and(|found| file_id(&found) == *own);
    OWN_DATABASE.get().is_some_and(is)
}

fn kind_of(kind: FileType) -> &'static str {
    if kind.is_file() {
        "file"
    } else if kind.is_dir() {
        "folder"
    } else if kind.is_symlink() {
        "link"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_fifo() {
        "fifo"
    } else {
        "device"
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
pub struct Stat {
    /// Size in bytes.
    pub bytes: u64,
    /// Space on disk, in bytes.
    pub disk_bytes: u64,
    /// Last change, in nanoseconds since 1970.
    pub modified_ns: i64,
}

impl Stat {
    /// Reads what the file system says.
    #[must_use]
    pub fn of(metadata: &fs::Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            // POSIX counts blocks of 512 bytes, whatever the file system's own are.
            disk_bytes: metadata.blocks() * 512,
            modified_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
        }
    }

    /// The last change as a moment.
    #[must_use]
    pub fn modified(&self) -> UnixMillis {
        UnixMillis::new(self.modified_ns / 1_000_000)
    }
}

/// One entry with its bytes.
#[derive(Debug)]
pub struct Loaded {
    /// Which.
    pub entry: Entry,
    /// What its inode says; of a link, that of the link.
    pub stat: Stat,
    /// The bytes, or why there are none.
    pub content: Result<Vec<u8>, Refusal>,
}

/// Reads one entry. A file that can not be read is an answer, not an error.
#[must_use]
pub fn load(root: &Path, entry: Entry) -> Loaded {
    let path = root.join(&entry.path);
    if let Some(refusal) = entry.refusal {
        let stat = fs::symlink_metadata(&path).map(|metadata| Stat::of(&metadata)).unwrap_or_default();
        return Loaded { entry, stat, content: Err(refusal) };
    }
    let read = || -> std::io::Result<(Stat, Result<Vec<u8>, Refusal>)> {
        let mut file = File::open(&path)?;
        let stat = Stat::of(&file.metadata()?);
        let is_too_large = stat.bytes > FILE_BYTES_MAX;
        // One byte more than allowed tells a file that grew meanwhile.
        let bytes_max = if is_too_large { ENGINE_MAGIC.len() as u64 } else { FILE_BYTES_MAX + 1 };
        let mut bytes = Vec::with_capacity(usize::try_from(stat.bytes.min(bytes_max)).unwrap_or(0) + 1);
        file.by_ref().take(bytes_max).read_to_end(&mut bytes)?;
        Ok((
            stat,
            if bytes.starts_with(ENGINE_MAGIC) {
                Err(Refusal::Database)
            } else if is_too_large {
                Err(Refusal::TooLarge)
            } else {
                Ok(bytes)
            },
        ))
    };
    let (stat, content) = read().unwrap_or((Stat::default(), Err(Refusal::Unreadable)));
    Loaded { entry, stat, content }
}

/// Files a message: one send a file would cost as much as the reading.
const FILES_PER_MESSAGE: usize = 64;
/// Messages that may wait at one worker.
const MESSAGES_MAX: usize = 4;
/// Most workers: one disk feeds no more.
const WORKERS_MAX: usize = 4;

/// Calls `work` with every entry of a walk on several threads, and `each` with the results in the order of the walk on
/// this one; returns the number of folders.
///
/// Workers take turns, so that the order needs no buffer that could grow.
///
/// # Errors
///
/// If a folder can not be sorted, or `each` fails.
pub fn for_each<T: Send>(
    mut walk: Walk,
    work: impl Fn(Loaded) -> T + Sync,
    mut each: impl FnMut(T) -> Result<()>,
) -> Result<u64> {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(WORKERS_MAX);
    let root = walk.root().to_owned();
    let (root, work) = (&root, &work);
    std::thread::scope(|scope| {
        let mut inputs = Vec::with_capacity(workers);
        let mut outputs = Vec::with_capacity(workers);
        for _ in 0..workers {
            let (input, entries) = sync_channel::<Result<Vec<Entry>>>(MESSAGES_MAX);
            let (results, output) = sync_channel::<Result<Vec<T>>>(MESSAGES_MAX);
            inputs.push(input);
            outputs.push(output);
            scope.spawn(move || {
                for batch in entries {
                    let done = batch.map(|batch| batch.into_iter().map(|entry| work(load(root, entry))).collect());
                    // The other side is gone only if it failed itself.
                    if results.send(done).is_err() {
                        return;
                    }
                }
            });
        }
        let walker = scope.spawn(move || {
            for input in inputs.iter().cycle() {
                let batch: Result<Vec<Entry>> = walk.by_ref().take(FILES_PER_MESSAGE).collect();
                let is_last = batch.as_ref().map_or(true, Vec::is_empty);
                if input.send(batch).is_err() || is_last {
                    break;
                }
            }
            walk.folders()
        });
        // An empty batch is the end; whoever is behind it has nothing.
        for output in outputs.iter().cycle() {
            let Ok(batch) = output.recv() else { break };
            let batch = batch?;
            if batch.is_empty() {
                break;
            }
            for result in batch {
                each(result)?;
            }
        }
        // Whoever waits to send must not wait for ever.
        drop(outputs);
        walker.join().map_err(|_| anyhow!("the walking thread panicked"))
    })
}
