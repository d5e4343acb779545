//! Disks that fail: full, or broken, at every operation of a run, for a moment or until somebody mends them.
//!
//! Whatever fails, what was committed before can be read all the while; what was acknowledged is there in the end; and
//! writes are taken again soon after the disk is well, without a restart. A write that was refused may be there or not,
//! but never in part, and what readers see of it they see for good.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use overlaid::service::{Service, ServiceError, Settings, Stopwatch};
use overlaid::store::{Disk, Imported, Snapshot, Store, contents};

use crate::kit::{Fault, MemoryDisk, SHORT_PAUSES, in_parallel, long_overlay, user_id};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
/// More operations than a run has, without reads.
const OPERATIONS: usize = 400;
/// A run has ended before so many places in a row at which nothing fails.
const SPARED_MAX: usize = 20;
/// How soon writes must be taken after the disk is well again.
const RECOVERY: Duration = Duration::from_secs(5);

fn start(disk: &Arc<MemoryDisk>) -> Service {
    let store = Store::open_on(Arc::clone(disk) as _, Path::new("/nowhere/in-memory")).unwrap();
    let settings = Settings { copy_gate_ms: 0, write_retry: SHORT_PAUSES, ..Settings::built_in().unwrap() };
    Service::start(store, settings).unwrap()
}

fn write(service: &Service, user: usize, balance: u64) -> Result<(), ServiceError> {
    // One in three takes many pages.
    let padding = if balance.is_multiple_of(3) { 60_000 } else { 2_000 };
    service.submit(long_overlay(user, balance, padding))?.done_blocking().map(drop)
}

/// The balance in the file and the one that the cache has; 0 for none.
fn balances(service: &Service, user: usize) -> Result<[u64; 2], ServiceError> {
    let user = user_id(&user.to_string());
    let balance = |overlay: &overlaid::domain::Overlay| overlay.account_balance.unwrap().to_string().parse().unwrap();
    let stored = service.snapshot()?.overlay(&user)?.map_or(0, |stored| balance(&stored.overlay));
    let cached = service.read_overlay(&user)?.map_or(0, |cached| balance(&cached.overlay().unwrap()));
    Ok([stored, cached])
}

/// What may be there for each user: the last write that was acknowledged, and those refused since.
struct Ledger([Vec<u64>; 3]);

impl Ledger {
    fn write(&mut self, service: &Service, user: usize, balance: u64) -> Result<(), ServiceError> {
        let written = write(service, user, balance);
        match &written {
            Ok(()) => self.0[user] = vec![balance],
            Err(ServiceError::WriteFailed(_)) => self.0[user].push(balance),
            Err(other) => panic!("{other}"),
        }
        written
    }

    fn check(&self, service: &Service, place: &str) {
        for (user, allowed) in self.0.iter().enumerate() {
            for seen in balances(service, user).unwrap_or_else(|error| panic!("{place}: a read failed: {error:?}")) {
                assert!(allowed.contains(&seen), "{place}: user {user} has {seen}, of {allowed:?}");
            }
        }
    }
}

/// The state of a server when its disk begins to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// It has written.
    Writing,
    /// It has been started on a file that was closed, and has not written yet.
    Start,
}

/// Runs writes against a disk that fails, and returns whether it did.
fn suffer(fault: Fault, since: Since) -> bool {
    let place = format!("{fault:?}, {since:?}");
    let mut disk = MemoryDisk::with(Vec::new());
    let mut service = start(&disk);
    let mut ledger = Ledger([vec![0], vec![0], vec![0]]);
    for user in 0..3 {
        ledger.write(&service, user, 10 + user as u64).unwrap();
    }
    if since == Since::Start {
        service.stop();
        drop(service);
        disk = MemoryDisk::with(disk.bytes());
        service = start(&disk);
    }
    disk.fail(Some(fault));
    for round in 0..4 {
        for user in 0..3 {
            // Refused or not is what the ledger notes.
            let _ = ledger.write(&service, user, 100 + round * 10 + user as u64);
            ledger.check(&service, &place);
        }
    }
    let failed = disk.failed();
    disk.fail(None);
    let mended = Stopwatch::start();
    let mut balance = 1_000;
    while ledger.write(&service, 0, balance).is_err() {
        assert!(mended.seconds() < RECOVERY.as_secs_f64(), "{place}: writes are still refused");
        ledger.check(&service, &place);
        balance += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(service.health().write_failure.is_none());
    // From here on nothing is in doubt: what a reader sees now stays.
    let settled: Vec<_> = (0..3).map(|user| balances(&service, user).unwrap()).collect();
    assert!(settled.iter().all(|[stored, cached]| stored == cached), "{place}: file and cache differ: {settled:?}");
    ledger.check(&service, &place);
    service.stop();
    drop(service);
    let service = start(&MemoryDisk::with(disk.bytes()));
    let after: Vec<_> = (0..3).map(|user| balances(&service, user).unwrap()).collect();
    assert_eq!(after, settled, "{place}: after a restart");
    failed > 0
}

/// Fails at every operation until there is none left, on all processors.
fn suffer_everywhere(code: i32, times: usize) {
    let (suffered, spared) = (AtomicUsize::new(0), AtomicUsize::new(0));
    in_parallel(OPERATIONS, |at| {
        if spared.load(Ordering::Relaxed) >= SPARED_MAX {
            return;
        }
        if suffer(Fault { at, times, code, reads_too: false }, Since::Writing) {
            suffered.fetch_add(1, Ordering::Relaxed);
            spared.store(0, Ordering::Relaxed);
        } else {
            spared.fetch_add(1, Ordering::Relaxed);
        }
    });
    println!("code {code}, {times} times: {} places", suffered.load(Ordering::Relaxed));
    let suffered = suffered.into_inner();
    assert!((40..OPERATIONS).contains(&suffered), "{suffered} operations: not all were tried");
}

#[test]
fn a_disk_that_is_full_until_somebody_makes_room() {
    suffer_everywhere(ENOSPC, usize::MAX);
}

#[test]
fn a_disk_that_is_full_for_a_moment() {
    suffer_everywhere(ENOSPC, 1);
}

#[test]
fn a_disk_that_takes_no_writes_until_it_is_mended() {
    suffer_everywhere(EIO, usize::MAX);
}

#[test]
fn a_disk_that_fails_at_a_few_operations_in_a_row() {
    suffer_everywhere(EIO, 3);
}

/// All that a snapshot shows.
fn shown(snapshot: &Snapshot) -> (u64, String) {
    let contents = contents(snapshot, 0).unwrap();
    (contents.seq, contents.sha256)
}

/// Somebody reads on while the disk fails, while the file is opened again, and while it is written to after that: the
/// pages that he reads are free by then.
#[test]
fn a_reader_keeps_his_state_across_a_failure_and_all_that_comes_after_it() {
    const USERS: usize = 40;
    let failures = AtomicUsize::new(0);
    in_parallel(60, |at| {
        let disk = MemoryDisk::with(Vec::new());
        let service = start(&disk);
        for round in 0..3 {
            (0..USERS).for_each(|user| write(&service, user, 100 * round + user as u64 + 1).unwrap());
        }
        service.stop();
        drop(service);
        // Looked at elsewhere: what the engine has read once it need not read from the disk again.
        let elsewhere = Store::open_on(MemoryDisk::with(disk.bytes()), Path::new("/nowhere/elsewhere")).unwrap();
        let expected = shown(&elsewhere.snapshot().unwrap());
        let service = start(&disk);
        let before = service.snapshot().unwrap();
        disk.fail(Some(Fault { at, times: usize::MAX, code: EIO, reads_too: false }));
        let mut acknowledged = 0;
        while write(&service, 0, 1_000 + acknowledged).is_ok() {
            acknowledged += 1;
        }
        failures.fetch_add(1, Ordering::Relaxed);
        // Taken while nothing can be written.
        let meanwhile = service.snapshot().unwrap();
        assert_eq!(meanwhile.seq().unwrap(), expected.0 + acknowledged, "at {at}: what was acknowledged");
        disk.fail(None);
        while write(&service, 0, 5_000).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        for round in 0..6 {
            (0..USERS).for_each(|user| write(&service, user, 10_000 + 100 * round + user as u64).unwrap());
        }
        assert_eq!(shown(&before), expected, "at {at}");
        let shown_meanwhile = shown(&meanwhile);
        assert_eq!(shown_meanwhile.0, expected.0 + acknowledged, "at {at}");
        assert_eq!(shown_meanwhile.1 == expected.1, acknowledged == 0, "at {at}");
        let after = service.snapshot().unwrap();
        drop((before, meanwhile));
        assert!(after.seq().unwrap() > expected.0 + 6 * USERS as u64);
        assert_eq!(balances(&service, 1).unwrap(), [10_501, 10_501]);
    });
    assert_eq!(failures.into_inner(), 60);
}

#[test]
fn a_disk_that_fails_at_the_first_write_after_a_start() {
    for times in [1, 3, usize::MAX] {
        for at in 0..20 {
            assert!(suffer(Fault { at, times, code: EIO, reads_too: false }, Since::Start), "{at}");
        }
    }
    for at in 0..20 {
        suffer(Fault { at, times: 1, code: EIO, reads_too: true }, Since::Start);
    }
}

/// An import has no writer that tries the disk again: after a failure nothing is written to the file before it is
/// opened again.
#[test]
fn an_import_whose_first_write_failed_writes_nothing_later() {
    let disk = MemoryDisk::with(Vec::new());
    let open = |disk: &Arc<MemoryDisk>| Store::open_on(Arc::clone(disk) as _, Path::new("in memory")).unwrap();
    drop(open(&disk));
    for at in 0..2 {
        let disk = MemoryDisk::with(disk.bytes());
        let store = open(&disk);
        let import = || store.import(&Imported::default(), ("tree", "all of it"));
        disk.fail(Some(Fault { at, times: 1, code: EIO, reads_too: false }));
        assert!(import().is_err());
        disk.fail(None);
        disk.record();
        assert!(import().is_err());
        assert_eq!(disk.steps_count(), 0);
        drop(store);
        let imported = open(&disk).import(&Imported::default(), ("tree", "all of it"));
        assert!(imported.is_ok());
    }
}

/// A read that fails once is tried again, and nobody notices.
#[test]
fn a_read_that_fails_once() {
    for at in 0..40 {
        suffer(Fault { at, times: 1, code: EIO, reads_too: true }, Since::Writing);
    }
}

/// Where the disk can not even be read, reads fail; but once it can, all is well again.
#[test]
fn a_disk_that_can_not_be_read_for_a_while() {
    let unreadable = Fault { at: 0, times: usize::MAX, code: EIO, reads_too: true };
    let recovers = |service: &Service, balance: u64| {
        let mended = Stopwatch::start();
        while write(service, 0, balance).is_err() {
            assert!(mended.seconds() < RECOVERY.as_secs_f64());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(balances(service, 0).unwrap(), [balance; 2]);
    };
    let disk = MemoryDisk::with(Vec::new());
    let service = start(&disk);
    write(&service, 0, 1).unwrap();
    disk.fail(Some(unreadable));
    assert!(matches!(write(&service, 0, 2), Err(ServiceError::WriteFailed(_))));
    disk.fail(None);
    recovers(&service, 3);
    service.stop();
    drop(service);

    // The same before the first write of a start.
    let disk = MemoryDisk::with(disk.bytes());
    let service = start(&disk);
    disk.fail(Some(unreadable));
    assert!(matches!(write(&service, 0, 2), Err(ServiceError::WriteFailed(_))));
    disk.fail(None);
    recovers(&service, 4);
}

/// The answer names the cause, and the server says that it is not well.
#[test]
fn a_full_disk_is_told_from_a_broken_one() {
    let disk = MemoryDisk::with(Vec::new());
    let service = start(&disk);
    for (balance, code, is_full) in [(1, ENOSPC, true), (2, EIO, false)] {
        disk.fail(Some(Fault { at: 0, times: usize::MAX, code, reads_too: false }));
        let Err(ServiceError::WriteFailed(cause)) = write(&service, 0, balance) else { panic!("it was written") };
        assert_eq!(cause.is_full(), is_full);
        assert_eq!(service.health().write_failure.map(|cause| cause.is_full()), Some(is_full));
        disk.fail(None);
        while write(&service, 1, balance).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A disk that counts what is read.
#[derive(Debug)]
struct CountingDisk {
    disk: Arc<MemoryDisk>,
    read_bytes: AtomicUsize,
}

impl Disk for CountingDisk {
    fn length(&self) -> io::Result<u64> {
        self.disk.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_bytes.fetch_add(out.len(), Ordering::Relaxed);
        self.disk.read(offset, out)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.set_length(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.sync()
    }
}

/// A full disk is tried again and again; the file is not checked each time.
#[test]
fn trying_a_full_disk_again_does_not_read_the_file() {
    const ATTEMPTS: usize = 4;
    let disk = Arc::new(CountingDisk { disk: MemoryDisk::with(Vec::new()), read_bytes: AtomicUsize::new(0) });
    let store = Store::open_on(Arc::clone(&disk) as _, Path::new("/nowhere/in-memory")).unwrap();
    let settings = Settings { write_retry: SHORT_PAUSES, ..Settings::built_in().unwrap() };
    let service = Service::start(store, settings).unwrap();
    for user in 0..200 {
        write(&service, user, 1).unwrap();
    }
    disk.disk.fail(Some(Fault { at: 0, times: usize::MAX, code: ENOSPC, reads_too: false }));
    assert!(write(&service, 0, 2).is_err());
    let (failed, read) = (disk.disk.failed(), disk.read_bytes.load(Ordering::Relaxed));
    while disk.disk.failed() < failed + ATTEMPTS {
        std::thread::sleep(Duration::from_millis(1));
    }
    let read = disk.read_bytes.load(Ordering::Relaxed) - read;
    let file = disk.disk.bytes().len();
    assert!(read < file / 10, "{read} bytes of {file} were read in {ATTEMPTS} attempts");
}
