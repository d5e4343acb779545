//! Backups that the server makes of itself, and whether it is well.
//!
//! They go into one folder, each named after its moment and the last change in it; the newest is also `latest.redb`. Only as many are
//! kept as the operator wants. A backup has its name only once it is whole and verified, so a file of such a name was good when it was
//! made.
//!
//! The clock may be set at any time. So the number of the change says which backup is older, and a monotonic clock how old the newest is.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};

use super::{Service, ServiceError, Stopwatch};
use crate::domain::UnixMillis;
use crate::store::{self, Contents, GateWaits, StoreError};

/// The newest backup under a name that does not change.
const LATEST: &str = "latest.redb";
/// How the names of backups begin and end.
const NAME_START: &str = "overlaid-";
const NAME_END: &str = ".redb";
/// How many digits a change's number has there at least, so that names of one moment sort by it.
const SEQ_DIGITS: usize = 12;
/// Below this much free space there is a warning: hours at the busiest, and room for a backup of a year.
const DISK_LOW_BYTES: u64 = 256 * 1024 * 1024;
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

/// A backup that was made for a client to download. Its file has no name, and is gone once nobody has it open.
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

/// Work under way, for all who wait for its result.
type UnderWay<T> = Mutex<Option<watch::Receiver<Option<Result<T, ServiceError>>>>>;

/// What is known of backups.
#[derive(Debug, Default)]
pub(super) struct BackupState {
    making: UnderWay<Backup>,
    making_download: UnderWay<Arc<Download>>,
    /// As it was when the watch was started.
    newest: Mutex<Option<(NewestBackup, Stopwatch)>>,
    /// Whether the last attempt failed.
    has_failed: AtomicBool,
}

/// How the server is.
#[derive(Clone, Debug)]
pub struct Health {
    /// Why writes are refused; `None` if they are taken.
    pub write_failure: Option<Arc<StoreError>>,
    /// How long writes have waited for copies of the file.
    pub gate_waits: GateWaits,
    /// Why copies of the live file are not safe; `None` if they are.
    pub unsafe_copies: Option<String>,
    /// The newest backup.
    pub backup: Option<NewestBackup>,
    /// Whether the last attempt at a backup failed.
    pub backup_failed: bool,
    /// Bytes that may still be written to the disk of the database, if the system says so.
    pub disk_free_bytes: Option<u64>,
}

impl Health {
    /// Whether the disk will be full soon.
    #[must_use]
    pub fn is_disk_low(&self) -> bool {
        self.disk_free_bytes.is_some_and(|free| free < DISK_LOW_BYTES)
    }
}

impl BackupState {
    /// Starts from what an earlier run left in the folder. `seq` is the number of the last change in the database.
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

    fn newest(&self) -> Option<NewestBackup> {
        let newest = *self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.map(|(newest, watch)| NewestBackup { age: newest.age.map(|age| age + watch.elapsed()), ..newest })
    }
}

/// The number of the last change in a backup, from its name; `None` for a name that this program does not give: other files in the folder
/// are somebody else's.
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
/// The number of its last change says how old a backup is, since the clock may have been set. One of a later change than `seq` is older than
/// all others: a restore has put an earlier database in the place of the one that it was made of.
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

impl Service {
    /// Makes a backup in the backup folder, or waits for the one that is being made. Writers and readers are not held up.
    ///
    /// # Errors
    ///
    /// [`ServiceError::BackupFailed`]; what was there is as it was.
    pub async fn back_up(&self) -> Result<Backup, ServiceError> {
        self.shared_work(|state| &state.making, Self::make_backup).await
    }

    /// Makes a backup for clients to download, or waits for the one that is being made.
    ///
    /// # Errors
    ///
    /// [`ServiceError::BackupFailed`].
    pub async fn download(&self) -> Result<Arc<Download>, ServiceError> {
        self.shared_work(|state| &state.making_download, Self::make_download).await
    }

    /// Runs `work` where blocking is allowed, or waits for the result if it is under way: however many ask at once, it takes one thread, and
    /// goes on when they no longer wait.
    async fn shared_work<T: Clone + Send + Sync + 'static>(
        &self,
        under_way: fn(&BackupState) -> &UnderWay<T>,
        work: fn(&Self) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let mut result = {
            let mut under_way_now = under_way(&self.shared.backups).lock().unwrap_or_else(PoisonError::into_inner);
            match &*under_way_now {
                // The sender is gone if the work has panicked.
                Some(result) if result.has_changed().is_ok() => result.clone(),
                _ => {
                    let (sender, result) = watch::channel(None);
                    *under_way_now = Some(result.clone());
                    let service = self.clone();
                    tokio::task::spawn_blocking(move || {
                        let done = work(&service);
                        *under_way(&service.shared.backups).lock().unwrap_or_else(PoisonError::into_inner) = None;
                        sender.send_replace(Some(done));
                    });
                    result
                }
            }
        };
        let done = result.wait_for(Option::is_some).await.map_err(|_| ServiceError::Worker)?;
        done.clone().unwrap_or(Err(ServiceError::Worker))
    }

    fn make_backup(&self) -> Result<Backup, ServiceError> {
        let watch = Stopwatch::start();
        let made = self.write_backup();
        let (state, metrics) = (&self.shared.backups, self.metrics());
        state.has_failed.store(made.is_err(), Ordering::Relaxed);
        match made {
            Ok(backup) => {
                metrics.backups_made.inc();
                let (made_at, file_bytes) = (backup.made_at, backup.contents.file_bytes);
                tracing::info!(file = %backup.file.display(), file_bytes, seconds = watch.seconds(), "backup made and verified");
                let newest = NewestBackup { made_at, age: Some(Duration::ZERO), file_bytes };
                *state.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((newest, Stopwatch::start()));
                Ok(backup)
            }
            Err(error) => {
                metrics.backups_failed.inc();
                Err(backup_failed(error))
            }
        }
    }

    fn write_backup(&self) -> Result<Backup, StoreError> {
        let folder = self.backup_folder();
        let snapshot = self.shared.store.snapshot()?;
        let (made_at, seq) = (self.now(), snapshot.seq()?);
        let file = folder.join(format!("{NAME_START}{}-{seq:0SEQ_DIGITS$}{NAME_END}", made_at.basic()));
        let latest = folder.join(LATEST);
        let cannot = |source| StoreError::Create { path: folder.clone(), source };
        if folder.exists() {
            // Before anything is written, as it may be what fills the disk.
            store::remove_leftovers(&folder, |name| seq_of(name).is_some()).map_err(cannot)?;
        }
        let contents = store::back_up(&snapshot, &latest)?;
        // In this order: the backup that a reader finds under its own name is the latest, or an older one.
        store::copy(&latest, &file)?;
        let prune = || -> io::Result<()> {
            let mut files = list(&folder, seq)?;
            let surplus = files.len().saturating_sub(self.shared.settings.backups.keep.max(1));
            files.retain(|older| *older != file);
            files.iter().take(surplus).try_for_each(fs::remove_file)
        };
        prune().map_err(cannot)?;
        Ok(Backup { file, made_at, contents })
    }

    fn make_download(&self) -> Result<Arc<Download>, ServiceError> {
        let watch = Stopwatch::start();
        let made = self.shared.store.snapshot().and_then(|snapshot| store::back_up_unnamed(&snapshot, self.path()));
        let (file, contents) = made.map_err(backup_failed)?;
        tracing::info!(
            file_bytes = contents.file_bytes,
            seconds = watch.seconds(),
            "backup made and verified for a download"
        );
        Ok(Arc::new(Download { file, contents }))
    }

    /// Where backups go.
    #[must_use]
    pub fn backup_folder(&self) -> PathBuf {
        let beside = || self.path().with_file_name("backups");
        self.shared.settings.backups.folder.clone().unwrap_or_else(beside)
    }

    /// Says whether the database file is still the one that was opened, as this program left it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Replaced`], which may pass, or [`StoreError::Overwritten`], after which the program should end.
    pub fn check_file(&self) -> Result<(), StoreError> {
        self.shared.store.check_file()
    }

    /// Whether it was found that another program has written to the database file: nothing is answered any more, also from memory.
    #[must_use]
    pub fn is_file_overwritten(&self) -> bool {
        self.shared.store.is_overwritten()
    }

    /// How the server is, on a thread that may block.
    #[must_use]
    pub fn health(&self) -> Health {
        let backups = &self.shared.backups;
        Health {
            write_failure: self.shared.writer.failure().or_else(|| self.check_file().err().map(Arc::new)),
            gate_waits: self.shared.store.gate_waits(),
            unsafe_copies: self.shared.store.unsafe_copies(),
            backup: backups.newest(),
            backup_failed: backups.has_failed.load(Ordering::Relaxed),
            disk_free_bytes: store::free_bytes(self.path()),
        }
    }
}

fn backup_failed(error: StoreError) -> ServiceError {
    tracing::error!(error = &error as &dyn std::error::Error, "backup failed");
    ServiceError::BackupFailed(Arc::new(error))
}
