//! Refusals and failures as RFC 9457 problem documents.
//!
//! [`Code`] is the only map from what went wrong to a status. Clients branch on the code, which never changes its
//! meaning; the title belongs to the code, `detail` tells of the one case. A problem of ours (500) says nothing of the
//! inside: the log says everything, once, where the problem is made.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

use crate::domain::{Invalid, InvalidKind};

/// How soon a client that was turned away for lack of room may come again: about one full commit queue later.
const RETRY_AFTER_SECONDS: u32 = 1;
/// How soon after a failure of the disk: the file is tried again at least this often.
const RETRY_AFTER_STORAGE_SECONDS: u32 = 2;
const CHALLENGE: &str = "Bearer realm=\"overlaid\"";
const CHALLENGE_INVALID: &str = "Bearer realm=\"overlaid\", error=\"invalid_token\"";
/// Most bytes of a client's own text that are echoed: enough to recognise it by.
const ECHO_BYTES_MAX: usize = 80;

/// Why a request was not answered. The name in kebab case is the code that clients see; input that breaks a rule of the
/// domain has the codes of [`InvalidKind`] besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Code {
    /// Not HTTP, or not one valid `Host` header.
    MalformedRequest,
    /// An id in the path breaks the rule for ids.
    InvalidId,
    /// The query holds a name that the route does not know.
    UnknownParameter,
    /// The query gives a parameter twice.
    DuplicateParameter,
    /// A query parameter can not be read.
    InvalidParameter,
    /// `If-Match` can not be read: to go on without it would lose the update that it guards.
    MalformedCondition,
    /// The body of the request ended before its length, or its chunks are malformed.
    BrokenBody,
    /// There is no token, or none that is known.
    Unauthorized,
    /// The token was one until a moment that is over.
    TokenExpired,
    /// The token is known, and its scopes do not reach this far.
    Forbidden,
    /// No token has been made, and the request is not of a program of this machine.
    LocalOnly,
    /// The record is absent.
    NotFound,
    /// No route has this path.
    NoSuchRoute,
    /// The route exists, this method on it does not.
    MethodNotAllowed,
    /// The client sent its request too slowly.
    RequestTimeout,
    /// Another signal is stored under this id.
    Conflict,
    /// The client means another database than this server's.
    OtherDatabase,
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed,
    /// The body is too large.
    BodyTooLarge,
    /// A line of an import is too long.
    LineTooLong,
    /// The body is in a form that the route does not read.
    UnsupportedMediaType,
    /// The head of the request is too long or has too many fields.
    HeadTooLarge,
    /// Ours to mend.
    Internal,
    /// The body is in a transfer coding other than chunked.
    TransferCoding,
    /// Another version of HTTP than 1.1 and 1.0.
    HttpVersion,
    /// Nothing is wrong with the request; there is no room for it now.
    Busy,
    /// The disk has no room.
    StorageFull,
    /// The write could not be made durable.
    StorageFailed,
    /// The database file was moved, replaced, removed or overwritten while the server runs.
    FileReplaced,
    /// No backup could be made.
    BackupFailed,
    /// The request took longer than any may.
    TimeLimit,
    /// Memory has no room for another overlay.
    TooManyOverlays,
}

impl Code {
    fn status_and_title(self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidId => (StatusCode::BAD_REQUEST, "Invalid id in the path"),
            Self::UnknownParameter => (StatusCode::BAD_REQUEST, "Unknown query parameter"),
            Self::DuplicateParameter => (StatusCode::BAD_REQUEST, "Duplicate query parameter"),
            Self::InvalidParameter => (StatusCode::BAD_REQUEST, "Invalid query parameter"),
            Self::MalformedRequest | Self::MalformedCondition | Self::BrokenBody => {
                (StatusCode::BAD_REQUEST, "Malformed request")
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Token required"),
            Self::TokenExpired => (StatusCode::UNAUTHORIZED, "Token expired"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Token does not allow this"),
            Self::LocalOnly => (StatusCode::FORBIDDEN, "Only this machine is served"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not found"),
            Self::NoSuchRoute => (StatusCode::NOT_FOUND, "No such route"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "Request came too slowly"),
            Self::Conflict | Self::OtherDatabase => (StatusCode::CONFLICT, "Conflict"),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "Precondition failed"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Body too large"),
            Self::LineTooLong => (StatusCode::PAYLOAD_TOO_LARGE, "Line too long"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type"),
            Self::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Head too large"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
            Self::TransferCoding => (StatusCode::NOT_IMPLEMENTED, "Transfer coding not implemented"),
            Self::HttpVersion => (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "HTTP version not supported"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Busy"),
            Self::StorageFull => (StatusCode::SERVICE_UNAVAILABLE, "Storage full"),
            Self::StorageFailed => (StatusCode::SERVICE_UNAVAILABLE, "Storage failed"),
            Self::FileReplaced => (StatusCode::SERVICE_UNAVAILABLE, "File replaced"),
            Self::BackupFailed => (StatusCode::SERVICE_UNAVAILABLE, "Backup failed"),
            Self::TimeLimit => (StatusCode::SERVICE_UNAVAILABLE, "Time limit reached"),
            Self::TooManyOverlays => (StatusCode::INSUFFICIENT_STORAGE, "Too many overlays"),
        }
    }

    /// When the client may try again, if it helps to.
    fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::Busy | Self::TimeLimit => Some(RETRY_AFTER_SECONDS),
            Self::StorageFull | Self::StorageFailed | Self::FileReplaced => Some(RETRY_AFTER_STORAGE_SECONDS),
            _ => None,
        }
    }
}

fn status_and_title_of_input(kind: InvalidKind) -> (StatusCode, &'static str) {
    match kind {
        InvalidKind::MalformedJson => (StatusCode::BAD_REQUEST, "Malformed JSON"),
        InvalidKind::DuplicateMember => (StatusCode::BAD_REQUEST, "Duplicate member"),
        InvalidKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Record too large"),
        _ => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid content"),
    }
}

/// What always goes with a code.
#[derive(Debug)]
pub(super) struct CodeFacts {
    pub(super) code: &'static str,
    pub(super) status: u16,
    pub(super) title: &'static str,
}

/// All codes, those of input too.
pub(super) fn code_facts() -> impl Iterator<Item = CodeFacts> {
    let facts = |code, (status, title): (StatusCode, &'static str)| CodeFacts { code, status: status.as_u16(), title };
    let of_requests = Code::iter().map(move |code| facts(code.into(), code.status_and_title()));
    let of_input = InvalidKind::iter().map(move |kind| facts(kind.code(), status_and_title_of_input(kind)));
    of_requests.chain(of_input)
}

/// Why a request was not answered, as `application/problem+json`.
///
/// One pointer wide, so that `Result<_, Problem>` costs nothing when all is well.
#[derive(Debug)]
pub(super) struct Problem(Box<Fields>);

#[derive(Debug, Serialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// Fields of the answer's head that belong to this problem.
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let (status, title) = code.status_and_title();
        let problem = Self(Box::new(Fields::of(status, code.into(), title, detail.into())));
        match code.retry_after_seconds() {
            Some(seconds) => problem.with_header(RETRY_AFTER, seconds.into()),
            None => problem,
        }
    }

    /// Adds a field to the head of the answer.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// 401 `unauthorized` or `token-expired`, with the challenge of RFC 6750 §3.
    pub(super) fn unauthorized(code: Code, reason: Cow<'static, str>, has_token: bool) -> Self {
        let challenge = if has_token { CHALLENGE_INVALID } else { CHALLENGE };
        Self::new(code, reason).with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// 403 `forbidden` for a token without the scope that is `needed`.
    pub(super) fn forbidden(needed: &'static str) -> Self {
        let detail = match needed {
            "hook" => {
                "the path takes a token with the scope hook and no other; the one that was sent may stand in logs of proxies: revoke it".to_owned()
            }
            _ => format!("the token does not allow this: it needs the scope {needed}"),
        };
        let problem = Self::new(Code::Forbidden, detail);
        match HeaderValue::try_from(format!("{CHALLENGE}, error=\"insufficient_scope\", scope=\"{needed}\"")) {
            Ok(challenge) => problem.with_header(WWW_AUTHENTICATE, challenge),
            // The names of scopes are letters.
            Err(_) => problem,
        }
    }

    /// Blames a parameter of the path or the query.
    pub(super) fn parameter(code: Code, name: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut problem = Self::new(code, detail);
        problem.0.parameter = Some(echo(name));
        problem
    }

    /// 400 `invalid-parameter`: a query parameter can not be read.
    pub(super) fn invalid_parameter(name: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::parameter(Code::InvalidParameter, name, detail)
    }

    /// 500 `internal`. Logs the error and all its causes; the client learns nothing of them.
    pub(super) fn internal(error: &(dyn Error + 'static)) -> Self {
        log_causes(error, "request failed");
        Self::blank_internal()
    }

    /// 500 `internal` for a handler that panicked. Logs the panic's message.
    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        tracing::error!(panic = panic_message(payload), "request handler panicked");
        Self::blank_internal()
    }

    fn blank_internal() -> Self {
        Self::new(Code::Internal, "the server failed at this; its log says why")
    }

    /// 503 `file-replaced`: what has become of the database file, and what the operator does.
    pub(super) fn file_replaced(what: &str, remedy: &str) -> Self {
        Self::new(Code::FileReplaced, format!("{what}; for the operator: {remedy}"))
    }

    /// 412 `precondition-failed`.
    pub(super) fn precondition_failed() -> Self {
        Self::new(Code::PreconditionFailed, "the record is not as the condition expects it")
    }

    /// A request that could not be read as HTTP, so that no handler ever saw it.
    pub(super) fn unreadable(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::REQUEST_TIMEOUT => (Code::RequestTimeout, "the head of the request came too slowly"),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                (Code::HeadTooLarge, "the head of the request is too long or has too many fields")
            }
            StatusCode::HTTP_VERSION_NOT_SUPPORTED => (Code::HttpVersion, "this server speaks HTTP/1.1 and HTTP/1.0"),
            _ => (Code::MalformedRequest, "the head of the request is not HTTP/1.1"),
        };
        // The head of the answer, which hyper has written, has this status.
        let mut problem = Self::new(code, detail);
        problem.0.status = status;
        problem
    }

    /// The status of the answer.
    pub(super) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code that clients branch on.
    pub(super) fn code(&self) -> &'static str {
        self.0.code
    }

    /// What is wrong in this one case.
    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The JSON pointer (RFC 6901) of the member to blame, if one is.
    pub(super) fn pointer(&self) -> Option<&str> {
        self.0.pointer.as_deref()
    }

    /// The document as JSON text.
    pub(super) fn to_json(&self) -> String {
        // Strings and a number always serialise; an empty body would still carry the status.
        serde_json::to_string(&*self.0).unwrap_or_default()
    }
}

impl Fields {
    fn of(status: StatusCode, code: &'static str, title: &'static str, detail: Cow<'static, str>) -> Self {
        let kind = format!("/problems/{code}");
        Self { kind, title, status, code, detail, pointer: None, parameter: None, headers: Vec::new() }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let (status, title) = status_and_title_of_input(invalid.kind());
        let pointer = Some(invalid.pointer()).filter(|pointer| !pointer.is_empty()).map(str::to_owned);
        let fields = Fields::of(status, invalid.kind().code(), title, invalid.to_string().into());
        Self(Box::new(Fields { pointer, ..fields }))
    }
}

/// Why a client was refused (401, 403), for the log: goes along with the answer, and not to the client.
#[derive(Clone, Debug)]
pub(super) struct Refusal(pub(super) Cow<'static, str>);

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let headers = std::mem::take(&mut self.0.headers);
        let json = self.to_json();
        let mut response = (
            self.0.status,
            // A record that is absent now may be there a moment later; no cache shall remember otherwise.
            [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")],
            json,
        )
            .into_response();
        if let StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN = self.0.status {
            response.extensions_mut().insert(Refusal(self.0.detail));
        }
        response.headers_mut().extend(headers);
        response
    }
}

fn log_causes(error: &(dyn Error + 'static), message: &str) {
    let causes: Vec<String> =
        std::iter::successors(error.source(), |&cause| cause.source()).map(ToString::to_string).collect();
    tracing::error!(error = %error, causes = causes.join(": "), "{message}");
}

/// The message a panic was raised with, if it is text.
pub(super) fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("not a text")
}

/// A client's own text, cut short.
pub(super) fn echo(text: &str) -> String {
    if text.len() <= ECHO_BYTES_MAX {
        return text.to_owned();
    }
    let kept = text.get(..text.floor_char_boundary(ECHO_BYTES_MAX)).unwrap_or_default();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::{Object, SignalId};

    fn invalid(json: &str) -> Problem {
        Object::parse(json.as_bytes()).unwrap_err().into()
    }

    #[test]
    fn a_problem_is_a_document_with_a_stable_code() {
        assert_eq!(
            Problem::new(Code::NotFound, "no signal EURUSD-1").to_json(),
            r#"{"type":"/problems/not-found","title":"Not found","status":404,"code":"not-found","detail":"no signal EURUSD-1"}"#
        );
        let problem = Problem::parameter(Code::InvalidId, "user", "no");
        assert!(problem.to_json().ends_with(r#""detail":"no","parameter":"user"}"#));
    }

    fn openapi() -> serde_json::Value {
        serde_json::from_str(include_str!("../../data/openapi.json")).unwrap()
    }

    #[test]
    fn the_description_of_the_routes_lists_every_code() {
        let openapi = openapi();
        let listed = openapi["components"]["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
        let listed: Vec<_> = listed.iter().map(|code| code.as_str().unwrap()).collect();
        assert_eq!(listed, code_facts().map(|facts| facts.code).collect::<Vec<_>>());
    }

    #[test]
    fn problems_in_the_description_of_the_routes_are_as_they_are_sent() {
        let facts: Vec<_> = code_facts().collect();
        let mut seen = BTreeSet::new();
        for response in openapi()["components"]["responses"].as_object().unwrap().values() {
            let examples = &response["content"]["application/problem+json"]["examples"];
            for (code, example) in examples.as_object().into_iter().flatten() {
                let facts = facts.iter().find(|facts| facts.code == code).unwrap();
                let sent = &example["value"];
                let words = [&sent["type"], &sent["title"], &sent["code"]];
                assert_eq!(words, [&*format!("/problems/{code}"), facts.title, code]);
                assert_eq!(sent["status"], facts.status, "{code}");
                seen.insert(code.clone());
            }
        }
        let is_missing = |code: &&str| !seen.contains(*code);
        let missing: Vec<_> = facts.iter().map(|facts| facts.code).filter(is_missing).collect();
        // It stands in a line of the answer to an import.
        assert_eq!(missing, ["line-too-long"]);
    }

    #[test]
    fn input_that_is_not_readable_is_400_and_input_that_makes_no_sense_is_422() {
        let problem = invalid("{");
        assert_eq!((problem.0.status.as_u16(), problem.code(), problem.pointer()), (400, "malformed-json", None));
        let problem = invalid(r#"{"a":1,"a":2}"#);
        assert_eq!((problem.0.status.as_u16(), problem.pointer()), (400, Some("/a")));
        let problem = Problem::from(SignalId::parse("").unwrap_err());
        assert_eq!((problem.0.status.as_u16(), problem.pointer()), (422, Some("/signal_id")));
    }

    #[test]
    fn headers_that_belong_to_a_status_are_sent_with_it() {
        let header = |problem: Problem, name| problem.into_response().headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header(Problem::new(Code::Busy, "full"), RETRY_AFTER), "1");
        let unauthorized = |has_token| Problem::unauthorized(Code::Unauthorized, "no such token".into(), has_token);
        assert_eq!(header(unauthorized(false), WWW_AUTHENTICATE), "Bearer realm=\"overlaid\"");
        assert_eq!(header(unauthorized(true), WWW_AUTHENTICATE), "Bearer realm=\"overlaid\", error=\"invalid_token\"");
        assert_eq!(
            header(Problem::forbidden("admin"), WWW_AUTHENTICATE),
            "Bearer realm=\"overlaid\", error=\"insufficient_scope\", scope=\"admin\""
        );
        assert_eq!(header(Problem::new(Code::Busy, "full"), CONTENT_TYPE), "application/problem+json");
    }

    #[test]
    fn a_failure_of_ours_says_nothing_of_the_inside() {
        let json = Problem::internal(&std::io::Error::other("/var/lib/secret.redb is torn")).to_json();
        assert!(json.contains("\"internal\"") && !json.contains("secret"), "{json}");
    }

    #[test]
    fn a_long_text_of_the_client_is_cut_short() {
        let long = echo(&"é".repeat(5_000));
        assert!(long.ends_with("é…") && long.len() < ECHO_BYTES_MAX + 4, "{long}");
    }
}
