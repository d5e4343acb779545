//! `POST /v1/admin/prune`: signals that expired long ago are removed.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::access::Admin;
use super::answer;
use super::extract::{Parameters, Query};
use super::problem::Problem;
use crate::domain::PastMoment;
use crate::service::Pruned;

#[derive(Debug, Deserialize)]
pub(super) struct PruneQuery {
    before: Option<String>,
}

impl Parameters for PruneQuery {
    const NAMES: &'static [&'static str] = &["before"];
}

/// Removes signals that expired before a moment, with their outcomes: one group, so that a request takes no longer than
/// it may. 200 with how many; `more` says that the next request finds more. 400 if the moment can not be read, or is
/// still to come. Writes of others go in between the deletions, so the answer names the cursor before the first one.
pub(super) async fn prune(Admin(service): Admin, Query(query): Query<PruneQuery>) -> Result<Response, Problem> {
    let refuse = |detail: String| Problem::invalid_parameter("before", detail);
    let before = PastMoment::parse(query.before.as_deref().unwrap_or_default()).map_err(refuse)?;
    let now = service.now();
    let before = before.resolve(now);
    if before > now {
        return Err(refuse(format!("{before} is still to come: signals that are not expired stay")));
    }
    let cursor = service.cursor();
    let Pruned { signals, outcomes, is_more } = service.prune_some(before).await?;
    let json = json!({"signals": signals, "outcomes": outcomes, "more": is_more});
    Ok(answer::as_of(cursor, answer::json(json.to_string().into_bytes())))
}
