//! One entry point for each thing that a client may write. The writer checks the condition of a write, so no other
//! write can come in between.

use super::overlays::Confirmation;
use super::{RenderedOverlay, Service, ServiceError, absent_overlay};
use crate::domain::{
    Condition, Object, Outcome, OverlayDraft, RateDraft, SignalDraft, SignalId, UnixMillis, UnnamedSignal, UserId,
};
use crate::render;
use crate::store::{Change, Effect, Operation, Precedence, Receipt};

/// What a `put` did.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Whether there was no such record before.
    pub is_new: bool,
    /// The number of the change that left the record as it is.
    pub seq: u64,
    /// The number of the last change, of whatever record, after which the record is like this.
    pub as_of: u64,
}

impl Written {
    fn of(receipt: &Receipt) -> Self {
        Self { is_new: receipt.effect == Effect::Created, seq: receipt.seq(), as_of: receipt.as_of }
    }
}

/// The outcome of a patch: what it did, and the overlay as it left it.
#[derive(Clone, Debug)]
pub struct Patched {
    /// What it did.
    pub effect: Effect,
    /// The overlay, by that write and no later one.
    pub overlay: RenderedOverlay,
    /// The number of the last change, of whatever record, after which the overlay is like this.
    pub as_of: u64,
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

    /// Publishes a signal without an id; returns the id that was made for it, and its JSON. The same one again, while
    /// it lives, changes nothing.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Conflict`] if too many others have its symbol and time; else as [`Service::write`].
    pub async fn publish_signal(&self, unnamed: UnnamedSignal) -> Result<(SignalId, Written, Vec<u8>), ServiceError> {
        let (now, lifetime_ms) = (self.now(), self.lifetime_ms());
        let receipt = self.write(Operation::PublishSignal { unnamed, now, lifetime_ms }).await?;
        let Change::Signal(stored) = &receipt.change else { return Err(ServiceError::Worker) };
        let (written, json) = written_signal(&receipt)?;
        Ok((stored.signal.id.clone(), written, json))
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

    /// Applies a merge patch to an overlay; one that changes nothing is answered without a write.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn patch_overlay(
        &self,
        user: UserId,
        patch: Object,
        condition: Condition,
    ) -> Result<Patched, ServiceError> {
        let (now, as_of) = (self.now(), self.cursor().seq);
        // Only the writer checks a condition. Without one, memory suffices: it is no older than the last acknowledged
        // write, and a write that is not acknowledged yet counts as later than this one.
        let found = if condition == Condition::None { self.overlay_in_memory(user.as_str()) } else { Ok(None) };
        let found = found.inspect_err(|_| {
            self.shared.metrics.writes_refused.inc();
        })?;
        if let Some(found) = found
            && let Some(confirmed_at) = found.confirmed_by(&patch, now)?
            && !self.is_confirmation_due(&found, confirmed_at)
        {
            let row = found.row();
            let (seq, basis, stored_at) = (row.seq, row.basis(), row.confirmation_stored_at);
            self.shared.memory.overlays.confirm(&user, Confirmation { seq, basis, stored_at, at: confirmed_at, now });
            self.shared.metrics.writes_unchanged.inc();
            return Ok(Patched { effect: Effect::Unchanged, overlay: found, as_of });
        }
        let Receipt { effect, change, as_of, .. } = self
            .write(Operation::PatchOverlay {
                user: user.clone(),
                patch,
                now,
                condition,
                precedence: Precedence::Replace,
            })
            .await?;
        match change {
            Change::Overlay(_, Some(stored)) => {
                Ok(Patched { effect, overlay: self.shared.memory.overlays.render(&stored), as_of })
            }
            _ => Err(absent_overlay(user.as_str())),
        }
    }

    /// Whether a confirmation of a balance is to be stored.
    fn is_confirmation_due(&self, overlay: &RenderedOverlay, confirmed_at: UnixMillis) -> bool {
        let stored_at = overlay.row().confirmation_stored_at;
        self.shared.settings.max_ages.balance.is_some_and(|max| max.is_due(stored_at, confirmed_at))
    }

    /// Deletes an overlay; returns the number of the last change.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`], also under a condition; [`ServiceError::ConditionFailed`]; else as
    /// [`Service::write`].
    pub async fn delete_overlay(&self, user: UserId, condition: Condition) -> Result<u64, ServiceError> {
        Ok(self.write(Operation::DeleteOverlay { user, condition }).await?.as_of)
    }

    /// Deletes a signal with all its outcomes; returns the number of the last change.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`], also under a condition; [`ServiceError::ConditionFailed`]; else as
    /// [`Service::write`].
    pub async fn delete_signal(&self, id: SignalId, condition: Condition) -> Result<u64, ServiceError> {
        Ok(self.write(Operation::DeleteSignal { id, condition }).await?.as_of)
    }

    /// Deletes what happened for a user on a signal; returns the number of the last change.
    ///
    /// # Errors
    ///
    /// As [`Service::delete_signal`].
    pub async fn delete_outcome(
        &self,
        signal: SignalId,
        user: UserId,
        condition: Condition,
    ) -> Result<u64, ServiceError> {
        Ok(self.write(Operation::DeleteOutcome { signal, user, condition }).await?.as_of)
    }

    /// Deletes everything of a user: the overlay, all outcomes, and the scopes of tokens that name the user; returns
    /// the number of the last change.
    ///
    /// # Errors
    ///
    /// As [`Service::delete_signal`]; [`ServiceError::Absent`] if there is nothing of the user.
    pub async fn delete_user(&self, user: UserId, condition: Condition) -> Result<u64, ServiceError> {
        Ok(self.write(Operation::DeleteUser { user, condition }).await?.as_of)
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
