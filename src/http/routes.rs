//! The routes: which request goes to which handler.

use axum::Router;
use axum::extract::Request;
use axum::http::header::ACCEPT_ENCODING;
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::map_request;
use axum::routing::{get, post, put};
use tower_http::compression::CompressionLayer;

use super::access::{AccessState, Open};
use super::problem::{Code, Problem, echo};
use super::{health, import, metrics, missions, openapi, qvalue, rates, signals, users};
use crate::service::Service;

/// Makes the router.
pub(super) fn router(service: Service) -> Router {
    with_fallbacks(routes()).with_state(AccessState::new(service))
}

/// Gives routes problem documents for unknown paths and methods. Methods of routes that are added later would be
/// refused without a document.
pub(super) fn with_fallbacks(routes: Router<AccessState>) -> Router<AccessState> {
    routes
        .fallback(async |_: Open, uri: Uri| {
            Problem::new(Code::NoSuchRoute, format!("no route has the path {}", echo(uri.path())))
        })
        // axum adds the `Allow` header.
        .method_not_allowed_fallback(async |_: Open, method: Method| {
            let detail = format!("{} is not a method of this route", echo(method.as_str()));
            Problem::new(Code::MethodNotAllowed, detail)
        })
}

pub(super) fn routes() -> Router<AccessState> {
    // One view costs a few microseconds and compressing it some hundred: only batches are worth it, and only when
    // asked.
    let batches = Router::new()
        .route("/v1/signals/{signal}/missions", get(missions::list_missions_of_signal))
        .route("/v1/users/{user}/missions", get(missions::list_missions_of_user))
        .layer(CompressionLayer::new())
        .layer(map_request(async |request: Request| choose_encoding(request)));
    Router::new()
        .route("/v1/users/{user}/missions/{signal}", get(missions::get_mission))
        .route("/v1/signals", get(signals::list_signals))
        .route("/v1/signals/{signal}", get(signals::get_signal).put(signals::put_signal).patch(signals::patch_signal))
        .route(
            "/v1/users/{user}/overlay",
            get(users::get_overlay).put(users::put_overlay).patch(users::patch_overlay).delete(users::delete_overlay),
        )
        .route("/v1/users/{user}/outcomes/{signal}", get(users::get_outcome).put(users::put_outcome))
        .route("/v1/rates", get(rates::list_rates))
        .route("/v1/rates/{pair}", put(rates::put_rate).get(rates::get_rate))
        .route("/v1/import", post(import::import))
        .route("/v1/admin/backup", get(health::get_backup).post(health::post_backup))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::get_metrics))
        .route("/openapi.json", get(openapi::openapi))
        .merge(batches)
}

/// Leaves in `Accept-Encoding` only what a batch can be sent in; without any it is sent plain, also to a client that
/// says it would rather have nothing than that.
fn choose_encoding(mut request: Request) -> Request {
    // Of two that are wanted alike, the last.
    let wanted = ["gzip", "zstd"].map(|coding| (qvalue::of(request.headers(), &ACCEPT_ENCODING, coding), coding));
    let (quality, chosen) = wanted.into_iter().max_by_key(|(quality, _)| *quality).unwrap_or_default();
    let chosen = quality.is_some_and(|quality| quality > 0).then_some(chosen);
    request.headers_mut().remove(ACCEPT_ENCODING);
    if let Some(chosen) = chosen {
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(chosen));
    }
    request
}
