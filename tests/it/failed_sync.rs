//! Syncs that fail: the system may have dropped what it could not write, may still show it to reads, and takes the next
//! sync for good.
//!
//! Whatever is acknowledged after that must be on the disk, in the same process and in the next one.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use overlaid::domain::MaxAges;
use overlaid::store::{Contents, Disk, Operation, Store, WriteError, Writer, contents};

use crate::kit::{MemoryDisk, SECTOR, SHORT_PAUSES, long_overlay, user_id, write_to};

/// Bytes of a record that takes many pages.
const LONG: usize = 60_000;

/// A store on a disk, and its writer.
struct Running {
    store: Arc<Store>,
    writer: Writer,
}

impl Running {
    fn on(disk: Arc<dyn Disk>) -> Self {
        let store = Store::open_on(disk, Path::new("in memory")).unwrap();
        let writer = Writer::start_with(SHORT_PAUSES, MaxAges::default(), Arc::clone(&store), |_| {}).unwrap();
        Self { store, writer }
    }

    fn try_write(&self, operation: Operation) -> Result<(), WriteError> {
        write_to(&self.writer, operation).map(drop)
    }

    #[track_caller]
    fn write(&self, operation: Operation) {
        self.try_write(operation).unwrap();
    }
}

fn shown(store: &Store) -> Contents {
    contents(&store.snapshot().unwrap(), 0).unwrap()
}

/// A disk behind a cache that forgets: when a sync fails, what it did not write counts as written, and is still shown
/// to reads.
#[derive(Debug, Default)]
struct Forgetful(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    shown: Vec<u8>,
    /// What a power cut leaves.
    kept: Vec<u8>,
    /// Sectors in which the two may differ and of which the cache knows.
    dirty: BTreeSet<usize>,
    /// How many syncs succeed before one fails.
    syncs: usize,
    /// How many sectors the one that fails passes over before it writes every other one.
    passed_over: usize,
    failed: usize,
}

impl Inner {
    fn keep(&mut self, sector: usize) {
        let at = sector * SECTOR..(sector * SECTOR + SECTOR).min(self.shown.len());
        self.kept[at.clone()].copy_from_slice(&self.shown[at]);
    }
}

impl Disk for Forgetful {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().shown.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let inner = self.0.lock().unwrap();
        out.copy_from_slice(inner.shown.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (mut inner, offset) = (self.0.lock().unwrap(), usize::try_from(offset).unwrap());
        inner.shown[offset..offset + data.len()].copy_from_slice(data);
        inner.dirty.extend(offset / SECTOR..(offset + data.len()).div_ceil(SECTOR));
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let length = usize::try_from(length).unwrap();
        inner.shown.resize(length, 0);
        inner.kept.resize(length, 0);
        inner.dirty.retain(|sector| sector * SECTOR < length);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let dirty = std::mem::take(&mut inner.dirty);
        if inner.syncs == 0 {
            inner.syncs = usize::MAX;
            inner.failed += 1;
            // Every other one was written before it failed.
            dirty.into_iter().skip(inner.passed_over).step_by(2).for_each(|sector| inner.keep(sector));
            return Err(io::Error::from_raw_os_error(5));
        }
        inner.syncs -= 1;
        for sector in dirty {
            inner.keep(sector);
        }
        Ok(())
    }

    fn forget(&self) {
        // A sync that fails here too leaves no less.
        let _ = self.sync();
        let mut inner = self.0.lock().unwrap();
        inner.shown = inner.kept.clone();
    }
}

impl Forgetful {
    /// The disk as another process finds it when this one is gone.
    fn as_left(&self) -> Arc<Self> {
        let inner = self.0.lock().unwrap();
        let (shown, kept, dirty) = (inner.shown.clone(), inner.kept.clone(), inner.dirty.clone());
        Arc::new(Self(Mutex::new(Inner { shown, kept, dirty, syncs: usize::MAX, ..Inner::default() })))
    }

    /// What a store on it shows after a power cut.
    fn after_a_power_cut(&self) -> Arc<Store> {
        let kept = self.0.lock().unwrap().kept.clone();
        Store::open_on(MemoryDisk::with(kept), Path::new("in memory")).unwrap()
    }
}

/// The next process must not go on from what the system only remembers: its own writes would be lost with that.
#[test]
fn what_the_next_process_acknowledges_after_a_sync_that_failed_is_on_the_disk() {
    let mut failed = 0;
    for case in 0..50 {
        let (at, passed_over) = (case / 2, case % 2);
        let disk = Arc::new(Forgetful::default());
        disk.0.lock().unwrap().syncs = usize::MAX;
        let running = Running::on(Arc::clone(&disk) as _);
        running.write(long_overlay(0, 1, 0));
        {
            let mut inner = disk.0.lock().unwrap();
            (inner.syncs, inner.passed_over) = (at, passed_over);
        }
        let mut acknowledged = 1;
        for round in 0..12 {
            let padding = if round % 4 == 3 { LONG } else { 300 };
            match running.try_write(long_overlay(0, 2 + round, padding)) {
                Ok(()) => acknowledged = 2 + round,
                Err(_) => break,
            }
        }
        let killed = disk.as_left();
        // Closed properly, but for a sync that may fail then.
        running.writer.stop();
        drop(running);
        failed += disk.0.lock().unwrap().failed;
        for left in [killed, disk.as_left()] {
            let next = Running::on(Arc::clone(&left) as _);
            let balance = next.store.snapshot().unwrap().overlay(&user_id("0")).unwrap().unwrap();
            let balance = balance.overlay.account_balance.unwrap().to_string();
            assert!(balance.parse::<u64>().unwrap() >= acknowledged, "case {case}: {balance} after {acknowledged}");
            next.write(long_overlay(1, 7, 0));
            assert_eq!(shown(&left.after_a_power_cut()), shown(&next.store), "case {case}");
        }
    }
    assert!(failed > 30, "{failed}");
}

#[test]
fn what_is_acknowledged_after_a_sync_that_failed_is_on_the_disk() {
    for at in 0..40 {
        let disk = Arc::new(Forgetful::default());
        disk.0.lock().unwrap().syncs = usize::MAX;
        let running = Running::on(Arc::clone(&disk) as _);
        running.write(long_overlay(0, 1, 0));
        disk.0.lock().unwrap().syncs = at;
        for round in 0..40 {
            let (user, padding) = (round % 3, if round % 7 == 6 { LONG } else { 300 });
            while running.try_write(long_overlay(user, 2 + round as u64, padding)).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(shown(&disk.after_a_power_cut()), shown(&running.store), "sync {at}, round {round}");
        }
        assert_eq!(disk.0.lock().unwrap().failed, 1, "sync {at}");
    }
}
