//! Making backups: into the backup folder, or for a client to download.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::{Backup, BackupState, Download, NAME_END, NAME_START, NewestBackup, SEQ_DIGITS, UnderWay, list, seq_of};
use crate::service::{Service, ServiceError, Stopwatch};
use crate::store::{self, StoreError};

/// The newest backup under a name that does not change.
const LATEST: &str = "latest.redb";

impl Service {
    /// Makes a backup in the backup folder, or waits for the one that is being made. Writers and readers are not held
    /// up.
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

    /// Runs `work` on a thread that may block, or waits for its result if it is under way: any number of requests takes
    /// one thread. The work goes on if they stop waiting.
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
                let (file, seconds) = (backup.file.display(), watch.seconds());
                tracing::info!(%file, file_bytes, seconds, "backup made and verified");
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
            // First, as these files may be what fills the disk.
            store::remove_leftovers(&folder, |name| seq_of(name).is_some()).map_err(cannot)?;
        }
        let contents = store::back_up(&snapshot, &latest)?;
        // The latest first: a file under its own name is then the latest or older, never newer.
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
        tracing::info!(file_bytes = contents.file_bytes, seconds = watch.seconds(), "backup made and verified");
        Ok(Arc::new(Download { file, contents }))
    }

    /// Where backups go.
    #[must_use]
    pub fn backup_folder(&self) -> PathBuf {
        let beside = || self.path().with_file_name("backups");
        self.shared.settings.backups.folder.clone().unwrap_or_else(beside)
    }
}

fn backup_failed(error: StoreError) -> ServiceError {
    tracing::error!(error = &error as &dyn std::error::Error, "backup failed");
    ServiceError::BackupFailed(Arc::new(error))
}
