//! Every user's overlay in memory, no older than the last acknowledged write.
//!
//! The [`Roster`] holds them all once it is filled; the writer puts each change into it after its commit and before its acknowledgement.
//! So a reader finds what the newest acknowledged write left, or something newer. Overlays do not expire, and none is dropped to make
//! room: a write that memory has no room for is refused ([`Overlays::check_room`]).
//!
//! Nothing is read at the start. The first batch fills the roster, or some reads and writes of single overlays do, in the background.
//! Until it is full, single reads go to the file and batches wait. A fill that fails leaves the roster empty, and the next batch tries
//! again; so do single reads, after twice as many as before it.
//!
//! A fill misses no write: it collects the changes from before it takes its snapshot, and applies those that the snapshot does not show.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;

use super::ServiceError;
use super::blocking::blocking;
use super::roster::{Names, RenderedOverlay, Roster};
use crate::domain::{Tiers, UnixMillis, UserId};
use crate::store::{Change, Commit, Operation, Snapshot, Store, StoreError, StoredOverlay};

/// After so many reads and writes of single overlays the roster is filled: a command that shows or writes one record does not pay
/// for all.
const MISSES_BEFORE_FILL: u32 = 8;
/// Users with a damaged row who are named in the log.
const DAMAGED_NAMED_MAX: usize = 10;
/// How often that number is doubled at most, once for each fill that failed in a row.
const DOUBLINGS_MAX: u32 = 7;
/// More than any overlay takes in memory: a stored record has at most 63 KiB.
const OVERLAY_BYTES_MAX: u64 = 128 * 1024;
/// Memory that an overlay takes beyond its row in the file, in bytes, on average: the names of its members, its budget, its numbers.
const BYTES_BEYOND_FILE: u64 = 128;
/// An overlay that is there may grow by so many bytes however full memory is: a balance may get longer.
const GROWTH_ALWAYS_TAKEN: usize = 128;

/// All overlays.
#[derive(Debug)]
pub(super) struct Overlays {
    pub(super) names: Names,
    bytes_max: u64,
    state: RwLock<State>,
    /// Held while the roster is filled, so that one thread at a time does it and batches wait without one.
    filling: Arc<tokio::sync::Mutex<()>>,
    misses: AtomicU32,
    /// Fills that failed since the last one that did not.
    failures: AtomicU32,
    is_stopping: AtomicBool,
    background: Mutex<Option<thread::JoinHandle<()>>>,
}

#[derive(Debug)]
enum State {
    /// Nothing is in memory, and changes are not collected.
    Empty,
    /// The roster is being read; these changes came meanwhile.
    Filling(Vec<Changed>),
    /// A user who is not here has no overlay, or a damaged one.
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

/// What memory knows of one user's overlay.
#[derive(Debug)]
pub(super) enum Lookup {
    /// This is the overlay.
    Found(RenderedOverlay),
    /// There is no such overlay.
    Absent,
    /// The file has to be asked.
    Unknown,
}

/// What the overlays take in memory.
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
    pub(super) fn new(tiers: &Tiers, bytes_max: u64) -> Self {
        Self {
            names: Names::new(tiers),
            bytes_max,
            state: RwLock::new(State::Empty),
            filling: Arc::default(),
            misses: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            is_stopping: AtomicBool::new(false),
            background: Mutex::default(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a user's overlay.
    pub(super) fn find(&self, user: &str) -> Lookup {
        match &*self.read() {
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
        RenderedOverlay::new(&stored.overlay, stored.seq, &self.names)
    }

    fn full(&self) -> Option<Arc<Roster>> {
        match &*self.read() {
            State::Full(roster) => Some(Arc::clone(roster)),
            State::Empty | State::Filling(_) => None,
        }
    }

    /// What is in memory.
    pub(super) fn size(&self) -> RosterSize {
        match &*self.read() {
            State::Full(roster) => {
                RosterSize { users: roster.users(), bytes: roster.bytes(), damaged: roster.damaged().len() }
            }
            State::Empty | State::Filling(_) => RosterSize::default(),
        }
    }

    /// Applies a commit: after it is durable, before it is acknowledged, by the one writer.
    pub(super) fn committed(&self, commit: &Commit<'_>) {
        let first = commit.seq.saturating_sub(commit.changes.len() as u64);
        for (seq, change) in (first + 1..).zip(commit.changes) {
            if let Change::Overlay(user, stored) = change {
                self.apply(Changed { seq, user: user.clone(), stored: stored.clone() });
            }
        }
    }

    fn apply(&self, changed: Changed) {
        if matches!(&*self.read(), State::Empty) {
            // Whoever begins to fill after this takes a snapshot that shows the change.
            return;
        }
        // Before readers have to wait.
        let rendered = changed.stored.as_ref().map(|stored| self.render(stored));
        match &mut *self.write() {
            State::Empty => {}
            State::Filling(pending) => pending.push(changed),
            // A batch that reads this version keeps it: the copy shares its chunks.
            State::Full(roster) => Arc::make_mut(roster).put(&changed.user, rendered.as_ref()),
        }
    }

    /// Counts a read or write of one overlay while the roster is not full; after some, fills it in the background.
    pub(super) fn missed(self: &Arc<Self>, store: &Arc<Store>) {
        if matches!(&*self.read(), State::Full(_)) {
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
            if let Err(error) = overlays.fill(&store) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "overlays could not be read into memory; this is tried again");
            }
        });
    }

    /// Returns a version that is no older than the last acknowledged write; fills the roster first, or waits until it is full.
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
            // Moved here, as the reading goes on when the client goes away.
            let _filling = filling;
            Ok(overlays.fill(&store)?)
        })
        .await
    }

    /// Reads all overlays into memory, unless they are there. The caller holds `filling`.
    fn fill(&self, store: &Store) -> Result<Arc<Roster>, StoreError> {
        match &mut *self.write() {
            State::Full(roster) => return Ok(Arc::clone(roster)),
            state => *state = State::Filling(Vec::new()),
        }
        // After changes began to be collected, so that each is in the one or in the other.
        let read = store.snapshot().and_then(|snapshot| Ok((snapshot.seq()?, self.read_all(&snapshot)?)));
        let mut state = self.write();
        let pending = match std::mem::replace(&mut *state, State::Empty) {
            State::Filling(pending) => pending,
            State::Empty | State::Full(_) => Vec::new(),
        };
        let (seq, mut roster) = read.inspect_err(|_| {
            self.failures.fetch_add(1, Ordering::Relaxed);
        })?;
        self.failures.store(0, Ordering::Relaxed);
        for Changed { user, stored, .. } in pending.into_iter().filter(|changed| changed.seq > seq) {
            roster.put(&user, stored.map(|stored| self.render(&stored)).as_ref());
        }
        let roster = Arc::new(roster);
        *state = State::Full(Arc::clone(&roster));
        Ok(roster)
    }

    fn read_all(&self, snapshot: &Snapshot) -> Result<Roster, StoreError> {
        let roster = Roster::build(snapshot, &self.names, || self.is_stopping.load(Ordering::Relaxed))?;
        let roster = roster.ok_or(StoreError::Stopped)?;
        let damaged = roster.damaged();
        if !damaged.is_empty() {
            let some: Vec<_> = damaged.iter().take(DAMAGED_NAMED_MAX).map(String::as_str).collect();
            let (count, users) = (damaged.len(), some.join(", "));
            tracing::error!(count, users, "overlays can not be decoded; lists leave these users out");
        }
        Ok(roster)
    }

    /// Checks that memory has room for the overlays of a file, by an estimate that reads no rows.
    ///
    /// # Errors
    ///
    /// [`ServiceError::TooManyOverlays`] if they take a quarter more than they may: whatever was written below the limit can be
    /// started again. [`ServiceError::Store`].
    pub(super) fn check_file(&self, snapshot: &Snapshot) -> Result<(), ServiceError> {
        let bytes = snapshot.overlays_bytes()? + snapshot.counts()?.overlays * BYTES_BEYOND_FILE;
        if bytes <= self.bytes_max.saturating_add(self.bytes_max / 4) { Ok(()) } else { Err(self.too_many(bytes)) }
    }

    /// Checks that memory has room for the overlay that a write leaves.
    ///
    /// Writes that wait for the writer are not counted: many at once may take a little more than the limit.
    ///
    /// # Errors
    ///
    /// [`ServiceError::TooManyOverlays`].
    pub(super) fn check_room(&self, operation: &Operation) -> Result<(), ServiceError> {
        let state = self.read();
        let State::Full(roster) = &*state else { return Ok(()) };
        let bytes = roster.bytes() as u64;
        if bytes + OVERLAY_BYTES_MAX <= self.bytes_max {
            return Ok(());
        }
        let bytes_of = |user: &UserId| roster.find(user.as_str()).map(|overlay| overlay.bytes());
        let (old, new) = match operation {
            Operation::PutOverlay { draft, .. } => {
                let overlay = draft.clone().resolve(UnixMillis::MAX);
                (bytes_of(draft.user_id()), RenderedOverlay::new(&overlay, 0, &self.names).bytes())
            }
            Operation::PatchOverlay { user, patch, .. } => match bytes_of(user) {
                Some(old) => (Some(old), old + patch.to_json().len()),
                // The writer says that it is absent.
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

    /// Forgets the roster; readers go to the file until it is filled again. A fill that is under way goes on.
    pub(super) fn clear(&self) {
        let mut state = self.write();
        if matches!(*state, State::Full(_)) {
            *state = State::Empty;
        }
    }

    /// Does something on its own thread, unless the last such thing is still being done.
    fn in_background(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let mut background = self.background.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopping.load(Ordering::Relaxed) || background.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let overlays = Arc::clone(self);
        // Without a thread the overlays are read one by one until the first batch.
        *background = thread::Builder::new().name("roster".to_owned()).spawn(move || work(&overlays)).ok();
    }

    /// Ends a fill that is under way, and begins no other in the background.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
        let thread = self.background.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the thread was reported when it happened.
        let _ = thread.map(thread::JoinHandle::join);
    }
}
