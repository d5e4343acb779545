//! What stands around every handler: no panic and no endless wait gets past.

use std::any::Any;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::TimeoutLayer;

use super::Problem;

/// What the time limit answers with, before [`explained`] puts a problem in its place.
const OVERDUE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// Gives a router problem documents for unknown routes and methods. Call it after the last route: methods of routes added later
/// would be refused without a document.
pub fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(async |uri: Uri| Problem::no_such_route(uri.path()))
        .method_not_allowed_fallback(async |method: Method| Problem::method_not_allowed(&method))
}

/// Puts the layers around a router, its fallbacks too.
///
/// - `limit`: how long a request may take from its head to the head of its answer.
pub fn with_layers<S: Clone + Send + Sync + 'static>(router: Router<S>, limit: Duration) -> Router<S> {
    let layers = ServiceBuilder::new()
        .layer(CatchPanicLayer::custom(|payload: Box<dyn Any + Send>| Problem::panicked(&*payload).into_response()))
        .map_response(move |response| explained(response, limit))
        .layer(TimeoutLayer::with_status_code(OVERDUE, limit));
    router.layer(layers)
}

/// Makes a problem of the bare answer of the time limit.
fn explained(response: Response, limit: Duration) -> Response {
    if response.status() != OVERDUE || response.headers().contains_key(CONTENT_TYPE) {
        return response;
    }
    tracing::warn!(limit_s = limit.as_secs(), "request reached the time limit");
    Problem::time_limit().into_response()
}
