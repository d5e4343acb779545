//! What a server does beside answering requests: it watches its disk, its rates and its file, and makes backups on
//! time.

use std::time::Duration;

use super::blocking::blocking;
use super::{Health, Service, ServiceError, Stats};
use crate::store::StoreError;

/// How often the free space of the disk is read.
const DISK_CHECK_EVERY: Duration = Duration::from_secs(30);
/// How often the server checks that its file is still its own, whether there are requests or not: it ends within a
/// second.
const FILE_CHECK_EVERY: Duration = Duration::from_millis(250);
/// How soon a backup that failed is tried again, unless the next one is due earlier.
const BACKUP_RETRY: Duration = Duration::from_mins(1);

impl Service {
    /// What is stored and how the server is, read where blocking is allowed.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`] if the file can not be read.
    pub async fn stats_and_health(&self) -> Result<(Stats, Health), ServiceError> {
        let service = self.clone();
        blocking(move || Ok((service.stats()?, service.health()))).await
    }

    async fn health_now(&self) -> Result<Health, ServiceError> {
        let service = self.clone();
        blocking(move || Ok(service.health())).await
    }

    /// Returns when another program has written to the database file.
    pub async fn until_overwritten(self) {
        loop {
            tokio::time::sleep(FILE_CHECK_EVERY).await;
            let service = self.clone();
            if let Ok(true) =
                blocking(move || Ok(matches!(service.check_file(), Err(StoreError::Overwritten(_))))).await
            {
                return;
            }
        }
    }

    /// Warns once when the disk runs low or rates get old, and once more when they do so again. Returns if the runtime
    /// ends.
    pub async fn watch_disk_and_rates(self) {
        let (mut was_low, mut were_old) = (false, false);
        while let Ok(health) = self.health_now().await {
            let is_low = health.is_disk_low();
            if is_low && !was_low {
                let disk_free_bytes = health.disk_free_bytes;
                tracing::warn!(disk_free_bytes, "the disk is nearly full; writes will fail when it is");
            }
            was_low = is_low;
            let rates_old = health.rates_old.unwrap_or(0);
            if rates_old > 0 && !were_old {
                tracing::warn!(
                    rates_old,
                    "rates were not confirmed for half of --rate-max-age; beyond it they size nothing"
                );
            }
            were_old = rates_old > 0;
            tokio::time::sleep(DISK_CHECK_EVERY).await;
        }
    }

    /// Makes a backup whenever the newest is old enough, also if it was an earlier run of the server that made it.
    /// Returns if the runtime ends.
    pub async fn back_up_regularly(self, every: Duration) {
        while let Ok(health) = self.health_now().await {
            // Without an age, as there is none or it was made in the future, one is due.
            let age = health.backup.and_then(|backup| backup.age);
            let left = age.map_or(Duration::ZERO, |age| every.saturating_sub(age));
            if !left.is_zero() {
                tokio::time::sleep(left).await;
                continue;
            }
            // The service has logged it if it failed.
            if self.back_up().await.is_err() {
                tokio::time::sleep(BACKUP_RETRY.min(every)).await;
            }
        }
    }
}
