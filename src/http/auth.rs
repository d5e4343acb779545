//! Access: bearer tokens and what they allow.
//!
//! As long as the database holds no token, whoever reaches the server may do everything; `serve` refuses to listen anywhere but
//! on loopback then. Once there is one, every request needs a token, reads too, as balances are private; but not the health checks and the
//! description of the routes.
//!
//! A token is `ovl_<id>_<secret>`. It is found by its id, and the SHA-256 of the whole is compared in constant time; the secret's
//! 256 random bits make a slow hash needless.

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Problem;
use crate::domain::{Scope, Token, UnixMillis};
use crate::service::Service;

const PREFIX: &str = "ovl_";

/// Makes a token: the text to hand out, and what is kept of it.
///
/// # Errors
///
/// If the system has no random numbers.
pub fn mint_token(scopes: Vec<Scope>, label: String, now: UnixMillis) -> Result<(String, Token), getrandom::Error> {
    let (mut id, mut secret) = ([0; 4], [0; 32]);
    getrandom::fill(&mut id)?;
    getrandom::fill(&mut secret)?;
    let id = hex(&id);
    let text = format!("{PREFIX}{id}_{}", hex(&secret));
    let sha256 = Sha256::digest(text.as_bytes()).into();
    Ok((text, Token { id, sha256, scopes, label, created_at: now }))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// What the caller of a request may do.
#[derive(Debug)]
pub(super) enum Access {
    /// Everything: there are no tokens.
    Open,
    /// What the token allows.
    Token(Vec<Scope>),
}

impl Access {
    /// Read everybody's balances.
    pub(super) fn read_all(&self) -> Result<(), Problem> {
        self.check("read", |scope| matches!(scope, Scope::Read | Scope::Admin))
    }

    /// Read one user's overlay and missions.
    pub(super) fn read_user(&self, user: &str) -> Result<(), Problem> {
        self.check("read", |scope| match scope {
            Scope::Read | Scope::Admin => true,
            Scope::ReadUser(own) => own.as_str() == user,
            Scope::Write => false,
        })
    }

    /// Read what is no user's own: signals, rates.
    pub(super) fn read_shared(&self) -> Result<(), Problem> {
        self.check("read", |scope| matches!(scope, Scope::Read | Scope::ReadUser(_) | Scope::Admin))
    }

    /// Write.
    pub(super) fn write(&self) -> Result<(), Problem> {
        self.check("write", |scope| matches!(scope, Scope::Write | Scope::Admin))
    }

    /// Do what only the operator does.
    pub(super) fn admin(&self) -> Result<(), Problem> {
        self.check("admin", |scope| matches!(scope, Scope::Admin))
    }

    fn check(&self, needed: &'static str, allows: impl Fn(&Scope) -> bool) -> Result<(), Problem> {
        match self {
            Self::Open => Ok(()),
            Self::Token(scopes) if scopes.iter().any(allows) => Ok(()),
            Self::Token(_) => {
                Err(Problem::forbidden(format!("the token does not allow this: it needs the scope {needed}")))
            }
        }
    }
}

impl FromRequestParts<Service> for Access {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        Self::of(&parts.headers, service)
    }
}

impl Access {
    /// What these headers' token allows.
    pub(super) fn of(headers: &HeaderMap, service: &Service) -> Result<Self, Problem> {
        if !service.has_tokens() {
            return Ok(Self::Open);
        }
        let header = headers.get(AUTHORIZATION).ok_or_else(|| Problem::unauthorized("a bearer token is needed"))?;
        let text = header.to_str().ok().and_then(bearer).unwrap_or_default();
        let id = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).map_or("", |(id, _)| id);
        let scopes = service.with_token(id, |token| {
            let is_whole = |token: &&Token| {
                let sha256: [u8; 32] = Sha256::digest(text.as_bytes()).into();
                bool::from(sha256.ct_eq(&token.sha256))
            };
            token.filter(is_whole).map(|token| token.scopes.clone())
        });
        scopes.map(Self::Token).ok_or_else(|| Problem::unauthorized("the token is not known"))
    }
}

/// Takes the token out of `Bearer <token>`; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_only_as_a_hash() {
        let now = UnixMillis::new(0);
        let (text, token) = mint_token(vec![Scope::Read], "bot".to_owned(), now).unwrap();
        assert_eq!(text.len(), 4 + 8 + 1 + 64);
        assert!(text.starts_with(&format!("ovl_{}_", token.id)));
        assert_eq!(token.sha256, <[u8; 32]>::from(Sha256::digest(text.as_bytes())));
        let (other, _) = mint_token(vec![], String::new(), now).unwrap();
        assert_ne!(text, other);
    }

    #[test]
    fn each_scope_allows_what_it_says() {
        let mine = crate::domain::UserId::parse("7001").unwrap();
        let allowed = |scope: Scope| {
            let access = Access::Token(vec![scope]);
            [
                access.read_all().is_ok(),
                access.read_user(mine.as_str()).is_ok(),
                access.read_user("7002").is_ok(),
                access.read_shared().is_ok(),
                access.write().is_ok(),
            ]
        };
        assert_eq!(allowed(Scope::Read), [true, true, true, true, false]);
        assert_eq!(allowed(Scope::ReadUser(mine.clone())), [false, true, false, true, false]);
        assert_eq!(allowed(Scope::Write), [false, false, false, false, true]);
        assert_eq!(allowed(Scope::Admin), [true, true, true, true, true]);
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
