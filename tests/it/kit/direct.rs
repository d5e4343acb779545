//! A store and its writer without a service around them, and a gate by which a test decides what falls into one commit.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use overlaid::store::{
    Change, Effect, Operation, Receipt, Snapshot, Store, StoreError, StoredOverlay, StoredSignal, WriteError, Writer,
};
use tempfile::TempDir;

use super::records::{put_rate, signal_id, start, user_id};

/// What a write came to.
pub(crate) type Written = Result<Receipt, WriteError>;

/// A store and its writer.
pub(crate) struct Direct {
    pub(crate) store: Arc<Store>,
    pub(crate) writer: Writer,
    /// While a test holds it, the writer stands still after its next commit.
    gate: Arc<Mutex<()>>,
    /// The `seq` and the number of changes of each commit, sent before the writer comes to the gate.
    commits: Mutex<Receiver<(u64, usize)>>,
    folder: TempDir,
}

impl Direct {
    pub(crate) fn new() -> Self {
        Self::at(TempDir::new().unwrap())
    }

    pub(crate) fn at(folder: TempDir) -> Self {
        let store = Store::open_or_create(&folder.path().join("overlaid.redb")).unwrap();
        let gate = Arc::new(Mutex::new(()));
        let (sender, commits): (Sender<(u64, usize)>, _) = channel();
        let at_gate = Arc::clone(&gate);
        let writer = Writer::start(Arc::clone(&store), move |commit| {
            // Nobody need listen.
            let _ = sender.send((commit.seq, commit.changes.len()));
            drop(at_gate.lock());
        })
        .unwrap();
        Self { store, writer, gate, commits: Mutex::new(commits), folder }
    }

    /// Stops the writer, closes the file, and opens it again.
    pub(crate) fn restart(self) -> Self {
        let folder = self.close();
        Self::at(folder)
    }

    /// Stops the writer and closes the file.
    pub(crate) fn close(self) -> TempDir {
        self.writer.stop();
        self.folder
    }

    /// Changes rows of the closed file behind the store's back, and opens it again.
    pub(crate) fn tamper(self, change: impl FnOnce(&redb::WriteTransaction)) -> Self {
        let path = self.path();
        let folder = self.close();
        let database = redb::Database::open(&path).unwrap();
        let tx = database.begin_write().unwrap();
        change(&tx);
        tx.commit().unwrap();
        drop(database);
        Self::at(folder)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.store.path().to_owned()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.store.snapshot().unwrap()
    }

    pub(crate) fn seq(&self) -> u64 {
        self.snapshot().seq().unwrap()
    }

    /// Queues a write.
    pub(crate) fn submit(&self, operation: Operation) -> Result<Receiver<Written>, StoreError> {
        submit_to(&self.writer, operation)
    }

    /// Writes, alone in its commit.
    pub(crate) fn write(&self, operation: Operation) -> Written {
        self.submit(operation).unwrap().recv().unwrap()
    }

    /// Writes what must go in.
    #[track_caller]
    pub(crate) fn put(&self, operation: Operation) -> Receipt {
        self.write(operation).unwrap()
    }

    /// Runs `work` while the writer stands still, holding a commit of one change that is not of the test's making.
    pub(crate) fn while_held<T>(&self, work: impl FnOnce() -> T) -> T {
        let shut = self.gate.lock().unwrap();
        self.commits();
        // The file has not had this seq yet, so the price is a new one, and there is a commit to hold.
        let plug = self.submit(put_rate(&plug_json(self.seq()), start())).unwrap();
        self.commits.lock().unwrap().recv().unwrap();
        let result = work();
        drop(shut);
        plug.recv().unwrap().unwrap();
        result
    }

    /// Writes all of it in one commit, as far as a commit can hold it.
    pub(crate) fn together(&self, operations: impl IntoIterator<Item = Operation>) -> Vec<Written> {
        let waiting: Vec<_> =
            self.while_held(|| operations.into_iter().map(|operation| self.submit(operation).unwrap()).collect());
        waiting.into_iter().map(|receiver| receiver.recv().unwrap()).collect()
    }

    /// The `seq` and the number of changes of the commits that nobody has asked about yet.
    pub(crate) fn commits(&self) -> Vec<(u64, usize)> {
        self.commits.lock().unwrap().try_iter().collect()
    }

    pub(crate) fn signal(&self, id: &str) -> Option<StoredSignal> {
        self.snapshot().signal(&signal_id(id)).unwrap()
    }

    pub(crate) fn overlay(&self, user: &str) -> Option<StoredOverlay> {
        self.snapshot().overlay(&user_id(user)).unwrap()
    }
}

/// Queues a write; the receiver gets what it comes to.
pub(crate) fn submit_to(writer: &Writer, operation: Operation) -> Result<Receiver<Written>, StoreError> {
    let (sender, receiver) = channel();
    writer.submit(operation, Box::new(move |result| drop(sender.send(result))))?;
    Ok(receiver)
}

/// Writes, and waits for what it comes to.
pub(crate) fn write_to(writer: &Writer, operation: Operation) -> Written {
    submit_to(writer, operation).unwrap().recv().unwrap()
}

/// The rate by which [`Direct::while_held`] holds the writer of a file at `seq`.
pub(crate) fn plug_json(seq: u64) -> String {
    format!(r#"{{"pair":"PLUGXX","price":{}}}"#, seq + 1)
}

/// The effects of writes; `None` for those that were refused.
pub(crate) fn effects(written: &[Written]) -> Vec<Option<Effect>> {
    written.iter().map(|result| result.as_ref().ok().map(|receipt| receipt.effect)).collect()
}

/// The `seq` that the record in a receipt carries; `None` for a deleted one and for tokens, which carry none.
pub(crate) fn seq_of(receipt: &Receipt) -> Option<u64> {
    match &receipt.change {
        Change::Signal(stored) => Some(stored.seq),
        Change::Overlay(_, stored) => stored.as_ref().map(|stored| stored.seq),
        Change::Outcome(_, stored) => Some(stored.seq),
        Change::Rate(_, seq) => Some(*seq),
        Change::SignalDeleted(_) | Change::OutcomeDeleted(..) | Change::Token(..) => None,
    }
}
