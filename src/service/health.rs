//! Whether the server is well: writes, copies of the live file, backups, free space of the disk, ages of rates and
//! balances.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{NewestBackup, Service, ServiceError};
use crate::domain::{MaxAge, UnixMillis};
use crate::store::{self, GateWaits, StoreError};

/// Below this much free space there is a warning: hours at the busiest, and the size of a backup of a year.
const DISK_LOW_BYTES: u64 = 256 * 1024 * 1024;

/// The state of the server.
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
    /// How long ago the rate was confirmed of which it is longest ago; `None` without rates.
    pub rate_age: Option<Duration>,
    /// How many rates are older than half the limit; `None` without a limit.
    pub rates_old: Option<usize>,
    /// How many balances are older than half the limit; `None` without a limit, or as long as not all are in memory.
    pub balances_old: Option<usize>,
}

impl Health {
    /// Whether the disk will be full soon.
    #[must_use]
    pub fn is_disk_low(&self) -> bool {
        self.disk_free_bytes.is_some_and(is_low)
    }
}

/// Whether a disk with so many bytes free will be full soon.
pub(super) fn is_low(free_bytes: u64) -> bool {
    free_bytes < DISK_LOW_BYTES
}

impl Service {
    /// Checks that the database file is still the one that was opened, as this program left it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Replaced`], which may pass, or [`StoreError::Overwritten`], after which the program should end.
    pub fn check_file(&self) -> Result<(), StoreError> {
        self.shared.store.check_file()
    }

    /// Refuses to answer once another program was found to have written to the database file: not even from memory.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`] with [`StoreError::Overwritten`].
    pub fn check_trusted(&self) -> Result<(), ServiceError> {
        let is_overwritten = self.shared.store.is_overwritten();
        if is_overwritten { Err(StoreError::Overwritten(self.path().to_owned()).into()) } else { Ok(()) }
    }

    /// Returns the state of the server, on a thread that may block.
    #[must_use]
    pub fn health(&self) -> Health {
        let backups = &self.shared.backups;
        let (rates, now, max_ages) = (self.rates(), self.now(), self.shared.settings.max_ages);
        let confirmed_first = rates.iter().map(|rate| rate.confirmed_at).min();
        let millis = |confirmed_at: UnixMillis| now.millis().saturating_sub(confirmed_at.millis());
        let count_old = |max: MaxAge| rates.iter().filter(|rate| max.is_old(rate.confirmed_at, now)).count();
        Health {
            write_failure: self.shared.writer.failure().or_else(|| self.check_file().err().map(Arc::new)),
            gate_waits: self.shared.store.gate_waits(),
            unsafe_copies: self.shared.store.unsafe_copies(),
            backup: backups.newest(),
            backup_failed: backups.has_failed.load(Ordering::Relaxed),
            disk_free_bytes: store::free_bytes(self.path()),
            rate_age: confirmed_first.map(|at| Duration::from_millis(u64::try_from(millis(at)).unwrap_or_default())),
            rates_old: max_ages.rate.map(count_old),
            balances_old: self.shared.memory.overlays.count_old(max_ages.balance, now),
        }
    }
}
