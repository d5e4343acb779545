//! Records of an import, and how far it is, in one durable commit.
//!
//! For a program that holds the file alone: it passes by the writer thread, so a cache or an observer would not hear of it. Copies
//! of the file it waits for as the writer does, if the store was opened behind a gate. The
//! records are final: who imports has compared them with what is stored, so what comes goes over what is there. Only a signal
//! never does, as others may hold it already.

use std::sync::Arc;

use super::{Batch, Effect, Failure, Precedence, Refusal, StoredSignal, WriteError};
use crate::domain::{Outcome, Overlay, Signal};
use crate::store::Store;

/// Most records of one commit: those of a full batch.
pub const IMPORT_RECORDS_MAX: usize = super::BATCH_MAX;

/// Records that go in together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Imported<'a> {
    /// New signals.
    pub signals: &'a [Signal],
    /// Overlays, new or in the place of older ones.
    pub overlays: &'a [Overlay],
    /// Outcomes, new or in the place of older ones; their signals are stored, or among those above.
    pub outcomes: &'a [Outcome],
}

impl Imported<'_> {
    fn len(&self) -> usize {
        self.signals.len() + self.overlays.len() + self.outcomes.len()
    }
}

impl Store {
    /// Writes records and a checkpoint in one durable commit: both are there after a crash, or neither. What is stored already
    /// is not written again.
    ///
    /// - `checkpoint`: the name of what is imported, and how far that is.
    ///
    /// # Errors
    ///
    /// [`WriteError::Refused`] if there are more than [`IMPORT_RECORDS_MAX`] records, one is too large, or a signal would replace
    /// another; [`WriteError::Failed`] if the file fails. Nothing is written then.
    pub fn import(&self, records: &Imported<'_>, checkpoint: (&str, &str)) -> Result<(), WriteError> {
        if records.len() > IMPORT_RECORDS_MAX {
            let detail = format!("more than {IMPORT_RECORDS_MAX} records in one commit");
            return Err(Refusal::Conflict(detail).into());
        }
        self.write_imported(records, checkpoint).map_err(|failure| match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Store(error) => WriteError::Failed(Arc::new(error)),
        })
    }

    fn write_imported(&self, records: &Imported<'_>, (name, state): (&str, &str)) -> Result<(), Failure> {
        self.wait_for_copies();
        // Whatever fails before the commit leaves no trace.
        let opened = self.opened();
        let snapshot = Arc::clone(&opened).snapshot()?;
        let mut batch = Batch::open(snapshot.tx(), snapshot.rows().clone())?;
        for signal in records.signals {
            batch.import_signal(signal)?;
        }
        for overlay in records.overlays {
            if batch.stored_overlay(&overlay.user_id)?.is_none_or(|stored| stored.overlay != *overlay) {
                batch.write_overlay(overlay.clone(), Effect::Changed)?;
            }
        }
        for outcome in records.outcomes {
            batch.put_outcome(outcome.clone(), Precedence::Replace)?;
        }
        let (changes, rows) = batch.finish();
        let is_known = snapshot.checkpoint(name)?.is_some_and(|known| known == state);
        let seq = snapshot.seq()?.max(rows.entry.last);
        drop(snapshot);
        if changes.is_empty() && is_known {
            return Ok(());
        }
        opened.commit_to_tables(Some(&rows.own), Some((name, state)))?;
        self.mark(seq, &mut self.gate());
        Ok(())
    }
}

impl Batch<'_> {
    fn import_signal(&mut self, signal: &Signal) -> Result<(), Failure> {
        if let Some(stored) = self.stored_signal(&signal.id)? {
            if stored.signal == *signal {
                return Ok(());
            }
            return Err(Refusal::Conflict(format!("signal {} is there already, with other content", signal.id)).into());
        }
        let number = self.next_number()?;
        let stored = StoredSignal { number, seq: self.next_seq(), signal: signal.clone() };
        self.write_signal(&stored, None)?;
        self.done(Effect::Created, super::Change::Signal(Arc::new(stored)));
        Ok(())
    }
}
