//! The cache in front of the store: decoded records with their JSON.
//!
//! It holds signals, and overlays where there are too many users to hold all (see [`service`](crate::service)); never views, and never
//! the news that something is absent. What makes it more than a map is the order of things, by which no read that begins after a write
//! was acknowledged sees what was there before it:
//!
//! - The writer commits, then raises the commit counter, then replaces the record here if it is here, then acknowledges
//!   ([`Cache::committed`]).
//! - A reader that misses notes the counter, reads the file, and puts what it read only if the counter has not moved, all under the
//!   key's lock ([`Cache::overlay`]). If the counter moved, a commit may have overtaken the read; the value is good for this reader,
//!   whose request began before that write was acknowledged, but not for the next.
//!
//! In front of moka, whose look-up costs more than the rest of a view, stand the signals that were asked for last.
//!
//! Puts of one key are serialised by moka's lock on the key. If the reader's put comes first, the writer's replaces it before the
//! acknowledgement; if the writer finds nothing to replace, the counter has moved and the reader puts nothing. The writer *removes* what it
//! does not find: an entry whose time is over is still there, only hidden, and moka shows it for a moment when another is put over it. A plain `get_with` and
//! `invalidate` has no such order: an old value read before the commit can be put after the invalidation, to stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use crossbeam_utils::CachePadded;
use moka::ops::compute::Op;

use crate::domain::{SignalId, UserId};
use crate::render::{self, ViewFrame};
use crate::store::{Change, Commit, StoredOutcome, StoredOverlay, StoredSignal};

/// Memory for signals: a busy day of 1,000 fits several times.
const SIGNALS_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Memory for overlays: well above 10,000 users.
const OVERLAYS_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a signal stays: as long as most are traded.
const SIGNAL_LIFE: Duration = Duration::from_hours(1);
/// How long an overlay stays.
const OVERLAY_LIFE: Duration = Duration::from_hours(24);
/// Most currencies that a signal's frames are kept for: accounts hold few.
const CURRENCIES_MAX: usize = 16;
/// Places for signals that were asked for last: a busy day's that are not expired.
const RECENT_PLACES: usize = 64;
/// Of so many requests for a signal whose place another has, one gives it the place.
const OUSTED_IN: u32 = 32;
/// What an entry costs beside the text of its record.
const ENTRY_BYTES: usize = 384;

/// A signal, its JSON, and what has happened on it.
#[derive(Debug)]
pub struct CachedSignal {
    /// The record.
    pub stored: StoredSignal,
    /// What [`render::signal_json`] makes of it.
    pub json: Box<[u8]>,
    /// Its outcomes, in the order of users.
    outcomes: Vec<Arc<StoredOutcome>>,
    /// What its views have in common, for the currencies that were asked for.
    frames: ArcSwap<Vec<KnownFrame>>,
}

/// What the views of a signal have in common in one currency, under one state of the rates.
#[derive(Clone, Debug)]
struct KnownFrame {
    /// The number by which the caller knows it.
    currency: usize,
    rates_seq: u64,
    frame: Arc<ViewFrame>,
}

/// An overlay and its JSON.
#[derive(Debug)]
pub struct CachedOverlay {
    /// The record.
    pub stored: Arc<StoredOverlay>,
    /// What [`render::overlay_json`] makes of it.
    pub json: Box<[u8]>,
}

impl CachedSignal {
    /// Prepares an entry; `outcomes` are in the order of users.
    #[must_use]
    pub fn new(stored: StoredSignal, outcomes: Vec<Arc<StoredOutcome>>) -> Self {
        let json = render::signal_json(&stored.signal).into_boxed_slice();
        Self { stored, json, outcomes, frames: ArcSwap::default() }
    }

    /// Gives what the signal's views have in common in a currency, made by `make` the first time: the fractions take longer than a whole
    /// view.
    ///
    /// - `currency`: a number that stands for it; always the same one for a currency.
    /// - `rates_seq`: [`Rates::seq`](crate::domain::Rates::seq) of the rates that `make` uses.
    pub fn with_frame<T>(
        &self,
        currency: usize,
        rates_seq: u64,
        make: impl FnOnce() -> ViewFrame,
        use_it: impl FnOnce(&Arc<ViewFrame>) -> T,
    ) -> T {
        let is_wanted = |known: &&KnownFrame| known.rates_seq == rates_seq && known.currency == currency;
        if let Some(known) = self.frames.load().iter().find(is_wanted) {
            return use_it(&known.frame);
        }
        let frame = Arc::new(make());
        self.keep_frame(&KnownFrame { currency, rates_seq, frame: Arc::clone(&frame) });
        use_it(&frame)
    }

    #[cold]
    fn keep_frame(&self, new: &KnownFrame) {
        let is_other = |known: &&KnownFrame| known.rates_seq == new.rates_seq && known.currency != new.currency;
        let is_full = self.frames.load().iter().filter(is_other).count() >= CURRENCIES_MAX;
        if !is_full {
            self.frames.rcu(|known| {
                known.iter().filter(is_other).take(CURRENCIES_MAX - 1).chain([new]).cloned().collect::<Vec<_>>()
            });
        }
    }

    /// What happened for a user on this signal.
    #[must_use]
    pub fn outcome(&self, user: &str) -> Option<&Arc<StoredOutcome>> {
        let at = self.outcomes.binary_search_by(|stored| stored.outcome.user_id.as_str().cmp(user)).ok()?;
        self.outcomes.get(at)
    }

    /// All that has happened on it, in the order of users.
    #[must_use]
    pub fn outcomes(&self) -> &[Arc<StoredOutcome>] {
        &self.outcomes
    }

    fn with_outcomes<'a>(&self, changed: impl Iterator<Item = &'a Arc<StoredOutcome>>) -> Self {
        let mut outcomes = self.outcomes.clone();
        for outcome in changed {
            let user = &outcome.outcome.user_id;
            match outcomes.binary_search_by(|stored| stored.outcome.user_id.cmp(user)) {
                Ok(at) => outcomes.get_mut(at).map_or((), |place| *place = Arc::clone(outcome)),
                Err(at) => outcomes.insert(at, Arc::clone(outcome)),
            }
        }
        Self { stored: self.stored.clone(), json: self.json.clone(), outcomes, frames: ArcSwap::default() }
    }

    fn weight(&self) -> u32 {
        weight(2 * self.json.len() + ENTRY_BYTES * self.outcomes.len())
    }
}

impl CachedOverlay {
    /// Prepares an entry.
    #[must_use]
    pub fn new(stored: Arc<StoredOverlay>) -> Self {
        let json = render::overlay_json(&stored.overlay).into_boxed_slice();
        Self { stored, json }
    }

    fn weight(&self) -> u32 {
        weight(2 * self.json.len())
    }
}

fn weight(bytes: usize) -> u32 {
    u32::try_from(bytes.saturating_add(ENTRY_BYTES)).unwrap_or(u32::MAX)
}

/// Signals that were asked for last, each in a place that its id leads to.
///
/// What stands there holds only as long as no commit of signals or outcomes came after it was looked up: readers note the number of the last
/// such commit that the cache has taken in *completely*, and the writer raises it before it acknowledges.
///
/// Looking at a place writes to no memory that others look at, and neither does using what stands there, as it is not given away. Putting
/// something there takes the longer the more threads have ever looked, so of two signals that lead to one place one stays for a while.
#[derive(Debug)]
struct Recent {
    settled: CachePadded<AtomicU64>,
    places: [ArcSwapOption<Known>; RECENT_PLACES],
    /// How often another signal was asked for than stands in the place, in all places.
    ousted: CachePadded<AtomicU32>,
}

/// A signal, and what was settled when it was looked up.
#[derive(Debug)]
struct Known {
    settled: u64,
    signal: Arc<CachedSignal>,
}

impl Default for Recent {
    fn default() -> Self {
        let places = std::array::from_fn(|_| ArcSwapOption::empty());
        Self { settled: CachePadded::default(), places, ousted: CachePadded::default() }
    }
}

impl Recent {
    /// Gives a signal, found by `look_up` if it does not stand in its place.
    fn with<T>(
        &self,
        id: &str,
        look_up: impl FnOnce() -> Option<Arc<CachedSignal>>,
        use_it: impl FnOnce(&Arc<CachedSignal>) -> T,
    ) -> Option<T> {
        // Ids of one day differ at their ends.
        let spread = id.bytes().rev().take(8).fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let place = usize::try_from(spread).ok().and_then(|spread| self.places.get(spread % RECENT_PLACES))?;
        // Before looking up: a commit in between makes what is found useless for later readers.
        let settled = self.settled.load(Ordering::SeqCst);
        let is_taken = match &*place.load() {
            Some(known) if known.settled == settled => {
                if known.signal.stored.signal.id.as_str() == id {
                    return Some(use_it(&known.signal));
                }
                true
            }
            _ => false,
        };
        let signal = look_up()?;
        if !is_taken || self.ousted.fetch_add(1, Ordering::Relaxed).is_multiple_of(OUSTED_IN) {
            place.store(Some(Arc::new(Known { settled, signal: Arc::clone(&signal) })));
        }
        Some(use_it(&signal))
    }

    fn clear(&self) {
        for place in &self.places {
            place.store(None);
        }
    }
}

/// A record in memory. Both kinds are of one type to moka, whose code is in the program once for each type that it is used with.
#[derive(Clone, Debug)]
enum Record {
    Signal(Arc<CachedSignal>),
    Overlay(Arc<CachedOverlay>),
}

impl Record {
    fn signal(&self) -> Option<&Arc<CachedSignal>> {
        match self {
            Self::Signal(signal) => Some(signal),
            Self::Overlay(_) => None,
        }
    }

    fn overlay(&self) -> Option<&Arc<CachedOverlay>> {
        match self {
            Self::Overlay(overlay) => Some(overlay),
            Self::Signal(_) => None,
        }
    }

    fn weight(&self) -> u32 {
        match self {
            Self::Signal(signal) => signal.weight(),
            Self::Overlay(overlay) => overlay.weight(),
        }
    }
}

/// Records of one kind by their ids.
#[derive(Debug)]
struct Records(moka::sync::Cache<String, Record>);

impl Records {
    fn new(bytes_max: u64, life: Duration) -> Self {
        let records = moka::sync::Cache::builder().max_capacity(bytes_max).time_to_live(life);
        Self(records.weigher(|_, record: &Record| record.weight()).build())
    }

    fn get(&self, id: &str) -> Option<Record> {
        self.0.get(id)
    }

    /// Puts a record in the place of the one there, or takes that away, as `decide` says, under the lock of the id.
    fn change(&self, id: &str, decide: &mut dyn FnMut(Option<&Record>) -> Op<Record>) {
        self.0.entry_by_ref(id).and_compute_with(|old| decide(old.as_ref().map(moka::Entry::value)));
    }
}

/// Signals and overlays in memory.
#[derive(Debug)]
pub struct Cache {
    recent: Recent,
    signals: Records,
    overlays: Records,
    /// Whether an overlay was ever put here.
    holds_overlays: AtomicBool,
    /// The `seq` of the last commit that the cache was told of.
    commits: AtomicU64,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            recent: Recent::default(),
            signals: Records::new(SIGNALS_BYTES_MAX, SIGNAL_LIFE),
            overlays: Records::new(OVERLAYS_BYTES_MAX, OVERLAY_LIFE),
            holds_overlays: AtomicBool::new(false),
            commits: AtomicU64::new(0),
        }
    }
}

impl Cache {
    /// Returns a signal if it is in memory.
    #[must_use]
    pub fn hot_signal(&self, id: &str) -> Option<Arc<CachedSignal>> {
        self.with_hot_signal(id, Arc::clone)
    }

    /// Gives a signal to look at, if it is in memory.
    pub fn with_hot_signal<T>(&self, id: &str, use_it: impl FnOnce(&Arc<CachedSignal>) -> T) -> Option<T> {
        self.recent.with(id, || self.signals.get(id)?.signal().cloned(), use_it)
    }

    /// Returns an overlay if it is in memory.
    #[must_use]
    pub fn hot_overlay(&self, user: &str) -> Option<Arc<CachedOverlay>> {
        self.overlays.get(user)?.overlay().cloned()
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
        if let Some(signal) = self.hot_signal(id.as_str()) {
            return Ok(Some(signal));
        }
        let commits_before = self.seq();
        let Some(signal) = read()?.map(Arc::new) else { return Ok(None) };
        self.keep(&self.signals, id.as_str(), &Record::Signal(Arc::clone(&signal)), commits_before);
        Ok(Some(signal))
    }

    /// Returns an overlay, by `read`ing it from the file if it is not in memory.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn overlay<E>(
        &self,
        user: &UserId,
        read: impl FnOnce() -> Result<Option<CachedOverlay>, E>,
    ) -> Result<Option<Arc<CachedOverlay>>, E> {
        if let Some(overlay) = self.hot_overlay(user.as_str()) {
            return Ok(Some(overlay));
        }
        // Before the counter is looked at: a writer who finds this unset has raised it already, and nothing is put.
        self.holds_overlays.store(true, Ordering::SeqCst);
        let commits_before = self.seq();
        let Some(overlay) = read()?.map(Arc::new) else { return Ok(None) };
        self.keep(&self.overlays, user.as_str(), &Record::Overlay(Arc::clone(&overlay)), commits_before);
        Ok(Some(overlay))
    }

    /// Puts what was read from the file, unless a commit came since.
    ///
    /// - `commits_before`: [`Cache::seq`] before it was read.
    fn keep(&self, records: &Records, id: &str, record: &Record, commits_before: u64) {
        records.change(id, &mut |_| {
            // Under the id's lock, so that a writer's put comes either before this check or after this put.
            if self.seq() == commits_before { Op::Put(record.clone()) } else { Op::Nop }
        });
    }

    /// The number of the last commit that was taken in.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// Says what the file's last commit is, before any is taken in.
    pub fn start_at(&self, seq: u64) {
        self.commits.store(seq, Ordering::SeqCst);
        self.recent.settled.store(seq, Ordering::SeqCst);
    }

    /// Takes in a commit: after it is durable, before it is acknowledged, by the one writer.
    pub fn committed(&self, commit: &Commit<'_>) {
        // First, so that readers who read the file before this commit put nothing after the puts below.
        self.commits.store(commit.seq, Ordering::SeqCst);
        for change in commit.changes {
            match change {
                Change::Overlay(user, stored) if self.holds_overlays.load(Ordering::SeqCst) => {
                    self.overlays.change(user.as_str(), &mut |old| match (old, stored) {
                        (Some(_), Some(stored)) => {
                            Op::Put(Record::Overlay(Arc::new(CachedOverlay::new(Arc::clone(stored)))))
                        }
                        _ => Op::Remove,
                    });
                }
                Change::Signal(stored) => self.put_signal(stored),
                Change::Overlay(..) | Change::Outcome(..) | Change::Rate(..) | Change::Token(..) => {}
            }
        }
        self.put_outcomes(commit.changes);
        // Last, so that whoever sees the number finds what was put. Balances come all the time, and leave signals as they are.
        if commit.changes.iter().any(|change| matches!(change, Change::Signal(_) | Change::Outcome(..))) {
            self.recent.settled.store(commit.seq, Ordering::SeqCst);
        }
    }

    /// Puts a signal together with the outcomes of the entry that it replaces.
    ///
    /// Without such an entry a new signal has no outcomes; those of an old one are in the file, for the next reader to fetch.
    fn put_signal(&self, stored: &StoredSignal) {
        self.replace_signal(&stored.signal.id, &|old| CachedSignal::new(stored.clone(), old.outcomes.clone()));
    }

    /// Adds a commit's outcomes to their signals, each signal once.
    fn put_outcomes(&self, changes: &[Change]) {
        let outcomes = || {
            changes.iter().filter_map(|change| match change {
                Change::Outcome(_, stored) => Some(stored),
                _ => None,
            })
        };
        let mut signals: Vec<&SignalId> = outcomes().map(|stored| &stored.outcome.signal_id).collect();
        signals.sort_unstable();
        signals.dedup();
        for id in signals {
            let of_signal = || outcomes().filter(|stored| stored.outcome.signal_id == *id);
            self.replace_signal(id, &|old| old.with_outcomes(of_signal()));
        }
    }

    fn replace_signal(&self, id: &SignalId, next: &dyn Fn(&CachedSignal) -> CachedSignal) {
        self.signals.change(id.as_str(), &mut |old| match old.and_then(Record::signal) {
            Some(old) => Op::Put(Record::Signal(Arc::new(next(old)))),
            None => Op::Remove,
        });
    }

    /// Forgets everything, so that the next readers go to the file: for those who measure or test that way.
    ///
    /// It may be called at any time, as nobody relies on an entry being there.
    pub fn clear(&self) {
        self.signals.0.invalidate_all();
        self.recent.clear();
        self.overlays.0.invalidate_all();
    }

    /// How many signals and overlays are in memory, and their weight in bytes.
    #[must_use]
    pub fn size(&self) -> CacheSize {
        CacheSize {
            signals: self.signals.0.entry_count(),
            overlays: self.overlays.0.entry_count(),
            bytes: self.signals.0.weighted_size() + self.overlays.0.weighted_size(),
        }
    }
}

/// How full the cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSize {
    /// Signals in memory.
    pub signals: u64,
    /// Overlays in memory.
    pub overlays: u64,
    /// What they weigh together.
    pub bytes: u64,
}
