//! Writing again after a failure, without a restart.
//!
//! When a commit fails, the writer is latched: it refuses all writes, and tries the disk again after ever longer
//! pauses. What could not be written is still in memory (see `guarded_disk`), so one attempt costs a few writes and a
//! sync, however large the file is.
//!
//! A refused write may yet take effect: its commit may be on the disk, or come there with the next attempt that
//! succeeds. The observer is told of such a commit before anything else is written. The refusal stands, as all it says
//! is that the write is not known to have taken effect.
//!
//! After a failed *read* the engine answers nothing any more. It is opened again then, with a check of the whole file,
//! once the disk can read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::copy_gate::now;
use super::database::Store;
use super::error::StoreError;
use super::operation::{Change, Commit};
use super::snapshot::Snapshot;

/// How long the writer waits before it tries a disk again that has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPauses {
    /// Before the first attempt; the pause doubles with each attempt that fails.
    pub first: Duration,
    /// The longest pause: what a caller waits at most once the disk is well again.
    pub longest: Duration,
}

impl Default for RetryPauses {
    fn default() -> Self {
        Self { first: Duration::from_millis(50), longest: Duration::from_secs(2) }
    }
}

/// Nothing is written: the last commit or a read has failed.
pub(super) struct Latch {
    failure: Arc<StoreError>,
    retry_at: Instant,
    pause: Duration,
    longest_pause: Duration,
    /// The commit that failed, if it may be on the disk all the same.
    doubtful: Option<Doubtful>,
}

/// A commit that may be on the disk or not.
pub(super) struct Doubtful {
    /// The number of its last change.
    pub(super) seq: u64,
    pub(super) changes: Vec<Change>,
}

impl Latch {
    pub(super) fn new(failure: Arc<StoreError>, pauses: RetryPauses, doubtful: Option<Doubtful>) -> Self {
        let RetryPauses { first, longest } = pauses;
        Self { failure, retry_at: now() + first, pause: first, longest_pause: longest, doubtful }
    }

    /// Why nothing is written.
    pub(super) fn failure(&self) -> Arc<StoreError> {
        Arc::clone(&self.failure)
    }

    /// How long it is until the disk is tried again.
    pub(super) fn pause(&self) -> Duration {
        self.retry_at.saturating_duration_since(now())
    }

    pub(super) fn is_due(&self) -> bool {
        self.retry_at <= now()
    }

    /// Waits longer before the next attempt.
    pub(super) fn put_off(&mut self) {
        self.pause = (self.pause * 2).min(self.longest_pause);
        self.retry_at = now() + self.pause;
    }

    /// Tries the disk again; `Ok` if it takes writes.
    ///
    /// - `seq`: the number of the last change that is known to be on the disk; raised if the failed commit turns out to
    ///   be there.
    /// - `observer`: is told of that commit.
    pub(super) fn recover(
        &mut self,
        store: &Store,
        seq: &mut u64,
        observer: &mut impl FnMut(&Commit<'_>),
    ) -> Result<(), StoreError> {
        store.prepare_commit()?;
        if store.engine().is_dead() {
            self.open_again(store, seq, observer)?;
        }
        store.engine().retry_writes()?;
        if let Some(doubtful) = self.doubtful.take() {
            doubtful.took_effect(seq, observer);
        }
        Ok(())
    }

    /// Opens the engine again after a failed read. It shows what the device has: the state before the commit that
    /// failed, or after it.
    fn open_again(
        &mut self,
        store: &Store,
        seq: &mut u64,
        observer: &mut impl FnMut(&Commit<'_>),
    ) -> Result<(), StoreError> {
        let engine = store.open_engine_again()?;
        let found = Snapshot::of(Arc::clone(&engine))?.seq()?;
        let doubtful = self.doubtful.take_if(|doubtful| doubtful.seq == found);
        if doubtful.is_none() && found != *seq {
            return Err(StoreError::Damaged(format!("it ends at change {found} where {seq} was written")));
        }
        self.doubtful = None;
        // In this order: a reader that meets the old engine must find the cache as it was, or put back what the commit
        // replaced.
        store.replace_engine(engine);
        if let Some(doubtful) = doubtful {
            doubtful.took_effect(seq, observer);
        }
        Ok(())
    }
}

impl Doubtful {
    fn took_effect(self, seq: &mut u64, observer: &mut impl FnMut(&Commit<'_>)) {
        *seq = self.seq;
        observer(&Commit { seq: self.seq, changes: &self.changes });
    }
}
