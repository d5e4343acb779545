//! The log at its edges: entries that only just fit, readers while its rows go into the tables, and all that is done to a file whose log
//! is not empty.
//!
//! What a power cut or a failing disk does to it is tested with everything else, in `crash` and `faults`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use overlaid::domain::{Overlay, OverlayDraft, UserId};
use overlaid::store::{
    Contents, Disk, Imported, Operation, Store, WriteError, Writer, back_up, compact, contents, link, restore, verify,
};
use redb::{Database, TableDefinition};

use crate::crash::overlay;
use crate::direct::Direct;
use crate::disk::{MemoryDisk, SECTOR};
use crate::world::{object, start, user_id};

/// How long each of the log's two segments is.
pub(crate) const SEGMENT: usize = 63 * 4_096;
/// A record of which a segment has room for four.
const LONG: usize = 60_000;

/// Where the log's segments begin in the bytes of a file.
pub(crate) fn place(file: &[u8]) -> usize {
    let has_log = |page: &&[u8]| page[..512].windows(16).any(|bytes| bytes == b"overlaid's log\x01\0");
    let page = file.chunks_exact(4_096).position(|page| has_log(&page)).expect("it has a log");
    (page + 1) * 4_096
}

/// The log's segments in the bytes of a file.
fn segments(file: &[u8]) -> [&[u8]; 2] {
    let log = &file[place(file)..];
    [&log[..SEGMENT], &log[SEGMENT..2 * SEGMENT]]
}

/// A store on a disk, and its writer.
struct Running {
    store: Arc<Store>,
    writer: Writer,
}

impl Running {
    fn on(disk: Arc<dyn Disk>) -> Self {
        let store = Store::open_on(disk, Path::new("in memory")).unwrap();
        let writer = Writer::start(Arc::clone(&store), |_| {}).unwrap();
        Self { store, writer }
    }

    fn try_write(&self, operation: Operation) -> Result<(), WriteError> {
        let (done, is_done) = channel();
        self.writer.submit(operation, Box::new(move |result| done.send(result.map(drop)).unwrap())).unwrap();
        is_done.recv().unwrap()
    }

    #[track_caller]
    fn write(&self, operation: Operation) {
        self.try_write(operation).unwrap();
    }
}

fn shown(store: &Store) -> Contents {
    contents(&store.snapshot().unwrap(), 0).unwrap()
}

/// What a killed process leaves, opened again.
fn reopened(disk: &MemoryDisk) -> Arc<Store> {
    Store::open_on(MemoryDisk::with(disk.bytes()), Path::new("in memory")).unwrap()
}

/// How long the entry is that a segment begins with.
fn first_entry_len(segment: &[u8]) -> usize {
    usize::try_from(u32::from_le_bytes(segment[..4].try_into().unwrap())).unwrap()
}

/// The last that fits and the first that does not, alone in a segment and behind others.
#[test]
fn an_entry_that_only_just_fits_is_there_and_so_is_one_that_only_just_does_not() {
    let bare = {
        let disk = MemoryDisk::with(Vec::new());
        let running = Running::on(Arc::clone(&disk) as _);
        // The first commit makes the log.
        running.write(overlay(1, 1, 0));
        running.write(overlay(1, 2, 0));
        first_entry_len(segments(&disk.bytes())[0])
    };
    let fits = SEGMENT - 4 * (bare + LONG) - bare;
    for padding in [fits - 1, fits, fits + 1] {
        let disk = MemoryDisk::with(Vec::new());
        let running = Running::on(Arc::clone(&disk) as _);
        running.write(overlay(1, 1, 0));
        let mut balance = 2;
        // Twice over, so that what is in a segment from before is written over as well.
        for round in 0..3 {
            for user in 1..5 {
                running.write(overlay(user, balance, LONG));
                balance += 1;
            }
            let next = (round + 1) % 2;
            let before = segments(&disk.bytes())[next].to_vec();
            running.write(overlay(5, balance, padding));
            balance += 1;
            assert_eq!(shown(&reopened(&disk)), shown(&running.store), "{padding}, round {round}");
            assert_eq!(segments(&disk.bytes())[next] != before, padding > fits, "{padding}, round {round}");
            if padding > fits {
                break;
            }
        }
    }
}

/// Whether one commit is too large for what is left of a segment, for a segment, or for all of the log, it is there, and so is all before it.
#[test]
fn commits_of_all_sizes_are_there_when_the_file_is_opened_again() {
    let direct = Direct::new();
    let copy = direct.path().with_extension("copy");
    let mut balance = 0;
    for group in [1, 3, 4, 5, 9, 1, 5, 5, 1, 2, 4, 4, 4, 20, 1] {
        let written = direct.together((0..group).map(|user| {
            balance += 1;
            overlay(user, balance, LONG)
        }));
        assert!(written.iter().all(Result::is_ok));
        fs::copy(direct.path(), &copy).unwrap();
        assert_eq!(shown(&Store::open(&copy).unwrap()), shown(&direct.store), "{group} records");
    }
}

/// To the engine alone, and to the last byte.
#[test]
fn a_file_that_was_closed_properly_has_nothing_in_its_log() {
    for writes in [1, 2, 30] {
        let direct = Direct::new();
        for write in 0..writes {
            direct.put(overlay(write % 7, 1 + write as u64, LONG));
        }
        let expected = shown(&direct.store);
        let path = direct.path();
        let _folder = direct.close();
        assert!(segments(&fs::read(&path).unwrap()).iter().all(|segment| segment.iter().all(|byte| *byte == 0)));
        let mut database = Database::open(&path).unwrap();
        assert!(database.check_integrity().unwrap(), "{writes} writes");
        drop(database);
        assert_eq!(verify(&path).unwrap().sha256, expected.sha256);
    }
}

/// Readers meet the tables and the log while rows go from one to the other, again and again.
#[test]
fn a_read_is_one_state_and_none_is_older_than_what_was_acknowledged() {
    const USERS: usize = 40;
    let running = Running::on(MemoryDisk::with(Vec::new()));
    for user in 0..USERS {
        running.write(overlay(user, 1, 0));
    }
    let acknowledged = AtomicU64::new(USERS as u64);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let known = acknowledged.load(Ordering::SeqCst);
                    let snapshot = running.store.snapshot().unwrap();
                    let seq = snapshot.seq().unwrap();
                    assert!(seq >= known, "{known} was acknowledged, {seq} is shown");
                    // Each change writes an overlay.
                    let last = snapshot.overlays(None).unwrap().map(|row| row.unwrap().seq).max();
                    assert_eq!(last, Some(seq), "the tables of one state and the rows of another");
                }
            });
        }
        for round in 0..1_000 {
            let padding = if round % 3 == 0 { LONG } else { 0 };
            running.write(overlay(round % USERS, 2 + round as u64, padding));
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        is_over.store(true, Ordering::SeqCst);
    });
}

/// A file as a kill leaves it, with a log that holds all kinds of rows over a table that has others.
fn killed() -> (tempfile::TempDir, Contents) {
    let direct = Direct::new();
    for user in 0..9 {
        direct.put(overlay(user, 1, 0));
    }
    let direct = direct.restart();
    for user in 0..4 {
        direct.put(overlay(user, 2, 0));
    }
    direct.put(crate::world::delete_overlay("5"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("overlaid.redb");
    fs::copy(direct.path(), &path).unwrap();
    let expected = shown(&direct.store);
    assert_eq!((expected.seq, expected.counts.overlays), (14, 8));
    (folder, expected)
}

#[test]
fn what_is_in_the_log_alone_is_in_whatever_is_made_of_the_file() {
    let (folder, expected) = killed();
    let path = folder.path().join("overlaid.redb");
    let beside = |name: &str| folder.path().join(name);
    let bytes = fs::read(&path).unwrap();
    let check = |path: &Path| {
        let found = verify(path).unwrap();
        assert_eq!((found.sha256, found.seq), (expected.sha256.clone(), expected.seq), "{}", path.display());
    };
    check(&path);
    back_up(&Store::open_to_read(&path).unwrap().snapshot().unwrap(), &beside("backup")).unwrap();
    link(&path, &beside("link")).unwrap();
    restore(&path, &beside("restored")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes, "looking at it changed it");
    for name in ["backup", "link", "restored"] {
        check(&beside(name));
    }
    fs::copy(&path, beside("compacted")).unwrap();
    compact(&beside("compacted")).unwrap();
    check(&beside("compacted"));
    let direct = Direct::at(folder);
    assert_eq!(shown(&direct.store).sha256, expected.sha256);
    let folder = direct.close();
    check(&folder.path().join("overlaid.redb"));
}

/// An import goes into the tables, and what the log holds goes with it.
#[test]
fn an_import_over_a_log_that_is_not_empty_keeps_what_is_in_it() {
    let imported = |user: usize, balance: u64| -> Overlay {
        let json = format!(r#"{{"account_balance":{balance}}}"#);
        let user = UserId::parse(&user.to_string()).unwrap();
        OverlayDraft::from_object(object(&json), Some(&user)).unwrap().resolve(start())
    };
    for overlays in [vec![], vec![imported(3, 9), imported(5, 9), imported(20, 9)]] {
        let (folder, before) = killed();
        let path = folder.path().join("overlaid.redb");
        let store = Store::open(&path).unwrap();
        store.import(&Imported { overlays: &overlays, ..Imported::default() }, ("tree", "half")).unwrap();
        let after = shown(&store);
        assert_eq!(after.seq, before.seq + overlays.len() as u64);
        assert_eq!(after.sha256 == before.sha256, overlays.is_empty());
        let copy = folder.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        drop(store);
        for path in [&copy, &path] {
            assert_eq!(verify(path).unwrap().sha256, after.sha256);
            let store = Store::open(path).unwrap();
            assert_eq!(store.snapshot().unwrap().checkpoint("tree").unwrap().as_deref(), Some("half"));
            let balance = |user: &str| {
                let stored = store.snapshot().unwrap().overlay(&user_id(user)).unwrap()?;
                Some(stored.overlay.account_balance.unwrap().to_string())
            };
            let expected = if overlays.is_empty() { [Some("2"), None] } else { [Some("9"), Some("9")] };
            assert_eq!([balance("3").as_deref(), balance("5").as_deref()], expected);
            assert_eq!(balance("1").as_deref(), Some("2"), "it was in the log");
        }
    }
}

/// Where the numbers of changes end, an entry can not be told from those that the tables have.
#[test]
fn a_change_with_the_last_number_of_all_is_kept() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let direct = Direct::new();
    direct.put(overlay(1, 1, 0));
    let path = direct.path();
    let folder = direct.close();
    let database = Database::open(&path).unwrap();
    let tx = database.begin_write().unwrap();
    tx.open_table(META).unwrap().insert("seq", u64::MAX - 2).unwrap();
    tx.commit().unwrap();
    drop(database);
    let direct = Direct::at(folder);
    for balance in 2..8 {
        direct.put(overlay(1, balance, 0));
        let copy = path.with_extension("copy");
        fs::copy(&path, &copy).unwrap();
        for store in [Arc::clone(&direct.store), Store::open(&copy).unwrap()] {
            let stored = store.snapshot().unwrap().overlay(&user_id("1")).unwrap().unwrap();
            assert_eq!(stored.overlay.account_balance.unwrap().to_string(), balance.to_string());
        }
    }
}

/// A disk on which the thread that fills the tables stands still until it may go on.
#[derive(Debug)]
struct Held {
    disk: Arc<MemoryDisk>,
    may_fill: (Mutex<bool>, Condvar),
}

impl Held {
    fn release(&self) {
        *self.may_fill.0.lock().unwrap() = true;
        self.may_fill.1.notify_all();
    }
}

impl Disk for Held {
    fn length(&self) -> io::Result<u64> {
        self.disk.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if std::thread::current().name() == Some("filler") {
            let (may_fill, changed) = &self.may_fill;
            drop(changed.wait_while(may_fill.lock().unwrap(), |may_fill| !*may_fill).unwrap());
        }
        self.disk.write(offset, data)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.set_length(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }
}

/// While the tables are being filled, both segments hold what only they have. Commits go on, and wait when both are full; and a file that is
/// left so is filled by whoever opens it next, whether its first commit has room or not.
#[test]
fn what_a_full_segment_holds_is_there_before_while_and_after_the_tables_get_it() {
    let disk = MemoryDisk::with(Vec::new());
    let held = Arc::new(Held { disk: Arc::clone(&disk), may_fill: Default::default() });
    let running = Running::on(Arc::clone(&held) as _);
    let balance = |store: &Store, user: usize| {
        let stored = store.snapshot().unwrap().overlay(&user_id(&user.to_string())).unwrap().unwrap();
        stored.overlay.account_balance.unwrap().to_string()
    };
    running.write(overlay(0, 1, 0));
    // Four in the first segment, and with the fifth the tables are to get them.
    for user in 1..6 {
        running.write(overlay(user, 1, LONG));
    }
    running.write(overlay(1, 2, 0));
    for padding in [0, LONG] {
        let expected = shown(&running.store);
        assert_eq!((expected.seq, expected.counts.overlays), (7, 6));
        assert_eq!([balance(&running.store, 1), balance(&running.store, 2)], ["2", "1"]);
        // As a kill leaves it; twice, so that what was there before is overwritten if anything is.
        let mut bytes = disk.bytes();
        for round in 0..3 {
            let left = MemoryDisk::with(bytes.clone());
            let next = Running::on(Arc::clone(&left) as _);
            assert_eq!(shown(&next.store).seq, 7 + 4 * round, "{padding}");
            for user in 6..10 {
                next.write(overlay(user, 10 + round, padding));
                assert_eq!(shown(&reopened(&left)), shown(&next.store), "{padding}, round {round}");
            }
            bytes = left.bytes();
        }
    }
    // Three more fill the second segment too; what comes then waits.
    for user in 6..9 {
        running.write(overlay(user, 1, LONG));
    }
    let left = MemoryDisk::with(disk.bytes());
    let next = Running::on(Arc::clone(&left) as _);
    next.write(overlay(9, 1, LONG));
    assert_eq!(shown(&next.store).counts.overlays, 10);
    assert_eq!(shown(&reopened(&left)), shown(&next.store), "neither segment has room");
    let (done, is_done) = channel();
    running.writer.submit(overlay(9, 1, LONG), Box::new(move |result| done.send(result.is_ok()).unwrap())).unwrap();
    assert!(is_done.recv_timeout(Duration::from_millis(200)).is_err(), "it did not wait");
    assert_eq!(shown(&reopened(&disk)), shown(&running.store));
    held.release();
    assert!(is_done.recv().unwrap());
    assert_eq!(shown(&running.store).counts.overlays, 10);
    assert_eq!(shown(&reopened(&disk)), shown(&running.store));
}

/// A disk behind a cache that forgets: when a sync fails, what it did not write counts as written, and is still shown to whoever reads.
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
        running.write(overlay(0, 1, 0));
        {
            let mut inner = disk.0.lock().unwrap();
            (inner.syncs, inner.passed_over) = (at, passed_over);
        }
        let mut acknowledged = 1;
        for round in 0..12 {
            let padding = if round % 4 == 3 { LONG } else { 300 };
            match running.try_write(overlay(0, 2 + round, padding)) {
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
            next.write(overlay(1, 7, 0));
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
        running.write(overlay(0, 1, 0));
        disk.0.lock().unwrap().syncs = at;
        for round in 0..40 {
            let (user, padding) = (round % 3, if round % 7 == 6 { LONG } else { 300 });
            while running.try_write(overlay(user, 2 + round as u64, padding)).is_err() {
                std::thread::sleep(Duration::from_millis(10));
            }
            assert_eq!(shown(&disk.after_a_power_cut()), shown(&running.store), "sync {at}, round {round}");
        }
        assert_eq!(disk.0.lock().unwrap().failed, 1, "sync {at}");
    }
}
