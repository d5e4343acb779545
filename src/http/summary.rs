//! How a signal comes out for all users together: the bars of the page, and of an operator who asks why few trade.

use axum::response::Response;
use serde_json::{Value, json};
use tokio::task::yield_now;

use super::access::Read;
use super::answer;
use super::extract::{Nothing, Path, Query};
use super::list::{ListRequest, answer_of};
use super::problem::Problem;
use crate::domain::SignalId;
use crate::service::MissionCounts;

/// `GET /v1/signals/{signal}/summary`: how many users may trade a signal now, and how many may not, by reason. A user
/// with several reasons counts under each. 304 if the client holds that; 404 if the signal is absent.
pub(super) async fn summarize_signal(
    Read(service): Read,
    _: Query<Nothing>,
    Path(signal): Path<SignalId>,
    list: ListRequest,
) -> Result<Response, Problem> {
    let cursor = service.cursor();
    let mut batch = service.batch(&signal, None).await?;
    let tag = match list.tag_of(&batch)? {
        Ok(tag) => tag,
        Err(held) => return Ok(answer::as_of(cursor, held)),
    };
    let mut counts = MissionCounts::default();
    while !batch.is_done() {
        batch.count_some(&mut counts);
        // Other lists have a turn.
        yield_now().await;
    }
    let reasons: Vec<Value> =
        counts.reasons().map(|(reason, users)| json!({ "reason": reason.as_str(), "users": users })).collect();
    let summary = json!({
        "signal_id": signal.as_str(), "users": counts.tradable + counts.not_tradable, "tradable": counts.tradable,
        "not_tradable": counts.not_tradable, "reasons": reasons, "overlays_damaged": batch.damaged_overlays(),
    });
    Ok(answer::as_of(cursor, answer_of(&batch, &tag, summary.to_string().into_bytes())))
}
