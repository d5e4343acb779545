//! `GET /metrics`: what the server counts, for Prometheus.
//!
//! Names follow the rules that `promtool check metrics` holds them to: base units (seconds, bytes), counters end in
//! `_total`.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::access::Metrics as MetricsAccess;
use super::extract::{Nothing, Query};
use super::problem::Problem;
use super::qvalue;
use crate::metrics::Metrics;
use crate::service::{Health, Stats};

const OPEN_METRICS: &str = "application/openmetrics-text";

/// `GET /metrics`: counters, gauges and histograms, as Prometheus text 0.0.4, or as OpenMetrics 1.0 if `Accept` names
/// it.
pub(super) async fn get_metrics(
    MetricsAccess(service): MetricsAccess,
    _: Query<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (stats, health) = service.stats_and_health().await?;
    let open_metrics = encode(service.metrics(), &stats, &health);
    if qvalue::of(&headers, &ACCEPT, OPEN_METRICS).is_some_and(|quality| quality > 0) {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        return Ok(([(CONTENT_TYPE, content_type)], open_metrics).into_response());
    }
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(CONTENT_TYPE, content_type)], to_prometheus_text(&open_metrics)).into_response())
}

/// Writes the counters, with what is stored and how the server is right now, as OpenMetrics text.
fn encode(metrics: &Metrics, stats: &Stats, health: &Health) -> String {
    let mut registry = Registry::default();
    let overlaid = registry.sub_registry_with_prefix("overlaid");
    register_counters(overlaid, metrics);
    register_stats(overlaid, stats);
    register_health(overlaid, health);
    let version = [("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    let build: Family<Vec<(String, String)>, prometheus_client::metrics::gauge::Gauge> = Family::default();
    build.get_or_create(&version.to_vec()).set(1);
    overlaid.register("build_info", "The program's version, as a label", build);
    #[cfg(target_os = "linux")]
    register_process(registry.sub_registry_with_prefix("process"));
    let mut out = String::new();
    // Writing into a string can not fail.
    let _ = text::encode(&mut out, &registry);
    out
}

fn register_counters(registry: &mut Registry, metrics: &Metrics) {
    let counters = [
        ("views", "Mission views computed", &metrics.views),
        ("views_not_modified", "Views that the client held already", &metrics.views_not_modified),
        ("cache_hits", "Records found in memory", &metrics.cache_hits),
        ("cache_misses", "Records read from the file", &metrics.cache_misses),
        ("writes_changed", "Writes that changed something", &metrics.writes_changed),
        ("writes_unchanged", "Writes that found nothing to change", &metrics.writes_unchanged),
        ("writes_refused", "Writes refused by a rule", &metrics.writes_refused),
        ("writes_turned_away", "Writes turned away as too many waited", &metrics.writes_turned_away),
        ("writes_failed", "Writes that could not be made durable", &metrics.writes_failed),
        ("backups_made", "Backups made and verified", &metrics.backups_made),
        ("backups_failed", "Backups that could not be made", &metrics.backups_failed),
    ];
    for (name, help, counter) in counters {
        registry.register(name, help, counter.clone());
    }
    registry.register("write_seconds", "From a write's arrival to its acknowledgement", metrics.write_seconds.clone());
    let requests = metrics.http.request_seconds.0.clone();
    registry.register("http_request_duration_seconds", "From a request's head to the end of its answer", requests);
    let unreadable = metrics.http.unreadable.clone();
    registry.register("http_unreadable_requests", "Requests that could not be read as HTTP", unreadable);
    let foreign = metrics.http.foreign_refused.clone();
    registry.register(
        "http_foreign_requests",
        "Requests refused as no token has been made and they came by a proxy, from another site or another machine",
        foreign,
    );
    let crate::metrics::HttpMetrics { answers_held, bodies_held, followers, .. } = metrics.http.clone();
    registry.register("answers_bytes", "Memory of lists that clients have not taken yet", answers_held.bytes);
    registry.register("answers_cut_off", "Clients cut off as they took a list too slowly", answers_held.cut_off);
    registry.register("bodies_bytes", "Memory of bodies of requests", bodies_held.bytes);
    registry.register("bodies_cut_off", "Clients cut off as they sent a body too slowly", bodies_held.cut_off);
    registry.register("followers", "Clients that wait for changes", followers);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
}

fn seconds(registry: &mut Registry, name: &str, help: &str, value: Duration) {
    registry.register(name, help, ConstGauge::new(value.as_secs_f64()));
}

fn register_stats(registry: &mut Registry, stats: &Stats) {
    for (name, help, value) in [
        ("signals", "Signals stored", stats.counts.signals),
        ("overlays", "Overlays stored", stats.counts.overlays),
        ("outcomes", "Outcomes stored", stats.counts.outcomes),
        ("rates", "Rates stored", stats.counts.rates),
        ("last_change_seq", "Number of the last change", stats.seq),
        ("file_bytes", "Length of the database file", stats.file_bytes),
        ("cached_signals", "Signals in the cache", stats.cache.signals),
        ("cache_bytes", "Weight of the cache", stats.cache.bytes),
        ("roster_users", "Users whose overlays are all in memory", stats.roster.users as u64),
        ("roster_bytes", "Memory of the roster", stats.roster.bytes as u64),
        ("overlays_damaged", "Overlays that can not be decoded and that lists leave out", stats.roster.damaged as u64),
    ] {
        gauge(registry, name, help, value);
    }
}

fn register_health(registry: &mut Registry, health: &Health) {
    let waits = health.gate_waits;
    let waited = Duration::from_micros(waits.total_us).as_secs_f64();
    registry.register(
        "copy_waits",
        "Batches of writes that waited for a copy of the file",
        ConstCounter::new(waits.count),
    );
    registry.register("copy_wait_seconds", "How long they waited together", ConstCounter::new(waited));
    registry.register("copies_overrun", "Copies that took longer than the limit", ConstCounter::new(waits.overran));
    let longest = Duration::from_micros(waits.longest_us);
    seconds(registry, "copy_wait_longest_seconds", "The longest of these waits", longest);
    gauge(registry, "writable", "1 if writes are taken", health.write_failure.is_none().into());
    gauge(registry, "copies_are_safe", "1 if the live file may be copied", health.unsafe_copies.is_none().into());
    gauge(registry, "backup_failing", "1 if the last attempt at a backup failed", health.backup_failed.into());
    if let Some(free) = health.disk_free_bytes {
        gauge(registry, "disk_free_bytes", "Bytes that may still be written to the disk", free);
        gauge(registry, "disk_low", "1 if the disk will be full soon", health.is_disk_low().into());
    }
    if let Some(age) = health.rate_age {
        seconds(registry, "rate_age_seconds", "Since the oldest rate was confirmed", age);
    }
    for (name, help, count) in [
        ("rates_old", "Rates older than half of --rate-max-age", health.rates_old),
        ("balances_old", "Balances older than half of --balance-max-age", health.balances_old),
    ] {
        if let Some(count) = count {
            gauge(registry, name, help, count as u64);
        }
    }
    if let Some(backup) = &health.backup {
        if let Some(age) = backup.age {
            seconds(registry, "backup_age_seconds", "Age of the newest backup", age);
        }
        gauge(registry, "backup_bytes", "Length of the newest backup", backup.file_bytes);
        let since_1970 = Duration::from_millis(u64::try_from(backup.made_at.millis()).unwrap_or_default());
        seconds(registry, "backup_verified_timestamp_seconds", "When it was verified, since 1970", since_1970);
    }
}

/// The names that Prometheus' own clients use. What the system does not say is left out.
#[cfg(target_os = "linux")]
fn register_process(registry: &mut Registry) {
    let Ok(process) = procfs::process::Process::myself() else { return };
    if let Ok(stat) = process.stat() {
        let ticks = procfs::ticks_per_second().max(1);
        let of_ticks = |ticks_passed: u64| Duration::from_millis(ticks_passed.saturating_mul(1_000) / ticks);
        let cpu = of_ticks(stat.utime + stat.stime).as_secs_f64();
        registry.register("cpu_seconds", "User and system time spent", ConstCounter::new(cpu));
        gauge(registry, "resident_memory_bytes", "Resident memory", stat.rss.saturating_mul(procfs::page_size()));
        gauge(registry, "virtual_memory_bytes", "Virtual memory", stat.vsize);
        gauge(registry, "threads", "Threads", u64::try_from(stat.num_threads).unwrap_or_default());
        if let Ok(booted) = procfs::boot_time_secs() {
            let started = Duration::from_secs(booted) + of_ticks(stat.starttime);
            seconds(registry, "start_time_seconds", "When the process started, since 1970", started);
        }
    }
    if let Ok(open) = process.fd_count() {
        gauge(registry, "open_fds", "Open file descriptors", open as u64);
    }
    if let Ok(limits) = process.limits()
        && let procfs::process::LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        gauge(registry, "max_fds", "Most file descriptors that may be open", most);
    }
}

/// Rewrites OpenMetrics text as Prometheus text 0.0.4.
///
/// The two differ for what is written here in the name that a counter's `HELP` and `TYPE` stand under, and in the mark
/// of the end.
fn to_prometheus_text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, text)) = help.take() {
                out.extend(["# HELP ", name, suffix, " ", text, "\n"]);
            }
            out.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if line != "# EOF" {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_has_the_name_of_its_sample_in_text_0_0_4() {
        let open_metrics =
            "# HELP a Apples.\n# TYPE a counter\na_total 1\n# HELP b Boxes.\n# TYPE b gauge\nb 2\n# EOF\n";
        let text = "# HELP a_total Apples.\n# TYPE a_total counter\na_total 1\n# HELP b Boxes.\n# TYPE b gauge\nb 2\n";
        assert_eq!(to_prometheus_text(open_metrics), text);
    }
}
