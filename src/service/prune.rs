//! Removing what is old: signals that expired long ago, with their outcomes.
//!
//! A group of few signals at a time is queued like any other write and awaited before the next, so that pushes go in
//! between. Each delete names the version of the signal that was found to be old: one that was renewed meanwhile stays.

use std::time::Duration;

use super::blocking::blocking;
use super::{Pending, Service, ServiceError};
use crate::domain::{Condition, SignalId, UnixMillis};
use crate::store::Operation;

/// Most signals of a group.
const SIGNALS_MAX: usize = 64;
/// Most outcomes of a group, unless one signal has more: each is a row to remove while the writer does nothing else.
const OUTCOMES_MAX: u64 = 1_024;
/// How long to wait when the writer's queue is full, and how often.
const BUSY_WAIT: Duration = Duration::from_millis(5);
const BUSY_TRIES: u32 = 2_000;
/// How often a server looks for signals that have become old.
const EVERY: Duration = Duration::from_hours(1);

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Signals.
    pub signals: u64,
    /// Outcomes on them.
    pub outcomes: u64,
    /// Whether more may be to remove.
    pub is_more: bool,
}

/// A signal that is old.
struct Old {
    id: SignalId,
    seq: u64,
    outcomes: u64,
}

impl Service {
    /// Removes the signals that expired before a moment, with their outcomes; none that is not expired now.
    ///
    /// # Errors
    ///
    /// [`ServiceError`]; what was removed until then stays removed.
    pub async fn prune(&self, before: UnixMillis) -> Result<Pruned, ServiceError> {
        let mut all = Pruned::default();
        loop {
            let Pruned { signals, outcomes, is_more } = self.prune_some(before).await?;
            all.signals += signals;
            all.outcomes += outcomes;
            if !is_more {
                return Ok(all);
            }
        }
    }

    /// As [`Service::prune`], but removes one group.
    ///
    /// # Errors
    ///
    /// As [`Service::prune`].
    pub async fn prune_some(&self, before: UnixMillis) -> Result<Pruned, ServiceError> {
        let before = before.min(self.now());
        let service = self.clone();
        let group = blocking(move || service.old_signals(before)).await?;
        let mut pruned = Pruned { is_more: !group.is_empty(), ..Pruned::default() };
        let mut waiting = Vec::with_capacity(group.len());
        for Old { id, seq, outcomes } in group {
            let condition = Condition::SeqIn(vec![seq]);
            waiting.push((outcomes, self.submit_patiently(Operation::DeleteSignal { id, condition }).await?));
        }
        for (outcomes, pending) in waiting {
            match pending.done().await {
                Ok(_) => {
                    pruned.signals += 1;
                    pruned.outcomes += outcomes;
                }
                // Somebody else has changed or deleted it.
                Err(ServiceError::Absent(_) | ServiceError::ConditionFailed) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(pruned)
    }

    /// Removes what is older than `keep`, now and every hour. Returns if the runtime ends.
    pub async fn prune_regularly(self, keep: Duration) {
        let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        loop {
            match self.prune(self.now().plus_millis(-keep_ms)).await {
                Ok(Pruned { signals: 0, .. }) => {}
                Ok(Pruned { signals, outcomes, .. }) => {
                    tracing::info!(signals, outcomes, "signals that expired long ago were removed");
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "old signals could not be removed; this is tried again in an hour");
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// A group of signals that expired before a moment.
    fn old_signals(&self, before: UnixMillis) -> Result<Vec<Old>, ServiceError> {
        let snapshot = self.snapshot()?;
        let mut group = Vec::new();
        let mut outcomes_in_all = 0;
        for row in snapshot.signals_expired(before)?.take(SIGNALS_MAX) {
            let stored = row?;
            let outcomes = snapshot.outcomes_on(stored.number)?.count() as u64;
            outcomes_in_all += outcomes;
            if outcomes_in_all > OUTCOMES_MAX && !group.is_empty() {
                break;
            }
            group.push(Old { id: stored.signal.id, seq: stored.seq, outcomes });
        }
        Ok(group)
    }

    async fn submit_patiently(&self, operation: Operation) -> Result<Pending, ServiceError> {
        for _ in 0..BUSY_TRIES {
            match self.submit(operation.clone()) {
                Err(ServiceError::Busy) => tokio::time::sleep(BUSY_WAIT).await,
                submitted => return submitted,
            }
        }
        Err(ServiceError::Busy)
    }
}
