//! What the program counts about itself. `http/metrics.rs` shows it.

mod recent;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

pub use recent::{Answered, Recent, RecentCounts, SLOT_SECONDS, SLOTS, Totals};

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    /// Mission views that were computed, in batches too.
    pub views: Counter,
    /// Requests for a view that the client held already.
    pub views_not_modified: Counter,
    /// Signals and overlays that were found in memory, for single views and records.
    pub cache_hits: Counter,
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
    /// What the HTTP layer counts.
    pub http: HttpMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            views: Counter::default(),
            views_not_modified: Counter::default(),
            cache_hits: Counter::default(),
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
            http: HttpMetrics::default(),
        }
    }
}

impl Metrics {
    /// The counters that [`Recent`] follows.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            writes: self.writes_changed.get(),
            cache_hits: self.cache_hits.get(),
            cache_misses: self.cache_misses.get(),
        }
    }
}

/// What is counted of requests. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct HttpMetrics {
    /// How long requests took, by method, route and status.
    pub request_seconds: RequestSeconds,
    /// What requests of the last quarter of an hour came to.
    pub recent: Recent,
    /// Requests that could not be read as HTTP, by the status of their answer.
    pub unreadable: Family<UnreadableLabels, Counter>,
    /// Requests that were refused as no token has been made and they were not of a program of this machine.
    pub foreign_refused: Counter,
    /// The memory of lists that clients have not taken yet.
    pub answers_held: BudgetMetrics,
    /// The memory of bodies that clients are sending.
    pub bodies_held: BudgetMetrics,
    /// Clients that wait for changes now.
    pub followers: Gauge,
}

/// What is counted of memory that clients make the server hold. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct BudgetMetrics {
    /// How much it is now, in bytes.
    pub bytes: Gauge,
    /// Connections that were ended to free memory.
    pub cut_off: Counter,
}

/// Histograms of how long requests took, from their head to the end of their answer.
#[derive(Clone, Debug)]
pub struct RequestSeconds(pub Family<RequestLabels, Histogram>);

impl Default for RequestSeconds {
    fn default() -> Self {
        // From 50 µs, twice what a view takes, to the time limit of 10 s.
        Self(Family::new_with_constructor(|| {
            Histogram::new([
                0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
                2.5, 5.0, 10.0,
            ])
        }))
    }
}

impl RequestSeconds {
    /// Adds a request.
    pub fn observe(&self, labels: &RequestLabels, elapsed: Duration) {
        self.0.get_or_create(labels).observe(elapsed.as_secs_f64());
    }
}

/// What requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `GET` and so on; `other` for a method that no route has.
    pub method: &'static str,
    /// As the router knows it, `/v1/signals/{signal}`; empty for a path that no route has.
    pub route: String,
    /// The status of the answer.
    pub status: u16,
}

/// What unreadable requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UnreadableLabels {
    /// The status of the answer.
    pub status: u16,
}
