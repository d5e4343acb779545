//! What belongs to one user: the overlay, and outcomes.

use axum::http::StatusCode;
use axum::response::Response;

use super::access::{ReadUser, Write};
use super::extract::Nothing;
use super::{IfMatch, IfNoneMatch, ObjectBody, Path, Problem, Query, answer};
use crate::domain::{Outcome, OverlayDraft, SignalId, UserId};
use crate::render;
use crate::service::{Service, ServiceError};
use crate::store::{Condition, Operation, Precedence};

/// `GET /v1/users/{user}/overlay`: a user's own settings and balance. 404 if they are absent.
pub(super) async fn get_overlay(
    ReadUser(service, user): ReadUser,
    _: Query<Nothing>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let overlay = service.overlay(&user).await?;
    let tag = answer::record_tag(&service, overlay.seq());
    Ok(answer::tagged_json(StatusCode::OK, &tag, &condition, || overlay.json().to_vec()))
}

/// `PUT /v1/users/{user}/overlay`: put an overlay as a whole. 204 when it is on the disk.
///
/// 412 if `If-Match` or `If-None-Match` does not hold; 422 if it breaks a rule.
pub(super) async fn put_overlay(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path(user): Path<UserId>,
    if_match: IfMatch,
    if_none_match: IfNoneMatch,
    ObjectBody(body): ObjectBody,
) -> Result<Response, Problem> {
    let condition = condition(&service, &user, &if_match, &if_none_match).await?;
    let draft = OverlayDraft::from_object(body, Some(&user))?;
    let operation = Operation::PutOverlay { draft, now: service.now(), condition, precedence: Precedence::Replace };
    let receipt = service.write(operation).await?;
    Ok(answer::no_content(&answer::record_tag(&service, receipt.seq())))
}

/// `PATCH /v1/users/{user}/overlay`: change members of an overlay (RFC 7396); what the patch lacks stays. 200 with the overlay
/// as it is now, 204 for a token that may not read it.
///
/// 404 if it is absent; 412 if it is not the one that `If-Match` names; 422 if the result breaks a rule.
pub(super) async fn patch_overlay(
    write: Write,
    _: Query<Nothing>,
    Path(user): Path<UserId>,
    if_match: IfMatch,
    ObjectBody(patch): ObjectBody,
) -> Result<Response, Problem> {
    let service = &write.service;
    let condition = condition(service, &user, &if_match, &IfNoneMatch::default()).await?;
    let may_read = write.may_read_user(&user);
    let patched = service.patch_overlay(user, patch, condition).await?;
    let tag = answer::record_tag(service, patched.overlay.seq());
    if !may_read {
        return Ok(answer::no_content(&tag));
    }
    Ok(answer::tagged_json(StatusCode::OK, &tag, &IfNoneMatch::default(), || patched.overlay.json().to_vec()))
}

/// `DELETE /v1/users/{user}/overlay`: forget a user's settings and balance. 204; 404 if they are absent.
pub(super) async fn delete_overlay(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path(user): Path<UserId>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let condition = condition(&service, &user, &if_match, &IfNoneMatch::default()).await?;
    service.write(Operation::DeleteOverlay { user, condition }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /v1/users/{user}/outcomes/{signal}`: what happened for a user on a signal. 404 if nothing did.
pub(super) async fn get_outcome(
    ReadUser(service, user): ReadUser,
    _: Query<Nothing>,
    Path((_, id)): Path<(UserId, SignalId)>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let signal = service.signal(&id).await?;
    let absent = || ServiceError::Absent(format!("outcome of signal {id} for user {user}"));
    let outcome = signal.outcome(user.as_str()).ok_or_else(absent)?;
    let tag = answer::record_tag(&service, outcome.seq);
    Ok(answer::tagged_json(StatusCode::OK, &tag, &condition, || render::outcome_json(&outcome.outcome)))
}

/// `PUT /v1/users/{user}/outcomes/{signal}`: say what happened. 204 when it is on the disk.
///
/// 404 if the signal is absent; 422 if it breaks a rule.
pub(super) async fn put_outcome(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path((user, signal)): Path<(UserId, SignalId)>,
    ObjectBody(body): ObjectBody,
) -> Result<Response, Problem> {
    let outcome = Outcome::from_object(body, Some(&signal), Some(&user), service.now())?;
    let receipt = service.write(Operation::PutOutcome { outcome, precedence: Precedence::Replace }).await?;
    Ok(answer::no_content(&answer::record_tag(&service, receipt.seq())))
}

/// What must hold for a write to a user's overlay; the record is read only if there is a condition.
async fn condition(
    service: &Service,
    user: &UserId,
    if_match: &IfMatch,
    if_none_match: &IfNoneMatch,
) -> Result<Condition, Problem> {
    if !if_match.is_present() && !if_none_match.is_present() {
        return Ok(Condition::None);
    }
    let seq = match service.overlay(user).await {
        Ok(overlay) => Some(overlay.seq()),
        Err(ServiceError::Absent(_)) => None,
        Err(error) => return Err(error.into()),
    };
    answer::write_condition(service, if_match, if_none_match, seq)
}
