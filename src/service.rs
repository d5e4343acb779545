//! What the program does: the only place that holds both store and cache, and the only seam between async and blocking code.
//!
//! Writing is always: commit, then memory, then reply. Reading comes from memory: signals from the cache, overlays from the roster of all
//! of them (`overlays`); what is not there is read from the file on a thread where blocking is allowed. A view is computed on the spot
//! and never kept.

mod backup;
mod clock;
mod missions;
mod overlays;
mod records;
mod roster;
mod tokens;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use backup::BackupState;
use tokio::sync::oneshot;

pub use backup::{Backup, BackupPlan, Health};
pub use clock::{Clock, Stopwatch};
pub use missions::{
    Batch, MissionView, PAGE_BYTES_MAX, PAGE_ROWS_MAX, Page, Separator, SignalCursor, SignalFilter, StatusFilter,
    ViewTag,
};
pub use records::{LINE_BYTES_MAX, LineReader, RecordKind, export_lines};

pub use overlays::FoundOverlay;
use overlays::{Known, Overlays};
use roster::{Names, Roster};

use crate::cache::{Cache, CacheSize, CachedOverlay, CachedSignal};
use crate::domain::{Instruments, Invalid, Market, Object, Rates, SignalId, Tiers, Token, UnixMillis, UserId};
use crate::metrics::Metrics;
use crate::render;
use crate::store::{
    Change, Commit, Condition, Counts, Effect, Operation, Receipt, Refusal, RetryPauses, Snapshot, Store, StoreError,
    WriteError, Writer,
};

/// What the operator decides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Contract sizes, pips and lot steps.
    pub instruments: Instruments,
    /// Limits of the tiers.
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
    /// With more users than this single overlays come from the cache and the file, and only batches hold all of them in memory.
    pub roster_users_max: u64,
}

/// How long a signal lives unless the operator says otherwise: an hour.
pub const SIGNAL_LIFETIME_MS: i64 = 3_600_000;
/// How long writes wait for a copy of the file unless the operator says otherwise: 5 s copy about 1 GB.
pub const COPY_GATE_MS: u64 = 5_000;
/// Most users that are all held in memory for single views: some 450 MB.
pub const ROSTER_USERS_MAX: u64 = 2_000_000;

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
            roster_users_max: ROSTER_USERS_MAX,
        })
    }
}

/// Why a request could not be answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ServiceError {
    /// The record is not there.
    #[error("no {0}")]
    Absent(String),
    /// Another record stands in the way.
    #[error("{0}")]
    Conflict(String),
    /// The condition of a write does not hold.
    #[error("the record is not as the condition expects it")]
    ConditionFailed,
    /// The input breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Too many writes are waiting, or the server is stopping.
    #[error("too many writes are waiting, or the server is stopping")]
    Busy,
    /// The file could not be read.
    #[error("the store failed")]
    Store(#[source] Arc<StoreError>),
    /// A write could not be made durable; it may be tried again.
    #[error("the write could not be made durable")]
    WriteFailed(#[source] Arc<StoreError>),
    /// A backup could not be made.
    #[error("the backup could not be made")]
    BackupFailed(#[source] Arc<StoreError>),
    /// The system has no random numbers, so no token can be made.
    #[error("the system has no random numbers")]
    Randomness(#[from] getrandom::Error),
    /// A worker thread failed; the log has its message.
    #[error("a worker failed")]
    Worker,
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy | StoreError::Stopped => Self::Busy,
            other => Self::Store(Arc::new(other)),
        }
    }
}

impl From<WriteError> for ServiceError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(Refusal::Absent(what)) => Self::Absent(what),
            WriteError::Refused(Refusal::Conflict(detail)) => Self::Conflict(detail),
            WriteError::Refused(Refusal::ConditionFailed) => Self::ConditionFailed,
            WriteError::Refused(Refusal::Invalid(invalid)) => Self::Invalid(invalid),
            WriteError::Failed(error) => Self::WriteFailed(error),
        }
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
    backups: BackupState,
    /// Sets the tags of this run apart from those of any other: tables, program and file may have changed in between.
    run: u32,
}

/// What the writer keeps up to date before it acknowledges.
#[derive(Debug)]
struct Memory {
    cache: Cache,
    overlays: Arc<Overlays>,
    rates: ArcSwap<Rates>,
    tokens: ArcSwap<HashMap<String, Arc<Token>>>,
}

impl Memory {
    fn committed(&self, commit: &Commit<'_>) {
        self.cache.committed(commit);
        self.overlays.committed(commit);
        // There is only one writer, so nothing is put between the look at the old state and the next.
        if commit.changes.iter().any(|change| matches!(change, Change::Rate(..))) {
            let mut rates = Rates::clone(&self.rates.load());
            for change in commit.changes {
                if let Change::Rate(rate, seq) = change {
                    rates.put(rate.clone(), *seq);
                }
            }
            self.rates.store(Arc::new(rates));
        }
        if commit.changes.iter().any(|change| matches!(change, Change::Token(..))) {
            let mut tokens = HashMap::clone(&self.tokens.load());
            for change in commit.changes {
                match change {
                    Change::Token(id, Some(token)) => drop(tokens.insert(id.clone(), Arc::new(token.clone()))),
                    Change::Token(id, None) => drop(tokens.remove(id)),
                    _ => {}
                }
            }
            self.tokens.store(Arc::new(tokens));
        }
    }
}

/// What became of a patch.
#[derive(Clone, Debug)]
pub enum Patched {
    /// The overlay is as the patch wants it.
    Unchanged(FoundOverlay),
    /// The writer has done with it.
    Written(Receipt),
}

impl Patched {
    /// What it did.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::Unchanged(_) => Effect::Unchanged,
            Self::Written(receipt) => receipt.effect,
        }
    }

    /// The number of the change that left the overlay as it is.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Unchanged(found) => found.seq(),
            Self::Written(receipt) => receipt.seq(),
        }
    }

    /// The overlay as it is with that.
    #[must_use]
    pub fn json(&self, service: &Service) -> Vec<u8> {
        match self {
            Self::Unchanged(found) => found.json().to_vec(),
            Self::Written(receipt) => match &receipt.change {
                Change::Overlay(user, Some(stored)) => {
                    // Memory has it rendered, if it has overlays at all and not a later state.
                    let found = service.hot_overlay(user.as_str()).ok().flatten();
                    match found.filter(|found| found.seq() == stored.seq) {
                        Some(found) => found.json().to_vec(),
                        None => render::overlay_json(&stored.overlay),
                    }
                }
                // A patch leaves an overlay.
                _ => Vec::new(),
            },
        }
    }
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
    pub fn start(store: Arc<Store>, settings: Settings) -> Result<Self, StoreError> {
        let snapshot = store.snapshot()?;
        let tokens = snapshot.tokens()?.into_iter().map(|token| (token.id.clone(), Arc::new(token))).collect();
        let memory = Arc::new(Memory {
            cache: Cache::default(),
            overlays: Arc::new(Overlays::new(&settings.tiers, settings.roster_users_max)),
            rates: ArcSwap::from_pointee(snapshot.rates()?),
            tokens: ArcSwap::from_pointee(tokens),
        });
        memory.cache.start_at(snapshot.seq()?);
        let observed = Arc::clone(&memory);
        let writer =
            Writer::start_with(settings.write_retry, Arc::clone(&store), move |commit| observed.committed(commit))?;
        // Milliseconds, as no two starts take less; they come round after seven weeks, to the millisecond.
        let run = u32::try_from(settings.clock.now().millis().rem_euclid(i64::from(u32::MAX))).unwrap_or_default();
        let metrics = Arc::new(Metrics::default());
        let folder = settings.backups.folder.clone().unwrap_or_else(|| store.path().with_file_name("backups"));
        let backups = BackupState::found_in(&folder);
        let shared = Shared { store, writer, memory, settings, metrics, backups, run };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Queues a write.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Busy`] if too many wait.
    pub fn submit(&self, operation: Operation) -> Result<Pending, ServiceError> {
        let (sender, receiver) = oneshot::channel();
        let metrics = Arc::clone(&self.shared.metrics);
        let arrival = Stopwatch::start();
        let acknowledge = Box::new(move |result: Result<Receipt, WriteError>| {
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

    /// Applies a merge patch to an overlay; one that changes nothing is answered without a write.
    ///
    /// # Errors
    ///
    /// [`ServiceError`].
    pub async fn patch_overlay(
        &self,
        user: UserId,
        patch: Object,
        condition: Condition,
    ) -> Result<Patched, ServiceError> {
        let now = self.now();
        // A write under a condition is the writer's to judge. Memory is no older than the last acknowledged write; a write still under way
        // counts as coming after this one.
        let found = if condition == Condition::None { self.hot_overlay(user.as_str()) } else { Ok(None) };
        let found = found.inspect_err(|_| {
            self.shared.metrics.writes_refused.inc();
        })?;
        let Shared { memory, store, .. } = &*self.shared;
        if found.is_none() && !memory.overlays.is_left_to_cache() {
            // Pushes come to stay: with all overlays in memory most of them end here.
            memory.overlays.missed(store);
        }
        if let Some(found) = found
            && if let Some(is_left) = found.account().is_left_by(&patch) {
                is_left
            } else {
                let overlay = found.overlay()?;
                overlay.patched(patch.clone(), now)?.says_the_same(&overlay)
            }
        {
            self.shared.metrics.writes_unchanged.inc();
            return Ok(Patched::Unchanged(found));
        }
        Ok(Patched::Written(self.write(Operation::PatchOverlay { user, patch, now, condition }).await?))
    }

    /// Returns a signal, with its JSON.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`], or [`ServiceError::Store`].
    pub async fn signal(&self, id: &SignalId) -> Result<Arc<CachedSignal>, ServiceError> {
        if let Some(signal) = self.shared.memory.cache.hot_signal(id.as_str()) {
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
    pub async fn overlay(&self, user: &UserId) -> Result<FoundOverlay, ServiceError> {
        if let Some(found) = self.hot_overlay(user.as_str())? {
            return Ok(found);
        }
        let (service, wanted) = (self.clone(), user.clone());
        let found = blocking(move || service.read_overlay(&wanted)).await?;
        found.ok_or_else(|| absent_overlay(user.as_str()))
    }

    /// Returns an overlay if memory has it; `None` if the file has to be asked.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Absent`] if it is known not to be there.
    fn hot_overlay(&self, user: &str) -> Result<Option<FoundOverlay>, ServiceError> {
        let Memory { overlays, cache, .. } = &*self.shared.memory;
        match overlays.find(user) {
            Known::Held(held) => Ok(Some(held.into())),
            Known::Absent => Err(absent_overlay(user)),
            Known::Nothing if overlays.is_left_to_cache() => Ok(cache.hot_overlay(user).map(FoundOverlay::from)),
            Known::Nothing => Ok(None),
        }
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
    pub fn read_overlay(&self, user: &UserId) -> Result<Option<FoundOverlay>, ServiceError> {
        let Shared { memory, store, metrics, .. } = &*self.shared;
        match self.hot_overlay(user.as_str()) {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => {}
            Err(_) => return Ok(None),
        }
        let read = || {
            metrics.cache_misses.inc();
            let stored = store.snapshot()?.overlay(user)?;
            Ok::<_, StoreError>(stored.map(|stored| CachedOverlay::new(Arc::new(stored))))
        };
        if memory.overlays.is_left_to_cache() {
            return Ok(memory.cache.overlay(user, read)?.map(FoundOverlay::from));
        }
        memory.overlays.missed(store);
        Ok(read()?.map(|read| Arc::new(read).into()))
    }

    /// Returns a roster that is as new as the last acknowledged write.
    async fn roster(&self) -> Result<Arc<Roster>, ServiceError> {
        if let Some(roster) = self.shared.memory.overlays.roster_soon() {
            return Ok(roster);
        }
        let service = self.clone();
        blocking(move || Ok(service.shared.memory.overlays.roster(&service.shared.store)?)).await
    }

    /// All rates.
    #[must_use]
    pub fn rates(&self) -> Arc<Rates> {
        self.shared.memory.rates.load_full()
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
        let (roster_users, roster_bytes) = self.shared.memory.overlays.size();
        Ok(Stats {
            seq: snapshot.seq()?,
            counts: snapshot.counts()?,
            cache: self.shared.memory.cache.size(),
            roster_users,
            roster_bytes,
            file_bytes,
        })
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Forgets what is in memory of signals and overlays, so that the next readers go to the file: for those who measure
    /// or test that way.
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

    /// The number that sets the entity tags of this run apart from those of any other.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.shared.run
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.shared.store.path()
    }

    /// Writes and acknowledges what is queued, then stops writing for good. Blocks.
    pub fn stop(&self) {
        self.shared.writer.stop();
        self.shared.memory.overlays.stop();
    }

    fn market<'a>(&'a self, rates: &'a Rates) -> Market<'a> {
        let Settings { instruments, tiers, .. } = &self.shared.settings;
        Market { instruments, tiers, rates }
    }

    /// The names that overlays in memory point to.
    fn names(&self) -> &Names {
        &self.shared.memory.overlays.names
    }
}

fn absent_overlay(user: &str) -> ServiceError {
    ServiceError::Absent(format!("overlay for user {user}"))
}

/// What `stats` shows.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// The number of the last commit.
    pub seq: u64,
    /// Records in the file.
    pub counts: Counts,
    /// Records in memory.
    pub cache: CacheSize,
    /// Users whose overlays are all in memory; none until some were asked for.
    pub roster_users: usize,
    /// What the roster takes in memory.
    pub roster_bytes: usize,
    /// Length of the file.
    pub file_bytes: u64,
}

/// Runs something that reads the file where blocking is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ServiceError::Worker)?
}
