//! `GET /v1/export`: all records as lines.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use tokio_stream::wrappers::ReceiverStream;

use super::access::Admin;
use super::extract::{Nothing, Query};
use super::missions::NDJSON;
use super::problem::Problem;

/// `GET /v1/export`: everything that is stored now but tokens, as `POST /v1/import` and `overlaid load` read it: signals
/// before the outcomes on them. An answer that breaks off is not the whole.
pub(super) async fn export(Admin(service): Admin, _: Query<Nothing>) -> Result<Response, Problem> {
    let pieces = ReceiverStream::new(service.export().await?);
    let head = [(CONTENT_TYPE, NDJSON), (CACHE_CONTROL, "no-store")];
    Ok((head, Body::from_stream(pieces)).into_response())
}
