//! Every user's overlay in memory, no older than the last acknowledged write.
//!
//! A [`Roster`] holds them all as of some commit, and beside it stands what has changed *since*: the writer puts each change there after its
//! commit and before its acknowledgement. A reader looks at the changes first and at the roster then, under one lock, so it finds what
//! the newest acknowledged write left, or something newer. Whoever wants all of them in a row, as a batch does, has the
//! changes worked into a next version of the roster first; that copies only the chunks in which something changed.
//!
//! Nothing here is ever dropped to make room, as that would bring an older state back. Neither is anything read at start: memory fills
//! when the first batch is asked for, or in the background once some single overlays were. Until then, and for a database of more
//! users than [`Settings::roster_users_max`](super::Settings), readers go to the [cache](crate::cache) and the file.
//!
//! How the first version is read without missing a write: changes are collected from before the snapshot is taken that it is
//! read from; those that the snapshot shows already are dropped when it is put in place.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crossbeam_utils::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};

use super::ServiceError;
use super::roster::{Held, Names, Roster};
use crate::cache::CachedOverlay;
use crate::domain::{
    Account, Budget, Object, Overlay, OverlayDraft, TierName, Tiers, UnixMillis, UserId, UserTier, head_of,
};
use crate::render;
use crate::store::{Change, Commit, Store, StoreError};

/// Each time that so many single overlays were read from the file, reading all of them into memory is begun if it is not under way:
/// a command that shows one does not pay for all.
const MISSES_BEFORE_FILLING: u32 = 8;
/// As many changes are worked in on the spot, by whoever asks for a batch: that takes less than waking another thread for it.
const CHANGES_FEW: usize = 32;
/// Changes beside the roster that are left to a batch to work in, whatever the number of users.
const CHANGES_MIN: usize = 1_024;
/// Beyond that, as many changes as a part of all users are left: working them in copies nearly everything then, which each of them
/// pays only a little of.
const CHANGES_PART: usize = 16;

/// All overlays.
#[derive(Debug)]
pub(super) struct Overlays {
    pub(super) names: Names,
    users_max: u64,
    state: ShardedLock<State>,
    /// Held while the roster is read or brought up to date, so that one thread at a time does it.
    renewing: Mutex<()>,
    /// How many wait until that is done.
    awaited: AtomicU32,
    misses: AtomicU32,
    /// Single overlays are the cache's business: they are too many to be held all, or could not be read.
    is_left_to_cache: AtomicBool,
    is_stopping: AtomicBool,
    background: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Told apart from the fillings before, so that one that was given up puts nothing in place.
    filling: u64,
    roster: Arc<Roster>,
    since: HashMap<UserId, Changed>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nothing is in memory, and changes are not collected.
    #[default]
    Empty,
    /// Changes are collected, and the roster is being read.
    Filling,
    /// What is not here is nowhere.
    Full,
}

/// How a next version is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// Somebody waits for it.
    Urgent,
    /// In small steps, until somebody does: it takes some milliseconds, in which who is to run on the same processor answers nobody.
    Patient,
}

#[derive(Clone, Debug)]
struct Changed {
    /// The number of the change.
    seq: u64,
    /// What it put; `None` if it deleted.
    held: Option<Held>,
}

/// What is known of one user.
#[derive(Debug)]
pub(super) enum Known {
    /// This is the overlay.
    Held(Held),
    /// There is no such overlay.
    Absent,
    /// The file has to be asked.
    Nothing,
}

impl Overlays {
    pub(super) fn new(tiers: &Tiers, users_max: u64) -> Self {
        Self {
            names: Names::new(tiers),
            users_max,
            state: ShardedLock::default(),
            renewing: Mutex::default(),
            awaited: AtomicU32::new(0),
            misses: AtomicU32::new(0),
            is_left_to_cache: AtomicBool::new(users_max == 0),
            is_stopping: AtomicBool::new(false),
            background: Mutex::default(),
        }
    }

    fn read(&self) -> ShardedLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> ShardedLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a user's overlay.
    pub(super) fn find(&self, user: &str) -> Known {
        let state = self.read();
        if state.phase != Phase::Full {
            return Known::Nothing;
        }
        let held = match state.since.get(user) {
            Some(changed) => changed.held.clone(),
            None => state.roster.find(user),
        };
        held.map_or(Known::Absent, Known::Held)
    }

    /// How many users are in memory, and about how many bytes they take.
    pub(super) fn size(&self) -> (usize, usize) {
        let state = self.read();
        (state.roster.rows(), state.roster.bytes())
    }

    /// Takes in a commit: after it is durable, before it is acknowledged, by the one writer.
    pub(super) fn committed(self: &Arc<Self>, commit: &Commit<'_>) {
        if self.read().phase == Phase::Empty {
            // Whoever begins to fill after this takes a snapshot that shows the commit.
            return;
        }
        // Rendered before readers are held up.
        let first = commit.seq.saturating_sub(commit.changes.len() as u64);
        let numbered = (first + 1..).zip(commit.changes);
        let changes: Vec<_> = numbered
            .filter_map(|(seq, change)| match change {
                Change::Overlay(user, stored) => {
                    let held = stored.as_ref().map(|stored| Held::new(&stored.overlay, seq, &self.names));
                    Some((user.clone(), Changed { seq, held }))
                }
                _ => None,
            })
            .collect();
        if changes.is_empty() {
            return;
        }
        let mut state = self.write();
        if state.phase == Phase::Empty {
            return;
        }
        state.since.extend(changes);
        let are_many = state.since.len() > CHANGES_MIN.max(state.roster.rows() / CHANGES_PART);
        if are_many && state.phase == Phase::Full {
            drop(state);
            self.in_background(|overlays| drop(overlays.renew_alone(overlays.renewing(), Pace::Patient)));
        }
    }

    /// Counts an overlay that had to be read from the file; after some, begins to read all of them in the background.
    pub(super) fn missed(self: &Arc<Self>, store: &Arc<Store>) {
        let misses = self.misses.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if !misses.is_multiple_of(MISSES_BEFORE_FILLING) {
            return;
        }
        let store = Arc::clone(store);
        self.in_background(move |overlays| {
            let filled = store.snapshot().and_then(|snapshot| snapshot.counts()).and_then(|counts| {
                let are_too_many = counts.overlays > overlays.users_max;
                overlays.is_left_to_cache.store(are_too_many, Ordering::Relaxed);
                if are_too_many { Ok(()) } else { overlays.fill(&store) }
            });
            if let Err(error) = filled {
                overlays.is_left_to_cache.store(true, Ordering::Relaxed);
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "overlays could not be read into memory; they are read one by one");
            }
        });
    }

    /// Whether a single overlay that is not here should be kept by the cache.
    pub(super) fn is_left_to_cache(&self) -> bool {
        self.is_left_to_cache.load(Ordering::Relaxed)
    }

    /// The newest version if it takes little to bring it up to date.
    pub(super) fn roster_soon(&self) -> Option<Arc<Roster>> {
        let is_soon = {
            let state = self.read();
            if state.phase != Phase::Full {
                return None;
            }
            if state.since.is_empty() {
                return Some(Arc::clone(&state.roster));
            }
            state.since.len() <= CHANGES_FEW
        };
        // If somebody else is at it, that may take long.
        let renewing = if is_soon { self.renewing.try_lock().ok()? } else { return None };
        self.renew_alone(renewing, Pace::Urgent)
    }

    /// Returns a version that is no older than the last acknowledged write. Blocks.
    pub(super) fn roster(&self, store: &Store) -> Result<Arc<Roster>, StoreError> {
        loop {
            if let Some(roster) = self.renew() {
                return Ok(roster);
            }
            self.fill(store)?;
        }
    }

    fn renewing(&self) -> MutexGuard<'_, ()> {
        self.renewing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works what has changed into a next version; `None` if there is none yet.
    fn renew(&self) -> Option<Arc<Roster>> {
        // Whoever comes while it is being done waits, and finds it done.
        self.awaited.fetch_add(1, Ordering::Relaxed);
        let renewing = self.renewing();
        self.awaited.fetch_sub(1, Ordering::Relaxed);
        self.renew_alone(renewing, Pace::Urgent)
    }

    fn renew_alone(&self, renewing: MutexGuard<'_, ()>, pace: Pace) -> Option<Arc<Roster>> {
        let pause = || {
            let is_urgent = pace == Pace::Urgent || self.awaited.load(Ordering::Relaxed) > 0;
            if !is_urgent && !self.is_stopping.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        };
        let (roster, mut changes) = {
            let state = self.read();
            if state.phase != Phase::Full {
                return None;
            }
            if state.since.is_empty() {
                return Some(Arc::clone(&state.roster));
            }
            let changes = state.since.iter();
            let changes =
                changes.map(|(user, changed)| (head_of(user.as_str().as_bytes()), user.clone(), changed.clone()));
            (Arc::clone(&state.roster), changes.collect::<Vec<_>>())
        };
        changes.sort_unstable_by(|(one, user, _), (other, another, _)| (one, user).cmp(&(other, another)));
        let last = changes.iter().map(|(.., changed)| changed.seq).max().unwrap_or(0);
        let edits = changes.into_iter().map(|(_, user, changed)| (user, changed.held)).collect();
        let next = Arc::new(roster.with(edits, &pause));
        let (old, worked_in) = {
            let mut state = self.write();
            if state.phase != Phase::Full {
                return None;
            }
            // What was changed again meanwhile has a higher number.
            let later = state.since.iter().filter(|(_, changed)| changed.seq > last);
            let later = later.map(|(user, changed)| (user.clone(), changed.clone())).collect();
            (std::mem::replace(&mut state.roster, Arc::clone(&next)), std::mem::replace(&mut state.since, later))
        };
        // Nobody waits for what is left to do: to let go of thousands of small things.
        drop(renewing);
        drop((roster, old));
        for (number, change) in worked_in.into_iter().enumerate() {
            drop(change);
            if number % CHANGES_FEW == 0 {
                pause();
            }
        }
        Some(next)
    }

    /// Reads all overlays into memory, unless they are there.
    fn fill(&self, store: &Store) -> Result<(), StoreError> {
        let _renewing = self.renewing();
        let filling = {
            let mut state = self.write();
            if state.phase == Phase::Full {
                return Ok(());
            }
            let filling = state.filling + 1;
            *state = State { phase: Phase::Filling, filling, ..State::default() };
            filling
        };
        // After changes began to be collected, so that each is in the one or in the other.
        let read = store.snapshot().and_then(|snapshot| {
            let roster = Roster::build(&snapshot, &self.names, || self.is_stopping.load(Ordering::Relaxed))?;
            Ok((snapshot.seq()?, roster))
        });
        let mut state = self.write();
        if state.filling != filling {
            return Ok(());
        }
        match read {
            Ok((seq, Some(roster))) => {
                state.since.retain(|_, changed| changed.seq > seq);
                state.roster = Arc::new(roster);
                state.phase = Phase::Full;
                Ok(())
            }
            Ok((_, None)) => {
                *state = State { filling, ..State::default() };
                Ok(())
            }
            Err(error) => {
                *state = State { filling, ..State::default() };
                Err(error)
            }
        }
    }

    /// Forgets everything; readers go to the file until it is filled again.
    pub(super) fn clear(&self) {
        let mut state = self.write();
        *state = State { filling: state.filling + 1, ..State::default() };
        self.misses.store(0, Ordering::Relaxed);
    }

    /// Does something on a thread of its own, unless the last such thing is still being done.
    fn in_background(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping.load(Ordering::Relaxed) || background.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let overlays = Arc::clone(self);
        // Without a thread the overlays are read one by one, and changes wait for a batch.
        *background = thread::Builder::new().name("roster".to_owned()).spawn(move || work(&overlays)).ok();
    }

    /// Ends what is done in the background, and begins nothing more.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let thread = self.background.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the thread was reported when it happened.
        let _ = thread.map(thread::JoinHandle::join);
    }
}

/// One user's overlay as a reader gets it: its JSON, and the numbers that a mission is computed from.
#[derive(Clone, Debug)]
pub struct FoundOverlay(Source);

#[derive(Clone, Debug)]
enum Source {
    Held(Held),
    Cached(Arc<CachedOverlay>),
}

impl From<Held> for FoundOverlay {
    fn from(held: Held) -> Self {
        Self(Source::Held(held))
    }
}

impl From<Arc<CachedOverlay>> for FoundOverlay {
    fn from(cached: Arc<CachedOverlay>) -> Self {
        Self(Source::Cached(cached))
    }
}

impl FoundOverlay {
    /// The number of the change that wrote it.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match &self.0 {
            Source::Held(held) => held.member().seq,
            Source::Cached(cached) => cached.stored.seq,
        }
    }

    /// What [`render::overlay_json`](crate::render::overlay_json) makes of it.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        match &self.0 {
            Source::Held(held) => held.member().text.json,
            Source::Cached(cached) => &cached.json,
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &str {
        match &self.0 {
            // An id is always text.
            Source::Held(held) => std::str::from_utf8(held.member().user()).unwrap_or_default(),
            Source::Cached(cached) => cached.stored.overlay.user_id.as_str(),
        }
    }

    /// The record.
    ///
    /// # Errors
    ///
    /// None in a tested build: what is held as JSON was made of a record.
    pub fn overlay(&self) -> Result<Overlay, ServiceError> {
        match &self.0 {
            Source::Held(held) => {
                let draft = OverlayDraft::from_object(Object::parse(held.member().text.json)?, None)?;
                Ok(draft.resolve(UnixMillis::MAX))
            }
            Source::Cached(cached) => Ok(cached.stored.overlay.clone()),
        }
    }

    /// What [`render::write_budget`](crate::render::write_budget) makes of its budget.
    pub(super) fn budget(&self, names: &Names) -> Cow<'_, [u8]> {
        match &self.0 {
            Source::Held(held) => Cow::Borrowed(held.member().text.budget),
            Source::Cached(_) => {
                let mut text = Vec::with_capacity(64);
                render::write_budget(&mut text, Budget::of(self.account(), self.tier(names)));
                Cow::Owned(text)
            }
        }
    }

    pub(super) fn account(&self) -> Account {
        match &self.0 {
            Source::Held(held) => held.member().account,
            Source::Cached(cached) => cached.stored.overlay.account(),
        }
    }

    /// The account's currency, by its place in [`Names::currency`].
    pub(super) fn currency(&self, names: &Names) -> usize {
        match &self.0 {
            Source::Held(held) => held.member().currency,
            Source::Cached(cached) => names.currency_slot(&cached.stored.overlay.account_currency),
        }
    }

    pub(super) fn tier<'a>(&self, names: &'a Names) -> UserTier<'a> {
        match &self.0 {
            Source::Held(held) => held.member().tier(names),
            Source::Cached(cached) => names.tier(cached.stored.overlay.tier.as_ref()),
        }
    }

    pub(super) fn has_tier(&self, name: &TierName, names: &Names) -> bool {
        match &self.0 {
            Source::Held(held) => held.member().has_tier(name, names),
            Source::Cached(cached) => {
                cached.stored.overlay.tier.as_ref().is_some_and(|tier| names.own_name(tier) == name)
            }
        }
    }
}
