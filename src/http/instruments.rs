//! Instruments: the table by which sizes are computed, for clients that show lots by their step.

use axum::response::Response;

use super::access::ReadShared;
use super::extract::{Nothing, Query};
use super::list::ListRequest;
use super::problem::Problem;

/// `GET /v1/instruments`: the whole table, as it is in use.
pub(super) async fn list_instruments(
    ReadShared(service): ReadShared,
    _: Query<Nothing>,
    list: ListRequest,
) -> Result<Response, Problem> {
    list.answer("instruments", service.cursor(), service.list_instruments(list.asked())?)
}
