//! Which record a change is about.

use std::fmt;

use strum::IntoStaticStr;

use super::{Pair, SignalId, UserId};

/// The kind and the key of a record that clients may follow. Tokens are none.
///
/// As text it is the key alone, as the paths of the routes have it: an id, or `7001/EURUSD-1` for an outcome. No id
/// holds a slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RecordKey {
    /// A signal.
    Signal(SignalId),
    /// An overlay.
    Overlay(UserId),
    /// An outcome of a user on a signal.
    Outcome(UserId, SignalId),
    /// A rate.
    Rate(Pair),
}

impl RecordKey {
    /// The name of the kind: `signal`, `overlay`, `outcome` or `rate`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.into()
    }

    /// The user whose own the record is; `None` if it is no user's own.
    #[must_use]
    pub fn owner(&self) -> Option<&UserId> {
        match self {
            Self::Overlay(user) | Self::Outcome(user, _) => Some(user),
            Self::Signal(_) | Self::Rate(_) => None,
        }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(id) => id.fmt(f),
            Self::Overlay(user) => user.fmt(f),
            Self::Outcome(user, signal) => write!(f, "{user}/{signal}"),
            Self::Rate(pair) => pair.fmt(f),
        }
    }
}

/// The newest change of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordChange {
    /// Which record.
    pub key: RecordKey,
    /// The number of the change.
    pub seq: u64,
    /// Whether the change deleted the record.
    pub is_deleted: bool,
}
