//! The cache of signals: decoded records with their JSON, their outcomes and the templates of their views, an hour
//! each.
//!
//! It never holds views, and never the fact that a signal is absent. Overlays are in memory too, in the roster of the
//! [`service`](crate::service). The order of steps makes this more than a map: a read that starts after a write was
//! acknowledged never sees the state before the write.
//!
//! - The writer commits, notes the number of the last change, of whatever record it was, replaces the signal if the
//!   cache has it, or removes it if it was deleted, and acknowledges ([`Cache::committed`]).
//! - A reader that misses notes that number, reads the file, and puts the signal only if the number has not moved,
//!   which it checks under the key's lock ([`Cache::signal`]). If it moved, a commit may have overtaken the read: the
//!   value is good for this reader, whose request started before that write was acknowledged, but not for the next one.
//!
//! moka's lock on the key serialises the puts of one key. If the reader's put comes first, the writer replaces it
//! before the acknowledgement; if the writer finds nothing to replace, the number has moved and the reader puts
//! nothing. The writer *removes* a key that it does not find: moka only hides an expired entry, and shows it for a
//! moment when another is put over it. A plain `get_with` and `invalidate` has no such order: a reader could put an old
//! value, read before the commit, after the invalidation, and it would stay.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use moka::ops::compute::Op;

use crate::domain::SignalId;
use crate::render::{self, ViewTemplate};
use crate::store::{Change, Commit, StoredOutcome, StoredSignal};

/// Memory for signals: those of a busy day, 1,000, fit several times.
const BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How long a signal stays: most are traded for less than an hour.
const LIFETIME: Duration = Duration::from_hours(1);
/// Most currencies for which a signal keeps templates: accounts hold few.
const CURRENCIES_MAX: usize = 16;
/// Bytes of an entry beside the text of its record.
const ENTRY_BYTES: usize = 384;

/// A signal, its JSON, and its outcomes.
#[derive(Debug)]
pub struct CachedSignal {
    /// The record.
    pub stored: StoredSignal,
    /// The record as [`render::signal_json`] renders it.
    pub json: Box<[u8]>,
    /// In the order of users.
    outcomes: Vec<Arc<StoredOutcome>>,
    /// The templates of its views in the currencies that readers asked for.
    templates: RwLock<Vec<CachedTemplate>>,
}

/// The template of a signal's views in one currency, under one state of the rates and the rules.
#[derive(Debug)]
struct CachedTemplate {
    /// The caller's number of the currency.
    currency: usize,
    versions: (u64, u32),
    template: Arc<ViewTemplate>,
}

impl CachedSignal {
    /// Prepares an entry; `outcomes` are in the order of users.
    #[must_use]
    pub fn new(stored: StoredSignal, outcomes: Vec<Arc<StoredOutcome>>) -> Self {
        let json = render::signal_json(&stored.signal).into_boxed_slice();
        Self { stored, json, outcomes, templates: RwLock::default() }
    }

    /// Returns the template of the signal's views in a currency; the first call makes it by `make`, which takes longer
    /// than a view.
    ///
    /// - `currency`: the caller's number of the currency, which must not change.
    /// - `versions`: [`Rates::version`](crate::domain::Rates::version) of the rates and the hash of the rules that
    ///   `make` uses.
    pub fn template(
        &self,
        currency: usize,
        versions: (u64, u32),
        make: impl FnOnce() -> ViewTemplate,
    ) -> Arc<ViewTemplate> {
        let is_wanted = |cached: &CachedTemplate| cached.versions == versions && cached.currency == currency;
        let cached = self.templates.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cached) = cached.iter().find(|cached| is_wanted(cached)) {
            return Arc::clone(&cached.template);
        }
        drop(cached);
        let template = Arc::new(make());
        let mut cached = self.templates.write().unwrap_or_else(PoisonError::into_inner);
        cached.retain(|cached| cached.versions == versions && cached.currency != currency);
        if cached.len() < CURRENCIES_MAX {
            cached.push(CachedTemplate { currency, versions, template: Arc::clone(&template) });
        }
        template
    }

    /// Returns the outcome of a user on this signal.
    #[must_use]
    pub fn outcome(&self, user: &str) -> Option<&Arc<StoredOutcome>> {
        self.outcomes.get(place_of(&self.outcomes, user).ok()?)
    }

    /// Returns all its outcomes, in the order of users.
    #[must_use]
    pub fn outcomes(&self) -> &[Arc<StoredOutcome>] {
        &self.outcomes
    }

    /// The signal as some changes of it and of its outcomes leave it, none of which deletes it.
    fn with(&self, changes: &[&Change]) -> Self {
        let mut outcomes = self.outcomes.clone();
        let mut replaced = None;
        for change in changes {
            match change {
                Change::Signal(stored) => replaced = Some(stored),
                Change::Outcome(_, outcome) => match place_of(&outcomes, outcome.outcome.user_id.as_str()) {
                    Ok(at) => outcomes.get_mut(at).map_or((), |place| *place = Arc::clone(outcome)),
                    Err(at) => outcomes.insert(at, Arc::clone(outcome)),
                },
                Change::OutcomeDeleted(_, user) => {
                    if let Ok(at) = place_of(&outcomes, user.as_str()) {
                        outcomes.remove(at);
                    }
                }
                Change::SignalDeleted(_) | Change::Overlay(..) | Change::Rate(..) | Change::Token(..) => {}
            }
        }
        match replaced {
            Some(stored) => Self::new((**stored).clone(), outcomes),
            None => {
                Self { stored: self.stored.clone(), json: self.json.clone(), outcomes, templates: RwLock::default() }
            }
        }
    }

    fn weight(&self) -> u32 {
        let bytes = 2 * self.json.len() + ENTRY_BYTES * (1 + self.outcomes.len());
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

/// Where a user's outcome stands, or would.
fn place_of(outcomes: &[Arc<StoredOutcome>], user: &str) -> Result<usize, usize> {
    outcomes.binary_search_by(|stored| stored.outcome.user_id.as_str().cmp(user))
}

/// The signal whose entry a change concerns.
fn signal_of(change: &Change) -> Option<&SignalId> {
    match change {
        Change::Signal(stored) => Some(&stored.signal.id),
        Change::Outcome(_, stored) => Some(&stored.outcome.signal_id),
        Change::SignalDeleted(id) | Change::OutcomeDeleted(id, _) => Some(id),
        Change::Overlay(..) | Change::Rate(..) | Change::Token(..) => None,
    }
}

/// Signals in memory.
#[derive(Debug)]
pub struct Cache {
    signals: moka::sync::Cache<SignalId, Arc<CachedSignal>>,
    /// The number of the last change that the cache was told of; 0 before the first.
    commits: AtomicU64,
}

impl Default for Cache {
    fn default() -> Self {
        let signals = moka::sync::Cache::builder().max_capacity(BYTES_MAX).time_to_live(LIFETIME);
        let signals = signals.weigher(|_, signal: &Arc<CachedSignal>| signal.weight()).build();
        Self { signals, commits: AtomicU64::new(0) }
    }
}

impl Cache {
    /// Returns a signal if it is in memory.
    #[must_use]
    pub fn cached_signal(&self, id: &str) -> Option<Arc<CachedSignal>> {
        self.signals.get(id)
    }

    /// Returns a signal, by `read`ing it from the file if it is not in memory.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn signal<E>(
        &self,
        id: &SignalId,
        read: impl FnOnce() -> Result<Option<CachedSignal>, E>,
    ) -> Result<Option<Arc<CachedSignal>>, E> {
        if let Some(signal) = self.cached_signal(id.as_str()) {
            return Ok(Some(signal));
        }
        let commits_before = self.commits.load(Ordering::SeqCst);
        let Some(signal) = read()?.map(Arc::new) else { return Ok(None) };
        self.signals.entry(id.clone()).and_compute_with(|_| {
            // Under the id's lock: a writer's put comes either before this check or after this put.
            let is_newest = self.commits.load(Ordering::SeqCst) == commits_before;
            if is_newest { Op::Put(Arc::clone(&signal)) } else { Op::Nop }
        });
        Ok(Some(signal))
    }

    /// Applies a commit: after it is durable, before it is acknowledged, by the one writer.
    pub fn committed(&self, commit: &Commit<'_>) {
        // Before the puts: a reader that read the file before this commit could otherwise put its old value after them.
        self.commits.store(commit.seq, Ordering::SeqCst);
        let mut signals: BTreeMap<&SignalId, Vec<&Change>> = BTreeMap::new();
        for change in commit.changes {
            if let Some(id) = signal_of(change) {
                signals.entry(id).or_default().push(change);
            }
        }
        for (id, changes) in signals {
            let is_deleted = changes.iter().any(|change| matches!(change, Change::SignalDeleted(_)));
            self.signals.entry(id.clone()).and_compute_with(|old| match old {
                Some(old) if !is_deleted => Op::Put(Arc::new(old.value().with(&changes))),
                // Without an old entry the outcomes are only in the file; the next reader fetches them. Likewise after
                // a delete, behind which the same id may have been published again: what the file has is the newest.
                Some(_) | None => Op::Remove,
            });
        }
    }

    /// Empties the cache, so that the next readers read the file: for benchmarks and tests.
    ///
    /// It may be called at any time, as no reader relies on an entry.
    pub fn clear(&self) {
        self.signals.invalidate_all();
    }

    /// How many signals are in memory, and their weight in bytes.
    #[must_use]
    pub fn size(&self) -> CacheSize {
        CacheSize { signals: self.signals.entry_count(), bytes: self.signals.weighted_size() }
    }
}

/// How full the cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSize {
    /// Signals in memory.
    pub signals: u64,
    /// Their weight in bytes.
    pub bytes: u64,
}
