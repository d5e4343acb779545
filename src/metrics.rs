//! What the program counts about itself, as `GET /metrics` shows it (OpenMetrics).

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::service::{Health, Stats};

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    /// Mission views that were computed, in batches too.
    pub views: Counter,
    /// Requests for a view that the client held already.
    pub views_not_modified: Counter,
    /// Signals and overlays that were read from the file.
    pub cache_misses: Counter,
    /// Writes that changed something.
    pub writes_changed: Counter,
    /// Writes that found nothing to change.
    pub writes_unchanged: Counter,
    /// Writes that were refused: absent records, conflicts, broken rules.
    pub writes_refused: Counter,
    /// Writes that were turned away because the queue was full.
    pub writes_turned_away: Counter,
    /// Writes that could not be made durable.
    pub writes_failed: Counter,
    /// Backups that were made and verified.
    pub backups_made: Counter,
    /// Backups that could not be made.
    pub backups_failed: Counter,
    /// Seconds from a write's arrival to its acknowledgement.
    pub write_seconds: Histogram,
    /// Answers by the class of their status.
    pub responses: Family<StatusClass, Counter>,
}

/// The class of a status: `2xx`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusClass {
    /// `2xx` and so on.
    pub status: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            views: Counter::default(),
            views_not_modified: Counter::default(),
            cache_misses: Counter::default(),
            writes_changed: Counter::default(),
            writes_unchanged: Counter::default(),
            writes_refused: Counter::default(),
            writes_turned_away: Counter::default(),
            writes_failed: Counter::default(),
            backups_made: Counter::default(),
            backups_failed: Counter::default(),
            // From 50 µs to 1.6 s: a sync takes 0.1 to 10 ms on common disks.
            write_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            responses: Family::default(),
        }
    }
}

/// The counters of answers, one for each class, looked up once.
#[derive(Clone, Debug)]
pub struct ResponseCounters([Counter; 5]);

impl ResponseCounters {
    /// Counts an answer with this status.
    pub fn count(&self, status: u16) {
        if let Some(counter) = usize::from(status / 100).checked_sub(1).and_then(|class| self.0.get(class)) {
            counter.inc();
        }
    }
}

impl Metrics {
    /// The counters of answers.
    #[must_use]
    pub fn response_counters(&self) -> ResponseCounters {
        let of_class = |status| self.responses.get_or_create(&StatusClass { status }).clone();
        ResponseCounters(["1xx", "2xx", "3xx", "4xx", "5xx"].map(of_class))
    }

    /// Writes the counters, with what is stored and how the server is right now, as OpenMetrics text.
    #[must_use]
    pub fn encode(&self, stats: &Stats, health: &Health) -> String {
        let mut registry = Registry::with_prefix("overlaid");
        let counters = [
            ("views", "Mission views computed", &self.views),
            ("views_not_modified", "Views that the client held already", &self.views_not_modified),
            ("cache_misses", "Records read from the file", &self.cache_misses),
            ("writes_changed", "Writes that changed something", &self.writes_changed),
            ("writes_unchanged", "Writes that found nothing to change", &self.writes_unchanged),
            ("writes_refused", "Writes refused by a rule", &self.writes_refused),
            ("writes_turned_away", "Writes turned away as too many waited", &self.writes_turned_away),
            ("writes_failed", "Writes that could not be made durable", &self.writes_failed),
            ("backups_made", "Backups made and verified", &self.backups_made),
            ("backups_failed", "Backups that could not be made", &self.backups_failed),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register("write_seconds", "From a write's arrival to its acknowledgement", self.write_seconds.clone());
        registry.register("responses", "Answers by the class of their status", self.responses.clone());
        let gauges = [
            ("signals", "Signals stored", stats.counts.signals),
            ("overlays", "Overlays stored", stats.counts.overlays),
            ("outcomes", "Outcomes stored", stats.counts.outcomes),
            ("rates", "Rates stored", stats.counts.rates),
            ("commit_seq", "Number of the last commit", stats.seq),
            ("file_bytes", "Length of the database file", stats.file_bytes),
            ("cached_signals", "Signals in the cache", stats.cache.signals),
            ("cache_bytes", "Weight of the cache", stats.cache.bytes),
            ("roster_users", "Users whose overlays are all in memory", stats.roster.users as u64),
            ("roster_bytes", "Memory of the roster", stats.roster.bytes as u64),
            (
                "overlays_damaged",
                "Overlays that can not be decoded and that lists leave out",
                stats.roster.damaged as u64,
            ),
        ];
        for (name, help, value) in gauges {
            registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
        }
        register_health(&mut registry, health);
        let mut out = String::new();
        // Writing into a string can not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }
}

fn register_health(registry: &mut Registry, health: &Health) {
    let waits = health.gate_waits;
    let mut gauges = vec![
        ("writable", "1 if writes are taken", u64::from(health.write_failure.is_none())),
        ("copies_are_safe", "1 if the live file may be copied", u64::from(health.unsafe_copies.is_none())),
        ("copy_waits", "Batches of writes that waited for a copy of the file", waits.count),
        ("copy_wait_us", "How long they waited together", waits.total_us),
        ("copy_wait_longest_us", "The longest of these waits", waits.longest_us),
        ("copies_overrun", "Copies that took longer than the limit", waits.overran),
        ("backup_failing", "1 if the last attempt at a backup failed", u64::from(health.backup_failed)),
    ];
    if let Some(free) = health.disk_free_bytes {
        gauges.push(("disk_free_bytes", "Bytes that may still be written to the disk", free));
        gauges.push(("disk_low", "1 if the disk will be full soon", u64::from(health.is_disk_low())));
    }
    if let Some(backup) = &health.backup {
        let since_1970 = u64::try_from(backup.made_at.millis()).unwrap_or_default();
        if let Some(age) = backup.age {
            gauges.push(("backup_age_seconds", "Age of the newest backup", age.as_secs()));
        }
        gauges.push(("backup_bytes", "Length of the newest backup", backup.file_bytes));
        gauges.push(("backup_verified_ms", "When it was verified, in Unix milliseconds", since_1970));
    }
    for (name, help, value) in gauges {
        registry.register(name, help, ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)));
    }
}
