//! Why a piece of input was refused, and which member of it is to blame.

use std::borrow::Cow;

use strum::{EnumIter, IntoStaticStr};

/// Input that breaks a rule, with the member that breaks it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    kind: InvalidKind,
    pointer: Cow<'static, str>,
    detail: String,
}

/// What kind of rule was broken; each has a stable code that clients may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
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
    /// A member nearly spells a known one or is another usual name of one, and would be silently ignored.
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
    pub fn code(self) -> &'static str {
        self.into()
    }
}

impl Invalid {
    /// Blames the member called `member`.
    pub(crate) fn member(kind: InvalidKind, member: &str, detail: impl Into<String>) -> Self {
        Self::at(kind, std::iter::once(member), detail)
    }

    /// Blames the member at `place`: names and indices from the outside in; none for the whole document.
    pub(crate) fn at<'a>(kind: InvalidKind, place: impl Iterator<Item = &'a str>, detail: impl Into<String>) -> Self {
        let mut pointer = String::new();
        for name in place {
            pointer.push('/');
            // RFC 6901 escapes these two in a pointer.
            pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        }
        Self { kind, pointer: pointer.into(), detail: detail.into() }
    }

    /// Blames the whole document.
    pub(crate) fn document(kind: InvalidKind, detail: impl Into<String>) -> Self {
        Self { kind, pointer: "".into(), detail: detail.into() }
    }

    /// Blames the same within the item at `at` of the list called `member`.
    pub(crate) fn inside(self, member: &str, at: usize) -> Self {
        Self { pointer: format!("/{member}/{at}{}", self.pointer).into(), ..self }
    }

    /// Blames a line of a TOML table.
    pub(crate) fn table(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let above = text.bytes().take(start).filter(|byte| *byte == b'\n').count();
        let line = text.lines().nth(above).unwrap_or_default().trim();
        let message = error.message().replace('\n', " ");
        Self::document(InvalidKind::WrongType, format!("line {}, {line}: {message}", above + 1))
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
