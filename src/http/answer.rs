//! Answers that are not problems: JSON with its tag, pages, and what the service's errors become.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::{EntityTag, IfMatch, IfNoneMatch, Problem};
use crate::service::{Page, Service, ServiceError, ViewTag};
use crate::store::Condition;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Balances are private, and no answer is good without asking again.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

/// JSON under a tag; only its head if the client holds it already. `write` is called only if it does not.
pub(super) fn tagged_json(
    status: StatusCode,
    tag: &EntityTag,
    condition: &IfNoneMatch,
    write: impl FnOnce() -> Vec<u8>,
) -> Response {
    let head = [(ETAG, tag.to_header()), (CACHE_CONTROL, CACHING)];
    if condition.matches(tag) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (status, [(CONTENT_TYPE, JSON)], head, write()).into_response()
}

/// JSON without a tag.
pub(super) fn json(body: Vec<u8>) -> Response {
    let headers = [(CONTENT_TYPE, JSON), (CACHE_CONTROL, CACHING)];
    (headers, body).into_response()
}

/// A page: its rows under `name`, then where the next one begins.
pub(super) fn page(name: &str, page: &Page, more: impl FnOnce(&mut Vec<u8>)) -> Response {
    let mut body = format!("{{\"{name}\":[").into_bytes();
    body.extend_from_slice(&page.rows);
    body.push(b']');
    more(&mut body);
    body.extend_from_slice(b",\"next_cursor\":");
    match &page.next_cursor {
        Some(cursor) => crate::render::write_string(&mut body, cursor),
        None => body.extend_from_slice(b"null"),
    }
    body.push(b'}');
    json(body)
}

/// 204 with the tag of the record as it is now.
pub(super) fn no_content(tag: &EntityTag) -> Response {
    (StatusCode::NO_CONTENT, [(ETAG, tag.to_header())]).into_response()
}

/// The tag of a single record: it is the same as long as no commit wrote it again.
pub(super) fn record_tag(service: &Service, seq: u64) -> EntityTag {
    EntityTag::strong([u64::from(service.run()), seq])
}

/// The tag of a view: weak, as its seconds run on.
pub(super) fn view_tag(tag: ViewTag) -> EntityTag {
    let run_and_expiry = u64::from(tag.run) << 1 | u64::from(tag.is_expired);
    EntityTag::weak([run_and_expiry, tag.signal_seq, tag.overlay_seq, tag.rate_seq, tag.outcome_seq])
}

/// What must hold for a write, given the `seq` of the record as it is.
///
/// The writer checks the `seq` again, so that a write in between is noticed too.
pub(super) fn write_condition(
    service: &Service,
    if_match: &IfMatch,
    if_none_match: &IfNoneMatch,
    seq: Option<u64>,
) -> Result<Condition, Problem> {
    let tag = seq.map(|seq| record_tag(service, seq));
    if !if_match.allows(tag.as_ref()) || tag.as_ref().is_some_and(|tag| if_none_match.matches(tag)) {
        service.metrics().writes_refused.inc();
        return Err(ServiceError::ConditionFailed.into());
    }
    Ok(match seq {
        Some(seq) if if_match.is_present() => Condition::SeqIn(vec![seq]),
        None if if_none_match.is_any() => Condition::Absent,
        _ => Condition::None,
    })
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Absent(what) => Self::not_found("not-found", format!("no {what}")),
            ServiceError::Conflict(detail) => Self::conflict("conflict", detail),
            ServiceError::ConditionFailed => Self::precondition_failed("the record is not as the condition expects it"),
            ServiceError::Invalid(invalid) => invalid.into(),
            ServiceError::Busy => Self::busy("too many writes are waiting, or the server is stopping"),
            ServiceError::WriteFailed(cause) | ServiceError::Store(cause) if cause.is_file_replaced() => {
                Self::file_replaced()
            }
            ServiceError::TooManyOverlays { .. } => Self::too_many_overlays(error.to_string()),
            ServiceError::WriteFailed(cause) if cause.is_damage() => Self::internal(&*cause),
            ServiceError::WriteFailed(cause) if cause.is_full() => Self::storage_full(),
            ServiceError::WriteFailed(_) => Self::storage_failed(),
            ServiceError::BackupFailed(_) => Self::backup_failed(),
            ServiceError::Store(_) | ServiceError::Worker | ServiceError::Randomness(_) => Self::internal(&error),
        }
    }
}
