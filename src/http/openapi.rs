//! The description of these routes for clients and their generators, as OpenAPI 3.1.
//!
//! The document is a file that is kept by hand: what stands in it is to be read by people, and most bodies are no
//! structs that it could be derived from. Tests hold it against the router, and real answers against it.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::access::Open;
use super::extract::{Nothing, Query};

/// The document, as the file has it.
pub(super) const DOCUMENT: &str = include_str!("../../data/openapi.json");

/// `GET /openapi.json`: the document. It holds nobody's data, so no token is asked for.
pub(super) async fn openapi(_: Open, _: Query<Nothing>) -> Response {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-cache")], DOCUMENT).into_response()
}
