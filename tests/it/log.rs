//! The log in the file's first page, at its edges: entries that only just fit, bytes of old ones behind the last, readers while its rows go
//! into the tables, and all that is done to a file whose log is not empty.
//!
//! What a power cut or a failing disk does to it is tested with everything else, in `crash` and `faults`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use overlaid::domain::{Overlay, OverlayDraft, UserId};
use overlaid::store::{
    Contents, Disk, Imported, Operation, Store, WriteError, Writer, back_up, compact, contents, link, restore, verify,
};
use redb::{Database, TableDefinition};
use xxhash_rust::xxh3::xxh3_128;

use crate::crash::overlay;
use crate::direct::Direct;
use crate::disk::{MemoryDisk, SECTOR};
use crate::world::{object, put_overlay, start, user_id};

/// Where the log is.
const LOG: std::ops::Range<usize> = 512..3_584;
/// More than it has room for.
const LONG: usize = 4_000;

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

/// How long the entry is that the log begins with.
fn first_entry_len(disk: &MemoryDisk) -> usize {
    usize::from(u16::from_le_bytes(disk.bytes()[LOG][..2].try_into().unwrap()))
}

/// The last that fits and the first that does not, alone and behind another.
#[test]
fn an_entry_that_only_just_fits_is_there_and_so_is_one_that_only_just_does_not() {
    for before in [None, Some(0), Some(1_000)] {
        let disk = MemoryDisk::with(Vec::new());
        let running = Running::on(Arc::clone(&disk) as _);
        running.write(overlay(1, 1, 0));
        let bare = first_entry_len(&disk);
        let taken = before.map_or(0, |padding| bare + padding);
        let fits = LOG.len() - taken - bare;
        let mut balance = 1;
        let mut into_log = BTreeSet::new();
        for padding in fits - 20..fits + 20 {
            // Into the tables, so that the log is empty.
            running.write(overlay(2, balance, LONG));
            if let Some(padding) = before {
                running.write(overlay(1, balance + 1, padding));
            }
            let tables_before = disk.bytes().split_off(LOG.end);
            running.write(overlay(3, balance + 2, padding));
            // The mark behind the log changes in any case.
            if disk.bytes()[4_096..] == tables_before[512..] {
                into_log.insert(padding);
            }
            balance += 3;
            assert_eq!(shown(&reopened(&disk)), shown(&running.store), "{before:?}, {padding}");
        }
        assert_eq!(into_log.last(), Some(&fits), "{before:?}");
    }
}

/// Behind the last entry stands what was there before, and some of that is text of users. One who knows where the entries to come will
/// end could have written an entry there, for a restart after a crash to take for one.
#[test]
fn an_entry_in_the_text_of_a_record_is_not_taken_for_one() {
    /// An entry that takes the overlay of user 7 away, as text; its checksum depends on the name of another user.
    fn forged(seq: u64) -> String {
        for other in 0..10_000_000 {
            let other = format!("{other:08}");
            let mut entry = vec![0, 0];
            entry.extend([seq.to_le_bytes(), seq.to_le_bytes()].concat());
            for user in ["7", &other] {
                entry.extend([4, u8::try_from(user.len()).unwrap(), 0, 0, 0]);
                entry.extend(user.as_bytes());
            }
            entry[0] = u8::try_from(entry.len() + 16).unwrap();
            entry.extend(xxh3_128(&entry).to_le_bytes());
            if let Ok(text) = String::from_utf8(entry) {
                return text;
            }
        }
        panic!("no checksum is text");
    }
    let disk = MemoryDisk::with(Vec::new());
    let running = Running::on(Arc::clone(&disk) as _);
    running.write(overlay(7, 1, 0));
    let bare = first_entry_len(&disk);
    let forged = forged(5);
    let name = serde_json::to_string(&forged).unwrap();
    let json = format!(r#"{{"user_id":"8","note":"{}",{name}:0}}"#, "n".repeat(1_000));
    running.write(put_overlay(&json, start()));
    let log = disk.bytes()[LOG].to_vec();
    let at = log.windows(forged.len()).position(|bytes| bytes == forged.as_bytes()).unwrap();
    running.write(overlay(8, 1, LONG));
    running.write(overlay(8, 2, at - bare));
    assert_eq!(first_entry_len(&disk), at, "the next entry would stand where the forged one does");
    let store = reopened(&disk);
    assert_eq!(store.snapshot().unwrap().seq().unwrap(), 4);
    assert!(store.snapshot().unwrap().overlay(&user_id("7")).unwrap().is_some());
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
        for round in 0..3_000 {
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
        direct.put(overlay(user, 1, if user == 8 { LONG } else { 0 }));
    }
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
            dirty.into_iter().step_by(2).for_each(|sector| inner.keep(sector));
            return Err(io::Error::from_raw_os_error(5));
        }
        inner.syncs -= 1;
        for sector in dirty {
            inner.keep(sector);
        }
        Ok(())
    }
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
            let kept = disk.0.lock().unwrap().kept.clone();
            let store = Store::open_on(MemoryDisk::with(kept), Path::new("in memory")).unwrap();
            assert_eq!(shown(&store), shown(&running.store), "sync {at}, round {round}");
        }
        assert_eq!(disk.0.lock().unwrap().failed, 1, "sync {at}");
    }
}
