//! Tokens: who may read and write, as far as the store and the rules know of it.

use std::fmt;

use super::{Invalid, InvalidKind, UnixMillis, UserId};

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read everything.
    Read,
    /// Read one user's overlay and missions, and the shared signals.
    ReadUser(UserId),
    /// Write signals, overlays, outcomes and rates.
    Write,
    /// Read what the server counts about itself.
    Metrics,
    /// Everything, and what only the operator does.
    Admin,
}

impl Scope {
    /// Reads `read`, `read:<user>`, `write`, `metrics` or `admin`.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::InvalidName`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text.split_once(':') {
            None if text == "read" => Ok(Self::Read),
            None if text == "write" => Ok(Self::Write),
            None if text == "metrics" => Ok(Self::Metrics),
            None if text == "admin" => Ok(Self::Admin),
            Some(("read", user)) => Ok(Self::ReadUser(UserId::parse(user)?)),
            _ => {
                let detail = "a scope is read, read:<user>, write, metrics or admin";
                Err(Invalid::member(InvalidKind::InvalidName, "scope", detail))
            }
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::ReadUser(user) => write!(f, "read:{user}"),
            Self::Write => f.write_str("write"),
            Self::Metrics => f.write_str("metrics"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// A token as it is stored: the secret itself is shown once and never kept.
///
/// A revoked token stays: as long as there is any, also a revoked one, nobody gets in without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The public part of the token, by which it is found and revoked.
    pub id: String,
    /// SHA-256 of the whole token.
    pub sha256: [u8; 32],
    /// What it allows; nothing if it is revoked.
    pub scopes: Vec<Scope>,
    /// The operator's word for whom it is.
    pub label: String,
    /// When it was made.
    pub created_at: UnixMillis,
}

impl Token {
    /// Whether it was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.scopes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_and_shown_alike() {
        for text in ["read", "read:7001", "read:-1009000000001", "read:a:b", "write", "metrics", "admin"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "Read", "read:", "read:a/b", "write:7001", "root"] {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
    }
}
