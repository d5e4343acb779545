//! Health and metrics, for whoever watches the server.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::auth::Access;
use super::{Problem, StrictQuery, answer};
use crate::service::Service;

/// `GET /healthz`: the process answers.
pub(super) async fn healthz(StrictQuery(()): StrictQuery<()>) -> Response {
    answer::json(b"{\"status\":\"ok\"}".to_vec())
}

/// `GET /readyz`: the file can be read.
pub(super) async fn readyz(
    State(service): State<Service>,
    StrictQuery(()): StrictQuery<()>,
) -> Result<Response, Problem> {
    let stats = stats(service).await?;
    Ok(answer::json(format!("{{\"status\":\"ok\",\"seq\":{}}}", stats.seq).into_bytes()))
}

/// `GET /metrics`: counters for Prometheus.
pub(super) async fn metrics(
    access: Access,
    State(service): State<Service>,
    StrictQuery(()): StrictQuery<()>,
) -> Result<Response, Problem> {
    access.read_shared()?;
    let stats = stats(service.clone()).await?;
    let text = service.metrics().encode(&stats);
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

async fn stats(service: Service) -> Result<crate::service::Stats, Problem> {
    let joined = tokio::task::spawn_blocking(move || service.stats()).await;
    Ok(joined.map_err(|_| crate::service::ServiceError::Worker)??)
}
