//! Why a piece of input was refused, and which member of it is to blame.

use std::borrow::Cow;

/// Input that breaks a rule, with the member that breaks it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    kind: InvalidKind,
    pointer: Cow<'static, str>,
    detail: String,
}

/// What kind of rule was broken; each has a stable code that clients may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidKind {
    /// The text is not JSON, or not the JSON object it has to be.
    MalformedJson,
    /// An object holds the same member twice.
    DuplicateMember,
    /// A member that has to be there is not.
    MissingMember,
    /// A member holds a value of another type.
    WrongType,
    /// A number lies outside its range.
    OutOfRange,
    /// An id, symbol, currency, tier or other name has forbidden bytes or length.
    InvalidName,
    /// A time can not be read.
    InvalidTime,
    /// A member nearly spells a known one, so it is likely a slip that would be silently ignored.
    MisspelledMember,
    /// The stop is not on the losing side of the entry.
    StopWrongSide,
    /// The target is not on the winning side of the entry.
    TargetWrongSide,
    /// A stop or target lies no distance from the entry.
    ZeroDistance,
    /// The levels mix prices and pip distances so that no target, or no entry, is left.
    MixedLevels,
    /// The signal expires no later than it is created.
    ExpiryBeforeCreation,
    /// A member names another record than the one addressed.
    IdMismatch,
    /// The record, with everything kept in it, is larger than can be stored.
    TooLarge,
}

impl InvalidKind {
    /// The stable code of this kind, as clients see it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::MalformedJson => "malformed-json",
            Self::DuplicateMember => "duplicate-member",
            Self::MissingMember => "missing-member",
            Self::WrongType => "wrong-type",
            Self::OutOfRange => "out-of-range",
            Self::InvalidName => "invalid-name",
            Self::InvalidTime => "invalid-time",
            Self::MisspelledMember => "misspelled-member",
            Self::StopWrongSide => "stop-wrong-side",
            Self::TargetWrongSide => "target-wrong-side",
            Self::ZeroDistance => "zero-distance",
            Self::MixedLevels => "mixed-levels",
            Self::ExpiryBeforeCreation => "expiry-before-creation",
            Self::IdMismatch => "id-mismatch",
            Self::TooLarge => "too-large",
        }
    }
}

impl Invalid {
    /// Blames the member called `member`.
    pub(crate) fn member(kind: InvalidKind, member: &str, detail: impl Into<String>) -> Self {
        // RFC 6901 escapes these two in a pointer.
        let pointer = format!("/{}", member.replace('~', "~0").replace('/', "~1"));
        Self { kind, pointer: pointer.into(), detail: detail.into() }
    }

    /// Blames the whole document.
    pub(crate) fn document(kind: InvalidKind, detail: impl Into<String>) -> Self {
        Self { kind, pointer: "".into(), detail: detail.into() }
    }

    /// What kind of rule was broken.
    #[must_use]
    pub const fn kind(&self) -> InvalidKind {
        self.kind
    }

    /// The JSON pointer (RFC 6901) of the member to blame; empty for the whole document.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.pointer
    }
}
