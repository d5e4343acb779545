//! Tokens: who may read and write, as far as the store and the rules know of it.

use std::fmt;
use std::time::Duration;

use super::{Invalid, InvalidKind, Object, UnixMillis, UserId, parse_period};

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read everything.
    Read,
    /// Read one user's overlay and missions, and the shared signals.
    ReadUser(UserId),
    /// Write signals, overlays, outcomes and rates.
    Write,
    /// Publish signals by a path that holds the token, and nothing else.
    Hook,
    /// Read what the server counts about itself.
    Metrics,
    /// Everything, and what only the operator does.
    Admin,
}

impl Scope {
    /// Reads `read`, `read:<user>`, `write`, `hook`, `metrics` or `admin`.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::InvalidName`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text.split_once(':') {
            None if text == "read" => Ok(Self::Read),
            None if text == "write" => Ok(Self::Write),
            None if text == "hook" => Ok(Self::Hook),
            None if text == "metrics" => Ok(Self::Metrics),
            None if text == "admin" => Ok(Self::Admin),
            Some(("read", user)) => Ok(Self::ReadUser(UserId::parse(user)?)),
            _ => {
                let detail = "a scope is read, read:<user>, write, hook, metrics or admin";
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
            Self::Hook => f.write_str("hook"),
            Self::Metrics => f.write_str("metrics"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// Longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Most scopes of a token: one for each user whom a program acts for, and then some.
const SCOPES_MAX: usize = 100;

/// A token as it is stored: the secret itself is shown once and never kept.
///
/// A revoked token stays, and so does an expired one: as long as there is any, nobody gets in without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The public part of the token, by which it is found and revoked.
    pub id: String,
    /// SHA-256 of the whole token.
    pub sha256: [u8; 32],
    /// What it allows; nothing if it is revoked.
    pub scopes: Vec<Scope>,
    /// The operator's word for whom it is.
    pub name: String,
    /// When it was made.
    pub created_at: UnixMillis,
    /// From when on it allows nothing; `None`: never.
    pub expires_at: Option<UnixMillis>,
    /// The latest use that is known, some time before the true one; `None` before the first.
    pub last_used_at: Option<UnixMillis>,
}

impl Token {
    /// Whether it was revoked.
    #[must_use]
    pub fn is_revoked(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

/// When a token that is to be made expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// At a moment.
    At(UnixMillis),
    /// So long after it was made.
    After(Duration),
}

impl Expiry {
    /// Reads a length of time (`90d`, `12h`) or a time (`2026-01-31T16:00:00Z`).
    ///
    /// # Errors
    ///
    /// [`InvalidKind::InvalidTime`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let moment = || UnixMillis::parse(text).map(Self::At);
        parse_period(text).ok().map(Self::After).or_else(moment).ok_or_else(|| {
            let detail = "expires must be a length of time like 90d or 12h, or a time like 2026-01-31T16:00:00Z";
            Invalid::member(InvalidKind::InvalidTime, "expires", detail)
        })
    }

    /// The moment, for a token that is made now.
    ///
    /// # Errors
    ///
    /// [`InvalidKind::OutOfRange`] if it is not to come.
    pub fn resolve(self, now: UnixMillis) -> Result<UnixMillis, Invalid> {
        let moment = match self {
            Self::At(moment) => moment,
            Self::After(period) => now.plus_millis(i64::try_from(period.as_millis()).unwrap_or(i64::MAX)),
        };
        if moment > now {
            return Ok(moment);
        }
        let detail = format!("expires {moment} is over: it is {now}");
        Err(Invalid::member(InvalidKind::OutOfRange, "expires", detail))
    }
}

/// A token that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenDraft {
    /// What it is to allow; at least one.
    pub scopes: Vec<Scope>,
    /// The operator's word for whom it is.
    pub name: String,
    /// When it is to expire; `None`: never.
    pub expires: Option<Expiry>,
}

impl TokenDraft {
    /// Reads `{"scopes":["read"],"name":"bot","expires":"90d"}`; only the scopes must be there.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the member to blame. A token keeps no other members, so any is refused.
    pub fn from_object(mut object: Object) -> Result<Self, Invalid> {
        let scopes = Self::scopes(object.take("scopes"))?;
        let name = object.take_string("name", NAME_BYTES_MAX)?.unwrap_or_default();
        if name.contains(char::is_control) {
            return Err(Invalid::member(InvalidKind::InvalidName, "name", "name holds a control character"));
        }
        let expires = object.take_parsed("expires", Expiry::parse)?;
        match object.iter().next() {
            None => Ok(Self { scopes, name, expires }),
            Some((member, _)) => {
                let detail = format!("\"{member}\" is not a member of a token: scopes, name and expires are");
                Err(Invalid::member(InvalidKind::MisspelledMember, member, detail))
            }
        }
    }

    fn scopes(raw: Option<String>) -> Result<Vec<Scope>, Invalid> {
        let invalid = |kind, detail: &str| Invalid::member(kind, "scopes", detail);
        let raw = raw.ok_or_else(|| invalid(InvalidKind::MissingMember, "a token needs scopes, as in [\"read\"]"))?;
        let texts: Vec<String> = serde_json::from_str(&raw)
            .map_err(|_| invalid(InvalidKind::WrongType, "scopes must be a list of texts, as in [\"read\"]"))?;
        if !(1..=SCOPES_MAX).contains(&texts.len()) {
            return Err(invalid(InvalidKind::OutOfRange, &format!("a token has 1 to {SCOPES_MAX} scopes")));
        }
        let parse = |text: &String| Scope::parse(text).map_err(|error| invalid(error.kind(), &error.to_string()));
        let scopes = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if scopes.contains(&Scope::Hook) && scopes.len() > 1 {
            let detail = "a token with the scope hook has no other: it stands in paths, which proxies log";
            return Err(invalid(InvalidKind::InvalidName, detail));
        }
        Ok(scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_and_shown_alike() {
        for text in ["read", "read:7001", "read:-1009000000001", "read:a:b", "write", "hook", "metrics", "admin"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "Read", "read:", "read:a/b", "write:7001", "root"] {
            assert!(Scope::parse(text).is_err(), "{text}");
        }
    }

    fn draft(json: &str) -> Result<TokenDraft, (&'static str, String)> {
        TokenDraft::from_object(Object::parse(json.as_bytes()).unwrap())
            .map_err(|error| (error.kind().code(), error.pointer().to_owned()))
    }

    #[test]
    fn a_token_is_asked_for_with_scopes_a_name_and_an_end() {
        let now = UnixMillis::parse("2026-01-31T12:00:00Z").unwrap();
        let full = draft(r#"{"scopes":["read:7","write"],"name":"feed","expires":"90d"}"#).unwrap();
        let user = UserId::parse("7").unwrap();
        assert_eq!((full.scopes, &*full.name), (vec![Scope::ReadUser(user), Scope::Write], "feed"));
        assert_eq!(full.expires.unwrap().resolve(now).unwrap().to_string(), "2026-05-01T12:00:00Z");
        let least = TokenDraft { scopes: vec![Scope::Read], name: String::new(), expires: None };
        assert_eq!(draft(r#"{"scopes":["read"],"name":null}"#), Ok(least));
        let moment = draft(r#"{"scopes":["read"],"expires":"2026-02-01T00:00:00Z"}"#).unwrap().expires.unwrap();
        assert_eq!(moment.resolve(now).unwrap().to_string(), "2026-02-01T00:00:00Z");
        assert!(moment.resolve(UnixMillis::parse("2026-02-01T00:00:00Z").unwrap()).is_err(), "it is over");
    }

    #[test]
    fn a_slip_makes_no_token_that_allows_more_or_lasts_longer() {
        for (json, code, pointer) in [
            ("{}", "missing-member", "/scopes"),
            (r#"{"scopes":[]}"#, "out-of-range", "/scopes"),
            (r#"{"scopes":"read"}"#, "wrong-type", "/scopes"),
            (r#"{"scopes":[1]}"#, "wrong-type", "/scopes"),
            (r#"{"scopes":["root"]}"#, "invalid-name", "/scopes"),
            (r#"{"scopes":["hook","write"]}"#, "invalid-name", "/scopes"),
            (r#"{"scopes":["read"],"expire":"90d"}"#, "misspelled-member", "/expire"),
            (r#"{"scopes":["read"],"expires":90}"#, "wrong-type", "/expires"),
            (r#"{"scopes":["read"],"expires":"soon"}"#, "invalid-time", "/expires"),
            (r#"{"scopes":["read"],"name":"a\u001bb"}"#, "invalid-name", "/name"),
        ] {
            assert_eq!(draft(json), Err((code, pointer.to_owned())), "{json}");
        }
    }
}
