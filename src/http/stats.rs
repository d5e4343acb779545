//! `GET /v1/stats`: what is stored, what it takes, and what the last quarter of an hour came to, for a person's page or
//! table.

use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};

use super::access::Metrics;
use super::answer;
use super::extract::{Nothing, Query};
use super::health::{BackupAge, writes_word};
use super::problem::Problem;
use crate::domain::Savings;
use crate::metrics::SLOT_SECONDS;

/// The answer. A [`Value`] would show small amounts of money with an exponent.
#[derive(Serialize)]
struct Body {
    #[serde(flatten)]
    stats: Value,
    saves: Savings,
}

/// `GET /v1/stats`: counts of records, memory, file and newest backup; the last 15 minutes in slots of 10 seconds, from
/// old to new; and what the data would take as one file for each user and signal.
pub(super) async fn get_stats(Metrics(service): Metrics, _: Query<Nothing>) -> Result<Response, Problem> {
    let (stats, health) = service.stats_and_health().await?;
    let saves = service.savings(stats).await?;
    let (slots, total) = service.metrics().http.recent.read(service.uptime());
    let (counts, cache, roster) = (stats.counts, stats.cache, stats.roster);
    let stats = json!({
        "version": env!("CARGO_PKG_VERSION"), "uptime_s": service.uptime().as_secs(), "seq": stats.seq,
        "records": {
            "signals": counts.signals, "overlays": counts.overlays, "outcomes": counts.outcomes,
            "rates": counts.rates, "tokens": counts.tokens,
        },
        "memory": {
            "cached_signals": cache.signals, "cache_bytes": cache.bytes,
            "roster_users": roster.users, "roster_bytes": roster.bytes, "overlays_damaged": roster.damaged,
        },
        "file": {
            "bytes": stats.file_bytes, "disk_free_bytes": health.disk_free_bytes, "disk_low": health.is_disk_low(),
            "writes": writes_word(&health), "copies_are_safe": health.unsafe_copies.is_none(),
        },
        "backup": BackupAge::of(&health),
        "recent": { "slot_s": SLOT_SECONDS, "total": total, "slots": slots },
    });
    let body = serde_json::to_vec(&Body { stats, saves }).map_err(|error| Problem::internal(&error))?;
    Ok(answer::json(body))
}
