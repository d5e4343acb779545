//! One entry point for each thing that a client may write. The writer checks the condition of a write, so no other
//! write can come in between.

use super::{Service, ServiceError};

use crate::domain::{Condition, Object, Outcome, OverlayDraft, RateDraft, SignalDraft, SignalId, UserId};
use crate::render;
use crate::store::{Change, Effect, Operation, Precedence, Receipt};

/// A signal as a write left it.
#[derive(Clone, Debug)]
pub struct WrittenSignal {
    /// Whether there was none before.
    pub is_new: bool,
    /// The number of the change that wrote it.
    pub seq: u64,
    /// The signal.
    pub json: Vec<u8>,
}

impl WrittenSignal {
    fn of(receipt: &Receipt) -> Result<Self, ServiceError> {
        match &receipt.change {
            Change::Signal(stored) => {
                let is_new = receipt.effect == Effect::Created;
                Ok(Self { is_new, seq: stored.seq, json: render::signal_json(&stored.signal) })
            }
            // A write of a signal leaves a signal.
            _ => Err(ServiceError::Worker),
        }
    }
}

impl Service {
    /// Publishes a signal. The same one again changes nothing.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Conflict`] if another has its id; else as [`Service::write`].
    pub async fn put_signal(&self, draft: SignalDraft) -> Result<WrittenSignal, ServiceError> {
        let (now, lifetime_ms) = (self.now(), self.lifetime_ms());
        let operation = Operation::PutSignal { draft, now, lifetime_ms, precedence: Precedence::Replace };
        WrittenSignal::of(&self.write(operation).await?)
    }

    /// Applies a merge patch to a signal.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`], also under a precondition; [`ServiceError::ConditionFailed`]; else as
    /// [`Service::write`].
    pub async fn patch_signal(
        &self,
        id: SignalId,
        patch: Object,
        condition: Condition,
    ) -> Result<WrittenSignal, ServiceError> {
        WrittenSignal::of(&self.write(Operation::PatchSignal { id, patch, condition }).await?)
    }

    /// Puts an overlay as a whole; returns the number of the change that left it as it is.
    ///
    /// # Errors
    ///
    /// [`ServiceError::ConditionFailed`]; else as [`Service::write`].
    pub async fn put_overlay(&self, draft: OverlayDraft, condition: Condition) -> Result<u64, ServiceError> {
        let (now, precedence) = (self.now(), Precedence::Replace);
        Ok(self.write(Operation::PutOverlay { draft, now, condition, precedence }).await?.seq())
    }

    /// Deletes an overlay.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`]; [`ServiceError::ConditionFailed`]; else as [`Service::write`].
    pub async fn delete_overlay(&self, user: UserId, condition: Condition) -> Result<(), ServiceError> {
        self.write(Operation::DeleteOverlay { user, condition }).await?;
        Ok(())
    }

    /// Puts what happened for a user on a signal; returns the number of the change that left it as it is.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`] if there is no such signal; else as [`Service::write`].
    pub async fn put_outcome(&self, outcome: Outcome) -> Result<u64, ServiceError> {
        Ok(self.write(Operation::PutOutcome { outcome, precedence: Precedence::Replace }).await?.seq())
    }

    /// Puts a rate; returns the number of the change that left it as it is.
    ///
    /// # Errors
    ///
    /// As [`Service::write`].
    pub async fn put_rate(&self, draft: RateDraft) -> Result<u64, ServiceError> {
        let operation = Operation::PutRate { draft, now: self.now(), precedence: Precedence::Replace };
        match self.write(operation).await?.change {
            Change::Rate(_, seq) => Ok(seq),
            // A write of a rate leaves a rate.
            _ => Err(ServiceError::Worker),
        }
    }
}
