//! The first and the last that a request meets: it is admitted or not, and refusals are logged.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access::AccessState;
use super::problem::Refusal;

/// The target of log lines about requests.
const TARGET: &str = "overlaid::access";

/// Admits a request; logs each answer of 401 and 403.
pub(super) async fn guard(State(state): State<AccessState>, mut request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let (caller, admitted) = state.admit(&mut request);
    let response = match admitted {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(Refusal(reason)) = response.extensions().get() {
        let (status, route) = (response.status().as_u16(), route.as_ref().map(MatchedPath::as_str));
        let token = caller.token_id();
        tracing::warn!(target: TARGET, %method, route, status, token, %reason, "request refused");
    }
    response
}
