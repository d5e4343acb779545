//! Every user's overlay in memory, no older than the last acknowledged write.
//!
//! The [`Roster`] holds them all once it is filled; the writer puts each change into it after the commit and before the
//! acknowledgement. So a reader finds the state of the newest acknowledged write, or a newer one. Overlays do not
//! expire, and none is evicted: a write for which memory does not suffice is refused ([`Overlays::check_memory`]).
//!
//! The start reads no roster. The first batch fills it; so do a few reads and writes of single overlays, in the
//! background. Until it is full, single reads go to the file and batches wait. A fill that fails leaves the roster
//! empty; the next batch tries again, and so do single reads, after twice as many as before.
//!
//! New rules need a new roster, as what a tier allows is part of each row: the roster is emptied and filled again.
//!
//! A fill misses no write: it starts to collect changes, then takes its snapshot, and at the end applies the changes
//! that the snapshot does not show.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;

use super::ServiceError;
use super::blocking::blocking;
use super::roster::{Basis, Currencies, RenderedOverlay, Roster};
use super::rules::Rules;
use super::shortlist::shortlist;
use crate::domain::{MaxAge, UnixMillis, UserId, confirmation_after_write, latest_confirmation};
use crate::store::{Change, Commit, Operation, Snapshot, Store, StoreError, StoredOverlay};

/// Reads and writes of single overlays before the roster is filled: a command that needs one record does not read all.
const MISSES_BEFORE_FILL: u32 = 8;
/// How often that number is doubled at most: once for each fill in a row that failed.
const DOUBLINGS_MAX: u32 = 7;
/// More than any overlay takes in memory: a stored record has at most 63 KiB.
const OVERLAY_BYTES_MAX: u64 = 128 * 1024;
/// An overlay in memory may grow by so many bytes even when memory is full: a balance may get longer.
const GROWTH_ALWAYS_TAKEN: usize = 128;
/// Overlays whose mean size stands for that of all when a file is opened: they are read in a few milliseconds.
const SAMPLE_OVERLAYS: usize = 1_000;

/// All overlays.
#[derive(Debug)]
pub(super) struct Overlays {
    /// The rules of all reads from now on; replaced only while `filling` is held.
    rules: RwLock<Arc<Rules>>,
    pub(super) currencies: Currencies,
    bytes_max: u64,
    state: RwLock<State>,
    /// Confirmations that the file does not have, as long as the roster is not full, which would hold them.
    early_confirmations: Mutex<HashMap<UserId, EarlyConfirmation>>,
    /// Names the state of the confirmations that only memory has: 0 before the first, then numbers that no other
    /// process has. Held while a confirmation is noted.
    confirmations: Mutex<u64>,
    /// Held while the roster is filled: one thread at a time fills it, and batches wait without a thread.
    filling: Arc<tokio::sync::Mutex<()>>,
    misses: AtomicU32,
    /// Fills that failed since the last success.
    failures: AtomicU32,
    is_stopping: AtomicBool,
    background: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug)]
enum State {
    /// Nothing is in memory, and changes are not collected.
    Empty,
    /// The roster is being read; these changes were committed meanwhile.
    Filling(Vec<Changed>),
    /// All overlays: a user that is not in it has none, or a damaged one.
    Full(Arc<Roster>),
}

/// A change of one overlay.
#[derive(Debug)]
struct Changed {
    seq: u64,
    user: UserId,
    /// `None` if it was deleted.
    stored: Option<Arc<StoredOverlay>>,
}

/// A confirmation of a balance as the file has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmation {
    /// The number of the change that wrote the overlay.
    pub(super) seq: u64,
    pub(super) basis: Basis,
    /// The confirmation that the file has.
    pub(super) stored_at: UnixMillis,
    /// The one that it does not have.
    pub(super) at: UnixMillis,
    /// When it came in.
    pub(super) now: UnixMillis,
}

/// When a balance was last confirmed, without a roster that says so.
#[derive(Clone, Copy, Debug)]
struct EarlyConfirmation {
    seq: u64,
    basis: Basis,
    at: UnixMillis,
    /// When the last confirmation came in.
    now: UnixMillis,
}

impl EarlyConfirmation {
    /// When a balance was last confirmed that the file has with this `seq` and confirmation.
    ///
    /// A record with another `seq` was written in the same commit as the confirmation came in with, behind it.
    fn of(self, seq: u64, stored_at: UnixMillis) -> UnixMillis {
        if self.seq == seq { self.at } else { latest_confirmation(stored_at, self.at, self.now) }
    }
}

/// The answer of memory to the search for one user's overlay.
#[derive(Debug)]
pub(super) enum Lookup {
    /// This is the overlay.
    Found(RenderedOverlay),
    /// There is no such overlay.
    Absent,
    /// Only the file has the answer.
    Unknown,
}

/// The overlays in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RosterSize {
    /// Users whose overlays are all in memory; 0 until the roster is full.
    pub users: usize,
    /// Memory that they take, in bytes.
    pub bytes: usize,
    /// Users whose rows in the file can not be read.
    pub damaged: usize,
}

impl Overlays {
    /// - `bytes_max`: memory that they may take.
    pub(super) fn new(rules: Rules, bytes_max: u64) -> Self {
        Self {
            rules: RwLock::new(Arc::new(rules)),
            currencies: Currencies::default(),
            bytes_max,
            state: RwLock::new(State::Empty),
            early_confirmations: Mutex::default(),
            confirmations: Mutex::default(),
            filling: Arc::default(),
            misses: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            is_stopping: AtomicBool::new(false),
            background: Mutex::default(),
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rules of all reads from now on.
    pub(super) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the rules; every read that starts after the return is by the new ones. On a thread that may block.
    pub(super) fn replace_rules(&self, store: &Store, rules: Rules) {
        // A fill that is under way is by the old rules.
        let _filling = self.filling.blocking_lock();
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        let was_full = self.full().is_some();
        self.clear();
        if was_full {
            self.fill_and_log(store);
        }
    }

    /// Finds a user's overlay.
    pub(super) fn find(&self, user: &str) -> Lookup {
        match &*self.state() {
            State::Full(roster) => match roster.find(user) {
                Some(overlay) => Lookup::Found(overlay),
                None if roster.damaged().contains(user) => Lookup::Unknown,
                None => Lookup::Absent,
            },
            State::Empty | State::Filling(_) => Lookup::Unknown,
        }
    }

    /// Renders an overlay as the roster would.
    pub(super) fn render(&self, stored: &StoredOverlay) -> RenderedOverlay {
        self.render_under(&self.rules(), stored)
    }

    fn render_under(&self, rules: &Arc<Rules>, stored: &StoredOverlay) -> RenderedOverlay {
        RenderedOverlay::new(&stored.overlay, stored.seq, rules, &self.currencies)
    }

    /// Renders an overlay that was read from the file, with what memory alone knows of it.
    pub(super) fn render_from_file(&self, stored: &StoredOverlay) -> RenderedOverlay {
        let rendered = self.render(stored);
        let user = rendered.user();
        // Under the lock, as a fill may be moving confirmations into the roster.
        match &*self.state() {
            State::Full(roster) => {
                if let Some(known) = roster.find(user) {
                    let (basis, at) = known.row().confirmation();
                    rendered.confirm(basis, |_| at);
                }
            }
            State::Empty | State::Filling(_) => {
                if let Some(early) = self.early_confirmations().get(user) {
                    rendered.confirm(early.basis, |stored_at| early.of(stored.seq, stored_at));
                }
            }
        }
        rendered
    }

    /// Notes that a user's balance was confirmed, if it is still this one.
    pub(super) fn confirm(&self, user: &UserId, confirmation: Confirmation) {
        let Confirmation { seq, basis, stored_at, at, now } = confirmation;
        // A reader that finds the same number before and after it has read rows has seen one state of them.
        let mut confirmations = self.confirmations.lock().unwrap_or_else(PoisonError::into_inner);
        *confirmations =
            if *confirmations == 0 { RandomState::new().hash_one(()) } else { confirmations.wrapping_add(1) };
        // While readers have the lock, the writer puts no row in the place of the one that is changed.
        match &*self.state() {
            State::Full(roster) => {
                if let Some(overlay) = roster.find(user.as_str()) {
                    overlay.confirm(basis, |known| latest_confirmation(known, at, now));
                }
            }
            State::Empty | State::Filling(_) => {
                let mut early = self.early_confirmations();
                let known = early.get(user).filter(|known| known.basis == basis);
                let known_at = known.map_or(stored_at, |known| known.of(seq, stored_at));
                let at = latest_confirmation(known_at, at, now);
                early.insert(user.clone(), EarlyConfirmation { seq, basis, at, now });
            }
        }
    }

    /// A number that changes with each confirmation that only memory has; 0 before the first.
    pub(super) fn confirmations(&self) -> u64 {
        *self.confirmations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn early_confirmations(&self) -> MutexGuard<'_, HashMap<UserId, EarlyConfirmation>> {
        self.early_confirmations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many balances are older than half the limit; `None` without a limit, or as long as not all are in memory.
    pub(super) fn count_old(&self, max_age: Option<MaxAge>, now: UnixMillis) -> Option<usize> {
        let (max_age, roster) = (max_age?, self.full()?);
        Some(roster.count_balances(|confirmed_at| max_age.is_old(confirmed_at, now)))
    }

    fn full(&self) -> Option<Arc<Roster>> {
        match &*self.state() {
            State::Full(roster) => Some(Arc::clone(roster)),
            State::Empty | State::Filling(_) => None,
        }
    }

    /// How many overlays are in memory, and how large they are.
    pub(super) fn size(&self) -> RosterSize {
        match &*self.state() {
            State::Full(roster) => {
                RosterSize { users: roster.users(), bytes: roster.bytes(), damaged: roster.damaged().len() }
            }
            State::Empty | State::Filling(_) => RosterSize::default(),
        }
    }

    /// Applies a commit: after it is durable, before it is acknowledged, by the one writer.
    pub(super) fn committed(&self, commit: &Commit<'_>, now: UnixMillis) {
        let first = commit.seq.saturating_sub(commit.changes.len() as u64);
        for (seq, change) in (first + 1..).zip(commit.changes) {
            if let Change::Overlay(user, stored) = change {
                self.apply(Changed { seq, user: user.clone(), stored: stored.clone() }, now);
            }
        }
        if let State::Full(roster) = &mut *self.state_mut() {
            Arc::make_mut(roster).set_seq(commit.seq);
        }
    }

    fn apply(&self, changed: Changed, now: UnixMillis) {
        self.revise_early_confirmation(&changed, now);
        if matches!(&*self.state(), State::Empty) {
            // A fill that starts after this takes a snapshot that shows the change.
            return;
        }
        match &mut *self.state_mut() {
            State::Empty => {}
            State::Filling(pending) => pending.push(changed),
            // A batch that reads the old version keeps it; both share their chunks.
            State::Full(roster) => {
                // Under the roster's rules: those of reads from now on may just have been replaced.
                let rendered = changed.stored.as_ref().map(|stored| self.render_under(roster.rules(), stored));
                if let Some((old, new)) = roster.find(changed.user.as_str()).as_ref().zip(rendered.as_ref()) {
                    let (basis, at) = old.row().confirmation();
                    new.confirm(basis, |stored_at| confirmation_after_write(stored_at, at, now));
                }
                let roster = Arc::make_mut(roster);
                roster.put(&changed.user, rendered.as_ref());
                roster.set_seq(changed.seq);
            }
        }
    }

    /// Brings the early confirmation of an overlay that was written up to date, or forgets it.
    fn revise_early_confirmation(&self, changed: &Changed, now: UnixMillis) {
        let mut early = self.early_confirmations();
        let Some(known) = early.get_mut(&changed.user) else { return };
        match &changed.stored {
            Some(stored) if Basis::of(&stored.overlay, &self.currencies) == known.basis => {
                known.at = confirmation_after_write(stored.overlay.balance_confirmed_at, known.at, now);
                known.seq = stored.seq;
            }
            _ => drop(early.remove(&changed.user)),
        }
    }

    /// Counts a read or write of one overlay while the roster is not full; after some, fills it in the background.
    pub(super) fn fill_after_misses(self: &Arc<Self>, store: &Arc<Store>) {
        if matches!(&*self.state(), State::Full(_)) {
            return;
        }
        let misses = self.misses.fetch_add(1, Ordering::Relaxed) + 1;
        if misses < MISSES_BEFORE_FILL << self.failures.load(Ordering::Relaxed).min(DOUBLINGS_MAX) {
            return;
        }
        self.misses.store(0, Ordering::Relaxed);
        let store = Arc::clone(store);
        self.in_background(move |overlays| {
            let _filling = overlays.filling.blocking_lock();
            overlays.fill_and_log(&store);
        });
    }

    /// Fills the roster, and logs an error. The caller holds `filling`.
    fn fill_and_log(&self, store: &Store) {
        if let Err(error) = self.fill(|| store.snapshot()) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "overlays could not be read into memory; this is tried again");
        }
    }

    /// Returns a version that is no older than the last acknowledged write; fills the roster first, or waits until it
    /// is full.
    ///
    /// # Errors
    ///
    /// [`ServiceError::Store`] if it can not be filled, [`ServiceError::Busy`] if the server is stopping.
    pub(super) async fn roster(self: &Arc<Self>, store: &Arc<Store>) -> Result<Arc<Roster>, ServiceError> {
        if let Some(roster) = self.full() {
            return Ok(roster);
        }
        let filling = Arc::clone(&self.filling).lock_owned().await;
        let (overlays, store) = (Arc::clone(self), Arc::clone(store));
        blocking(move || {
            // Moved here, since the fill goes on if the client disconnects.
            let _filling = filling;
            Ok(overlays.fill(|| store.snapshot())?)
        })
        .await
    }

    /// Reads all overlays of the snapshot that `take_snapshot` takes into memory, unless they are there already. The
    /// caller holds `filling`.
    fn fill(&self, take_snapshot: impl FnOnce() -> Result<Snapshot, StoreError>) -> Result<Arc<Roster>, StoreError> {
        match &mut *self.state_mut() {
            State::Full(roster) => return Ok(Arc::clone(roster)),
            state => *state = State::Filling(Vec::new()),
        }
        // Only now, when changes are collected: a change that was committed between the snapshot and the first
        // collected change would be in neither, and the roster would miss it for good.
        let read = take_snapshot().and_then(|snapshot| Ok((snapshot.seq()?, self.read_all(&snapshot)?)));
        let mut state = self.state_mut();
        let pending = match std::mem::replace(&mut *state, State::Empty) {
            State::Filling(pending) => pending,
            State::Empty | State::Full(_) => Vec::new(),
        };
        let (seq, mut roster) = read.inspect_err(|_| {
            self.failures.fetch_add(1, Ordering::Relaxed);
        })?;
        self.failures.store(0, Ordering::Relaxed);
        roster.set_seq(seq);
        for Changed { seq, user, stored } in pending.into_iter().filter(|changed| changed.seq > seq) {
            roster.put(&user, stored.map(|stored| self.render(&stored)).as_ref());
            roster.set_seq(seq);
        }
        for (user, early) in self.early_confirmations().drain() {
            if let Some(overlay) = roster.find(user.as_str()) {
                overlay.confirm(early.basis, |stored_at| early.of(overlay.seq(), stored_at));
            }
        }
        let roster = Arc::new(roster);
        *state = State::Full(Arc::clone(&roster));
        Ok(roster)
    }

    fn read_all(&self, snapshot: &Snapshot) -> Result<Roster, StoreError> {
        let roster =
            Roster::build(snapshot, &self.rules(), &self.currencies, || self.is_stopping.load(Ordering::Relaxed))?;
        let roster = roster.ok_or(StoreError::Stopped)?;
        let damaged = roster.damaged();
        if !damaged.is_empty() {
            let (count, users) = (damaged.len(), shortlist(damaged));
            tracing::error!(count, users, "overlays can not be decoded; lists leave these users out");
        }
        Ok(roster)
    }

    /// Checks that the overlays of a file fit in memory. Their size is an estimate: the mean size of the first ones,
    /// times their number. A file whose later overlays are much larger or smaller than its first ones is judged
    /// wrongly; then the limit holds from the first write on.
    ///
    /// # Errors
    ///
    /// [`ServiceError::TooManyOverlays`] if they take a quarter more than they may: a file that was written below the
    /// limit can be opened again. [`ServiceError::Store`].
    pub(super) fn check_file(&self, snapshot: &Snapshot) -> Result<(), ServiceError> {
        let (mut sampled, mut sampled_bytes) = (0, 0);
        for row in snapshot.overlays(None)?.take(SAMPLE_OVERLAYS) {
            match row {
                Ok(stored) => {
                    sampled += 1;
                    sampled_bytes += self.render(&stored).bytes() as u64;
                }
                // A damaged row is left out of the roster too.
                Err(StoreError::CorruptRow { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let bytes = (sampled_bytes * snapshot.counts()?.overlays).checked_div(sampled).unwrap_or(0);
        if bytes <= self.bytes_max.saturating_add(self.bytes_max / 4) { Ok(()) } else { Err(self.too_many(bytes)) }
    }

    /// Checks that the overlay which a write leaves fits in memory.
    ///
    /// Writes in the writer's queue are not counted: many at once may exceed the limit by a little.
    ///
    /// # Errors
    ///
    /// [`ServiceError::TooManyOverlays`].
    pub(super) fn check_memory(&self, operation: &Operation) -> Result<(), ServiceError> {
        let state = self.state();
        let State::Full(roster) = &*state else { return Ok(()) };
        let bytes = roster.bytes() as u64;
        if bytes + OVERLAY_BYTES_MAX <= self.bytes_max {
            return Ok(());
        }
        let bytes_of = |user: &UserId| roster.find(user.as_str()).map(|overlay| overlay.bytes());
        let (old, new) = match operation {
            Operation::PutOverlay { draft, .. } => {
                let overlay = draft.clone().resolve(UnixMillis::MAX);
                (bytes_of(draft.user_id()), RenderedOverlay::new(&overlay, 0, &self.rules(), &self.currencies).bytes())
            }
            Operation::PatchOverlay { user, patch, .. } => match bytes_of(user) {
                Some(old) => (Some(old), old + patch.to_json().len()),
                // The writer refuses it: there is no such overlay.
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let growth = new.saturating_sub(old.unwrap_or(0));
        let is_small = old.is_some() && growth <= GROWTH_ALWAYS_TAKEN;
        if is_small || bytes + growth as u64 <= self.bytes_max { Ok(()) } else { Err(self.too_many(bytes)) }
    }

    fn too_many(&self, bytes: u64) -> ServiceError {
        ServiceError::TooManyOverlays { bytes, bytes_max: self.bytes_max }
    }

    /// Empties the roster; readers go to the file until it is filled again. A fill that is under way goes on.
    pub(super) fn clear(&self) {
        let mut state = self.state_mut();
        if let State::Full(roster) = &*state {
            let unstored = roster.unstored_confirmations().filter_map(|row| {
                let user = std::str::from_utf8(row.user()).ok().and_then(|user| UserId::parse(user).ok())?;
                let (basis, at) = row.confirmation();
                Some((user, EarlyConfirmation { seq: row.seq, basis, at, now: at }))
            });
            self.early_confirmations().extend(unstored);
            *state = State::Empty;
        }
    }

    /// Runs `work` on its own thread, unless the last one is still running.
    fn in_background(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping.load(Ordering::Relaxed) || background.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let overlays = Arc::clone(self);
        // If the kernel gives no thread, overlays are read one by one until the first batch.
        *background = thread::Builder::new().name("roster".to_owned()).spawn(move || work(&overlays)).ok();
    }

    /// Ends a fill that is under way, and starts no other in the background.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let thread = self.background.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the thread was reported when it happened.
        let _ = thread.map(thread::JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Condition;
    use crate::domain::{Object, OverlayDraft};
    use crate::service::{Service, Settings};
    use crate::store::Precedence;

    /// Writes an overlay, and waits until it is acknowledged.
    fn put(service: &Service, balance: u32) {
        let json = format!(r#"{{"user_id":"7","account_balance":{balance}}}"#);
        let draft = OverlayDraft::from_object(Object::parse(json.as_bytes()).unwrap(), None).unwrap();
        let (condition, precedence) = (Condition::None, Precedence::Replace);
        let put = Operation::PutOverlay { draft, now: UnixMillis::MIN, condition, precedence };
        service.submit(put).unwrap().done_blocking().unwrap();
    }

    #[test]
    fn a_fill_misses_no_write_around_its_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::open(&folder.path().join("overlaid.redb"), Settings::built_in().unwrap()).unwrap();
        let overlays = &service.shared.memory.overlays;
        let check = |balance: u32| {
            let Lookup::Found(overlay) = overlays.find("7") else { panic!("the roster misses the user") };
            let expected = format!(r#""account_balance":{balance},"#);
            assert!(std::str::from_utf8(overlay.json()).unwrap().contains(&expected), "no {expected}");
        };
        // Between the start of the fill and its snapshot, and between the snapshot and the end of the fill.
        let take_snapshot = || {
            put(&service, 1);
            let snapshot = service.shared.store.snapshot()?;
            put(&service, 2);
            Ok(snapshot)
        };
        overlays.fill(take_snapshot).unwrap();
        check(2);
        put(&service, 3);
        check(3);
        service.stop();
    }
}
