//! `GET /v1/export`: all records as lines.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use tokio_stream::wrappers::ReceiverStream;

use super::access::Admin;
use super::answer;
use super::extract::{Nothing, Query};
use super::missions::by_accept;
use super::problem::Problem;
use super::qvalue;

/// `GET /v1/export`: everything that is stored now but tokens, as `POST /v1/import` and `overlaid load` read it:
/// signals before the outcomes on them. An answer that breaks off is not the whole.
pub(super) async fn export(Admin(service): Admin, _: Query<Nothing>, headers: HeaderMap) -> Result<Response, Problem> {
    let (cursor, pieces) = service.export().await?;
    let head = [(CONTENT_TYPE, qvalue::lines(&headers)), (CACHE_CONTROL, "no-store")];
    let answer = (head, Body::from_stream(ReceiverStream::new(pieces))).into_response();
    Ok(answer::as_of(cursor, by_accept(answer)))
}
