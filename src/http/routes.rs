//! The routes: which request goes to which handler.

use axum::http::{Method, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use super::access::{AccessState, Open};
use super::background::{self, Background};
use super::cors::Origin;
use super::problem::{Code, Problem, echo};
use super::{
    changes, docs, export, health, import, instruments, metrics, missions, openapi, page, prune, rates, signals, stats,
    summary, tokens, users,
};
use crate::service::Service;

/// Makes the router.
///
/// - `origins`: the sites whose pages may call.
pub(super) fn router(service: Service, background: &Background, origins: &[Origin]) -> Router {
    with_fallbacks(routes(background)).with_state(AccessState::new(service, origins))
}

/// Gives routes problem documents for unknown paths and methods. Methods of routes that are added later would be
/// refused without a document.
pub(super) fn with_fallbacks(routes: Router<AccessState>) -> Router<AccessState> {
    routes
        .fallback(async |_: Open, uri: Uri| Problem::new(Code::NoSuchRoute, no_route(uri.path())))
        // axum adds the `Allow` header.
        .method_not_allowed_fallback(async |_: Open, method: Method| {
            let detail = format!("{} is not a method of this route", echo(method.as_str()));
            Problem::new(Code::MethodNotAllowed, detail)
        })
}

/// Says that no route has this path, without the path if that may hold a token: the path of a mistyped hook does.
fn no_route(path: &str) -> String {
    let lower = path.to_ascii_lowercase();
    if ["hook", "ovl", "%"].iter().any(|mark| lower.contains(mark)) {
        return "no route has this path; that of a hook is /v1/hooks/{token}/signals".to_owned();
    }
    format!("no route has the path {}", echo(path))
}

pub(super) fn routes(background: &Background) -> Router<AccessState> {
    // One view costs a few microseconds and compressing it some hundred: only batches are worth it, and only when
    // asked.
    let batches = Router::new()
        .route("/v1/signals/{signal}/missions", get(missions::list_missions_of_signal))
        .route("/v1/users/{user}/missions", get(missions::list_missions_of_user))
        .route("/v1/users", get(users::list_users))
        .route("/v1/export", get(export::export))
        .layer(from_fn(background::cut_for_compressor))
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest));
    let lists = Router::new()
        .route("/v1/signals", get(signals::list_signals))
        .route("/v1/signals/{signal}/summary", get(summary::summarize_signal))
        .route("/v1/admin/tokens", get(tokens::list_tokens))
        .merge(batches);
    let lists = lists.layer(from_fn_with_state(background.clone(), background::answer));
    // Followers count what they hold, too.
    let changes = Router::new().route("/v1/changes", get(changes::get_changes)).layer(Extension(background.clone()));
    Router::new()
        .route("/v1/users/{user}/missions/{signal}", get(missions::get_mission))
        .route("/v1/users/{user}/missions/{signal}/explanation", get(missions::explain_mission))
        .route("/v1/signals", post(signals::post_signal))
        .route("/v1/hooks/{token}/signals", post(signals::post_hook))
        .route(
            "/v1/signals/{signal}",
            get(signals::get_signal)
                .put(signals::put_signal)
                .patch(signals::patch_signal)
                .delete(signals::delete_signal),
        )
        .route(
            "/v1/users/{user}/overlay",
            get(users::get_overlay).put(users::put_overlay).patch(users::patch_overlay).delete(users::delete_overlay),
        )
        .route("/v1/users/{user}", delete(users::delete_user))
        .route("/v1/users/{user}/outcomes", get(users::list_outcomes))
        .route(
            "/v1/users/{user}/outcomes/{signal}",
            get(users::get_outcome).put(users::put_outcome).delete(users::delete_outcome),
        )
        .route("/v1/rates", get(rates::list_rates))
        .route("/v1/rates/{pair}", put(rates::put_rate).get(rates::get_rate))
        .route("/v1/instruments", get(instruments::list_instruments))
        .route("/v1/import", post(import::import))
        .route("/v1/stats", get(stats::get_stats))
        .route("/v1/admin/backup", get(health::get_backup).post(health::post_backup))
        .route("/v1/admin/doctor", get(health::get_doctor))
        .route("/v1/admin/tokens", post(tokens::post_token).delete(tokens::delete_tokens))
        .route("/v1/admin/tokens/{id}", delete(tokens::revoke_token))
        .route("/v1/admin/prune", post(prune::prune))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::get_metrics))
        .route("/openapi.json", get(openapi::openapi))
        .merge(lists)
        .merge(docs::routes())
        .merge(page::routes())
        .merge(changes)
}
