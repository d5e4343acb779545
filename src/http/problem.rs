//! Refusals and failures as RFC 9457 problem documents.
//!
//! This is the only map from what went wrong to a status code. Clients branch on `code`, which never changes its
//! meaning; `title` belongs to the code, `detail` tells of the one case. A problem of ours (500) says nothing of
//! the inside: the log says everything, once, where the problem is made.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::{Invalid, InvalidKind};

/// How soon a client that was turned away for lack of room may come again: about one full commit queue later.
const RETRY_AFTER_SECONDS: u32 = 1;
/// How soon after a failure of the disk: the file is opened again at least this often.
const RETRY_AFTER_STORAGE_SECONDS: u32 = 2;
/// Most bytes of a client's own text that are echoed: enough to recognise it by.
const ECHO_BYTES_MAX: usize = 80;

/// Why a request was not answered, as `application/problem+json`.
///
/// One pointer wide, so that `Result<_, Problem>` costs nothing when all is well.
#[derive(Debug)]
pub struct Problem(Box<Fields>);

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
    /// What the client is told outside the document.
    #[serde(skip)]
    header: Option<(HeaderName, HeaderValue)>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Fields {
            kind: format!("urn:overlaid:problem:{code}"),
            title,
            status,
            code,
            detail: detail.into(),
            pointer: None,
            parameter: None,
            header: None,
        }))
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    fn with_parameter(mut self, name: &str) -> Self {
        self.0.parameter = Some(echo(name));
        self
    }

    /// 400: the request is malformed in a way that no other constructor names.
    #[must_use]
    pub fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, "Malformed request", detail)
    }

    /// 400 `malformed-request`: an HTTP/1.1 request has not one valid `Host` header.
    pub(super) fn no_host() -> Self {
        Self::bad_request("malformed-request", "the head of the request has not one Host header with a valid host")
    }

    /// 400 `invalid-id`: an id in the path breaks the rule for ids; `parameter` is its name in the route.
    #[must_use]
    pub fn invalid_path_id(parameter: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-id", "Invalid id in the path", detail).with_parameter(parameter)
    }

    /// 400 `unknown-parameter`: the query holds a name that this route does not know.
    #[must_use]
    pub fn unknown_parameter(name: &str, known: &[&str]) -> Self {
        let detail = if known.is_empty() {
            format!("\"{}\" is not a parameter of this route; it has none", echo(name))
        } else {
            format!("\"{}\" is not a parameter of this route; known are {}", echo(name), known.join(", "))
        };
        Self::new(StatusCode::BAD_REQUEST, "unknown-parameter", "Unknown query parameter", detail).with_parameter(name)
    }

    /// 400 `duplicate-parameter`: the query gives a parameter twice.
    #[must_use]
    pub fn duplicate_parameter(name: &str) -> Self {
        let detail = format!("\"{}\" is given twice", echo(name));
        Self::new(StatusCode::BAD_REQUEST, "duplicate-parameter", "Duplicate query parameter", detail)
            .with_parameter(name)
    }

    /// 400 `missing-parameter`: the query lacks a parameter that has to be there.
    #[must_use]
    pub fn missing_parameter(name: &str) -> Self {
        let detail = format!("\"{name}\" has to be given");
        Self::new(StatusCode::BAD_REQUEST, "missing-parameter", "Missing query parameter", detail).with_parameter(name)
    }

    /// 400 `invalid-parameter`: a query parameter holds what can not be read.
    #[must_use]
    pub fn invalid_parameter(name: &str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-parameter", "Invalid query parameter", detail).with_parameter(name)
    }

    /// 401 `unauthorized`: there is no token, or none that is known.
    #[must_use]
    pub fn unauthorized(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Token required", detail)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"overlaid\""))
    }

    /// 403 `forbidden`: the token is known and does not reach this far.
    #[must_use]
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Token does not allow this", detail)
    }

    /// 403 `local-only`: no token has been made, and `foreign` says why the request is not from a program of this machine.
    #[must_use]
    pub fn local_only(foreign: &str) -> Self {
        let detail = format!(
            "{foreign}; as no token has been made, only programs of this machine are answered: ask localhost or 127.0.0.1 without \
             a proxy, or run `overlaid token create` and send the token"
        );
        Self::new(StatusCode::FORBIDDEN, "local-only", "Only this machine is served", detail)
    }

    /// 404: the record is absent; `code` says which kind of record (`no-such-signal`).
    #[must_use]
    pub fn not_found(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, "Not found", detail)
    }

    /// 404 `no-such-route`: no route has this path.
    #[must_use]
    pub fn no_such_route(path: &str) -> Self {
        let detail = format!("no route has the path {}", echo(path));
        Self::new(StatusCode::NOT_FOUND, "no-such-route", "No such route", detail)
    }

    /// 405 `method-not-allowed`: the route exists, this method on it does not.
    ///
    /// axum adds the `Allow` header to the answer of a handler that was set with `method_not_allowed_fallback`.
    #[must_use]
    pub fn method_not_allowed(method: &Method) -> Self {
        let detail = format!("{} is not a method of this route", echo(method.as_str()));
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
    }

    /// 406 `not-acceptable`: `Accept` admits none of the forms this route has.
    #[must_use]
    pub fn not_acceptable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", "Not acceptable", detail)
    }

    /// 408 `request-timeout`: the client sent its request too slowly.
    #[must_use]
    pub fn timeout(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "Request came too slowly", detail)
    }

    /// 409: the request contradicts what is stored; `code` says how.
    #[must_use]
    pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, "Conflict", detail)
    }

    /// 412 `precondition-failed`: `If-Match` or `If-None-Match` does not hold.
    #[must_use]
    pub fn precondition_failed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition-failed", "Precondition failed", detail)
    }

    /// 413 `body-too-large`: the body is larger than `bytes_max`.
    #[must_use]
    pub fn payload_too_large(bytes_max: usize) -> Self {
        let detail = format!("the body is larger than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "Body too large", detail)
    }

    /// 413 `line-too-long`, for one line of an import.
    #[must_use]
    pub fn line_too_long(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "line-too-long", "Line too long", detail)
    }

    /// 415 `unsupported-media-type`: the body is in a form that this route does not read.
    #[must_use]
    pub fn unsupported_media_type(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type", detail)
    }

    /// 500 `internal`: ours to mend. Logs the error and all its causes; the client learns nothing of them.
    #[must_use]
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        log_causes(error, "request failed");
        Self::blank_internal()
    }

    /// 500 `internal` for a handler that panicked. Logs the panic's message.
    #[must_use]
    pub fn panicked(payload: &(dyn Any + Send)) -> Self {
        tracing::error!(panic = panic_message(payload), "request handler panicked");
        Self::blank_internal()
    }

    fn blank_internal() -> Self {
        let detail = "the server failed at this; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error", detail)
    }

    /// 503 `busy`: nothing is wrong with the request, there is no room for it now.
    #[must_use]
    pub fn busy(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Busy", detail)
            .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS.into())
    }

    /// 503 `storage-full`: the disk has no room. The store has logged it.
    #[must_use]
    pub fn storage_full() -> Self {
        let detail = "the disk is full; the write is not known to have taken effect; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage-full", "Storage full", detail)
            .with_header(RETRY_AFTER, RETRY_AFTER_STORAGE_SECONDS.into())
    }

    /// 503 `storage-failed`: the write could not be made durable. The store has logged it.
    #[must_use]
    pub fn storage_failed() -> Self {
        let detail = "the write could not be made durable and is not known to have taken effect; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage-failed", "Storage failed", detail)
            .with_header(RETRY_AFTER, RETRY_AFTER_STORAGE_SECONDS.into())
    }

    /// 503 `file-replaced`: the database file was moved, replaced, removed or overwritten while the server runs.
    #[must_use]
    pub fn file_replaced() -> Self {
        let detail = "the database file is not the one that this server opened, so nothing is written; the operator has to stop the server \
                      and put the right file in its place";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "file-replaced", "File replaced", detail)
            .with_header(RETRY_AFTER, RETRY_AFTER_STORAGE_SECONDS.into())
    }

    /// 503 `backup-failed`: no backup could be made. The service has logged it.
    #[must_use]
    pub fn backup_failed() -> Self {
        let detail = "the backup could not be made; the server's log says why";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "backup-failed", "Backup failed", detail)
    }

    /// 503 `time-limit`: the request took longer than any may.
    #[must_use]
    pub fn time_limit() -> Self {
        let detail = "the request took longer than any may; a write may still take effect";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "time-limit", "Time limit reached", detail)
            .with_header(RETRY_AFTER, RETRY_AFTER_SECONDS.into())
    }

    /// 507 `too-many-overlays`: memory has no room for another overlay.
    #[must_use]
    pub fn too_many_overlays(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "too-many-overlays", "Too many overlays", detail)
    }

    /// A request that could not be read as HTTP, so that no handler ever saw it.
    pub(super) fn unreadable(status: StatusCode) -> Self {
        let (code, title, detail) = match status {
            StatusCode::REQUEST_TIMEOUT => {
                ("request-timeout", "Request came too slowly", "the head of the request came too slowly")
            }
            StatusCode::URI_TOO_LONG => ("uri-too-long", "URI too long", "the path and query are too long"),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                ("head-too-large", "Head too large", "the head of the request is too long or has too many fields")
            }
            StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
                ("http-version", "HTTP version not supported", "this server speaks HTTP/1.1 and HTTP/1.0")
            }
            _ => ("malformed-request", "Malformed request", "the head of the request is not HTTP/1.1"),
        };
        Self::new(status, code, title, detail)
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code that clients branch on.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What is wrong in this one case.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The JSON pointer (RFC 6901) of the member to blame, if one is.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        self.0.pointer.as_deref()
    }

    /// The document as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and a number always serialise; an empty body would still carry the status.
        serde_json::to_string(&*self.0).unwrap_or_default()
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let (status, title) = match invalid.kind() {
            InvalidKind::MalformedJson => (StatusCode::BAD_REQUEST, "Malformed JSON"),
            InvalidKind::DuplicateMember => (StatusCode::BAD_REQUEST, "Duplicate member"),
            InvalidKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Record too large"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "Invalid content"),
        };
        let mut problem = Self::new(status, invalid.kind().code(), title, invalid.to_string());
        problem.0.pointer = Some(invalid.pointer()).filter(|pointer| !pointer.is_empty()).map(str::to_owned);
        problem
    }
}

/// Why a client was refused (401, 403), for the log: goes along with the answer, and not to the client.
#[derive(Clone, Debug)]
pub(super) struct Refusal(pub(super) Cow<'static, str>);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
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
        if let Some((name, value)) = self.0.header {
            response.headers_mut().insert(name, value);
        }
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
    use super::*;
    use crate::domain::{Object, SignalId};

    fn invalid(json: &str) -> Problem {
        Object::parse(json.as_bytes()).unwrap_err().into()
    }

    #[test]
    fn a_problem_is_a_document_with_a_stable_code() {
        assert_eq!(
            Problem::not_found("no-such-signal", "no signal EURUSD-1").to_json(),
            r#"{"type":"urn:overlaid:problem:no-such-signal","title":"Not found","status":404,"code":"no-such-signal","detail":"no signal EURUSD-1"}"#
        );
        let problem = Problem::invalid_path_id("user", "no");
        assert!(problem.to_json().ends_with(r#""detail":"no","parameter":"user"}"#));
    }

    #[test]
    fn input_that_is_not_readable_is_400_and_input_that_makes_no_sense_is_422() {
        let problem = invalid("{");
        assert_eq!((problem.status().as_u16(), problem.code(), problem.pointer()), (400, "malformed-json", None));
        let problem = invalid(r#"{"a":1,"a":2}"#);
        assert_eq!((problem.status().as_u16(), problem.pointer()), (400, Some("/a")));
        let problem = Problem::from(SignalId::parse("").unwrap_err());
        assert_eq!((problem.status().as_u16(), problem.pointer()), (422, Some("/signal_id")));
    }

    #[test]
    fn headers_that_belong_to_a_status_are_sent_with_it() {
        let header = |problem: Problem, name| problem.into_response().headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header(Problem::busy("full"), RETRY_AFTER), "1");
        assert_eq!(header(Problem::unauthorized("no token"), WWW_AUTHENTICATE), "Bearer realm=\"overlaid\"");
        assert_eq!(header(Problem::busy("full"), CONTENT_TYPE), "application/problem+json");
    }

    #[test]
    fn a_failure_of_ours_says_nothing_of_the_inside() {
        let json = Problem::internal(&std::io::Error::other("/var/lib/secret.redb is torn")).to_json();
        assert!(json.contains("\"internal\"") && !json.contains("secret"), "{json}");
    }

    #[test]
    fn a_long_text_of_the_client_is_cut_short() {
        let problem = Problem::unknown_parameter(&"é".repeat(5_000), &["tier"]);
        assert!(problem.to_json().len() < 700);
        assert!(problem.detail().ends_with("known are tier"));
    }
}
