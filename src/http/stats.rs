//! `GET /v1/stats`: what is stored, what it takes, and what the last quarter of an hour came to, for a person's page or
//! table.

use axum::response::Response;
use serde::Serialize;

use super::access::Metrics;
use super::answer;
use super::extract::{Nothing, Query};
use super::health::{BackupAge, writes_word};
use super::problem::Problem;
use crate::domain::Savings;
use crate::metrics::{RecentCounts, SLOT_SECONDS};
use crate::service::{Health, Service, Stats};

#[derive(Serialize)]
struct Body {
    version: &'static str,
    uptime_s: u64,
    seq: u64,
    records: Records,
    memory: Memory,
    file: File,
    backup: Option<BackupAge>,
    recent: Recent,
    saves: Savings,
}

#[derive(Serialize)]
struct Records {
    signals: u64,
    overlays: u64,
    outcomes: u64,
    rates: u64,
    tokens: u64,
}

#[derive(Serialize)]
struct Memory {
    cached_signals: u64,
    cache_bytes: u64,
    roster_users: usize,
    roster_bytes: usize,
    overlays_damaged: usize,
}

#[derive(Serialize)]
struct File {
    bytes: u64,
    disk_free_bytes: Option<u64>,
    disk_low: bool,
    writes: &'static str,
    copies_are_safe: bool,
}

#[derive(Serialize)]
struct Recent {
    slot_s: u64,
    total: RecentCounts,
    slots: Vec<RecentCounts>,
}

impl Body {
    fn new(service: &Service, stats: &Stats, health: &Health, saves: Savings) -> Self {
        let (slots, total) = service.metrics().http.recent.read(service.uptime());
        let counts = stats.counts;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: service.uptime().as_secs(),
            seq: stats.seq,
            records: Records {
                signals: counts.signals,
                overlays: counts.overlays,
                outcomes: counts.outcomes,
                rates: counts.rates,
                tokens: counts.tokens,
            },
            memory: Memory {
                cached_signals: stats.cache.signals,
                cache_bytes: stats.cache.bytes,
                roster_users: stats.roster.users,
                roster_bytes: stats.roster.bytes,
                overlays_damaged: stats.roster.damaged,
            },
            file: File {
                bytes: stats.file_bytes,
                disk_free_bytes: health.disk_free_bytes,
                disk_low: health.is_disk_low(),
                writes: writes_word(health),
                copies_are_safe: health.unsafe_copies.is_none(),
            },
            backup: BackupAge::of(health),
            recent: Recent { slot_s: SLOT_SECONDS, total, slots },
            saves,
        }
    }
}

/// `GET /v1/stats`: counts of records, memory, file and newest backup; the last 15 minutes in slots of 10 seconds, from
/// old to new; and what the data would take as one file for each user and signal.
pub(super) async fn get_stats(Metrics(service): Metrics, _: Query<Nothing>) -> Result<Response, Problem> {
    let (stats, health) = service.stats_and_health().await?;
    let saves = service.savings(stats).await?;
    let body = Body::new(&service, &stats, &health, saves);
    Ok(answer::json(serde_json::to_vec(&body).map_err(|error| Problem::internal(&error))?))
}
