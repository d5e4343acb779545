//! What belongs to one user: the overlay, and outcomes.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::access::{Read, ReadUser, Write};
use super::answer;
use super::body::ObjectBody;
use super::conditional::Conditions;
use super::extract::{Nothing, OfSignal, Parameters, Path, Query};
use super::list::ListRequest;
use super::missions::{PageRows, signal_cursor};
use super::problem::Problem;
use crate::domain::{Outcome, OverlayDraft, SignalId, TierName, UserId};
use crate::render;
use crate::service::{ServiceError, UserFilter};

#[derive(Debug, Deserialize)]
pub(super) struct UsersQuery {
    #[serde(default)]
    prefix: String,
    tier: Option<TierName>,
    limit: Option<PageRows>,
    cursor: Option<UserId>,
}

impl Parameters for UsersQuery {
    const NAMES: &'static [&'static str] = &["prefix", "tier", "limit", "cursor"];
}

/// `GET /v1/users`: a page of all users' overlays in the order of ids. `prefix` and `tier` narrow it down; a page of a
/// `tier` may be short, or empty, and go on all the same.
pub(super) async fn list_users(
    Read(service): Read,
    Query(query): Query<UsersQuery>,
    list: ListRequest,
) -> Result<Response, Problem> {
    let filter = UserFilter { prefix: query.prefix, tier: query.tier };
    let rows_max = query.limit.unwrap_or_default().0;
    list.answer("users", service.cursor(), service.users(filter, query.cursor, rows_max, list.asked()).await?)
}

/// `GET /v1/users/{user}/overlay`: a user's own settings and balance. 404 if they are absent.
pub(super) async fn get_overlay(
    ReadUser(service, user): ReadUser,
    _: Query<Nothing>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let cursor = service.cursor();
    let overlay = service.overlay(&user).await?;
    let tag = answer::record_tag(&service, overlay.seq());
    Ok(answer::as_of(cursor, answer::unless_held(&tag, &conditions, || overlay.json().to_vec())?))
}

/// `PUT /v1/users/{user}/overlay`: put an overlay as a whole. 201 or 204 when it is on the disk.
///
/// 412 if `If-Match` or `If-None-Match` does not hold; 422 if it breaks a rule.
pub(super) async fn put_overlay(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path(user): Path<UserId>,
    conditions: Conditions,
    ObjectBody(body): ObjectBody,
) -> Result<Response, Problem> {
    let draft = OverlayDraft::from_object(body, Some(&user))?;
    let written = service.put_overlay(draft, conditions.of_record(&service)?).await?;
    Ok(answer::put(&service, written))
}

/// `PATCH /v1/users/{user}/overlay`: change members of an overlay (RFC 7396); what the patch lacks stays. 200 with the
/// overlay as it is now, 204 for a token that may not read it.
///
/// 404 if it is absent; 412 if it is not the one that `If-Match` names; 422 if the result breaks a rule.
pub(super) async fn patch_overlay(
    write: Write,
    _: Query<Nothing>,
    Path(user): Path<UserId>,
    conditions: Conditions,
    ObjectBody(patch): ObjectBody,
) -> Result<Response, Problem> {
    let service = &write.service;
    let patched = service.patch_overlay(user.clone(), patch, conditions.of_record(service)?).await?;
    let (tag, cursor) = (answer::record_tag(service, patched.overlay.seq()), service.cursor_of(patched.as_of));
    if !write.may_read_user(&user) {
        return Ok(answer::as_of(cursor, answer::no_content(&tag)));
    }
    Ok(answer::as_of(cursor, answer::tagged_json(StatusCode::OK, &tag, patched.overlay.json().to_vec())))
}

/// `DELETE /v1/users/{user}/overlay`: forget a user's settings and balance. 204; 404 if they are absent.
pub(super) async fn delete_overlay(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path(user): Path<UserId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    Ok(answer::deleted(&service, service.delete_overlay(user, conditions.of_record(&service)?).await?))
}

/// `GET /v1/users/{user}/outcomes/{signal}`: what happened for a user on a signal. 404 if nothing did.
pub(super) async fn get_outcome(
    ReadUser(service, user): ReadUser,
    _: Query<Nothing>,
    Path(OfSignal { signal: id }): Path<OfSignal>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let cursor = service.cursor();
    let signal = service.signal(&id).await?;
    let absent = || ServiceError::Absent(format!("outcome of signal {id} for user {user}"));
    let outcome = signal.outcome(user.as_str()).ok_or_else(absent)?;
    let tag = answer::record_tag(&service, outcome.seq);
    let write = || render::outcome_json(&outcome.outcome);
    Ok(answer::as_of(cursor, answer::unless_held(&tag, &conditions, write)?))
}

/// `PUT /v1/users/{user}/outcomes/{signal}`: say what happened. 201 or 204 when it is on the disk.
///
/// 404 if the signal is absent; 412 if `If-Match` or `If-None-Match` does not hold; 422 if it breaks a rule.
pub(super) async fn put_outcome(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path((user, signal)): Path<(UserId, SignalId)>,
    conditions: Conditions,
    ObjectBody(body): ObjectBody,
) -> Result<Response, Problem> {
    let outcome = Outcome::from_object(body, Some(&signal), Some(&user), service.now())?;
    let written = service.put_outcome(outcome, conditions.of_record(&service)?).await?;
    Ok(answer::put(&service, written))
}

/// `DELETE /v1/users/{user}/outcomes/{signal}`: forget what happened. 204; 404 if nothing did.
pub(super) async fn delete_outcome(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path((user, signal)): Path<(UserId, SignalId)>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    Ok(answer::deleted(&service, service.delete_outcome(signal, user, conditions.of_record(&service)?).await?))
}

#[derive(Debug, Deserialize)]
pub(super) struct OutcomesQuery {
    limit: Option<PageRows>,
    cursor: Option<String>,
}

impl Parameters for OutcomesQuery {
    const NAMES: &'static [&'static str] = &["limit", "cursor"];
}

/// `GET /v1/users/{user}/outcomes`: a page of what happened for a user, newest signal first; empty if nothing did.
pub(super) async fn list_outcomes(
    ReadUser(service, user): ReadUser,
    Query(query): Query<OutcomesQuery>,
    list: ListRequest,
) -> Result<Response, Problem> {
    let cursor = signal_cursor(query.cursor.as_deref(), false)?;
    let rows_max = query.limit.unwrap_or_default().0;
    list.answer("outcomes", service.cursor(), service.outcomes_of_user(user, cursor, rows_max, list.asked()).await?)
}

/// `DELETE /v1/users/{user}`: forget everything of a user: the overlay, all outcomes, and the scopes of tokens that
/// name the user. `If-Match` names the overlay. 204; 404 if there is nothing.
pub(super) async fn delete_user(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path(user): Path<UserId>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    Ok(answer::deleted(&service, service.delete_user(user, conditions.of_record(&service)?).await?))
}
