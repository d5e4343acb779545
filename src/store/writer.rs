//! Writing: one thread, group commit, acknowledgement after the sync.
//!
//! Callers queue an [`Operation`] with what to do when it is done. The writer takes one, drains what else waits, and puts
//! all of it into one durable commit; there is no artificial delay, as the sync in flight is the batching window. Only then
//! does it tell the observer, who brings the cache up to date, and only after that the callers. In any other order
//! an acknowledged write could be followed by an older read, or be lost.
//!
//! An operation is checked against the state it meets before it touches a table; one that is refused leaves no trace and does
//! not disturb the others in its batch. One that would change nothing is not written.
//!
//! Before each batch the writer waits at the copy gate. When a write or a sync has failed, the batch is refused as a whole, and so is
//! every later one until the file could be opened again, which the writer tries after ever longer pauses. Refused so does not
//! mean undone: the disk may hold the commit after all. Then the observer is told of it before anything else is
//! written, and the refusals stand, as all they say is that the write is not known to have taken effect.
//!
//! Changes are numbered one by one, also within a commit. The number is a record's `seq`: no two states of a
//! record share one, so that whoever names a `seq` in a condition, or has it in an entity tag, names one state.

mod import;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use redb::{ReadableTable, Table, WriteTransaction};

use super::codec::{self, Changed, TooLarge};
use super::copy_gate::{CopyGate, Waited, now};
use super::snapshot::{
    StoredOutcome, StoredOverlay, StoredSignal, signal_called, stored_outcome, stored_overlay, stored_rate,
};
use super::{Store, StoreError, tables};
use crate::domain::{
    Invalid, InvalidKind, Object, Outcome, Overlay, OverlayDraft, Rate, RateDraft, SignalDraft, SignalId, Token,
    UnixMillis, UserId,
};

pub use import::{IMPORT_RECORDS_MAX, Imported};

/// Most operations that wait; beyond it a caller is told to come back.
const QUEUE_MAX: usize = 4_096;
/// Most operations of one commit: keeps the wait of the first in a batch short.
const BATCH_MAX: usize = 1_024;
/// Most changes that the log keeps, summed over its rows.
const LOGGED_CHANGES_MAX: u64 = 65_536;
/// How often a writer without work looks at the copy gate and at the health of the file.
const IDLE: Duration = Duration::from_millis(500);
/// How soon after a failure the file is opened again for the first time; the pause doubles with each failure.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest pause between two attempts: what a caller waits at most once the disk is well again.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// One write.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Publishes a signal.
    PutSignal {
        /// The signal as published.
        draft: SignalDraft,
        /// Fills in its creation.
        now: UnixMillis,
        /// Fills in its expiry.
        lifetime_ms: i64,
        /// What becomes of one that is there already.
        precedence: Precedence,
    },
    /// Applies an RFC 7396 merge patch to a signal.
    PatchSignal {
        /// Which one.
        id: SignalId,
        /// What changes.
        patch: Object,
        /// What must hold.
        condition: Condition,
    },
    /// Puts an overlay.
    PutOverlay {
        /// The overlay as sent.
        draft: OverlayDraft,
        /// When.
        now: UnixMillis,
        /// What must hold.
        condition: Condition,
        /// What becomes of one that is there already.
        precedence: Precedence,
    },
    /// Applies an RFC 7396 merge patch to an overlay.
    PatchOverlay {
        /// Whose.
        user: UserId,
        /// What changes.
        patch: Object,
        /// When.
        now: UnixMillis,
        /// What must hold.
        condition: Condition,
    },
    /// Deletes an overlay. Outcomes stay: they are history.
    DeleteOverlay {
        /// Whose.
        user: UserId,
        /// What must hold.
        condition: Condition,
    },
    /// Puts what happened for a user on a signal, which must be there.
    PutOutcome {
        /// The outcome.
        outcome: Outcome,
        /// What becomes of one that is there already.
        precedence: Precedence,
    },
    /// Puts a rate.
    PutRate {
        /// The rate as sent.
        draft: RateDraft,
        /// When.
        now: UnixMillis,
        /// What becomes of one that is there already.
        precedence: Precedence,
    },
    /// Keeps a new token.
    PutToken(Token),
    /// Revokes a token.
    RevokeToken(String),
}

/// What becomes of a record that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precedence {
    /// The new one replaces it; a signal with other content is refused.
    Replace,
    /// The one with the later time wins; a new one without a time is from now. A signal with other content is refused.
    Newest,
    /// It stays. A signal that is expired is renewed by one that is the same but for later times: so sample data can be loaded
    /// again next month.
    Seed,
}

/// What must hold of the record for a write to happen (RFC 9110 §13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// It is there.
    Exists,
    /// It is not there.
    Absent,
    /// It is there, and was written by one of these changes.
    SeqIn(Vec<u64>),
}

/// What a write did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// There was no such record.
    Created,
    /// There was one, and it is another now.
    Changed,
    /// The record said the same already; nothing was written.
    Unchanged,
    /// The record that was there takes precedence; nothing was written.
    Kept,
    /// The record is gone.
    Deleted,
}

/// The acknowledgement of a write: it is on the disk, and every read from now on shows it.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// What happened.
    pub effect: Effect,
    /// The record as it is now, with the number of the change that wrote it.
    pub change: Change,
}

/// A record as a commit left it.
#[derive(Clone, Debug)]
pub enum Change {
    /// A signal.
    Signal(Arc<StoredSignal>),
    /// An overlay; `None` if it was deleted.
    Overlay(UserId, Option<Arc<StoredOverlay>>),
    /// An outcome on the signal with this number.
    Outcome(u64, Arc<StoredOutcome>),
    /// A rate and its `seq`.
    Rate(Rate, u64),
    /// A token; `None` if it was revoked.
    Token(String, Option<Token>),
}

/// Why an operation was refused; nothing was written for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The record that the operation is about is not there.
    #[error("no {0}")]
    Absent(String),
    /// Another record stands in the way.
    #[error("{0}")]
    Conflict(String),
    /// The condition does not hold.
    #[error("the record is not as the condition expects it")]
    ConditionFailed,
    /// The result would break a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Why a write did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// It was refused, alone.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The commit failed, with everything in it.
    #[error("the write could not be made durable")]
    Failed(#[source] Arc<StoreError>),
}

/// What to do when a write is done, or not.
pub type Acknowledge = Box<dyn FnOnce(Result<Receipt, WriteError>) + Send>;

/// What one commit changed.
#[derive(Debug)]
pub struct Commit<'a> {
    /// The number of its last change.
    pub seq: u64,
    /// The records in the order of writing; where one stands there twice, the last is how the commit left it.
    pub changes: &'a [Change],
}

/// The writer thread.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<Message>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    health: Arc<Health>,
}

/// How long writes have waited for copies of the file, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GateWaits {
    /// Batches that waited.
    pub count: u64,
    /// How long they waited together, in microseconds.
    pub total_us: u64,
    /// The longest wait, in microseconds.
    pub longest_us: u64,
    /// Copies that took longer than the limit and are not protected.
    pub overran: u64,
}

/// What others may know of the writer.
#[derive(Debug, Default)]
struct Health {
    failure: Mutex<Option<Arc<StoreError>>>,
    waits: AtomicU64,
    total_us: AtomicU64,
    longest_us: AtomicU64,
    overran: AtomicU64,
}

impl Health {
    fn set_failure(&self, failure: Option<Arc<StoreError>>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    fn count_wait(&self, waited: Waited) {
        let time_us = u64::try_from(waited.time.as_micros()).unwrap_or(u64::MAX);
        if time_us == 0 {
            return;
        }
        self.waits.fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(time_us, Ordering::Relaxed);
        self.longest_us.fetch_max(time_us, Ordering::Relaxed);
        self.overran.fetch_add(waited.overran as u64, Ordering::Relaxed);
        let Waited { overran, events_lost, .. } = waited;
        if overran > 0 {
            tracing::warn!(
                time_us,
                overran,
                events_lost,
                "writes waited for a copy of the file that took too long and is not protected"
            );
        } else {
            tracing::info!(time_us, events_lost, "writes waited for a copy of the file");
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "one message in millions is the small one")]
enum Message {
    Write(Operation, Acknowledge),
    Stop,
}

impl Writer {
    /// Starts the thread, without a copy gate. `observer` is called after each commit that changed anything, before its
    /// acknowledgements.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::Stopped`] if the thread can not be started.
    pub fn start(store: Arc<Store>, observer: impl FnMut(&Commit<'_>) + Send + 'static) -> Result<Self, StoreError> {
        Self::start_behind(CopyGate::off(), store, observer)
    }

    /// Starts the thread behind a copy gate on the store's file.
    ///
    /// # Errors
    ///
    /// As [`Writer::start`].
    pub fn start_behind(
        gate: CopyGate,
        store: Arc<Store>,
        observer: impl FnMut(&Commit<'_>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let health = Arc::new(Health::default());
        let seq = store.snapshot()?.seq()?;
        let state = (Arc::clone(&health), gate);
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                let (health, gate) = state;
                Writing { store, gate, observer, health, seq, logged_changes: None, latch: None }.run(&messages);
            })
            .map_err(|_| StoreError::Stopped)?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)), health })
    }

    /// Queues a write.
    ///
    /// # Errors
    ///
    /// [`StoreError::Busy`] if the queue is full, [`StoreError::Stopped`] after the writer has stopped; `acknowledge`
    /// is dropped uncalled then.
    pub fn submit(&self, operation: Operation, acknowledge: Acknowledge) -> Result<(), StoreError> {
        self.queue.try_send(Message::Write(operation, acknowledge)).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy,
            TrySendError::Disconnected(_) => StoreError::Stopped,
        })
    }

    /// Why nothing can be written at the moment; `None` if all is well.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<StoreError>> {
        self.health.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long writes have waited for copies.
    #[must_use]
    pub fn gate_waits(&self) -> GateWaits {
        GateWaits {
            count: self.health.waits.load(Ordering::Relaxed),
            total_us: self.health.total_us.load(Ordering::Relaxed),
            longest_us: self.health.longest_us.load(Ordering::Relaxed),
            overran: self.health.overran.load(Ordering::Relaxed),
        }
    }

    /// Writes and acknowledges everything that is queued, then ends the thread. What is queued later is refused, or its
    /// acknowledgement dropped uncalled.
    pub fn stop(&self) {
        // The thread may have ended before; then there is nothing to stop.
        let _ = self.queue.send(Message::Stop);
        // Held while waiting, so that of two who stop it neither returns early.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        // A panic of the thread was reported when it happened.
        let _ = thread.take().map(thread::JoinHandle::join);
    }
}

/// A wait at the gate ends when the copy does or its time is up; stopping is not in such a hurry.
static NEVER: AtomicBool = AtomicBool::new(false);

/// What the thread works with.
struct Writing<F> {
    store: Arc<Store>,
    gate: CopyGate,
    observer: F,
    health: Arc<Health>,
    /// The number of the last change that is known to be on the disk.
    seq: u64,
    logged_changes: Option<u64>,
    latch: Option<Latch>,
}

/// Nothing is written: a write has failed.
struct Latch {
    failure: Arc<StoreError>,
    /// When the file is to be opened again, and the pause after that if it fails.
    retry_at: Instant,
    pause: Duration,
    /// The commit that failed last and may be on the disk all the same.
    doubtful: Option<Doubtful>,
}

struct Doubtful {
    seq: u64,
    changes: Vec<Change>,
}

impl<F: FnMut(&Commit<'_>)> Writing<F> {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut is_stopping = false;
        while !is_stopping {
            self.attend();
            let first = match messages.recv_timeout(self.pause()) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if self.latch.is_none() {
                // What comes in meanwhile goes into the same batch.
                self.health.count_wait(self.gate.wait(&NEVER));
            }
            let mut operations = Vec::new();
            let mut acknowledges = Vec::new();
            for message in std::iter::once(first).chain(messages.try_iter().take(BATCH_MAX - 1)) {
                match message {
                    Message::Write(operation, acknowledge) => {
                        operations.push(operation);
                        acknowledges.push(acknowledge);
                    }
                    Message::Stop => {
                        is_stopping = true;
                        break;
                    }
                }
            }
            self.batch(operations, acknowledges);
        }
        // Closing the file writes to it too.
        self.health.count_wait(self.gate.wait(&NEVER));
    }

    fn pause(&self) -> Duration {
        self.latch.as_ref().map_or(IDLE, |latch| latch.retry_at.saturating_duration_since(now()))
    }

    /// Does what has to be done from time to time, whether there are writes or not.
    fn attend(&mut self) {
        if self.latch.is_none() {
            if let Err(error) = self.store.opened().check_fault() {
                self.fail(Arc::new(error), None);
            } else {
                // Or the events of an idle night would overflow their queue.
                self.gate.is_clear();
            }
        }
        if self.latch.as_ref().is_some_and(|latch| latch.retry_at <= now()) {
            self.recover();
        }
    }

    fn batch(&mut self, operations: Vec<Operation>, acknowledges: Vec<Acknowledge>) {
        if let Some(latch) = &self.latch {
            for acknowledge in acknowledges {
                acknowledge(Err(WriteError::Failed(Arc::clone(&latch.failure))));
            }
            return;
        }
        match write_batch(&self.store, operations, &mut self.logged_changes) {
            Ok(written) => {
                if !written.changes.is_empty() {
                    self.seq = written.seq;
                    (self.observer)(&Commit { seq: written.seq, changes: &written.changes });
                }
                for (acknowledge, result) in acknowledges.into_iter().zip(written.results) {
                    acknowledge(result);
                }
            }
            Err((error, doubtful)) => {
                let error = Arc::new(error);
                self.fail(Arc::clone(&error), doubtful);
                for acknowledge in acknowledges {
                    acknowledge(Err(WriteError::Failed(Arc::clone(&error))));
                }
            }
        }
    }

    fn fail(&mut self, failure: Arc<StoreError>, doubtful: Option<Doubtful>) {
        let error = &*failure as &dyn std::error::Error;
        tracing::error!(
            error,
            is_full = failure.is_full(),
            "writing failed; writes are refused until the file could be opened again"
        );
        self.health.set_failure(Some(Arc::clone(&failure)));
        // What the log holds is not known any more.
        self.logged_changes = None;
        self.latch = Some(Latch { failure, retry_at: now() + RETRY_FIRST, pause: RETRY_FIRST, doubtful });
    }

    fn recover(&mut self) {
        let Some(mut latch) = self.latch.take() else { return };
        match self.open_again(latch.doubtful.as_ref()) {
            Ok(()) => {
                self.health.set_failure(None);
                tracing::info!(seq = self.seq, "the file could be opened again; writes are taken");
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the file could not be opened again");
                latch.pause = (latch.pause * 2).min(RETRY_MAX);
                latch.retry_at = now() + latch.pause;
                self.latch = Some(latch);
            }
        }
    }

    fn open_again(&mut self, doubtful: Option<&Doubtful>) -> Result<(), StoreError> {
        self.health.count_wait(self.gate.wait(&NEVER));
        let opened = self.store.open_again()?;
        let seq = Arc::clone(&opened).snapshot()?.seq()?;
        let landed = doubtful.filter(|doubtful| doubtful.seq == seq);
        if landed.is_none() && seq != self.seq {
            return Err(StoreError::Damaged(format!("it ends at change {seq} where {} was written", self.seq)));
        }
        self.seq = seq;
        // In this order: a reader who meets the old file must find the cache as it was, or put back what the commit replaced.
        self.store.replace(opened);
        if let Some(Doubtful { seq, changes }) = landed {
            (self.observer)(&Commit { seq: *seq, changes });
        }
        Ok(())
    }
}

/// What came of a batch.
struct Written {
    seq: u64,
    results: Vec<Result<Receipt, WriteError>>,
    changes: Vec<Change>,
}

/// Puts a batch into one commit. Returns after the sync; with an error, nothing of the batch is known to be on the disk, but all
/// of it may be.
fn write_batch(
    store: &Store,
    operations: Vec<Operation>,
    logged_changes: &mut Option<u64>,
) -> Result<Written, (StoreError, Option<Doubtful>)> {
    let opened = store.opened();
    let certain = |error: StoreError| (error, None);
    let tx = opened.begin_write().map_err(certain)?;
    let (written, logged) = apply_batch(&tx, operations, *logged_changes).map_err(certain)?;
    if written.changes.is_empty() {
        tx.abort().map_err(|error| certain(error.into()))?;
        opened.confirm().map_err(certain)?;
        return Ok(written);
    }
    let committed = tx.commit().map_err(StoreError::from).and_then(|()| opened.confirm());
    match committed {
        Ok(()) => {
            *logged_changes = Some(logged);
            Ok(written)
        }
        Err(error) => Err((error, Some(Doubtful { seq: written.seq, changes: written.changes }))),
    }
}

/// Applies a batch to the tables; returns also how many changes the log holds then.
fn apply_batch(
    tx: &WriteTransaction,
    operations: Vec<Operation>,
    logged_changes: Option<u64>,
) -> Result<(Written, u64), StoreError> {
    let mut batch = Batch::open(tx)?;
    let mut results = Vec::with_capacity(operations.len());
    for operation in operations {
        match batch.apply(operation) {
            Ok(receipt) => results.push(Ok(receipt)),
            Err(Failure::Refused(refusal)) => results.push(Err(refusal.into())),
            // A damaged record fails whoever asked for it. It was met before anything was written, so the others go in.
            Err(Failure::Store(error @ StoreError::CorruptRow { .. })) => {
                results.push(Err(WriteError::Failed(Arc::new(error))));
            }
            Err(Failure::Store(error)) => return Err(error),
        }
    }
    let seq = batch.last_seq();
    let changes = std::mem::take(&mut batch.changes);
    let logged = if changes.is_empty() { 0 } else { batch.log(seq, &changes, logged_changes)? };
    Ok((Written { seq, results, changes }, logged))
}

/// Why one operation did not go in: refused alone, or everything failed.
enum Failure {
    Refused(Refusal),
    Store(StoreError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Refused(invalid.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<redb::StorageError> for Failure {
    fn from(error: redb::StorageError) -> Self {
        Self::Store(error.into())
    }
}

impl From<TooLarge> for Failure {
    fn from(error: TooLarge) -> Self {
        Self::Refused(Invalid::document(InvalidKind::TooLarge, error.to_string()).into())
    }
}

type Applied = Result<Receipt, Failure>;

/// The tables of one write transaction.
struct Batch<'tx> {
    /// The number of the last change before this batch.
    seq_before: u64,
    changes: Vec<Change>,
    signals: Table<'tx, u64, &'static [u8]>,
    signal_numbers: Table<'tx, &'static str, u64>,
    signals_by_expiry: Table<'tx, (i64, u64), ()>,
    overlays: Table<'tx, &'static str, &'static [u8]>,
    outcomes: Table<'tx, (u64, &'static str), &'static [u8]>,
    rates: Table<'tx, &'static str, &'static [u8]>,
    tokens: Table<'tx, &'static str, &'static [u8]>,
    log: Table<'tx, u64, &'static [u8]>,
}

impl<'tx> Batch<'tx> {
    fn open(tx: &'tx WriteTransaction) -> Result<Self, StoreError> {
        let log = tx.open_table(tables::CHANGES)?;
        let last = log.last()?.map_or(0, |(seq, _)| seq.value());
        Ok(Self {
            seq_before: last,
            changes: Vec::new(),
            signals: tx.open_table(tables::SIGNALS)?,
            signal_numbers: tx.open_table(tables::SIGNAL_NUMBERS)?,
            signals_by_expiry: tx.open_table(tables::SIGNALS_BY_EXPIRY)?,
            overlays: tx.open_table(tables::OVERLAYS)?,
            outcomes: tx.open_table(tables::OUTCOMES)?,
            rates: tx.open_table(tables::RATES)?,
            tokens: tx.open_table(tables::TOKENS)?,
            log,
        })
    }

    /// The number of the last change so far.
    fn last_seq(&self) -> u64 {
        self.seq_before.saturating_add(self.changes.len() as u64)
    }

    /// The number of the change to come.
    fn next_seq(&self) -> u64 {
        self.last_seq().saturating_add(1)
    }

    fn apply(&mut self, operation: Operation) -> Applied {
        match operation {
            Operation::PutSignal { draft, now, lifetime_ms, precedence } => {
                self.put_signal(draft, now, lifetime_ms, precedence)
            }
            Operation::PatchSignal { id, patch, condition } => self.patch_signal(&id, &patch, &condition),
            Operation::PutOverlay { draft, now, condition, precedence } => {
                self.put_overlay(draft, now, &condition, precedence)
            }
            Operation::PatchOverlay { user, patch, now, condition } => {
                self.patch_overlay(user, &patch, now, &condition)
            }
            Operation::DeleteOverlay { user, condition } => self.delete_overlay(user, &condition),
            Operation::PutOutcome { outcome, precedence } => self.put_outcome(outcome, precedence),
            Operation::PutRate { draft, now, precedence } => self.put_rate(draft, now, precedence),
            Operation::PutToken(token) => self.put_token(token),
            Operation::RevokeToken(id) => self.revoke_token(id),
        }
    }

    fn put_signal(&mut self, draft: SignalDraft, now: UnixMillis, lifetime_ms: i64, precedence: Precedence) -> Applied {
        let Some(stored) = self.stored_signal(draft.id())? else {
            let signal = draft.resolve(now, lifetime_ms)?;
            let number = self.next_number()?;
            let stored = StoredSignal { number, seq: self.next_seq(), signal };
            self.write_signal(&stored, None)?;
            return Ok(self.done(Effect::Created, Change::Signal(Arc::new(stored))));
        };
        if draft.agrees_with(&stored.signal) {
            return Ok(unchanged(Change::Signal(Arc::new(stored))));
        }
        if precedence != Precedence::Seed {
            let detail = format!("signal {} is there already, with other content", stored.signal.id);
            return Err(Refusal::Conflict(detail).into());
        }
        let same = draft.same_but_times(&stored.signal);
        let signal = draft.resolve(now, lifetime_ms)?;
        if same && stored.signal.is_expired(now) && !signal.is_expired(now) {
            let renewed = StoredSignal { number: stored.number, seq: self.next_seq(), signal };
            self.write_signal(&renewed, Some(&stored))?;
            return Ok(self.done(Effect::Changed, Change::Signal(Arc::new(renewed))));
        }
        Ok(Receipt { effect: Effect::Kept, change: Change::Signal(Arc::new(stored)) })
    }

    fn patch_signal(&mut self, id: &SignalId, patch: &Object, condition: &Condition) -> Applied {
        let stored = self.stored_signal(id)?;
        check(condition, stored.as_ref().map(|stored| stored.seq))?;
        let stored = stored.ok_or_else(|| Refusal::Absent(format!("signal {id}")))?;
        let signal = stored.signal.patched(patch)?;
        if signal == stored.signal {
            return Ok(unchanged(Change::Signal(Arc::new(stored))));
        }
        let patched = StoredSignal { number: stored.number, seq: self.next_seq(), signal };
        self.write_signal(&patched, Some(&stored))?;
        Ok(self.done(Effect::Changed, Change::Signal(Arc::new(patched))))
    }

    fn stored_signal(&self, id: &SignalId) -> Result<Option<StoredSignal>, StoreError> {
        let Some(number) = self.signal_numbers.get(id.as_str())?.map(|number| number.value()) else { return Ok(None) };
        let row = self.signals.get(number)?;
        signal_called(id, number, row.as_ref().map(redb::AccessGuard::value)).map(Some)
    }

    /// The number of the next new signal.
    fn next_number(&self) -> Result<u64, StoreError> {
        Ok(self.signals.last()?.map_or(0, |(number, _)| number.value().saturating_add(1)))
    }

    fn write_signal(&mut self, stored: &StoredSignal, old: Option<&StoredSignal>) -> Result<(), Failure> {
        let bytes = codec::encode_signal(&stored.signal, stored.seq)?;
        let number = stored.number;
        self.signals.insert(number, bytes.as_slice())?;
        match old {
            Some(old) => drop(self.signals_by_expiry.remove((old.signal.expires_at.millis(), number))?),
            None => drop(self.signal_numbers.insert(stored.signal.id.as_str(), number)?),
        }
        self.signals_by_expiry.insert((stored.signal.expires_at.millis(), number), ())?;
        Ok(())
    }

    fn put_overlay(
        &mut self,
        draft: OverlayDraft,
        now: UnixMillis,
        condition: &Condition,
        precedence: Precedence,
    ) -> Applied {
        let stored = self.stored_overlay(draft.user_id())?;
        check(condition, stored.as_ref().map(|stored| stored.seq))?;
        let user = draft.user_id().clone();
        let overlay = draft.resolve(now);
        if let Some(stored) = stored {
            if stored.overlay.says_the_same(&overlay) {
                return Ok(unchanged(Change::Overlay(user, Some(Arc::new(stored)))));
            }
            if !wins(precedence, overlay.updated_at, stored.overlay.updated_at) {
                return Ok(Receipt { effect: Effect::Kept, change: Change::Overlay(user, Some(Arc::new(stored))) });
            }
            return self.write_overlay(overlay, Effect::Changed);
        }
        self.write_overlay(overlay, Effect::Created)
    }

    fn patch_overlay(&mut self, user: UserId, patch: &Object, now: UnixMillis, condition: &Condition) -> Applied {
        let stored = self.stored_overlay(&user)?;
        check(condition, stored.as_ref().map(|stored| stored.seq))?;
        let stored = stored.ok_or_else(|| Refusal::Absent(format!("overlay for user {user}")))?;
        let overlay = stored.overlay.patched(patch, now)?;
        if overlay.says_the_same(&stored.overlay) {
            return Ok(unchanged(Change::Overlay(user, Some(Arc::new(stored)))));
        }
        self.write_overlay(overlay, Effect::Changed)
    }

    fn delete_overlay(&mut self, user: UserId, condition: &Condition) -> Applied {
        let stored = self.stored_overlay(&user)?;
        check(condition, stored.as_ref().map(|stored| stored.seq))?;
        if stored.is_none() {
            return Err(Refusal::Absent(format!("overlay for user {user}")).into());
        }
        self.overlays.remove(user.as_str())?;
        Ok(self.done(Effect::Deleted, Change::Overlay(user, None)))
    }

    fn stored_overlay(&self, user: &UserId) -> Result<Option<StoredOverlay>, StoreError> {
        self.overlays.get(user.as_str())?.map(|bytes| stored_overlay(user.as_str(), bytes.value())).transpose()
    }

    fn write_overlay(&mut self, overlay: Overlay, effect: Effect) -> Applied {
        let stored = StoredOverlay { seq: self.next_seq(), overlay };
        let bytes = codec::encode_overlay(&stored.overlay, stored.seq)?;
        let user = stored.overlay.user_id.clone();
        self.overlays.insert(user.as_str(), bytes.as_slice())?;
        Ok(self.done(effect, Change::Overlay(user, Some(Arc::new(stored)))))
    }

    fn put_outcome(&mut self, outcome: Outcome, precedence: Precedence) -> Applied {
        let number = self.signal_numbers.get(outcome.signal_id.as_str())?.map(|number| number.value());
        let number = number.ok_or_else(|| Refusal::Absent(format!("signal {}", outcome.signal_id)))?;
        let user = outcome.user_id.clone();
        let key = (number, user.as_str());
        let old = self.outcomes.get(key)?.map(|bytes| stored_outcome(key, bytes.value())).transpose()?;
        let effect = if old.is_some() { Effect::Changed } else { Effect::Created };
        if let Some(old) = old {
            if old.outcome.says_the_same(&outcome) {
                return Ok(unchanged(Change::Outcome(number, Arc::new(old))));
            }
            if !wins(precedence, outcome.at, old.outcome.at) {
                return Ok(Receipt { effect: Effect::Kept, change: Change::Outcome(number, Arc::new(old)) });
            }
        }
        let stored = StoredOutcome { seq: self.next_seq(), outcome };
        let bytes = codec::encode_outcome(&stored.outcome, stored.seq)?;
        self.outcomes.insert(key, bytes.as_slice())?;
        Ok(self.done(effect, Change::Outcome(number, Arc::new(stored))))
    }

    fn put_rate(&mut self, draft: RateDraft, now: UnixMillis, precedence: Precedence) -> Applied {
        let rate = draft.resolve(now);
        let pair = rate.pair.as_str();
        let old = self.rates.get(pair)?.map(|bytes| stored_rate(pair, bytes.value())).transpose()?;
        let effect = if old.is_some() { Effect::Changed } else { Effect::Created };
        if let Some((old, seq)) = old {
            if old.price == rate.price {
                return Ok(unchanged(Change::Rate(old, seq)));
            }
            if !wins(precedence, rate.updated_at, old.updated_at) {
                return Ok(Receipt { effect: Effect::Kept, change: Change::Rate(old, seq) });
            }
        }
        let seq = self.next_seq();
        let bytes = codec::encode_rate(&rate, seq)?;
        self.rates.insert(rate.pair.as_str(), bytes.as_slice())?;
        Ok(self.done(effect, Change::Rate(rate, seq)))
    }

    fn put_token(&mut self, token: Token) -> Applied {
        if self.tokens.get(token.id.as_str())?.is_some() {
            return Err(Refusal::Conflict(format!("token {} is there already", token.id)).into());
        }
        let bytes = codec::encode_token(&token, self.next_seq())?;
        self.tokens.insert(token.id.as_str(), bytes.as_slice())?;
        Ok(self.done(Effect::Created, Change::Token(token.id.clone(), Some(token))))
    }

    fn revoke_token(&mut self, id: String) -> Applied {
        if self.tokens.remove(id.as_str())?.is_none() {
            return Err(Refusal::Absent(format!("token {id}")).into());
        }
        Ok(self.done(Effect::Deleted, Change::Token(id, None)))
    }

    fn done(&mut self, effect: Effect, change: Change) -> Receipt {
        self.changes.push(change.clone());
        Receipt { effect, change }
    }

    /// Adds this commit to the change log and drops the oldest rows beyond the bound; returns how many changes it holds.
    ///
    /// - `last`: the number of the last of the changes.
    /// - `logged`: how many the log holds, where that is known.
    fn log(&mut self, last: u64, changes: &[Change], logged: Option<u64>) -> Result<u64, StoreError> {
        let mut logged = match logged {
            Some(logged) => logged,
            None => count_logged(&self.log)?,
        };
        let entries: Vec<Changed> = changes.iter().map(logged_as).collect();
        // A row of at most a full batch with the longest keys is within the codec's bound.
        let bytes = codec::encode_changes(&entries)
            .map_err(|error| super::snapshot::corrupt("changes-1", last, &error.to_string()))?;
        self.log.insert(last, bytes.as_slice())?;
        logged += entries.len() as u64;
        while logged > LOGGED_CHANGES_MAX {
            let Some((seq, bytes)) = self.log.pop_first()?.map(|(seq, bytes)| (seq.value(), bytes.value().to_vec()))
            else {
                break;
            };
            if seq == last {
                // The newest row stays, as its key is the file's seq; a batch is far below the bound anyway.
                self.log.insert(seq, bytes.as_slice())?;
                break;
            }
            logged = logged.saturating_sub(count(&bytes));
        }
        Ok(logged)
    }
}

fn count_logged(log: &Table<'_, u64, &'static [u8]>) -> Result<u64, StoreError> {
    let mut logged = 0;
    for row in log.range::<u64>(..)? {
        logged += count(row?.1.value());
    }
    Ok(logged)
}

/// How many changes a row of the log holds. A damaged row counts as one: it must not keep anybody from writing, and whoever
/// reads the log is told.
fn count(row: &[u8]) -> u64 {
    codec::decode_changes(row).map_or(1, |changes| changes.len() as u64)
}

fn logged_as(change: &Change) -> Changed {
    match change {
        Change::Signal(stored) => Changed::Signal(stored.signal.id.clone()),
        Change::Overlay(user, _) => Changed::Overlay(user.clone()),
        Change::Outcome(_, stored) => {
            Changed::Outcome(stored.outcome.signal_id.clone(), stored.outcome.user_id.clone())
        }
        Change::Rate(rate, _) => Changed::Rate(rate.pair.clone()),
        Change::Token(id, _) => Changed::Token(id.clone()),
    }
}

fn unchanged(change: Change) -> Receipt {
    Receipt { effect: Effect::Unchanged, change }
}

fn check(condition: &Condition, seq: Option<u64>) -> Result<(), Refusal> {
    let holds = match (condition, seq) {
        (Condition::None, _) | (Condition::Exists, Some(_)) | (Condition::Absent, None) => true,
        (Condition::SeqIn(seqs), Some(seq)) => seqs.contains(&seq),
        _ => false,
    };
    if holds { Ok(()) } else { Err(Refusal::ConditionFailed) }
}

/// Whether a new record goes over the stored one, by their times.
fn wins(precedence: Precedence, new_time: UnixMillis, stored_time: UnixMillis) -> bool {
    match precedence {
        Precedence::Replace => true,
        Precedence::Newest => new_time >= stored_time,
        Precedence::Seed => false,
    }
}
