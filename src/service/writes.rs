//! One entry point for each thing that a client may write. The writer checks the condition of a write, so no other
//! write can come in between.

use super::{Service, ServiceError};

use crate::domain::{Condition, Object, Outcome, OverlayDraft, RateDraft, SignalDraft, SignalId, UserId};
use crate::render;
use crate::store::{Change, Effect, Operation, Precedence, Receipt};

/// What a `put` did.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Whether there was no such record before.
    pub is_new: bool,
    /// The number of the change that left the record as it is.
    pub seq: u64,
}

impl Written {
    fn of(receipt: &Receipt) -> Self {
        Self { is_new: receipt.effect == Effect::Created, seq: receipt.seq() }
    }
}

impl Service {
    /// Publishes a signal; returns its JSON too. The same one again changes nothing.
    ///
    /// # Errors
    ///
    /// [`ServiceError::ConditionFailed`]; [`ServiceError::Conflict`] if another has its id; else as [`Service::write`].
    pub async fn put_signal(
        &self,
        draft: SignalDraft,
        condition: Condition,
    ) -> Result<(Written, Vec<u8>), ServiceError> {
        let (now, lifetime_ms, precedence) = (self.now(), self.lifetime_ms(), Precedence::Replace);
        let operation = Operation::PutSignal { draft, now, lifetime_ms, condition, precedence };
        written_signal(&self.write(operation).await?)
    }

    /// Applies a merge patch to a signal; returns its JSON too.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`], also under a condition; [`ServiceError::ConditionFailed`]; else as
    /// [`Service::write`].
    pub async fn patch_signal(
        &self,
        id: SignalId,
        patch: Object,
        condition: Condition,
    ) -> Result<(Written, Vec<u8>), ServiceError> {
        written_signal(&self.write(Operation::PatchSignal { id, patch, condition }).await?)
    }

    /// Puts an overlay as a whole.
    ///
    /// # Errors
    ///
    /// [`ServiceError::ConditionFailed`]; else as [`Service::write`].
    pub async fn put_overlay(&self, draft: OverlayDraft, condition: Condition) -> Result<Written, ServiceError> {
        let (now, precedence) = (self.now(), Precedence::Replace);
        Ok(Written::of(&self.write(Operation::PutOverlay { draft, now, condition, precedence }).await?))
    }

    /// Deletes an overlay.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`], also under a condition; [`ServiceError::ConditionFailed`]; else as
    /// [`Service::write`].
    pub async fn delete_overlay(&self, user: UserId, condition: Condition) -> Result<(), ServiceError> {
        self.write(Operation::DeleteOverlay { user, condition }).await?;
        Ok(())
    }

    /// Deletes a signal with all its outcomes.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`], also under a condition; [`ServiceError::ConditionFailed`]; else as
    /// [`Service::write`].
    pub async fn delete_signal(&self, id: SignalId, condition: Condition) -> Result<(), ServiceError> {
        self.write(Operation::DeleteSignal { id, condition }).await?;
        Ok(())
    }

    /// Deletes what happened for a user on a signal.
    ///
    /// # Errors
    ///
    /// As [`Service::delete_signal`].
    pub async fn delete_outcome(
        &self,
        signal: SignalId,
        user: UserId,
        condition: Condition,
    ) -> Result<(), ServiceError> {
        self.write(Operation::DeleteOutcome { signal, user, condition }).await?;
        Ok(())
    }

    /// Deletes everything of a user: the overlay, all outcomes, and the scopes of tokens that name the user.
    ///
    /// # Errors
    ///
    /// As [`Service::delete_signal`]; [`ServiceError::Absent`] if there is nothing of the user.
    pub async fn delete_user(&self, user: UserId, condition: Condition) -> Result<(), ServiceError> {
        self.write(Operation::DeleteUser { user, condition }).await?;
        Ok(())
    }

    /// Puts what happened for a user on a signal.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`] if there is no such signal; [`ServiceError::ConditionFailed`]; else as
    /// [`Service::write`].
    pub async fn put_outcome(&self, outcome: Outcome, condition: Condition) -> Result<Written, ServiceError> {
        let precedence = Precedence::Replace;
        Ok(Written::of(&self.write(Operation::PutOutcome { outcome, condition, precedence }).await?))
    }

    /// Puts a rate.
    ///
    /// # Errors
    ///
    /// [`ServiceError::ConditionFailed`]; else as [`Service::write`].
    pub async fn put_rate(&self, draft: RateDraft, condition: Condition) -> Result<Written, ServiceError> {
        let (now, precedence) = (self.now(), Precedence::Replace);
        Ok(Written::of(&self.write(Operation::PutRate { draft, now, condition, precedence }).await?))
    }
}

fn written_signal(receipt: &Receipt) -> Result<(Written, Vec<u8>), ServiceError> {
    match &receipt.change {
        Change::Signal(stored) => Ok((Written::of(receipt), render::signal_json(&stored.signal))),
        // A write of a signal leaves a signal.
        _ => Err(ServiceError::Worker),
    }
}
