//! The routes: which request goes to which handler.

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::ACCEPT_ENCODING;
use axum::middleware::{from_fn_with_state, map_request};
use axum::routing::{get, post, put};
use tower_http::compression::CompressionLayer;

use super::access::AccessState;
use super::{
    Limits, access_log, health, import, missions, openapi, quality, rates, signals, users, with_fallbacks, with_layers,
};
use crate::service::Service;

/// Makes the router.
pub fn router(service: Service, limits: Limits) -> Router {
    // One view costs a few microseconds and compressing it some hundred: only batches are worth it, and only when asked.
    let batches = Router::new()
        .route("/v1/signals/{signal}/missions", get(missions::list_missions_of_signal))
        .route("/v1/users/{user}/missions", get(missions::list_missions_of_user))
        .layer(CompressionLayer::new())
        .layer(map_request(async |request: Request| settle_encoding(request)));
    let router = Router::new()
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
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::openapi))
        .merge(batches);
    let state = AccessState::new(service);
    let guard = from_fn_with_state(state.clone(), access_log::guard);
    with_layers(with_fallbacks(router), limits.handler).layer(guard).with_state(state)
}

/// Leaves in `Accept-Encoding` only what a batch can be sent in; without any it is sent plain, also to a client that says it would
/// rather have nothing than that.
fn settle_encoding(mut request: Request) -> Request {
    // Of two that are wanted alike, the last.
    let wanted = ["gzip", "zstd"].map(|coding| (quality::of(request.headers(), &ACCEPT_ENCODING, coding), coding));
    let (quality, chosen) = wanted.into_iter().max_by_key(|(quality, _)| *quality).unwrap_or_default();
    let chosen = quality.is_some_and(|quality| quality > 0).then_some(chosen);
    request.headers_mut().remove(ACCEPT_ENCODING);
    if let Some(chosen) = chosen {
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(chosen));
    }
    request
}
