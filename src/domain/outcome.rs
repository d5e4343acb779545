//! An outcome: what happened for one user on one signal. Most signals have none for most users.

use super::{Invalid, InvalidKind, Object, SignalId, UnixMillis, UserId};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutcomeStatus {
    /// The user's order was placed.
    Fired,
    /// The user's order was tried and refused.
    Failed,
}

impl OutcomeStatus {
    /// `fired` or `failed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fired => "fired",
            Self::Failed => "failed",
        }
    }

    /// Reads `fired` or `failed` in any case.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::WrongType`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.eq_ignore_ascii_case("fired") {
            Ok(Self::Fired)
        } else if text.eq_ignore_ascii_case("failed") {
            Ok(Self::Failed)
        } else {
            Err(Invalid::member(InvalidKind::WrongType, "status", "status must be fired or failed"))
        }
    }
}

/// What happened for one user on one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// On which signal.
    pub signal_id: SignalId,
    /// For which user.
    pub user_id: UserId,
    /// What.
    pub status: OutcomeStatus,
    /// When.
    pub at: UnixMillis,
    /// Everything else: ticket, execution price, message.
    pub members: Object,
}

/// The members of an outcome with a meaning of their own.
const KNOWN: [&str; 4] = ["signal_id", "user_id", "status", "at"];

impl Outcome {
    /// Reads an outcome; `signal` and `user` are those that the request names, if it does. Without a time it
    /// happened `now`.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame.
    pub fn from_object(
        mut object: Object,
        signal: Option<&SignalId>,
        user: Option<&UserId>,
        now: UnixMillis,
    ) -> Result<Self, Invalid> {
        object.refuse_misspelled(&KNOWN)?;
        let mismatch = |name: &'static str| {
            Invalid::member(InvalidKind::IdMismatch, name, format!("{name} is not the one that the request names"))
        };
        let missing =
            |name: &'static str| Invalid::member(InvalidKind::MissingMember, name, format!("an outcome needs {name}"));
        let signal_id = match (signal, object.take_parsed("signal_id", SignalId::parse)?) {
            (Some(signal), Some(own)) if *signal != own => return Err(mismatch("signal_id")),
            (Some(signal), _) => signal.clone(),
            (None, own) => own.ok_or_else(|| missing("signal_id"))?,
        };
        let user_id = match (user, object.take_parsed("user_id", UserId::parse)?) {
            (Some(user), Some(own)) if *user != own => return Err(mismatch("user_id")),
            (Some(user), _) => user.clone(),
            (None, own) => own.ok_or_else(|| missing("user_id"))?,
        };
        let status = object.take_parsed("status", OutcomeStatus::parse)?.ok_or_else(|| missing("status"))?;
        let at = object.take_time("at")?.unwrap_or(now);
        Ok(Self { signal_id, user_id, status, at, members: object })
    }

    /// Whether both say the same, the time aside.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.signal_id == other.signal_id
            && self.user_id == other.user_id
            && self.status == other.status
            && self.members.same_members(&other.members)
    }
}
