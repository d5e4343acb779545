//! What can be written, and what comes of it: the words that the store and its callers share.

use std::sync::Arc;

use super::error::StoreError;
use super::rows::{StoredOutcome, StoredOverlay, StoredSignal};
use crate::domain::{
    Condition, Invalid, Object, Outcome, OverlayDraft, Rate, RateDraft, SignalDraft, SignalId, Token, UnixMillis,
    UnnamedSignal, UserId,
};

/// One write.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Publishes a signal.
    PutSignal {
        /// The signal as published.
        draft: SignalDraft,
        /// Fills in its creation.
        now: UnixMillis,
        /// Fills in its expiry.
        lifetime_ms: i64,
        /// What must hold.
        condition: Condition,
        /// What becomes of one that is there already.
        precedence: Precedence,
    },
    /// Publishes a signal under an id that is made for it; one that was published before stays as it is.
    PublishSignal {
        /// The signal as published.
        unnamed: UnnamedSignal,
        /// Fills in its creation.
        now: UnixMillis,
        /// Fills in its expiry.
        lifetime_ms: i64,
    },
    /// Applies an RFC 7396 merge patch to a signal.
    PatchSignal {
        /// Which one.
        id: SignalId,
        /// What changes.
        patch: Object,
        /// What must hold.
        condition: Condition,
    },
    /// Deletes a signal with all its outcomes.
    DeleteSignal {
        /// Which one.
        id: SignalId,
        /// What must hold of the signal.
        condition: Condition,
    },
    /// Puts an overlay.
    PutOverlay {
        /// The overlay as sent.
        draft: OverlayDraft,
        /// When.
        now: UnixMillis,
        /// What must hold.
        condition: Condition,
        /// What becomes of one that is there already.
        precedence: Precedence,
    },
    /// Applies an RFC 7396 merge patch to an overlay.
    PatchOverlay {
        /// Whose.
        user: UserId,
        /// What changes.
        patch: Object,
        /// When.
        now: UnixMillis,
        /// What must hold.
        condition: Condition,
        /// What becomes of the overlay if the patch names an earlier time.
        precedence: Precedence,
    },
    /// Deletes an overlay. Outcomes stay.
    DeleteOverlay {
        /// Whose.
        user: UserId,
        /// What must hold.
        condition: Condition,
    },
    /// Puts what happened for a user on a signal, which must be there.
    PutOutcome {
        /// The outcome.
        outcome: Outcome,
        /// What must hold.
        condition: Condition,
        /// What becomes of one that is there already.
        precedence: Precedence,
    },
    /// Deletes what happened for a user on a signal.
    DeleteOutcome {
        /// On which signal.
        signal: SignalId,
        /// For whom.
        user: UserId,
        /// What must hold.
        condition: Condition,
    },
    /// Deletes everything of a user: the overlay, all outcomes, and the scopes of tokens that name the user.
    DeleteUser {
        /// Whose.
        user: UserId,
        /// What must hold of the overlay.
        condition: Condition,
    },
    /// Puts a rate.
    PutRate {
        /// The rate as sent.
        draft: RateDraft,
        /// When.
        now: UnixMillis,
        /// What must hold.
        condition: Condition,
        /// What becomes of one that is there already.
        precedence: Precedence,
    },
    /// Keeps a new token.
    PutToken(Token),
    /// Takes all scopes from the token with this id. It stays, so that access stays closed.
    RevokeToken(String),
    /// Notes the latest use of a token.
    NoteTokenUse {
        /// The token's id.
        id: String,
        /// When it was used.
        at: UnixMillis,
    },
    /// Deletes the token with this id.
    DeleteToken(String),
}

/// What becomes of a record that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// The new one replaces it; a signal with other content is refused.
    Replace,
    /// The one with the later time wins; a new one without a time is from now. A signal with other content is refused.
    Newest,
    /// It stays. A signal that is expired is renewed by one that is the same but for later times: so sample data can be
    /// loaded again next month.
    Seed,
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// There was no such record.
    Created,
    /// There was one, and it is another now.
    Changed,
    /// The record said the same already; nothing was written, but for a confirmation that was due.
    Unchanged,
    /// The record that was there takes precedence; nothing was written.
    Kept,
    /// The record is gone.
    Deleted,
}

/// The acknowledgement of a write: it is on the disk, and every read from now on shows it.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// What happened.
    pub effect: Effect,
    /// The record as it is now, with the number of the change that wrote it.
    pub change: Change,
    /// Members that the overlay had and that one put in its place as a whole lacks.
    pub removed: Vec<String>,
    /// When an unchanged rate or balance was confirmed, if that is not stored: memory alone is to have it.
    pub confirmed_at: Option<UnixMillis>,
    /// The number of the last change, of whatever record, after which the record is like this.
    pub as_of: u64,
}

impl Receipt {
    pub(super) fn of(effect: Effect, change: Change) -> Self {
        Self { effect, change, removed: Vec::new(), confirmed_at: None, as_of: 0 }
    }

    /// The number of the change that left the record as it is; 0 for one that was deleted, and for a token.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match &self.change {
            Change::Signal(stored) => stored.seq,
            Change::Overlay(_, Some(stored)) => stored.seq,
            Change::Outcome(_, stored) => stored.seq,
            Change::Rate(_, seq) => *seq,
            Change::SignalDeleted(_) | Change::Overlay(_, None) | Change::OutcomeDeleted(..) | Change::Token(..) => 0,
        }
    }
}

/// A record as a commit left it.
#[derive(Clone, Debug)]
pub enum Change {
    /// A signal.
    Signal(Arc<StoredSignal>),
    /// A signal was deleted; its outcomes are changes before this one.
    SignalDeleted(SignalId),
    /// An overlay; `None` if it was deleted.
    Overlay(UserId, Option<Arc<StoredOverlay>>),
    /// An outcome on the signal with this number.
    Outcome(u64, Arc<StoredOutcome>),
    /// The outcome of a user on a signal was deleted.
    OutcomeDeleted(SignalId, UserId),
    /// A rate and its `seq`.
    Rate(Rate, u64),
    /// A token; `None` if it was deleted.
    Token(String, Option<Token>),
}

/// Why an operation was refused; nothing was written for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The record that the operation is about is not there.
    #[error("no {0}")]
    Absent(String),
    /// Another record stands in the way.
    #[error("{0}")]
    Conflict(String),
    /// The condition does not hold.
    #[error("the record is not as the condition expects it")]
    ConditionFailed,
    /// The result would break a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Why a write did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// It was refused, alone.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The commit failed, with everything in it.
    #[error("the write could not be made durable")]
    Failed(#[source] Arc<StoreError>),
}

/// What to do when a write is done, or not.
pub type Acknowledge = Box<dyn FnOnce(Result<Receipt, WriteError>) + Send>;

/// What one commit changed.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The number of its last change.
    pub seq: u64,
    /// The records in the order of writing; where one stands there twice, the last is how the commit left it.
    pub changes: &'a [Change],
}
