//! Rates: prices of currency pairs.

use axum::response::Response;

use super::access::{ReadShared, Write};
use super::answer;
use super::body::ObjectBody;
use super::conditional::Conditions;
use super::entity_tag::EntityTag;
use super::extract::{Nothing, Path, Query};
use super::list::ListRequest;
use super::problem::Problem;
use crate::domain::{Pair, Rate, RateDraft};
use crate::render;
use crate::service::{Service, ServiceError};

/// `GET /v1/rates`: all rates.
pub(super) async fn list_rates(
    ReadShared(service): ReadShared,
    _: Query<Nothing>,
    list: ListRequest,
) -> Result<Response, Problem> {
    list.answer("rates", service.cursor(), service.list_rates(list.asked())?)
}

/// `GET /v1/rates/{pair}`: one rate. 404 if it is absent.
pub(super) async fn get_rate(
    ReadShared(service): ReadShared,
    _: Query<Nothing>,
    Path(pair): Path<Pair>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let (cursor, rates) = (service.cursor(), service.rates());
    let (rate, seq) = rates.get(&pair).ok_or_else(|| ServiceError::Absent(format!("rate {pair}")))?;
    let tag = tag_of(&service, rate, seq);
    Ok(answer::as_of(cursor, answer::unless_held(&tag, &conditions, || render::rate_json(rate))?))
}

/// `PUT /v1/rates/{pair}`: publish a price, as `{"price":1.34}`. 201 or 204 when it is on the disk.
///
/// 412 if `If-Match` or `If-None-Match` does not hold; 422 if it breaks a rule.
pub(super) async fn put_rate(
    Write { service, .. }: Write,
    _: Query<Nothing>,
    Path(pair): Path<Pair>,
    conditions: Conditions,
    ObjectBody(body): ObjectBody,
) -> Result<Response, Problem> {
    let draft = RateDraft::from_object(body, Some(&pair))?;
    let written = service.put_rate(draft, conditions.of_record(&service)?).await?;
    // Memory alone knows the newest confirmation. Another price may have been put since.
    let rates = service.rates();
    let held = rates.get(&pair).filter(|(_, seq)| *seq == written.seq);
    let tag = held.map_or_else(|| answer::record_tag(&service, written.seq), |(rate, seq)| tag_of(&service, rate, seq));
    Ok(answer::put_under(&tag, &service, written))
}

/// The tag of a rate: a rate shows its confirmation, which is no change.
fn tag_of(service: &Service, rate: &Rate, seq: u64) -> EntityTag {
    if rate.confirmed_at == rate.updated_at {
        answer::record_tag(service, seq)
    } else {
        EntityTag::of_confirmed(service.cursor_of(seq), rate.confirmed_at)
    }
}
