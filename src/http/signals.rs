//! Signals: publish, patch, read.

use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Deserialize;

use super::access::{Hook, ReadShared, Write};
use super::answer;
use super::body::{ObjectBody, TextBody};
use super::conditional::Conditions;
use super::extract::{Nothing, Parameters, Path, Query};
use super::list::ListRequest;
use super::missions::{PageRows, signal_cursor};
use super::problem::Problem;
use crate::domain::{Condition, Object, SignalDraft, SignalId, Status, Symbol, UnnamedSignal};
use crate::service::{Service, SignalFilter};

#[derive(Debug, Deserialize)]
pub(super) struct SignalsQuery {
    status: Option<String>,
    symbol: Option<Symbol>,
    limit: Option<PageRows>,
    cursor: Option<String>,
}

impl Parameters for SignalsQuery {
    const NAMES: &'static [&'static str] = &["status", "symbol", "limit", "cursor"];
}

/// `GET /v1/signals`: a page of signals.
///
/// `status` is `active`, `expired`, `cancelled`, `closed` or `all` (unless given); `symbol` narrows it down. Active
/// ones come soonest to expire first, all others newest first.
pub(super) async fn list_signals(
    ReadShared(service): ReadShared,
    Query(query): Query<SignalsQuery>,
    list: ListRequest,
) -> Result<Response, Problem> {
    let status = match query.status.as_deref() {
        None | Some("all") => None,
        Some("active") => Some(Status::Active),
        Some("expired") => Some(Status::Expired),
        Some("cancelled") => Some(Status::Cancelled),
        Some("closed") => Some(Status::Closed),
        Some(_) => {
            let detail = "status is active, expired, cancelled, closed or all";
            return Err(Problem::invalid_parameter("status", detail));
        }
    };
    let cursor = signal_cursor(query.cursor.as_deref(), status == Some(Status::Active))?;
    let filter = SignalFilter { status, symbol: query.symbol };
    let rows_max = query.limit.unwrap_or_default().0;
    list.answer("signals", service.cursor(), service.signals(filter, cursor, rows_max, list.asked()).await?)
}

/// `GET /v1/signals/{signal}`: one signal as published. 404 if it is absent.
pub(super) async fn get_signal(
    ReadShared(service): ReadShared,
    _: Query<Nothing>,
    Path(signal): Path<SignalId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let cursor = service.cursor();
    let signal = service.signal(&signal).await?;
    let tag = answer::record_tag(&service, signal.stored.seq);
    Ok(answer::as_of(cursor, answer::unless_held(&tag, &conditions, || signal.json.to_vec())?))
}

/// `POST /v1/signals`: publish a signal, with a `signal_id` or without: then an id is made from symbol and time.
///
/// 201 with the signal as stored and its address; 200 if the same was published before; 409 if another has its id; 422
/// if it breaks a rule.
pub(super) async fn post_signal(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    ObjectBody(body): ObjectBody,
) -> Result<Response, Problem> {
    publish(&service, body).await
}

/// `POST /v1/hooks/{token}/signals`: as [`post_signal`], for a sender that can set no header. It reads JSON also as
/// `text/plain`, and without a `Content-Type`.
pub(super) async fn post_hook(
    Hook(service): Hook,
    _: Query<Nothing>,
    TextBody(body): TextBody,
) -> Result<Response, Problem> {
    publish(&service, body).await
}

async fn publish(service: &Service, body: Object) -> Result<Response, Problem> {
    let (id, written, json) = if body.get("signal_id").is_some_and(|id| id != "null") {
        let draft = SignalDraft::from_object(body, None)?;
        let id = draft.id().clone();
        let (written, json) = service.put_signal(draft, Condition::None).await?;
        (id, written, json)
    } else {
        service.publish_signal(UnnamedSignal::from_object(body)?).await?
    };
    let status = if written.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = answer::tagged_json(status, &answer::record_tag(service, written.seq), json);
    // An id holds nothing that has to be encoded in a path.
    if let Ok(address) = HeaderValue::try_from(format!("/v1/signals/{id}")) {
        response.headers_mut().insert(LOCATION, address);
    }
    Ok(answer::as_of(service.cursor_of(written.as_of), response))
}

/// `PUT /v1/signals/{signal}`: publish a signal.
///
/// 201 with the signal as stored; 200 if the same was published before; 409 if another was; 412 if `If-Match` or
/// `If-None-Match` does not hold; 422 if it breaks a rule.
pub(super) async fn put_signal(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path(signal): Path<SignalId>,
    conditions: Conditions,
    ObjectBody(body): ObjectBody,
) -> Result<Response, Problem> {
    let draft = SignalDraft::from_object(body, Some(&signal))?;
    let (written, json) = service.put_signal(draft, conditions.of_record(&service)?).await?;
    let status = if written.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let answer = answer::tagged_json(status, &answer::record_tag(&service, written.seq), json);
    Ok(answer::as_of(service.cursor_of(written.as_of), answer))
}

/// `PATCH /v1/signals/{signal}`: change members of a signal (RFC 7396). 200 with the signal as it is now, 204 for a
/// token that may not read it.
///
/// 404 if it is absent; 412 if it is not the one that `If-Match` names; 422 if the result breaks a rule.
pub(super) async fn patch_signal(
    write: Write,
    _: Query<Nothing>,
    Path(id): Path<SignalId>,
    conditions: Conditions,
    ObjectBody(patch): ObjectBody,
) -> Result<Response, Problem> {
    let service = &write.service;
    let (written, json) = service.patch_signal(id, patch, conditions.of_record(service)?).await?;
    let (tag, cursor) = (answer::record_tag(service, written.seq), service.cursor_of(written.as_of));
    if !write.may_read_shared() {
        return Ok(answer::as_of(cursor, answer::no_content(&tag)));
    }
    Ok(answer::as_of(cursor, answer::tagged_json(StatusCode::OK, &tag, json)))
}

/// `DELETE /v1/signals/{signal}`: remove a signal with all its outcomes. 204; 404 if it is absent.
pub(super) async fn delete_signal(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path(signal): Path<SignalId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    Ok(answer::deleted(&service, service.delete_signal(signal, conditions.of_record(&service)?).await?))
}
