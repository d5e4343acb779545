//! Backups that the server makes of itself.
//!
//! They go into one folder, each named after its moment and the last change in it; the newest is also `latest.redb`.
//! The server keeps as many as the operator wants. A file gets the name of a backup only once it is whole and verified.
//!
//! The clock may be set at any time. So the number of the change tells which backup is older, and a monotonic clock
//! tells the age of the newest.

mod make;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};

use super::{ServiceError, Stopwatch};
use crate::domain::UnixMillis;
use crate::store::Contents;

/// The folder beside the database that backups go into, unless the operator names another.
pub const BACKUPS: &str = "backups";
/// The first and the last part of a backup's name.
const NAME_START: &str = "overlaid-";
const NAME_END: &str = ".redb";
/// Least number of digits of a change's number in that name, so that names of one moment sort by it.
const SEQ_DIGITS: usize = 12;
/// A download is read from the disk in chunks of this size. Each client has two or three of them in memory.
const DOWNLOAD_CHUNK_BYTES: u64 = 256 * 1024;

/// Where backups go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupPlan {
    /// The folder, made with the first backup; `None` is `backups` beside the database.
    pub folder: Option<PathBuf>,
    /// How many to keep; `latest.redb` is the newest of them once more. At least one is kept.
    pub keep: usize,
}

impl Default for BackupPlan {
    fn default() -> Self {
        Self { folder: None, keep: 24 }
    }
}

/// A backup that was made and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Where it is.
    pub file: PathBuf,
    /// When it was made and verified.
    pub made_at: UnixMillis,
    /// What it holds.
    pub contents: Contents,
}

/// A backup that was made for a client to download. Its file has no name: the kernel deletes it once it is closed.
#[derive(Debug)]
pub struct Download {
    file: File,
    /// What it holds.
    pub contents: Contents,
}

impl Download {
    /// Reads the file chunk by chunk, each when the client has taken the one before.
    #[must_use]
    pub fn chunks(self: Arc<Self>) -> mpsc::Receiver<io::Result<Vec<u8>>> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut offset = 0;
            while offset < self.contents.file_bytes {
                let download = Arc::clone(&self);
                let read = tokio::task::spawn_blocking(move || download.chunk(offset)).await;
                let chunk = read.unwrap_or_else(|_| Err(io::Error::other("a worker failed")));
                let is_last = chunk.is_err();
                offset += DOWNLOAD_CHUNK_BYTES;
                if sender.send(chunk).await.is_err() || is_last {
                    return;
                }
            }
        });
        receiver
    }

    fn chunk(&self, offset: u64) -> io::Result<Vec<u8>> {
        let length = self.contents.file_bytes.saturating_sub(offset).min(DOWNLOAD_CHUNK_BYTES);
        let mut chunk = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.read_exact_at(&mut chunk, offset)?;
        Ok(chunk)
    }
}

/// The newest backup, which may be one of an earlier run of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewestBackup {
    /// When it was made and verified, by the clock of that time.
    pub made_at: UnixMillis,
    /// How long ago that was. `None` for one of an earlier run that was made in the future: the clock has been set.
    pub age: Option<Duration>,
    /// Its length.
    pub file_bytes: u64,
}

/// Work under way, shared by all requests that wait for its result.
type UnderWay<T> = Mutex<Option<watch::Receiver<Option<Result<T, ServiceError>>>>>;

/// The server's knowledge of its backups.
#[derive(Debug, Default)]
pub(super) struct BackupState {
    making: UnderWay<Backup>,
    making_download: UnderWay<Arc<Download>>,
    /// As it was when the stopwatch was started.
    newest: Mutex<Option<(NewestBackup, Stopwatch)>>,
    /// Whether the last attempt failed.
    pub(super) has_failed: AtomicBool,
}

impl BackupState {
    /// Starts from the backups that an earlier run left in the folder. `seq` is the number of the last change in the
    /// database.
    pub(super) fn found_in(folder: &Path, seq: u64, now: UnixMillis) -> Self {
        let newest = list(folder, seq).ok().and_then(|mut files| files.pop()).and_then(|file| {
            let found = fs::metadata(&file).ok()?;
            let made_at = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            let made_at = UnixMillis::new(i64::try_from(made_at.as_millis()).ok()?);
            let age = u64::try_from(now.millis() - made_at.millis()).ok().map(Duration::from_millis);
            Some((NewestBackup { made_at, age, file_bytes: found.len() }, Stopwatch::start()))
        });
        Self { newest: Mutex::new(newest), ..Self::default() }
    }

    /// The newest backup, with its age now.
    pub(super) fn newest(&self) -> Option<NewestBackup> {
        let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.map(|(newest, watch)| NewestBackup { age: newest.age.map(|age| age + watch.elapsed()), ..newest })
    }
}

/// The number of the last change in a backup, from its name; `None` for a name that this program does not give. Such a
/// file in the folder belongs to another program, and stays.
fn seq_of(name: &str) -> Option<u64> {
    let is_number = |text: &str, least: usize| text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit());
    let (moment, seq) = name.strip_prefix(NAME_START)?.strip_suffix(NAME_END)?.split_once("Z-")?;
    let (day, time) = moment.split_once('T')?;
    let is_ours =
        day.len() == 8 && time.len() == 6 && is_number(day, 8) && is_number(time, 6) && is_number(seq, SEQ_DIGITS);
    is_ours.then(|| seq.parse().ok()).flatten()
}

/// The backups in a folder, oldest first, as of a database whose last change is `seq`.
///
/// The number of its last change tells how old a backup is, since the clock may have been set. A backup of a later
/// change than `seq` counts as older than all others: a restore has replaced the database that it was made from by an
/// earlier one.
fn list(folder: &Path, seq: u64) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(its_seq) = entry.file_name().to_str().and_then(seq_of)
            && entry.file_type()?.is_file()
        {
            files.push((its_seq <= seq, its_seq, entry.path()));
        }
    }
    files.sort_unstable();
    Ok(files.into_iter().map(|(_, _, file)| file).collect())
}
