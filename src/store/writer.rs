//! Writing: one thread, group commit, acknowledgement after the sync.
//!
//! Callers queue an [`Operation`] with what to do when it is done. The writer takes one, drains what else waits, and puts
//! all of it into one durable commit; there is no artificial delay, as the sync in flight is the batching window. Only then
//! does it mark the file (see `mark`), tell the observer, who brings the cache up to date, and only after that the callers. In any
//! other order an acknowledged write could be followed by an older read, or be lost.
//!
//! A batch goes into the `log`, with one write and one sync, unless it is larger than half of that: then it goes into the tables, with all
//! that the log holds. A full segment of the log is put into the tables by the [`filler`], while the writer goes on. A writer that stops
//! leaves the log empty.
//!
//! An operation is checked against the state it meets before it becomes rows; one that is refused leaves no trace and does
//! not disturb the others in its batch. One that would change nothing is not written.
//!
//! Before each batch the writer waits at the copy gate. When a write or a sync has failed, the batch is refused as a whole, and so is
//! every later one until the file could be opened again, which the writer tries after ever longer pauses. Refused so does not
//! mean undone: the disk may hold the commit after all. Then the observer is told of it before anything else is
//! written, and the refusals stand, as all they say is that the write is not known to have taken effect.
//!
//! Changes are numbered one by one, also within a commit. The number is a record's `seq`: no two states of a
//! record share one, so that whoever names a `seq` in a condition, or has it in an entity tag, names one state.

mod batch;
mod filler;
mod import;
mod operation;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::copy_gate::{CopyGate, Waited, now};
use super::rows::NewRows;
use super::snapshot::StoredSignal;
use super::{NEVER, Opened, Store, StoreError};

use batch::{Batch, Failure};
use filler::Filler;
pub use import::{IMPORT_RECORDS_MAX, Imported};
pub use operation::{
    Acknowledge, Change, Commit, Condition, Effect, Operation, Precedence, Receipt, Refusal, WriteError,
};

/// Most operations that wait; beyond it a caller is told to come back.
const QUEUE_MAX: usize = 4_096;
/// Most operations of one commit: keeps the wait of the first in a batch short.
const BATCH_MAX: usize = 1_024;
/// How often a writer without work looks at the copy gate and at the health of the file.
const IDLE: Duration = Duration::from_millis(500);
/// How soon after a failure the file is opened again for the first time; the pause doubles with each failure.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest pause between two attempts: what a caller waits at most once the disk is well again.
const RETRY_MAX: Duration = Duration::from_secs(2);

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

enum Message {
    /// In a box: the queue has room for all that may wait from the beginning, nearly a megabyte of it otherwise.
    Write(Box<(Operation, Acknowledge)>),
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
        // From here on the store writes nothing by itself, and nobody would read what its own gate has to say.
        drop(store.pass_gate());
        let state = (Arc::clone(&health), gate);
        let filler = Filler::start()?;
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                let (health, gate) = state;
                Writing { store, gate, filler, observer, health, seq, marked: 0, latch: None }.run(&messages);
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
        self.queue.try_send(Message::Write(Box::new((operation, acknowledge)))).map_err(|error| match error {
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

/// What the thread works with.
struct Writing<F> {
    store: Arc<Store>,
    gate: CopyGate,
    filler: Filler,
    observer: F,
    health: Arc<Health>,
    /// The number of the last change that is known to be on the disk.
    seq: u64,
    /// The number of the last change that the file is marked with, as far as this writer did it.
    marked: u64,
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
        // Soon after the start, so that the first write does not wait for what the gate has to find out.
        self.gate.is_clear();
        while !is_stopping {
            self.attend();
            let first = match messages.recv_timeout(self.pause()) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    // Or the events of an idle night would overflow their queue.
                    self.gate.is_clear();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            // Asked before the gate: a copy that begins after that, and meets the end of the filling, must not meet another one.
            let is_filling = self.filler.is_busy();
            if self.latch.is_none() {
                // What comes in meanwhile goes into the same batch.
                self.wait_for_copies();
            }
            let mut operations = Vec::new();
            let mut acknowledges = Vec::new();
            for message in std::iter::once(first).chain(messages.try_iter().take(BATCH_MAX - 1)) {
                match message {
                    Message::Write(write) => {
                        let (operation, acknowledge) = *write;
                        operations.push(operation);
                        acknowledges.push(acknowledge);
                    }
                    Message::Stop => {
                        is_stopping = true;
                        break;
                    }
                }
            }
            // To begin to write is a write already: it notes that the file is open.
            if !operations.is_empty() {
                self.batch(operations, acknowledges, is_filling);
            }
        }
        self.filler.wait();
        // Closing the file writes to it too, if anything has been written.
        if !self.store.is_untouched() {
            self.empty_log();
            self.wait_for_copies();
            self.store.wipe_log();
        }
    }

    fn wait_for_copies(&mut self) {
        self.health.count_wait(self.gate.wait(&NEVER));
    }

    /// Leaves nothing to the next start.
    fn empty_log(&mut self) {
        let opened = self.store.opened();
        if self.latch.is_some() || opened.is_log_empty() {
            return;
        }
        self.wait_for_copies();
        if let Err(error) = opened.commit_to_tables(None, None) {
            // They are on the disk as they are.
            tracing::debug!(error = &error as &dyn std::error::Error, "the log could not be emptied");
        }
    }

    fn pause(&self) -> Duration {
        self.latch.as_ref().map_or(IDLE, |latch| latch.retry_at.saturating_duration_since(now()))
    }

    /// Does what has to be done from time to time, whether there are writes or not.
    fn attend(&mut self) {
        if self.latch.is_none() {
            let filled = self.filler.result().and_then(|()| self.store.opened().check_fault());
            if let Err(error) = filled {
                self.fail(Arc::new(error), None);
            } else if self.marked < self.seq {
                self.mark();
            }
        }
        if self.latch.as_ref().is_some_and(|latch| latch.retry_at <= now()) {
            self.recover();
        }
    }

    /// - `is_filling`: whether the tables may have been being filled when it was last seen that nobody copies the file.
    fn batch(&mut self, operations: Vec<Operation>, acknowledges: Vec<Acknowledge>, is_filling: bool) {
        if let Some(latch) = &self.latch {
            for acknowledge in acknowledges {
                acknowledge(Err(WriteError::Failed(Arc::clone(&latch.failure))));
            }
            return;
        }
        match self.write_batch(operations, is_filling) {
            Ok(written) => {
                if !written.changes.is_empty() {
                    self.seq = written.seq;
                    self.mark();
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

    /// Puts a batch into one commit. Returns after the sync; with an error, nothing of the batch is known to be on the disk, but all
    /// of it may be.
    fn write_batch(
        &mut self,
        operations: Vec<Operation>,
        mut is_filling: bool,
    ) -> Result<Written, (StoreError, Option<Doubtful>)> {
        let opened = self.store.opened();
        let (written, rows) = apply_batch(&opened, operations).map_err(|error| (error, None))?;
        if written.changes.is_empty() {
            return Ok(written);
        }
        if is_filling && !opened.has_room(&rows.entry) {
            self.filler.wait();
            self.wait_for_copies();
            is_filling = false;
        }
        if let Err(error) = opened.commit(&rows) {
            return Err((error, Some(Doubtful { seq: written.seq, changes: written.changes })));
        }
        if !is_filling && opened.is_to_fill() {
            self.filler.begin(opened);
        }
        Ok(written)
    }

    /// Marks what is known to be on the disk. What can not be marked now, as somebody copies the file, is when nobody does.
    fn mark(&mut self) {
        if self.store.mark(self.seq, &mut self.gate) {
            self.marked = self.seq;
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
        self.filler.wait();
        // What it came to is no matter: its rows are in the log.
        drop(self.filler.result());
        self.wait_for_copies();
        let opened = self.store.open_again(self.seq)?;
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

/// Applies a batch to what is committed.
fn apply_batch(opened: &Opened, operations: Vec<Operation>) -> Result<(Written, NewRows), StoreError> {
    let (tx, rows) = opened.committed()?;
    let mut batch = Batch::open(&tx, rows)?;
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
    let (changes, rows) = batch.finish();
    Ok((Written { seq: rows.entry.last, results, changes }, rows))
}
