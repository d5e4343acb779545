//! How much memory the answers to all clients, or the bodies of all requests, may take together.
//!
//! A client that reads or sends slowly makes the server hold bytes for it. A budget adds up what all clients hold, and
//! where that is more than it may be, ends the connection of the client that has made no progress for the longest time.
//! So a crowd of slow clients costs no more than the budget, and a client that keeps up never notices.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::body::Bytes;
use bytesize::ByteSize;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::metrics::BudgetMetrics;

/// One connection. It holds the client's address, and a handle to the task that serves the client: the budget ends a
/// slow client by it. The accept loop puts the handle in as soon as it has started the task.
#[derive(Clone, Debug, Default)]
pub(super) struct Connection {
    peer: Option<SocketAddr>,
    task: Arc<OnceLock<AbortHandle>>,
}

impl Connection {
    pub(super) fn of(peer: Option<SocketAddr>) -> Self {
        Self { peer, task: Arc::default() }
    }

    /// The address at its other end; `None` where there is no network in between.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    pub(super) fn is(&self, task: AbortHandle) {
        // A connection has one task.
        let _ = self.task.set(task);
    }

    fn end(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

/// One budget.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    /// The option that sets it, for the log.
    option: &'static str,
    bytes_max: u64,
    metrics: BudgetMetrics,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The sum of all holders' bytes.
    bytes: u64,
    last_id: u64,
    holders: HashMap<u64, Held>,
}

#[derive(Debug)]
struct Held {
    bytes: u64,
    /// When the client last took or sent something.
    progress: Instant,
    connection: Connection,
}

/// One exchange that holds memory. What it holds is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Holder {
    budget: Arc<MemoryBudget>,
    id: u64,
}

/// The client's connection was ended, as the budget was exceeded and the client the slowest.
#[derive(Debug, thiserror::Error)]
#[error("the connection was cut off to free memory")]
pub(super) struct CutOff;

impl MemoryBudget {
    /// - `option`: the option that sets `bytes_max`.
    pub(super) fn new(option: &'static str, bytes_max: u64, metrics: BudgetMetrics) -> Arc<Self> {
        Arc::new(Self { option, bytes_max, metrics, state: Mutex::default() })
    }

    /// Makes a holder, which holds nothing yet.
    pub(super) fn holder(self: &Arc<Self>, connection: Connection) -> Arc<Holder> {
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.holders.insert(id, Held { bytes: 0, progress: Instant::now(), connection });
        Arc::new(Holder { budget: Arc::clone(self), id })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &State) {
        self.metrics.bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
    }

    /// Ends connections until the rest is within the limit.
    fn enforce(&self, state: &mut State) {
        while state.bytes > self.bytes_max {
            let holders = state.holders.iter().filter(|(_, held)| held.bytes > 0);
            let slowest = holders.min_by_key(|(_, held)| held.progress).map(|(id, _)| *id);
            let Some(held) = slowest.and_then(|id| state.holders.remove(&id)) else { return };
            state.bytes -= held.bytes;
            held.connection.end();
            self.metrics.cut_off.inc();
            tracing::warn!(
                option = self.option,
                limit = %ByteSize(self.bytes_max).display().iec(),
                held_bytes = held.bytes,
                waited_ms = u64::try_from(held.progress.elapsed().as_millis()).unwrap_or(u64::MAX),
                "connection cut off: slow clients hold more memory than they may, and this one was the slowest"
            );
        }
    }
}

impl Holder {
    /// Adds bytes, as the client has made progress.
    ///
    /// # Errors
    ///
    /// [`CutOff`] if the client's connection was ended, now or before.
    pub(super) fn add(&self, bytes: u64) -> Result<(), CutOff> {
        let mut state = self.budget.lock();
        let Some(held) = state.holders.get_mut(&self.id) else { return Err(CutOff) };
        (held.bytes, held.progress) = (held.bytes + bytes, Instant::now());
        state.bytes += bytes;
        self.budget.enforce(&mut state);
        self.budget.show(&state);
        if state.holders.contains_key(&self.id) { Ok(()) } else { Err(CutOff) }
    }

    /// Counts a piece of an answer until its last reader drops it.
    ///
    /// # Errors
    ///
    /// As [`Holder::add`].
    pub(super) fn hold(self: &Arc<Self>, bytes: Bytes) -> Result<Bytes, CutOff> {
        self.add(bytes.len() as u64)?;
        Ok(Bytes::from_owner(HeldBytes { bytes, holder: Arc::clone(self) }))
    }

    fn release(&self, bytes: u64) {
        let mut state = self.budget.lock();
        let Some(held) = state.holders.get_mut(&self.id) else { return };
        (held.bytes, held.progress) = (held.bytes.saturating_sub(bytes), Instant::now());
        state.bytes = state.bytes.saturating_sub(bytes);
        self.budget.show(&state);
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut state = self.budget.lock();
        if let Some(held) = state.holders.remove(&self.id) {
            state.bytes -= held.bytes;
            self.budget.show(&state);
        }
    }
}

/// Bytes that count until they are dropped.
struct HeldBytes {
    bytes: Bytes,
    holder: Arc<Holder>,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.holder.release(self.bytes.len() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn connection() -> (Connection, tokio::task::JoinHandle<()>) {
        let task = tokio::spawn(pending());
        let connection = Connection::default();
        connection.is(task.abort_handle());
        (connection, task)
    }

    #[tokio::test]
    async fn the_slowest_client_is_cut_off_and_its_memory_counts_no_more() {
        let metrics = BudgetMetrics::default();
        let budget = MemoryBudget::new("--answers-memory", 100, metrics.clone());
        let [(one, first), (two, second), (three, third)] = [connection(), connection(), connection()];
        let [one, two, three] = [one, two, three].map(|connection| budget.holder(connection));
        let held = one.hold(Bytes::from_static(&[0; 40])).unwrap();
        let kept = two.hold(Bytes::from_static(&[0; 40])).unwrap();
        // The first has taken a piece since, so that the second is the slowest.
        drop(held);
        let _held = one.hold(Bytes::from_static(&[0; 40])).unwrap();
        let _all = three.hold(Bytes::from_static(&[0; 60])).unwrap();
        assert!(second.await.unwrap_err().is_cancelled());
        assert!(!first.is_finished() && !third.is_finished());
        assert_eq!((metrics.cut_off.get(), metrics.bytes.get()), (1, 100));
        assert!(two.add(1).is_err(), "it was cut off");
        drop((kept, two));
        assert_eq!(metrics.bytes.get(), 100, "what it held counted no more");
        assert!(three.add(101).is_err(), "more than all may hold");
        assert_eq!((metrics.cut_off.get(), metrics.bytes.get()), (3, 0));
        drop((one, three));
    }

    #[tokio::test]
    async fn what_is_dropped_is_given_back() {
        let metrics = BudgetMetrics::default();
        let budget = MemoryBudget::new("--bodies-memory", 100, metrics.clone());
        for _ in 0..10 {
            let holder = budget.holder(Connection::default());
            holder.add(30).unwrap();
            let piece = holder.hold(Bytes::from_static(&[0; 60])).unwrap();
            assert_eq!(metrics.bytes.get(), 90);
            drop(piece);
            assert_eq!(metrics.bytes.get(), 30);
        }
        assert_eq!((metrics.cut_off.get(), metrics.bytes.get()), (0, 0));
        assert!(budget.lock().holders.is_empty());
    }
}
