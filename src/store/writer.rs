//! Writing: one thread, group commit, acknowledgement after the sync.
//!
//! Callers queue an [`Operation`] with what to do when it is done. The writer takes one, drains what else waits, and
//! puts all of it into one durable commit; there is no artificial delay, as the sync in flight is the batching window.
//! Only then does it tell the observer, which brings the cache up to date, and only after that the callers. In any
//! other order an acknowledged write could be followed by an older read, or be lost.
//!
//! An operation is checked against the state it meets before it touches a table; one that is refused leaves no trace
//! and does not disturb the others in its batch. One that would change nothing is not written.
//!
//! Before each batch the writer waits at the copy gate, and makes sure that the file is still this process's own. A
//! batch whose commit fails is refused as a whole, and so is every later one until the disk takes writes again: see
//! `recovery`. If the thread ends, for whatever reason, [`Writer::failure`] says so.
//!
//! Changes are numbered one by one, also within a commit. The number is a record's `seq`: no two states of a
//! record share one, so a condition or an entity tag that names a `seq` names one state.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use redb::WriteTransaction;

use super::batch::{BATCH_MAX, Batch, Failure};
use super::database::Store;
use super::engine::CommitError;
use super::error::{LostFile, StoreError};
use super::operation::{Acknowledge, Change, Commit, Operation, Receipt, WriteError};
use super::recovery::{Doubtful, Latch, RetryPauses};
use super::runs::Runs;
use crate::domain::MaxAges;

/// Most operations that wait; beyond it a caller is told to come back.
const QUEUE_MAX: usize = 4_096;
/// How often a writer without work looks at the health of the file.
const IDLE: Duration = Duration::from_millis(500);

/// The writer thread. It writes and acknowledges what is queued when this is dropped, and ends.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<Message>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
    health: Arc<Health>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Why nothing can be written, if nothing can.
#[derive(Debug, Default)]
struct Health(Mutex<Option<Arc<StoreError>>>);

impl Health {
    fn set(&self, failure: Option<Arc<StoreError>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

enum Message {
    /// In a box: the queue allocates a slot for each message that may wait, nearly a megabyte in all otherwise.
    Write(Box<(Operation, Acknowledge)>),
    Stop,
}

impl Writer {
    /// Starts the thread with the usual pauses and without limits of age. `observer` is called after each commit that
    /// changed anything, before its acknowledgements.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`], or [`StoreError::Stopped`] if the thread can not be started.
    pub fn start(store: Arc<Store>, observer: impl FnMut(&Commit<'_>) + Send + 'static) -> Result<Self, StoreError> {
        Self::start_with(RetryPauses::default(), MaxAges::default(), store, observer)
    }

    /// Starts the thread; after a failure it tries the disk again after these pauses. `max_ages` decide when the
    /// confirmation of an unchanged value is stored.
    ///
    /// # Errors
    ///
    /// As [`Writer::start`].
    pub fn start_with(
        pauses: RetryPauses,
        max_ages: MaxAges,
        store: Arc<Store>,
        observer: impl FnMut(&Commit<'_>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let health = Arc::new(Health::default());
        let seq = store.snapshot()?.seq()?;
        let thread_health = Arc::clone(&health);
        let thread = thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                let health = Arc::clone(&thread_health);
                let writing = Writing { store, observer, health, pauses, max_ages, seq, latch: None };
                // The panic was reported when it happened; what was queued is dropped unacknowledged.
                if catch_unwind(AssertUnwindSafe(|| writing.run(&messages))).is_err() {
                    tracing::error!("the writer has panicked; nothing is written until the program is started again");
                }
                thread_health.set(Some(Arc::new(StoreError::Stopped)));
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
        self.health.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes and acknowledges everything that is queued, then ends the thread. What is queued later is refused, or its
    /// acknowledgement dropped uncalled.
    pub fn stop(&self) {
        // The thread may have ended before; then there is nothing to stop.
        let _ = self.queue.send(Message::Stop);
        // Held while waiting, so that of two callers neither returns early.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        // The thread catches its own panics.
        let _ = thread.take().map(thread::JoinHandle::join);
    }
}

/// What the thread works with.
struct Writing<F> {
    store: Arc<Store>,
    observer: F,
    health: Arc<Health>,
    pauses: RetryPauses,
    max_ages: MaxAges,
    /// The number of the last change that is known to be on the disk.
    seq: u64,
    /// Set while nothing is written, as a write or a read has failed.
    latch: Option<Latch>,
}

impl<F: FnMut(&Commit<'_>)> Writing<F> {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut is_stopping = false;
        while !is_stopping {
            self.check_health();
            let pause = self.latch.as_ref().map_or(IDLE, Latch::pause);
            let first = match messages.recv_timeout(pause) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if self.latch.is_none() {
                // What comes in meanwhile goes into the same batch.
                if let Err(error) = self.store.prepare_commit() {
                    self.fail(Arc::new(error), None);
                }
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
            if !operations.is_empty() {
                self.commit_batch(operations, acknowledges);
            }
        }
    }

    /// Notices a failed read and a file that is not ours any more, and tries to write again when it is time, whether
    /// there is work or not.
    fn check_health(&mut self) {
        if self.latch.is_none()
            && let Err(error) = self.store.check_file().and_then(|()| self.store.engine().check_fault())
        {
            self.fail(Arc::new(error), None);
        }
        let Some(mut latch) = self.latch.take_if(|latch| latch.is_due()) else { return };
        match latch.recover(&self.store, &mut self.seq, &mut self.observer) {
            Ok(()) => {
                self.health.set(None);
                let message = if latch.failure().is_file_replaced() {
                    "the database file is in its place again; writes are taken"
                } else {
                    "the disk takes writes again"
                };
                tracing::info!(seq = self.seq, "{message}");
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "nothing can be written yet");
                latch.put_off();
                self.latch = Some(latch);
            }
        }
    }

    fn commit_batch(&mut self, operations: Vec<Operation>, acknowledges: Vec<Acknowledge>) {
        if let Some(latch) = &self.latch {
            for acknowledge in acknowledges {
                acknowledge(Err(WriteError::Failed(latch.failure())));
            }
            return;
        }
        match write_batch(&self.store, self.max_ages, operations) {
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
        if let Some(LostFile { remedy, .. }) = failure.lost_file() {
            tracing::error!(error, remedy, "writes are refused: the database file is not the server's own any more");
        } else {
            let is_full = failure.is_full();
            tracing::error!(error, is_full, "writing failed; writes are refused until the disk takes them again");
        }
        self.health.set(Some(Arc::clone(&failure)));
        self.latch = Some(Latch::new(failure, self.pauses, doubtful));
    }
}

/// What came of a batch.
struct BatchResult {
    seq: u64,
    results: Vec<Result<Receipt, WriteError>>,
    changes: Vec<Change>,
}

/// Puts a batch into one commit. Returns after the sync; an error names the commit if it may be on the disk all the
/// same.
fn write_batch(
    store: &Store,
    max_ages: MaxAges,
    operations: Vec<Operation>,
) -> Result<BatchResult, (StoreError, Option<Doubtful>)> {
    let engine = store.engine();
    let certain = |error: StoreError| (error, None);
    let tx = engine.begin().map_err(certain)?;
    let written = apply_batch(&tx, store.runs(), max_ages, operations).map_err(certain)?;
    if written.changes.is_empty() {
        engine.abort(tx).map_err(certain)?;
        return Ok(written);
    }
    match engine.commit(tx) {
        Ok(()) => Ok(written),
        Err(CommitError::NotCommitted(error)) => Err(certain(error)),
        Err(CommitError::Unconfirmed(error)) => {
            Err((error, Some(Doubtful { seq: written.seq, changes: written.changes })))
        }
    }
}

/// Applies a batch to the tables.
fn apply_batch(
    tx: &WriteTransaction,
    runs: &Runs,
    max_ages: MaxAges,
    operations: Vec<Operation>,
) -> Result<BatchResult, StoreError> {
    let mut batch = Batch::open(tx, runs, max_ages)?;
    let mut results = Vec::with_capacity(operations.len());
    for operation in operations {
        match batch.apply(operation) {
            Ok(receipt) => results.push(Ok(receipt)),
            Err(Failure::Refused(refusal)) => results.push(Err(refusal.into())),
            // A damaged record fails its own operation. It was met before anything was written, so the others go in.
            Err(Failure::Store(error @ StoreError::CorruptRow { .. })) => {
                results.push(Err(WriteError::Failed(Arc::new(error))));
            }
            Err(Failure::Store(error)) => return Err(error),
        }
    }
    let (seq, changes) = batch.finish()?;
    Ok(BatchResult { seq, results, changes })
}
