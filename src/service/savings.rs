//! What the data would take as one file for each user and signal, from what is stored now.

use super::blocking::blocking;
use super::{Service, ServiceError, Stats};
use crate::domain::{Kept, Savings};
use crate::render;
use crate::store::StoreError;

/// Signals, and overlays, whose mean size stands for that of all.
const SAMPLED: usize = 32;
/// Bytes of the computed part of a mission file.
const MISSION_BYTES: u64 = 400;

impl Service {
    /// Compares the database with one file for each user and signal.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub async fn savings(&self, stats: Stats) -> Result<Savings, ServiceError> {
        let service = self.clone();
        blocking(move || {
            let snapshot = service.snapshot()?;
            let signals = snapshot.signals_newest_first(None)?.take(SAMPLED);
            let signals = signals.map(|row| row.map(|stored| render::signal_json(&stored.signal).len()));
            let overlays = snapshot.overlays(None)?.take(SAMPLED);
            let overlays = overlays.map(|row| row.map(|stored| render::overlay_json(&stored.overlay).len()));
            let mission_bytes = mean(signals)? + mean(overlays)? + MISSION_BYTES;
            let as_files = Kept::as_files(stats.counts.signals, stats.counts.overlays, mission_bytes);
            Ok(Savings::of(as_files, Kept::as_database(stats.file_bytes)))
        })
        .await
    }
}

/// The mean of sizes; 0 without any. Rows that can not be decoded are left out.
fn mean(sizes: impl Iterator<Item = Result<usize, StoreError>>) -> Result<u64, StoreError> {
    let (mut count, mut sum) = (0_u64, 0_u64);
    for size in sizes {
        match size {
            Ok(size) => (count, sum) = (count + 1, sum + size as u64),
            Err(StoreError::CorruptRow { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum.checked_div(count).unwrap_or(0))
}
