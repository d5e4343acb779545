//! Backups that the server makes of itself, and whether it is well.
//!
//! They go into one folder, each named after its moment and the last change in it, so that names sort by age; the newest is also
//! `latest.redb`. Only as many are kept as the operator wants. A backup has its name only once it is whole and verified, so
//! whatever bears such a name was good when it was made.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use super::{Service, ServiceError, Stopwatch};
use crate::domain::UnixMillis;
use crate::store::{self, Contents, GateWaits, StoreError};

/// The newest backup under a name that does not change.
const LATEST: &str = "latest.redb";
/// How the names of backups begin and end.
const NAME_START: &str = "overlaid-";
const NAME_END: &str = ".redb";
/// How many digits a change's number has there at least, so that names sort by it.
const SEQ_DIGITS: usize = 12;
/// Below this much free space there is a warning: hours at the busiest, and room for a backup of a year.
const DISK_LOW_BYTES: u64 = 256 * 1024 * 1024;

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
    /// Its length.
    pub file_bytes: u64,
    /// What it holds; `None` for one that an earlier run of the server made.
    pub contents: Option<Contents>,
}

/// What is known of backups.
#[derive(Debug, Default)]
pub(super) struct BackupState {
    /// Held while a backup is made, so that there is one at a time.
    making: Mutex<()>,
    newest: Mutex<Option<Backup>>,
    /// Why the last attempt failed, if it did.
    failure: Mutex<Option<Arc<StoreError>>>,
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
    pub backup: Option<Backup>,
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
    /// Starts from what an earlier run left in the folder.
    pub(super) fn found_in(folder: &Path) -> Self {
        let newest = list(folder).ok().and_then(|mut files| files.pop()).and_then(|file| {
            let found = fs::metadata(&file).ok()?;
            let made_at = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            let made_at = UnixMillis::new(i64::try_from(made_at.as_millis()).ok()?);
            Some(Backup { file, made_at, file_bytes: found.len(), contents: None })
        });
        Self { newest: Mutex::new(newest), ..Self::default() }
    }
}

/// Whether a file has a name that this program gives: others in the folder are somebody else's.
fn is_backup_name(name: &str) -> bool {
    let is_number = |text: &str, least: usize| text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit());
    let named = || {
        let (moment, seq) = name.strip_prefix(NAME_START)?.strip_suffix(NAME_END)?.split_once("Z-")?;
        let (day, time) = moment.split_once('T')?;
        Some(day.len() == 8 && time.len() == 6 && is_number(day, 8) && is_number(time, 6) && is_number(seq, SEQ_DIGITS))
    };
    named().unwrap_or(false)
}

/// The backups in a folder, oldest first.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(is_backup_name) && entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

impl Service {
    /// Makes a backup in the backup folder, on a thread that may block. Writers and readers are not held up.
    ///
    /// # Errors
    ///
    /// [`ServiceError::BackupFailed`]; what was there is as it was.
    pub fn back_up(&self) -> Result<Backup, ServiceError> {
        let state = &self.shared.backups;
        let _one_at_a_time = state.making.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = Stopwatch::start();
        let made = self.make_backup().map_err(Arc::new);
        let failure = made.as_ref().err().cloned();
        *state.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        let metrics = self.metrics();
        match made {
            Ok(backup) => {
                metrics.backups_made.inc();
                tracing::info!(file = %backup.file.display(), file_bytes = backup.file_bytes, seconds = watch.seconds(), "backup made and verified");
                *state.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(backup.clone());
                Ok(backup)
            }
            Err(error) => {
                metrics.backups_failed.inc();
                tracing::error!(error = &*error as &dyn std::error::Error, "backup failed");
                Err(ServiceError::BackupFailed(error))
            }
        }
    }

    fn make_backup(&self) -> Result<Backup, StoreError> {
        let folder = self.backup_folder();
        let snapshot = self.shared.store.snapshot()?;
        let made_at = self.now();
        let moment: String = made_at.to_string().split('.').next().unwrap_or_default().replace(['-', ':', 'Z'], "");
        let file = folder.join(format!("{NAME_START}{moment}Z-{:0SEQ_DIGITS$}{NAME_END}", snapshot.seq()?));
        let latest = folder.join(LATEST);
        let contents = store::back_up(&snapshot, &latest)?;
        // In this order: the backup that a reader finds under its own name is the latest, or an older one.
        store::copy(&latest, &file)?;
        let tidy = || -> io::Result<()> {
            let files = list(&folder)?;
            let surplus = files.len().saturating_sub(self.shared.settings.backups.keep.max(1));
            files.iter().take(surplus).try_for_each(fs::remove_file)
        };
        tidy().map_err(|source| StoreError::Create { path: folder.clone(), source })?;
        Ok(Backup { file, made_at, file_bytes: contents.file_bytes, contents: Some(contents) })
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
            backup: backups.newest.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            backup_failed: backups.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some(),
            disk_free_bytes: store::free_bytes(self.path()),
        }
    }
}
