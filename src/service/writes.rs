//! One entry point for each thing that a client may write.
//!
//! A write under a precondition is put to the writer under the condition that the record is still the one that the precondition was
//! asked of; if another write came in between it is asked again. So it is decided as if nobody else wrote.

use super::{Patched, Service, ServiceError};
use crate::domain::{Object, Outcome, OverlayDraft, RateDraft, SignalDraft, SignalId, UserId};
use crate::render;
use crate::store::{Change, Condition, Effect, Operation, Precedence, Receipt};

/// What must hold of a record for a write to happen: it is told the `seq` of the record as it is, `None` if there is none.
pub type Precondition<'a> = dyn Fn(Option<u64>) -> bool + Send + Sync + 'a;

/// The record that a precondition is about.
#[derive(Clone, Copy)]
enum Target<'a> {
    Signal(&'a SignalId),
    Overlay(&'a UserId),
}

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
    /// [`ServiceError::Absent`], also under a precondition; [`ServiceError::ConditionFailed`]; else as [`Service::write`].
    pub async fn patch_signal(
        &self,
        id: &SignalId,
        patch: Object,
        holds: Option<&Precondition<'_>>,
    ) -> Result<WrittenSignal, ServiceError> {
        let operation = |condition| Operation::PatchSignal { id: id.clone(), patch: patch.clone(), condition };
        WrittenSignal::of(&self.write_if(holds, Target::Signal(id), operation).await?)
    }

    /// Puts an overlay as a whole; returns the number of the change that left it as it is.
    ///
    /// # Errors
    ///
    /// [`ServiceError::ConditionFailed`]; else as [`Service::write`].
    pub async fn put_overlay(
        &self,
        user: &UserId,
        draft: OverlayDraft,
        holds: Option<&Precondition<'_>>,
    ) -> Result<u64, ServiceError> {
        let (now, precedence) = (self.now(), Precedence::Replace);
        let operation = |condition| Operation::PutOverlay { draft: draft.clone(), now, condition, precedence };
        Ok(self.write_if(holds, Target::Overlay(user), operation).await?.seq())
    }

    /// Applies a merge patch to an overlay; one that changes nothing is answered without a write.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`]; [`ServiceError::ConditionFailed`]; else as [`Service::write`].
    pub async fn patch_overlay_if(
        &self,
        user: &UserId,
        patch: Object,
        holds: Option<&Precondition<'_>>,
    ) -> Result<Patched, ServiceError> {
        let Some(holds) = holds else { return self.patch_overlay(user.clone(), patch, Condition::None).await };
        loop {
            let condition = self.condition(holds, Target::Overlay(user)).await?;
            match self.patch_overlay(user.clone(), patch.clone(), condition).await {
                // Another write came in between.
                Err(ServiceError::ConditionFailed) => {}
                done => return done,
            }
        }
    }

    /// Deletes an overlay.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`]; [`ServiceError::ConditionFailed`]; else as [`Service::write`].
    pub async fn delete_overlay(&self, user: &UserId, holds: Option<&Precondition<'_>>) -> Result<(), ServiceError> {
        let operation = |condition| Operation::DeleteOverlay { user: user.clone(), condition };
        self.write_if(holds, Target::Overlay(user), operation).await?;
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

    /// Writes, if the precondition `holds` of the record.
    async fn write_if(
        &self,
        holds: Option<&Precondition<'_>>,
        target: Target<'_>,
        operation: impl Fn(Condition) -> Operation,
    ) -> Result<Receipt, ServiceError> {
        let Some(holds) = holds else { return self.write(operation(Condition::None)).await };
        loop {
            let condition = self.condition(holds, target).await?;
            match self.write(operation(condition)).await {
                // Another write came in between.
                Err(ServiceError::ConditionFailed) => {}
                done => return done,
            }
        }
    }

    /// Asks whether a precondition `holds` of a record as it is; returns the condition that the record is still that one.
    async fn condition(&self, holds: &Precondition<'_>, target: Target<'_>) -> Result<Condition, ServiceError> {
        let seq = match target {
            Target::Signal(id) => Some(self.signal(id).await?.stored.seq),
            Target::Overlay(user) => match self.overlay(user).await {
                Ok(overlay) => Some(overlay.seq()),
                Err(ServiceError::Absent(_)) => None,
                Err(error) => return Err(error),
            },
        };
        if !holds(seq) {
            self.metrics().writes_refused.inc();
            return Err(ServiceError::ConditionFailed);
        }
        Ok(seq.map_or(Condition::Absent, |seq| Condition::SeqIn(vec![seq])))
    }
}
