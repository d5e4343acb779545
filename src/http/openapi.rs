//! The description of these routes for clients and their generators, as OpenAPI 3.1.
//!
//! The document is a file that is kept by hand: what stands in it is to be read by people, and most bodies are no
//! structs that it could be derived from. Tests hold it against the router, and real answers against it.

use std::sync::LazyLock;

use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;

use super::access::Open;
use super::answer;
use super::conditional::Conditions;
use super::entity_tag::EntityTag;
use super::extract::{Nothing, Query};
use super::problem::Problem;

/// The document, as the file has it.
pub(super) const DOCUMENT: &str = include_str!("../../data/openapi.json");
/// A hash of the document.
static TAG: LazyLock<EntityTag> = LazyLock::new(|| EntityTag::of_text(DOCUMENT.as_bytes()));

/// `GET /openapi.json`: the document. It holds nobody's data, so no token is asked for.
pub(super) async fn openapi(_: Open, _: Query<Nothing>, conditions: Conditions) -> Result<Response, Problem> {
    let mut answer = answer::unless_held(&TAG, &conditions, || DOCUMENT.into())?;
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}
