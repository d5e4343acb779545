//! Access: bearer tokens and what they allow.
//!
//! As long as no token was made, every program of this machine may do everything, and nobody else anything ([`admit`]); `serve`
//! refuses to listen anywhere but on loopback then. From the first one on every request needs a token, reads too, as balances are private; but not the health checks and the
//! description of the routes. Revoking tokens does not open access again.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};

use super::{Problem, local};
use crate::domain::{Scope, Token};
use crate::service::Service;

/// What the caller of a request may do.
#[derive(Debug)]
pub(super) enum Access {
    /// Everything: there are no tokens.
    Open,
    /// What the token allows.
    Token(Arc<Token>),
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
            Scope::Write | Scope::Metrics => false,
        })
    }

    /// Read what is no user's own: signals, rates.
    pub(super) fn read_shared(&self) -> Result<(), Problem> {
        self.check("read", |scope| matches!(scope, Scope::Read | Scope::ReadUser(_) | Scope::Admin))
    }

    /// Read what the server counts about itself. One user's token is not for that: it would show what others do.
    pub(super) fn metrics(&self) -> Result<(), Problem> {
        self.check("metrics or read", |scope| matches!(scope, Scope::Metrics | Scope::Read | Scope::Admin))
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
            Self::Token(token) if token.scopes.iter().any(allows) => Ok(()),
            Self::Token(_) => {
                Err(Problem::forbidden(format!("the token does not allow this: it needs the scope {needed}")))
            }
        }
    }
}

/// Whether a request may come in at all: while there is no token, only those of this machine's own programs.
///
/// # Errors
///
/// 403 `local-only`.
pub(super) fn admit(service: &Service, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    if !service.is_access_open() || uri.path() == "/healthz" {
        return Ok(());
    }
    local::foreign(uri, headers).map_or(Ok(()), |foreign| Err(Problem::local_only(&foreign)))
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
        if service.is_access_open() {
            return Ok(Self::Open);
        }
        let header = headers.get(AUTHORIZATION).ok_or_else(|| Problem::unauthorized("a bearer token is needed"))?;
        let text = header.to_str().ok().and_then(bearer).unwrap_or_default();
        service.token(text).map(Self::Token).ok_or_else(|| Problem::unauthorized("the token is not known"))
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
    fn each_scope_allows_what_it_says() {
        let mine = crate::domain::UserId::parse("7001").unwrap();
        let allowed = |scope: Scope| {
            let (sha256, created_at) = ([0; 32], crate::domain::UnixMillis::new(0));
            let (id, label) = (String::new(), String::new());
            let access = Access::Token(Arc::new(Token { id, sha256, scopes: vec![scope], label, created_at }));
            [
                access.read_all().is_ok(),
                access.read_user(mine.as_str()).is_ok(),
                access.read_user("7002").is_ok(),
                access.read_shared().is_ok(),
                access.metrics().is_ok(),
                access.write().is_ok(),
            ]
        };
        assert_eq!(allowed(Scope::Read), [true, true, true, true, true, false]);
        assert_eq!(allowed(Scope::ReadUser(mine.clone())), [false, true, false, true, false, false]);
        assert_eq!(allowed(Scope::Write), [false, false, false, false, false, true]);
        assert_eq!(allowed(Scope::Metrics), [false, false, false, false, true, false]);
        assert_eq!(allowed(Scope::Admin), [true; 6]);
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc"), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("abc"), None);
    }
}
