//! Access: who asks, and what that allows.
//!
//! As long as no token was made, every program of this machine may do everything, and nobody else anything. From the
//! first token on every request needs one, reads too, as balances are private; but not the health checks and the
//! description of the routes. Revoking tokens does not open access again. What comes through the socket file beside the
//! database may do everything, with tokens and without: the file system lets only the operator open it.
//!
//! The router's state is private to this file. A handler gets the service from [`Open`], [`ReadShared`], [`Read`],
//! [`ReadUser`], [`FollowChanges`], [`Write`], [`Hook`], [`Metrics`] or [`Admin`] and from nothing else, so that one
//! that decides nothing about access does not compile. axum runs these before it reads the body. The fallbacks take
//! [`Open`], so that a stranger learns nothing from an unknown route either.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use headers::authorization::Bearer;
use headers::{Authorization, HeaderMapExt as _};
use serde::Deserialize;

use super::cors::Origin;
use super::problem::{Code, Problem};
use super::request_log::RequestRecord;
use super::{head, local};
use crate::domain::{RecordKey, Scope, UserId};
use crate::service::{HeldToken, Service, TokenCheck};

/// The router's state: the service, which only the extractors of this file give away, and the origins whose pages may
/// call.
#[derive(Clone, Debug)]
pub(super) struct AccessState(Service, Arc<[Origin]>);

/// Marks a request that came through the socket file, which the file system lets only the operator open, or from this
/// process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operator;

/// Who asks.
#[derive(Debug)]
enum Caller {
    /// The operator, who needs no token.
    Operator,
    /// A program of this machine, while no token is needed.
    Local,
    /// The holder of this token.
    Holder(Arc<HeldToken>),
    /// Anybody else.
    Stranger {
        /// `Unauthorized`, or `TokenExpired`.
        code: Code,
        /// Why this is not the holder of a token.
        reason: Cow<'static, str>,
        /// Whether the request names a token.
        has_token: bool,
        /// The token that the request names, if it expired, was revoked, or its secret is wrong.
        token: Option<Arc<HeldToken>>,
    },
}

impl Caller {
    fn of(service: &Service, parts: &Parts) -> Self {
        if parts.extensions.get::<Operator>().is_some() {
            return Self::Operator;
        }
        let headers = &parts.headers;
        if service.is_access_open() {
            return Self::Local;
        }
        let without_token = |reason: &'static str| {
            let (code, reason) = (Code::Unauthorized, reason.into());
            Self::Stranger { code, reason, has_token: false, token: None }
        };
        if !headers.contains_key(AUTHORIZATION) {
            return without_token("a bearer token is needed");
        }
        let Some(bearer) = headers.typed_get::<Authorization<Bearer>>() else {
            return without_token("Authorization holds no bearer token");
        };
        Self::with_token(service, bearer.token())
    }

    /// The holder of the token that has this text.
    fn with_token(service: &Service, text: &str) -> Self {
        let (code, reason, token) = match service.check_token(text) {
            TokenCheck::Valid(token) => return Self::Holder(token),
            TokenCheck::Expired(token, expires_at) => {
                (Code::TokenExpired, format!("the token expired at {expires_at}").into(), Some(token))
            }
            TokenCheck::Unknown(token) => (Code::Unauthorized, "the token is not known".into(), token),
        };
        Self::Stranger { code, reason, has_token: true, token }
    }

    /// The public part of the token that the request names.
    fn token_id(&self) -> Option<&str> {
        match self {
            Self::Operator | Self::Local => None,
            Self::Holder(held) => Some(&held.token.id),
            Self::Stranger { token, .. } => token.as_ref().map(|held| held.token.id.as_str()),
        }
    }

    /// The same caller at a later moment; `None` if a request of the same kind would not be let in now.
    fn again(&self, service: &Service) -> Option<Self> {
        match self {
            Self::Operator => Some(Self::Operator),
            Self::Local => service.is_access_open().then_some(Self::Local),
            Self::Holder(held) => service.check_held_token(held).map(Self::Holder),
            Self::Stranger { .. } => None,
        }
    }

    /// Whether a scope of the caller `allows` it.
    fn may(&self, allows: impl Fn(&Scope) -> bool) -> bool {
        match self {
            Self::Operator | Self::Local => true,
            Self::Holder(held) => held.token.scopes.iter().any(allows),
            Self::Stranger { .. } => false,
        }
    }

    /// Refuses a caller of whom no scope `allows` it.
    fn require(&self, needed: &'static str, allows: impl Fn(&Scope) -> bool) -> Result<(), Problem> {
        self.require_known()?;
        if self.may(allows) { Ok(()) } else { Err(Problem::forbidden(needed)) }
    }

    /// Refuses a stranger.
    fn require_known(&self) -> Result<(), Problem> {
        match self {
            Self::Stranger { code, reason, has_token, .. } => {
                Err(Problem::unauthorized(*code, reason.clone(), *has_token))
            }
            Self::Operator | Self::Local | Self::Holder(_) => Ok(()),
        }
    }

    /// Read what is no user's own: signals, rates.
    fn require_read_shared(&self) -> Result<(), Problem> {
        self.require("read", |scope| matches!(scope, Scope::Read | Scope::ReadUser(_) | Scope::Admin))
    }

    /// Read everybody's balances.
    fn require_read(&self) -> Result<(), Problem> {
        self.require("read", |scope| matches!(scope, Scope::Read | Scope::Admin))
    }

    /// Read one user's overlay and missions.
    fn require_read_user(&self, user: &UserId) -> Result<(), Problem> {
        self.require("read", reads_user(user))
    }

    /// Write.
    fn require_write(&self) -> Result<(), Problem> {
        self.require("write", |scope| matches!(scope, Scope::Write | Scope::Admin))
    }

    /// Publish signals by a path that holds the token. No caller does that without a token; and one that allows more is
    /// refused, as proxies log paths.
    fn require_hook(&self) -> Result<(), Problem> {
        match self {
            Self::Holder(held) if held.token.scopes == [Scope::Hook] => Ok(()),
            Self::Operator | Self::Local | Self::Holder(_) => Err(Problem::forbidden("hook")),
            Self::Stranger { .. } => self.require_known(),
        }
    }

    /// Read what the server counts about itself. One user's token is not for that: it would show what others do.
    fn require_metrics(&self) -> Result<(), Problem> {
        self.require("metrics", |scope| matches!(scope, Scope::Metrics | Scope::Read | Scope::Admin))
    }

    /// Do what only the operator does.
    fn require_admin(&self) -> Result<(), Problem> {
        self.require("admin", |scope| matches!(scope, Scope::Admin))
    }
}

/// Whether a scope allows to read what is this user's own.
fn reads_user(user: &UserId) -> impl Fn(&Scope) -> bool {
    move |scope| match scope {
        Scope::Read | Scope::Admin => true,
        Scope::ReadUser(own) => own == user,
        Scope::Write | Scope::Hook | Scope::Metrics => false,
    }
}

impl AccessState {
    pub(super) fn new(service: Service, origins: &[Origin]) -> Self {
        Self(service, origins.into())
    }

    /// Finds out who asks and tells the request's log line. Refuses a request that may have nothing at all.
    ///
    /// # Errors
    ///
    /// 400 if its head can be understood in two ways; 501 if its body is in a transfer coding; 403 `local-only` if no
    /// token is needed and it is not of a program of this machine; 503 `file-replaced` once another program has written
    /// to the database file.
    fn admit(&self, parts: &Parts) -> Result<Caller, Problem> {
        self.admit_as(Caller::of(&self.0, parts), parts)
    }

    fn admit_as(&self, caller: Caller, parts: &Parts) -> Result<Caller, Problem> {
        if let Some(record) = parts.extensions.get::<Arc<RequestRecord>>() {
            record.admitted(parts.extensions.get().cloned(), caller.token_id());
        }
        let host = head::require(parts)?;
        let is_health = parts.uri.path() == "/healthz";
        if is_health {
            return Ok(caller);
        }
        if matches!(caller, Caller::Local) {
            local::require(parts, host.as_ref(), &self.1).inspect_err(|_| {
                self.0.metrics().http.foreign_refused.inc();
            })?;
        }
        self.0.check_trusted()?;
        Ok(caller)
    }
}

/// For everybody who gets this far.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) service: Service,
    /// Whether the caller has no token, and needs one for nearly everything else.
    pub(super) is_stranger: bool,
}

impl FromRequestParts<AccessState> for Open {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AccessState) -> Result<Self, Problem> {
        let is_stranger = matches!(state.admit(parts)?, Caller::Stranger { .. });
        Ok(Self { service: state.0.clone(), is_stranger })
    }
}

/// Makes an extractor that gives the service to callers whom a method of [`Caller`] does not refuse.
macro_rules! extractor {
    ($(#[$doc:meta])* $name:ident, $require:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name(pub(super) Service);

        impl FromRequestParts<AccessState> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, state: &AccessState) -> Result<Self, Problem> {
                state.admit(parts)?.$require().map(|()| Self(state.0.clone()))
            }
        }
    };
}

extractor! {
    /// For those who may read what is no user's own.
    ReadShared, require_read_shared
}
extractor! {
    /// For those who may read everything.
    Read, require_read
}
extractor! {
    /// For those who watch the server.
    Metrics, require_metrics
}
extractor! {
    /// For the operator.
    Admin, require_admin
}

/// For those who may read what is the own of the user whom the path names.
#[derive(Debug)]
pub(super) struct ReadUser(pub(super) Service, pub(super) UserId);

#[derive(Deserialize)]
struct OfUser {
    user: UserId,
}

impl FromRequestParts<AccessState> for ReadUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AccessState) -> Result<Self, Problem> {
        let caller = state.admit(parts)?;
        caller.require_known()?;
        let Path(OfUser { user }) = Path::from_request_parts(parts, state).await?;
        caller.require_read_user(&user).map(|()| Self(state.0.clone(), user))
    }
}

/// For those who may write.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) service: Service,
    caller: Caller,
}

impl Write {
    /// Whether the caller may be shown a signal.
    pub(super) fn may_read_shared(&self) -> bool {
        self.caller.require_read_shared().is_ok()
    }

    /// Whether the caller may be shown a user's overlay.
    pub(super) fn may_read_user(&self, user: &UserId) -> bool {
        self.caller.require_read_user(user).is_ok()
    }
}

impl FromRequestParts<AccessState> for Write {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AccessState) -> Result<Self, Problem> {
        let caller = state.admit(parts)?;
        caller.require_write().map(|()| Self { service: state.0.clone(), caller })
    }
}

/// For senders that can set no header: the path holds their token.
#[derive(Debug)]
pub(super) struct Hook(pub(super) Service);

#[derive(Deserialize)]
struct OfToken {
    token: String,
}

impl FromRequestParts<AccessState> for Hook {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AccessState) -> Result<Self, Problem> {
        let path = Path::<OfToken>::from_request_parts(parts, state).await;
        // What is not UTF-8 is no token.
        let token = path.map(|Path(OfToken { token })| token).unwrap_or_default();
        let caller = state.admit_as(Caller::with_token(&state.0, &token), parts)?;
        caller.require_hook().map(|()| Self(state.0.clone()))
    }
}

/// For those who follow changes: what they may see is asked again and again.
#[derive(Debug)]
pub(super) struct FollowChanges {
    pub(super) service: Service,
    caller: Caller,
}

impl FollowChanges {
    /// For tests of what follows.
    #[cfg(test)]
    pub(super) fn of_operator(service: Service) -> Self {
        Self { service, caller: Caller::Operator }
    }

    /// Which records the caller may know of at this moment; `None` if the caller has no access any more.
    pub(super) fn visible(&self) -> Option<impl Fn(&RecordKey) -> bool> {
        let caller = self.caller.again(&self.service).filter(|caller| caller.require_read_shared().is_ok())?;
        Some(move |key: &RecordKey| key.owner().is_none_or(|user| caller.may(reads_user(user))))
    }
}

impl FromRequestParts<AccessState> for FollowChanges {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AccessState) -> Result<Self, Problem> {
        let caller = state.admit(parts)?;
        caller.require_read_shared().map(|()| Self { service: state.0.clone(), caller })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Token, UnixMillis};

    #[test]
    fn each_scope_allows_what_it_says() {
        let (mine, other) = (UserId::parse("7001").unwrap(), UserId::parse("7002").unwrap());
        let allowed = |scope: Scope| {
            let (sha256, created_at) = ([0; 32], UnixMillis::new(0));
            let (id, name, expires_at, last_used_at) = (String::new(), String::new(), None, None);
            let token = Token { id, sha256, scopes: vec![scope], name, created_at, expires_at, last_used_at };
            let caller = Caller::Holder(Arc::new(HeldToken::new(token)));
            let user = [&mine, &other].map(|user| caller.require_read_user(user).is_ok());
            let [read_mine, read_other] = user;
            let (shared, all) = (caller.require_read_shared().is_ok(), caller.require_read().is_ok());
            let (write, metrics, admin) =
                (caller.require_write().is_ok(), caller.require_metrics().is_ok(), caller.require_admin().is_ok());
            let in_path = caller.require_hook().is_ok();
            assert_eq!(in_path, matches!(&caller, Caller::Holder(held) if held.token.scopes == [Scope::Hook]));
            [shared, read_mine, read_other, all, write, metrics, admin]
        };
        assert_eq!(allowed(Scope::Read), [true, true, true, true, false, true, false]);
        assert_eq!(allowed(Scope::ReadUser(mine.clone())), [true, true, false, false, false, false, false]);
        assert_eq!(allowed(Scope::Write), [false, false, false, false, true, false, false]);
        assert_eq!(allowed(Scope::Hook), [false; 7]);
        assert!(Caller::Operator.require_hook().is_err() && Caller::Local.require_hook().is_err());
        assert_eq!(allowed(Scope::Metrics), [false, false, false, false, false, true, false]);
        assert_eq!(allowed(Scope::Admin), [true; 7]);
    }
}
