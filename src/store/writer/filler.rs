//! The filler thread: puts the rows of a full segment of the log into the tables, while the writer goes on with the other segment.
//!
//! It does one thing when the writer tells it to, and the writer looks at what came of it before its next batch. What has failed is
//! nothing lost, as the rows stay in the log.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::super::StoreError;
use super::super::opened::Opened;

/// The thread's handle; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Filler {
    jobs: SyncSender<Arc<Opened>>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    work: Mutex<Work>,
    changed: Condvar,
    /// Whether the writer waits.
    is_awaited: AtomicBool,
}

#[derive(Debug, Default)]
enum Work {
    #[default]
    None,
    UnderWay,
    Failed(StoreError),
}

impl State {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, work: Work) {
        *self.work() = work;
        self.changed.notify_all();
    }

    fn run(&self, jobs: &Receiver<Arc<Opened>>) {
        // It takes some milliseconds, in which who is to run on the same processor answers nobody.
        let pause = || {
            if !self.is_awaited.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        };
        for opened in jobs {
            // Whatever happens, the writer must not wait for ever.
            let filled = catch_unwind(AssertUnwindSafe(|| opened.fill(&pause)))
                .unwrap_or_else(|_| Err(StoreError::Damaged("the engine panicked".to_owned())));
            // Before the writer hears of it: it may be about to close the file.
            drop(opened);
            self.set(filled.map_or_else(Work::Failed, |()| Work::None));
        }
    }
}

impl Filler {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self, StoreError> {
        let (jobs, to_do) = sync_channel::<Arc<Opened>>(1);
        let state = Arc::new(State::default());
        let of_thread = Arc::clone(&state);
        let thread = thread::Builder::new().name("filler".to_owned());
        thread.spawn(move || of_thread.run(&to_do)).map_err(|_| StoreError::Stopped)?;
        Ok(Self { jobs, state })
    }

    /// Fills the tables of a file, unless they are being filled, or that has failed and the writer has yet to hear of it.
    pub(super) fn begin(&self, opened: Arc<Opened>) {
        {
            let mut work = self.state.work();
            if !matches!(*work, Work::None) {
                return;
            }
            *work = Work::UnderWay;
        }
        if self.jobs.send(opened).is_err() {
            self.state.set(Work::Failed(StoreError::Stopped));
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(*self.state.work(), Work::UnderWay)
    }

    /// Returns when the tables are not being filled.
    pub(super) fn wait(&self) {
        self.state.is_awaited.store(true, Ordering::Relaxed);
        let work = self.state.work();
        drop(self.state.changed.wait_while(work, |work| matches!(work, Work::UnderWay)));
        self.state.is_awaited.store(false, Ordering::Relaxed);
    }

    /// What came of it last, if that was not asked before.
    pub(super) fn result(&self) -> Result<(), StoreError> {
        let mut work = self.state.work();
        match std::mem::take(&mut *work) {
            Work::None => Ok(()),
            Work::UnderWay => {
                *work = Work::UnderWay;
                Ok(())
            }
            Work::Failed(error) => Err(error),
        }
    }
}
