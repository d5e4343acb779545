//! Answers that are not problems: JSON with its tag, pages, and what the service's errors become.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::conditional::Conditions;
use super::entity_tag::EntityTag;
use super::problem::{Code, Problem};
use crate::domain::{Cursor, UnixMillis};
use crate::service::{Page, Service, ServiceError, ViewTag, Written};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Balances are private, and no answer is good without asking again.
const CACHING: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Names the last change that an answer shows: a client that follows the changes after it misses none.
pub(super) const CURSOR: HeaderName = HeaderName::from_static("overlaid-cursor");

/// Says as of which change an answer is. Of a read, and of many writes in one request, that is a cursor from before the
/// first record was read or written.
pub(super) fn as_of(cursor: Cursor, mut answer: Response) -> Response {
    // The tag of a record is the name of a change. Its digits are always a valid value.
    if let Ok(cursor) = HeaderValue::try_from(EntityTag::of_record(cursor).opaque()) {
        answer.headers_mut().insert(CURSOR, cursor);
    }
    answer
}

/// JSON under a tag.
pub(super) fn tagged_json(status: StatusCode, tag: &EntityTag, json: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, JSON), (ETAG, tag.to_header()), (CACHE_CONTROL, CACHING)], json).into_response()
}

/// 304 if the client holds what has this tag, else 200 with the JSON.
///
/// # Errors
///
/// 412 if the client wants another.
pub(super) fn unless_held(
    tag: &EntityTag,
    conditions: &Conditions,
    write: impl FnOnce() -> Vec<u8>,
) -> Result<Response, Problem> {
    let is_held = conditions.is_held(tag)?;
    Ok(if is_held { not_modified(tag) } else { tagged_json(StatusCode::OK, tag, write()) })
}

/// 304: the client holds what has this tag.
pub(super) fn not_modified(tag: &EntityTag) -> Response {
    (StatusCode::NOT_MODIFIED, [(ETAG, tag.to_header()), (CACHE_CONTROL, CACHING)]).into_response()
}

/// JSON without a tag.
pub(super) fn json(body: Vec<u8>) -> Response {
    let headers = [(CONTENT_TYPE, JSON), (CACHE_CONTROL, CACHING)];
    (headers, body).into_response()
}

/// The body of a page: its rows under `name`, then where the next one begins.
pub(super) fn page_json(name: &str, page: Page, more: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = page.rows;
    // The rows move inside their memory: to copy a megabyte into new memory costs as much as to write it.
    body.splice(..0, format!("{{\"{name}\":[").into_bytes());
    body.push(b']');
    more(&mut body);
    body.extend_from_slice(b",\"next_cursor\":");
    match page.next_cursor {
        Some(cursor) => crate::render::write_string(&mut body, &cursor),
        None => body.extend_from_slice(b"null"),
    }
    body.push(b'}');
    body
}

/// 201 for a record that a `PUT` made, else 204, with its tag.
pub(super) fn put(service: &Service, written: Written) -> Response {
    put_under(&record_tag(service, written.seq), service, written)
}

/// As [`put`], for a record whose tag names more than the change.
pub(super) fn put_under(tag: &EntityTag, service: &Service, written: Written) -> Response {
    let status = if written.is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    let answer = (status, [(ETAG, tag.to_header())]).into_response();
    as_of(service.cursor_of(written.as_of), answer)
}

/// 204 for a record that is deleted as of this change.
pub(super) fn deleted(service: &Service, seq: u64) -> Response {
    as_of(service.cursor_of(seq), StatusCode::NO_CONTENT.into_response())
}

/// 204 with the tag of the record as it is now.
pub(super) fn no_content(tag: &EntityTag) -> Response {
    (StatusCode::NO_CONTENT, [(ETAG, tag.to_header())]).into_response()
}

/// The tag of a single record.
pub(super) fn record_tag(service: &Service, seq: u64) -> EntityTag {
    EntityTag::of_record(service.cursor_of(seq))
}

/// The tag of a view: weak, as its seconds run on.
pub(super) fn view_tag(tag: ViewTag) -> EntityTag {
    let [is_balance_stale, is_rate_stale] = tag.are_stale;
    let states = [is_balance_stale, is_rate_stale, tag.is_early, tag.is_expired];
    let rules_and_states = states.into_iter().fold(tag.rules.into(), |bits, state| bits << 1 | u64::from(state));
    let [rate_seq, other_rate_seq] = tag.rate_seqs;
    let millis = |moment: UnixMillis| moment.millis().unsigned_abs();
    EntityTag::weak(&[
        rules_and_states,
        tag.run.into(),
        tag.signal_seq,
        tag.overlay_seq,
        rate_seq,
        other_rate_seq,
        tag.outcome_seq,
        millis(tag.balance_confirmed_at),
        tag.rates_confirmed_at.map_or(0, millis),
    ])
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        if let ServiceError::WriteFailed(cause) | ServiceError::Store(cause) = &error
            && let Some(lost) = cause.lost_file()
        {
            return Self::file_replaced(lost.what, lost.remedy);
        }
        match error {
            ServiceError::Absent(what) => Self::new(Code::NotFound, format!("no {what}")),
            ServiceError::Conflict(detail) => Self::new(Code::Conflict, detail),
            ServiceError::ConditionFailed => Self::precondition_failed(),
            ServiceError::Invalid(invalid) => invalid.into(),
            ServiceError::LineTooLong => Self::new(Code::LineTooLong, error.to_string()),
            ServiceError::Busy => Self::new(Code::Busy, "too many writes are waiting, or the server is stopping"),
            ServiceError::TooManyOverlays { .. } => Self::new(Code::TooManyOverlays, error.to_string()),
            ServiceError::WriteFailed(cause) if cause.is_damage() => Self::internal(&*cause),
            ServiceError::WriteFailed(cause) if cause.is_full() => {
                Self::new(Code::StorageFull, "the disk is full; the write is not known to have taken effect; try again")
            }
            ServiceError::WriteFailed(_) => {
                let detail = "the write could not be made durable and is not known to have taken effect; try again";
                Self::new(Code::StorageFailed, detail)
            }
            ServiceError::BackupFailed(_) => {
                Self::new(Code::BackupFailed, "the backup could not be made; the server's log says why")
            }
            ServiceError::Store(_) | ServiceError::Worker | ServiceError::Randomness(_) => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};
    use std::sync::Arc;

    use super::*;
    use crate::store::StoreError;

    /// What only a failing disk or a crowd brings about.
    #[test]
    fn failures_of_the_service_have_codes_of_their_own() {
        let failure = |kind| Arc::new(StoreError::io(Error::from(kind)));
        for (error, code) in [
            (ServiceError::Busy, "busy"),
            (ServiceError::WriteFailed(failure(ErrorKind::StorageFull)), "storage-full"),
            (ServiceError::WriteFailed(failure(ErrorKind::Other)), "storage-failed"),
            (ServiceError::BackupFailed(failure(ErrorKind::Other)), "backup-failed"),
            (ServiceError::Store(failure(ErrorKind::Other)), "internal"),
        ] {
            assert_eq!(Problem::from(error).code(), code);
        }
    }
}
