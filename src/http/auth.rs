//! Access: bearer tokens and what they allow.
//!
//! As long as no token was made, every program of this machine may do everything, and nobody else anything ([`admit`]); `serve`
//! refuses to listen anywhere but on loopback then. From the first one on every request needs a token, reads too, as balances are private; but not the health checks and the
//! description of the routes. Revoking tokens does not open access again.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Refusal;
use super::{Problem, local};
use crate::domain::{Scope, Token};
use crate::service::Service;

/// The target of log lines about requests.
const LOG_TARGET: &str = "overlaid::access";

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

/// Lets a request in, or refuses it with 403 `local-only`; logs each 401 and 403.
pub(super) async fn guard(State(service): State<Service>, request: Request, next: Next) -> Response {
    let (method, headers) = (request.method().clone(), request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let authorization = headers.get(AUTHORIZATION).cloned();
    let response = match admit(&service, request.uri(), headers) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(Refusal(reason)) = response.extensions().get() {
        let token = authorization.as_ref().and_then(|value| service.token_id(bearer(value)?));
        let (status, route) = (response.status().as_u16(), route.as_ref().map(MatchedPath::as_str));
        tracing::warn!(target: LOG_TARGET, %method, route, status, token, %reason, "request refused");
    }
    response
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
        let text = bearer(header).unwrap_or_default();
        service.token(text).map(Self::Token).ok_or_else(|| Problem::unauthorized("the token is not known"))
    }
}

/// Takes the token out of `Bearer <token>`; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
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
        for (header, token) in
            [("Bearer abc", Some("abc")), ("bearer  abc", Some("abc")), ("Basic abc", None), ("abc", None)]
        {
            assert_eq!(bearer(&HeaderValue::from_static(header)), token, "{header}");
        }
    }
}
