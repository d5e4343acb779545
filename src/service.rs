//! What the program does: the only place that holds both store and cache, and the only seam between async and blocking
//! code.
//!
//! A write that changes something is always: commit, then memory, then reply. Reads come from memory: signals with
//! their outcomes from the cache, overlays from the roster (`overlays`); rates and tokens are always in memory. What is
//! not there is read from the file, on a thread that may block. A view is computed for each read and never kept.

mod backup;
mod blocking;
mod changes;
mod clock;
mod doctor;
mod error;
mod export;
mod follow;
mod health;
mod import;
mod lines;
mod lists;
mod missions;
mod overlays;
mod prune;
mod records;
mod roster;
mod rules;
mod savings;
mod shortlist;
mod tokens;
mod upkeep;
mod users;
mod writes;

use std::collections::HashMap;
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use backup::BackupState;
pub use backup::{BACKUPS, Backup, BackupPlan, Download, NewestBackup};
use blocking::blocking;
pub use blocking::give_way;
use changes::Changes;
pub use clock::{Clock, Stopwatch};
pub use doctor::{Finding, Severity};
pub use error::ServiceError;
pub use follow::{ChangesPage, Follower};
pub use health::Health;
pub use import::{Import, ImportCounts, ImportEffect, Imported};
pub use lines::{LINE_BYTES_MAX, Line, LineSplitter, without_marks};
pub use lists::{Asked, ListTag, Listed, PAGE_BYTES_MAX, Page};
pub use missions::{
    Batch, MissionCounts, MissionRows, MissionView, PAGE_ROWS_MAX, Separator, SignalCursor, SignalFilter, StatusFilter,
    ViewTag,
};
pub use prune::Pruned;
pub use records::{LineReader, export_lines};
pub use tokens::{HeldToken, TokenCheck};
pub use users::UserFilter;
pub use writes::{Patched, Written};

pub use overlays::RosterSize;
use overlays::{Confirmation, Lookup, Overlays};
use roster::Basis;
pub use roster::RenderedOverlay;
use rules::Rules;
pub use rules::{RuleChanges, TableChanges};

use crate::cache::{Cache, CacheSize, CachedSignal};
use crate::domain::{
    Cursor, Instruments, Invalid, MaxAge, MaxAges, Rate, Rates, SignalId, Tiers, UnixMillis, UserId,
    confirmation_after_write,
};
use crate::metrics::Metrics;
use crate::store::{
    Change, Commit, Counts, Effect, Operation, Receipt, RetryPauses, Snapshot, Store, StoreError, WriteError, Writer,
};

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Contract sizes, pips and lot steps; [`Service::replace_tables`] replaces them.
    pub instruments: Instruments,
    /// Limits of the tiers; replaced likewise.
    pub tiers: Tiers,
    /// How long a signal lives that names no expiry, in milliseconds.
    pub signal_lifetime_ms: i64,
    /// Where the time comes from.
    pub clock: Clock,
    /// How long writes wait for one copy of the file that another process makes, in milliseconds; 0: not at all.
    pub copy_gate_ms: u64,
    /// How long the writer waits before it tries a failed disk again.
    pub write_retry: RetryPauses,
    /// Where backups go.
    pub backups: BackupPlan,
    /// Memory that overlays may take, in bytes; a write that needs more is refused.
    pub overlays_bytes_max: u64,
    /// How old rates and balances may be.
    pub max_ages: MaxAges,
}

/// How long a signal lives unless the operator says otherwise: an hour.
pub const SIGNAL_LIFETIME_MS: i64 = 3_600_000;
/// How long writes wait for a copy of the file unless the operator says otherwise: 5 s copy about 1 GB.
pub const COPY_GATE_MS: u64 = 5_000;
/// Memory that overlays may take unless the operator says otherwise: some 3,000,000 users.
pub const OVERLAYS_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How old rates may be unless the operator says otherwise: a week, so that a holiday of the markets stops nothing.
/// Balances may have any age.
pub const MAX_AGES: MaxAges = MaxAges { rate: Some(MaxAge::from_millis(168 * 3_600_000)), balance: None };

impl Settings {
    /// The built-in tables, an hour, the machine's clock.
    ///
    /// # Errors
    ///
    /// None in a tested build: the tables are compiled in.
    pub fn built_in() -> Result<Self, Invalid> {
        Ok(Self {
            instruments: Instruments::built_in()?,
            tiers: Tiers::built_in()?,
            signal_lifetime_ms: SIGNAL_LIFETIME_MS,
            clock: Clock::System,
            copy_gate_ms: COPY_GATE_MS,
            write_retry: RetryPauses::default(),
            backups: BackupPlan::default(),
            overlays_bytes_max: OVERLAYS_BYTES_MAX,
            max_ages: MAX_AGES,
        })
    }
}

/// Everything the program does; a handle that is cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<Store>,
    writer: Writer,
    memory: Arc<Memory>,
    settings: Settings,
    metrics: Arc<Metrics>,
    /// What imports may have in the writer's queue together; see `import`.
    import_share: Arc<Semaphore>,
    /// Exports that may be under way; see `export`.
    exports: Arc<Semaphore>,
    backups: BackupState,
    started: Stopwatch,
}

/// What the writer keeps up to date before it acknowledges.
#[derive(Debug)]
struct Memory {
    cache: Cache,
    overlays: Arc<Overlays>,
    rates: RwLock<Arc<Rates>>,
    tokens: RwLock<Arc<HashMap<String, Arc<HeldToken>>>>,
    /// The number of the last change that memory shows.
    newest: AtomicU64,
    changes: Changes,
}

impl Memory {
    fn committed(&self, commit: &Commit<'_>, now: UnixMillis) {
        self.cache.committed(commit);
        self.overlays.committed(commit, now);
        for change in commit.changes {
            match change {
                Change::Rate(rate, seq) => update(&self.rates, |rates| {
                    let mut rate = rate.clone();
                    if let Some((held, _)) = rates.get(&rate.pair).filter(|(held, _)| held.price == rate.price) {
                        rate.confirmed_at = confirmation_after_write(rate.confirmed_at, held.confirmed_at, now);
                    }
                    rates.put(rate, *seq);
                }),
                Change::Token(id, Some(token)) => {
                    update(&self.tokens, |tokens| HeldToken::put(tokens, id, token.clone()));
                }
                Change::Token(id, None) => update(&self.tokens, |tokens| drop(tokens.remove(id))),
                Change::Signal(_)
                | Change::SignalDeleted(_)
                | Change::Overlay(..)
                | Change::Outcome(..)
                | Change::OutcomeDeleted(..) => {}
            }
        }
        // Last: a reader that is told of a change, or asks for the number first, must not read older records after it.
        // In this order: followers know each number that a reader is given.
        self.changes.committed(commit);
        self.newest.store(commit.seq, Ordering::Release);
    }

    /// Notes a confirmation that is not stored; by the one writer, before it acknowledges the write.
    fn confirmed(&self, receipt: &Receipt, now: UnixMillis) {
        match (&receipt.change, receipt.confirmed_at) {
            (Change::Rate(rate, _), Some(confirmed_at)) => {
                update(&self.rates, |rates| rates.confirm(&Rate { confirmed_at, ..rate.clone() }, now));
            }
            (Change::Overlay(user, Some(stored)), Some(confirmed_at)) => {
                let (seq, overlay) = (stored.seq, &stored.overlay);
                let (stored_at, at) = (overlay.balance_confirmed_at, confirmed_at);
                let basis = Basis::of(overlay, &self.overlays.currencies);
                self.overlays.confirm(user, Confirmation { seq, basis, stored_at, at, now });
            }
            _ => {}
        }
    }
}

fn current<T>(shared: &RwLock<Arc<T>>) -> Arc<T> {
    Arc::clone(&shared.read().unwrap_or_else(PoisonError::into_inner))
}

/// Changes the value for later readers; earlier readers keep the old one.
fn update<T: Clone>(shared: &RwLock<Arc<T>>, change: impl FnOnce(&mut T)) {
    change(Arc::make_mut(&mut shared.write().unwrap_or_else(PoisonError::into_inner)));
}

/// A write on its way.
#[derive(Debug)]
#[must_use = "the write may yet be refused"]
pub struct Pending(oneshot::Receiver<Result<Receipt, WriteError>>);

impl Pending {
    /// Waits for the acknowledgement.
    ///
    /// # Errors
    ///
    /// [`ServiceError`]; [`ServiceError::Busy`] if the writer stopped before it came to this write.
    pub async fn done(self) -> Result<Receipt, ServiceError> {
        Ok(self.0.await.map_err(|_| ServiceError::Busy)??)
    }

    /// Waits for the acknowledgement, on a thread that may block.
    ///
    /// # Errors
    ///
    /// As [`Pending::done`].
    pub fn done_blocking(self) -> Result<Receipt, ServiceError> {
        Ok(self.0.blocking_recv().map_err(|_| ServiceError::Busy)??)
    }
}

impl Service {
    /// Opens the database at `path`, or makes one, and starts the writer.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn open(path: &Path, settings: Settings) -> Result<Self, StoreError> {
        let limit = Duration::from_millis(settings.copy_gate_ms);
        Self::start(Store::open_or_create_behind_gate(path, limit)?, settings)
    }

    /// Starts the writer on an open database.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn start(store: Arc<Store>, mut settings: Settings) -> Result<Self, StoreError> {
        // Moved, as they may be replaced.
        let tables = (mem::take(&mut settings.instruments), mem::take(&mut settings.tiers));
        let rules = Rules::new(tables.0, tables.1, settings.max_ages);
        let snapshot = store.snapshot()?;
        let tokens = snapshot.tokens()?.into_iter().map(|token| (token.id.clone(), Arc::new(HeldToken::new(token))));
        let memory = Arc::new(Memory {
            cache: Cache::default(),
            overlays: Arc::new(Overlays::new(rules, settings.overlays_bytes_max)),
            rates: RwLock::new(Arc::new(snapshot.rates()?)),
            tokens: RwLock::new(Arc::new(tokens.collect())),
            newest: AtomicU64::new(snapshot.seq()?),
            changes: Changes::new(snapshot.seq()?),
        });
        let (memory_of_writer, clock) = (Arc::clone(&memory), settings.clock.clone());
        let observer = move |commit: &Commit<'_>| memory_of_writer.committed(commit, clock.now());
        let writer = Writer::start_with(settings.write_retry, settings.max_ages, Arc::clone(&store), observer)?;
        let metrics = Arc::new(Metrics::default());
        let folder = settings.backups.folder.clone().unwrap_or_else(|| store.path().with_file_name(BACKUPS));
        let backups = BackupState::found_in(&folder, snapshot.seq()?, settings.clock.now());
        let import_share = Arc::new(Semaphore::new(import::SHARE));
        let exports = Arc::new(Semaphore::new(export::AT_ONCE));
        let started = Stopwatch::start();
        let shared = Shared { store, writer, memory, settings, metrics, import_share, exports, backups, started };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Checks that the overlays of the file fit in memory, by an estimate from the first of them: a server with more
    /// than it may hold would fail at the first list.
    ///
    /// # Errors
    ///
    /// [`ServiceError::TooManyOverlays`], or [`ServiceError::Store`].
    pub fn check_overlays_memory(&self) -> Result<(), ServiceError> {
        self.shared.memory.overlays.check_file(&self.snapshot()?)
    }

    /// Queues a write.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if too many wait; [`ServiceError::TooManyOverlays`] if an overlay does not fit in memory.
    pub fn submit(&self, operation: Operation) -> Result<Pending, ServiceError> {
        self.submit_with(operation, None)
    }

    /// Queues a write that gives `share` back when it is acknowledged, or refused.
    fn submit_with(&self, operation: Operation, share: Option<OwnedSemaphorePermit>) -> Result<Pending, ServiceError> {
        let Shared { memory, store, metrics, .. } = &*self.shared;
        if matches!(operation, Operation::PutOverlay { .. } | Operation::PatchOverlay { .. }) {
            // Clients push again and again: with all overlays in memory most pushes need no write.
            memory.overlays.fill_after_misses(store);
            memory.overlays.check_memory(&operation).inspect_err(|_| {
                metrics.writes_refused.inc();
            })?;
        }
        let (sender, receiver) = oneshot::channel();
        let (metrics, memory, now) = (Arc::clone(metrics), Arc::clone(memory), self.now());
        let arrival = Stopwatch::start();
        let acknowledge = Box::new(move |result: Result<Receipt, WriteError>| {
            drop(share);
            if let Ok(receipt) = &result {
                memory.confirmed(receipt, now);
            }
            metrics.write_seconds.observe(arrival.seconds());
            match &result {
                Ok(Receipt { effect: Effect::Unchanged | Effect::Kept, .. }) => metrics.writes_unchanged.inc(),
                Ok(_) => metrics.writes_changed.inc(),
                Err(WriteError::Refused(_)) => metrics.writes_refused.inc(),
                Err(WriteError::Failed(_)) => metrics.writes_failed.inc(),
            };
            // A caller that has gone away does not want the receipt; the write stands.
            drop(sender.send(result));
        });
        self.shared.writer.submit(operation, acknowledge).inspect_err(|_| {
            self.shared.metrics.writes_turned_away.inc();
        })?;
        Ok(Pending(receiver))
    }

    /// Writes, and waits until the write is on the disk and every read shows it.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn write(&self, operation: Operation) -> Result<Receipt, ServiceError> {
        self.submit(operation)?.done().await
    }

    /// Returns a signal, with its JSON.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`], or [`ServiceError::Store`].
    pub async fn signal(&self, id: &SignalId) -> Result<Arc<CachedSignal>, ServiceError> {
        if let Some(signal) = self.shared.memory.cache.cached_signal(id.as_str()) {
            self.shared.metrics.cache_hits.inc();
            return Ok(signal);
        }
        let (service, wanted) = (self.clone(), id.clone());
        let signal = blocking(move || service.read_signal(&wanted)).await?;
        signal.ok_or_else(|| ServiceError::Absent(format!("signal {id}")))
    }

    /// Returns a user's overlay, with its JSON.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`], or [`ServiceError::Store`].
    pub async fn overlay(&self, user: &UserId) -> Result<RenderedOverlay, ServiceError> {
        if let Some(found) = self.overlay_in_memory(user.as_str())? {
            self.shared.metrics.cache_hits.inc();
            return Ok(found);
        }
        let (service, wanted) = (self.clone(), user.clone());
        let found = blocking(move || service.overlay_in_file(&wanted)).await?;
        found.ok_or_else(|| absent_overlay(user.as_str()))
    }

    /// Returns an overlay if memory has it; `None` if the file has to be asked.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`] if it is known not to be there.
    fn overlay_in_memory(&self, user: &str) -> Result<Option<RenderedOverlay>, ServiceError> {
        match self.shared.memory.overlays.find(user) {
            Lookup::Found(overlay) => Ok(Some(overlay)),
            Lookup::Absent => Err(absent_overlay(user)),
            Lookup::Unknown => Ok(None),
        }
    }

    fn overlay_in_file(&self, user: &UserId) -> Result<Option<RenderedOverlay>, ServiceError> {
        let Shared { memory, store, metrics, .. } = &*self.shared;
        metrics.cache_misses.inc();
        memory.overlays.fill_after_misses(store);
        Ok(store.snapshot()?.overlay(user)?.map(|stored| memory.overlays.render_from_file(&stored)))
    }

    /// Returns a signal from the cache or the file, on a thread that may block.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub fn read_signal(&self, id: &SignalId) -> Result<Option<Arc<CachedSignal>>, ServiceError> {
        self.shared.memory.cache.signal(id, || {
            self.shared.metrics.cache_misses.inc();
            let snapshot = self.shared.store.snapshot()?;
            let Some(stored) = snapshot.signal(id)? else { return Ok(None) };
            let outcomes =
                snapshot.outcomes_on(stored.number)?.map(|row| row.map(Arc::new)).collect::<Result<_, _>>()?;
            Ok(Some(CachedSignal::new(stored, outcomes)))
        })
    }

    /// Returns an overlay from memory or the file, on a thread that may block.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub fn read_overlay(&self, user: &UserId) -> Result<Option<RenderedOverlay>, ServiceError> {
        match self.shared.memory.overlays.find(user.as_str()) {
            Lookup::Found(overlay) => Ok(Some(overlay)),
            Lookup::Absent => Ok(None),
            Lookup::Unknown => self.overlay_in_file(user),
        }
    }

    /// All rates.
    #[must_use]
    pub fn rates(&self) -> Arc<Rates> {
        current(&self.shared.memory.rates)
    }

    /// Takes a snapshot of the file, on a thread that may block.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub fn snapshot(&self) -> Result<Snapshot, ServiceError> {
        Ok(self.shared.store.snapshot()?)
    }

    /// Counts records and what is in memory.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`].
    pub fn stats(&self) -> Result<Stats, ServiceError> {
        let snapshot = self.shared.store.snapshot()?;
        let file_bytes = std::fs::metadata(self.shared.store.path()).map_or(0, |file| file.len());
        Ok(Stats {
            seq: snapshot.seq()?,
            counts: snapshot.counts()?,
            cache: self.shared.memory.cache.size(),
            roster: self.shared.memory.overlays.size(),
            file_bytes,
        })
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Empties the cache and the roster, so that the next readers read the file: for benchmarks and tests.
    pub fn clear_cache(&self) {
        self.shared.memory.cache.clear();
        self.shared.memory.overlays.clear();
    }

    /// The time now.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.shared.settings.clock.now()
    }

    /// How long a signal lives that names no expiry, in milliseconds.
    #[must_use]
    pub fn lifetime_ms(&self) -> i64 {
        self.shared.settings.signal_lifetime_ms
    }

    /// How long ago the service was started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// The number of this run of the server.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.shared.store.runs().this()
    }

    /// The hash of the rules by which answers are computed: the tables, the settings and the program's own.
    #[must_use]
    pub fn rules(&self) -> u32 {
        self.current_rules().hash()
    }

    fn current_rules(&self) -> Arc<Rules> {
        self.shared.memory.overlays.rules()
    }

    /// The name of the change with this number, which is made or the next to come.
    #[must_use]
    pub fn cursor_of(&self, seq: u64) -> Cursor {
        self.shared.store.runs().cursor_of(seq)
    }

    /// The newest change that every read from now on shows.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor_of(self.shared.memory.newest.load(Ordering::Acquire))
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.store.path()
    }

    /// Writes and acknowledges what is queued, then stops writing for good. Blocks.
    pub fn stop(&self) {
        self.end_followers();
        self.shared.writer.stop();
        self.shared.memory.overlays.stop();
    }

    /// Replaces the tables that missions are computed by; every read that starts after the return is by the new ones.
    /// Returns what they change. On a thread that may block: overlays in memory are read again.
    #[must_use]
    pub fn replace_tables(&self, instruments: Instruments, tiers: Tiers) -> RuleChanges {
        let Shared { memory, store, .. } = &*self.shared;
        let old = memory.overlays.rules();
        let new = old.with_tables(instruments, tiers);
        let changes = old.changes_to(&new);
        if !changes.is_empty() {
            memory.overlays.replace_rules(store, new);
        }
        changes
    }
}

fn absent_overlay(user: &str) -> ServiceError {
    ServiceError::Absent(format!("overlay for user {user}"))
}

/// What `stats` shows.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// The number of the last change.
    pub seq: u64,
    /// Records in the file.
    pub counts: Counts,
    /// Signals in memory.
    pub cache: CacheSize,
    /// Overlays in memory.
    pub roster: RosterSize,
    /// Length of the file.
    pub file_bytes: u64,
}
