//! Records of an import, and how far it is, in one durable commit.
//!
//! For a program that holds the file alone: an import does not pass the writer thread, so a cache or an observer would
//! not learn of it. It waits for copies of the file as the writer does. The records are final: the importer has
//! compared them with what is stored, so each replaces what is there. Only a signal never does, as clients may hold it
//! already.

use std::sync::Arc;

use super::batch::{BATCH_MAX, Batch, Failure};
use super::database::Store;
use super::engine::CommitError;
use super::error::StoreError;
use super::operation::{Effect, Precedence, Refusal, WriteError};
use super::tables;
use crate::domain::{Condition, MaxAges, Outcome, Overlay, Signal};

/// Most records of one commit: those of a full batch.
pub const IMPORT_RECORDS_MAX: usize = BATCH_MAX;

/// Records that go in together.
#[derive(Debug, Default)]
pub struct Imported {
    /// New signals.
    pub signals: Vec<Signal>,
    /// Overlays, new or in the place of older ones.
    pub overlays: Vec<Overlay>,
    /// Outcomes, new or in the place of older ones; their signals are stored, or among those above.
    pub outcomes: Vec<Outcome>,
}

impl Imported {
    /// How many records there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.signals.len() + self.overlays.len() + self.outcomes.len()
    }
}

impl Store {
    /// Writes records and a checkpoint in one durable commit: both are there after a crash, or neither.
    ///
    /// - `checkpoint`: the name of what is imported, and how far that is.
    ///
    /// # Errors
    ///
    /// [`WriteError::Refused`] if there are more than [`IMPORT_RECORDS_MAX`] records, one is too large, or a signal
    /// is stored already; [`WriteError::Failed`] if the file fails. Nothing is written then.
    pub fn import(&self, records: &Imported, checkpoint: (&str, &str)) -> Result<(), WriteError> {
        if records.count() > IMPORT_RECORDS_MAX {
            let detail = format!("more than {IMPORT_RECORDS_MAX} records in one commit");
            return Err(Refusal::Conflict(detail).into());
        }
        self.write_imported(records, checkpoint).map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Store(error) => WriteError::Failed(Arc::new(error)),
        })
    }

    fn write_imported(&self, records: &Imported, (name, state): (&str, &str)) -> Result<(), Failure> {
        self.prepare_commit()?;
        let engine = self.engine();
        // Any error below drops the transaction, and with it everything that was written in it.
        let tx = engine.begin()?;
        // Imported records replace what is there, so no confirmation is left to store later.
        let mut batch = Batch::open(&tx, self.runs(), MaxAges::default())?;
        for signal in &records.signals {
            if batch.stored_signal(&signal.id)?.is_some() {
                return Err(Refusal::Conflict(format!("signal {} is there already", signal.id)).into());
            }
            batch.create_signal(signal.clone(), signal.fingerprint())?;
        }
        for overlay in &records.overlays {
            batch.write_overlay(overlay.clone(), Effect::Changed)?;
        }
        for outcome in &records.outcomes {
            batch.put_outcome(outcome.clone(), &Condition::None, Precedence::Replace)?;
        }
        batch.finish()?;
        tx.open_table(tables::LEGACY_CHECKPOINT).map_err(StoreError::from)?.insert(name, state)?;
        let (CommitError::NotCommitted(error) | CommitError::Unconfirmed(error)) = match engine.commit(tx) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        Err(error.into())
    }
}
