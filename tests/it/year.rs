//! A year of data: how large its file is, how long a backup of it takes and what the backup costs those who write
//! meanwhile, and how long it takes to read an old signal out of the file.
//!
//! Run it with `cargo test --release -p overlaid --test it year -- --ignored --nocapture`. Sizes are held against their
//! bound; times depend on the machine and are printed beside their goals. The short form does the same with a fortnight
//! of fewer users.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use overlaid::domain::Condition;
use overlaid::domain::{Object, OverlayDraft, SignalDraft, SignalId, UnixMillis, UserId};
use overlaid::service::Stopwatch;
use overlaid::store::{Operation, Precedence, Store, Writer, back_up, compact, verify};

use crate::kit::Dice;

const SIGNALS_A_DAY: usize = 30;
const DAY_MS: i64 = 86_400_000;

fn signal_id(number: usize) -> SignalId {
    SignalId::parse(&format!("ELITE_GUARD_EURUSD_{}", 1_735_689_600 + number * 2_880)).unwrap()
}

/// Signals with what their publishers add, as the samples have it.
fn signal(number: usize, dice: &mut Dice) -> Operation {
    let at = UnixMillis::new(1_735_689_600_000 + i64::try_from(number / SIGNALS_A_DAY).unwrap() * DAY_MS);
    let pips = 100_000 + dice.below(40_000);
    let json = format!(
        r#"{{"symbol":"EURUSD","direction":"BUY","entry_price":1.{pips},"stop_loss":1.0{},"take_profit":1.5{},"pattern_type":"LIQUIDITY_SWEEP_REVERSAL","confidence":{}.{},"session":"LONDON","signal_type":"RAPID_ASSAULT","citadel_score":{}.{},"shield_rating":"SHIELD_APPROVED","timeframe":"M5","source":"venom","uuid":"{:016x}{:016x}"}}"#,
        dice.below(90_000),
        dice.below(90_000),
        60 + dice.below(39),
        dice.below(10),
        dice.below(10),
        dice.below(10),
        dice.roll(),
        dice.roll(),
    );
    let draft = SignalDraft::from_object(Object::parse(json.as_bytes()).unwrap(), Some(&signal_id(number))).unwrap();
    Operation::PutSignal {
        draft,
        now: at,
        lifetime_ms: 3_600_000,
        condition: Condition::None,
        precedence: Precedence::Replace,
    }
}

fn overlay(user: usize, day: i64, dice: &mut Dice) -> Operation {
    let json = format!(
        r#"{{"tier":"FANG","risk_percent":2,"account_balance":{}.{:02},"account_currency":"USD","win_rate":{}.5,"trades_remaining":{}}}"#,
        dice.below(50_000),
        dice.below(100),
        40 + dice.below(50),
        dice.below(12),
    );
    let user = UserId::parse(&(700_000_000 + user).to_string()).unwrap();
    let draft = OverlayDraft::from_object(Object::parse(json.as_bytes()).unwrap(), Some(&user)).unwrap();
    let now = UnixMillis::new(1_767_225_600_000 + day * DAY_MS);
    Operation::PutOverlay { draft, now, condition: Condition::None, precedence: Precedence::Replace }
}

/// Writes all, in batches as they come, and waits for the last.
fn write(store: &Arc<Store>, operations: impl Iterator<Item = Operation>, batch: usize) {
    let writer = Writer::start(Arc::clone(store), |_| {}).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    let mut waiting = 0;
    for operation in operations {
        let done = done.clone();
        writer.submit(operation, Box::new(move |result| done.send(result.is_ok()).unwrap())).unwrap();
        waiting += 1;
        if waiting == batch {
            (0..waiting).for_each(|_| assert!(is_done.recv().unwrap()));
            waiting = 0;
        }
    }
    (0..waiting).for_each(|_| assert!(is_done.recv().unwrap()));
    writer.stop();
}

fn bytes(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn megabytes(path: &Path) -> String {
    let bytes = bytes(path);
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

/// How much data there is, and what its file may come to.
struct Scale {
    days: usize,
    users: usize,
    /// For how many days every balance changes.
    churn_days: i64,
    /// How long writes are timed, without backups and beside them.
    pause: Duration,
    reads: usize,
    file_bytes_max: u64,
}

const YEAR: Scale = Scale {
    days: 365,
    users: 5_000,
    churn_days: 30,
    pause: Duration::from_secs(3),
    reads: 3_000,
    file_bytes_max: 8_000_000,
};

const FORTNIGHT: Scale = Scale {
    days: 14,
    users: 300,
    churn_days: 5,
    pause: Duration::from_millis(200),
    reads: 300,
    file_bytes_max: 460_000,
};

/// Times of many equal things.
struct Times(Vec<Duration>);

impl Times {
    fn of(count: usize, mut work: impl FnMut()) -> Self {
        let mut times = Self(Vec::new());
        (0..count).for_each(|_| times.take(&mut work));
        times
    }

    fn take(&mut self, work: &mut impl FnMut()) {
        let watch = Stopwatch::start();
        work();
        self.0.push(Duration::from_secs_f64(watch.seconds()));
    }

    fn shown(mut self) -> String {
        self.0.sort();
        let at = |percent: usize| self.0[(self.0.len() - 1) * percent / 100];
        format!("median {:.1?}, p99 {:.1?}, longest {:.1?} ({} times)", at(50), at(99), at(100), self.0.len())
    }
}

/// Writes balances one at a time until `work` is done; returns how long each acknowledgement took.
fn acknowledgements(store: &Arc<Store>, users: usize, seed: u64, work: impl FnOnce() + Send) -> Times {
    let mut dice = Dice::new(seed);
    let writer = Writer::start(Arc::clone(store), |_| {}).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    let is_over = AtomicBool::new(false);
    let mut times = Times(Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            work();
            is_over.store(true, Ordering::SeqCst);
        });
        while !is_over.load(Ordering::SeqCst) {
            let operation = overlay(dice.below(users), 31, &mut dice);
            let done = done.clone();
            times.take(&mut || {
                let done = done.clone();
                let acknowledge = Box::new(move |result: Result<_, _>| done.send(result.is_ok()).unwrap());
                writer.submit(operation.clone(), acknowledge).unwrap();
                assert!(is_done.recv().unwrap());
            });
        }
    });
    writer.stop();
    times
}

/// Reads signals of all days by their ids, from a file that was just opened: nothing of it is in memory but by the
/// system.
fn read_old_signals(path: &Path, scale: &Scale) -> Times {
    let store = Store::open(path).unwrap();
    let mut dice = Dice::new(3);
    Times::of(scale.reads, || {
        let id = signal_id(dice.below(scale.days * SIGNALS_A_DAY));
        let stored = store.snapshot().unwrap().signal(&id).unwrap().unwrap();
        assert_eq!(stored.signal.id, id);
    })
}

#[test]
fn a_fortnight_and_its_backup() {
    data_and_its_backup(&FORTNIGHT);
}

#[test]
#[ignore = "measures times, which take a quiet machine; see the head of this file"]
fn a_year_and_its_backup() {
    data_and_its_backup(&YEAR);
}

fn data_and_its_backup(scale: &Scale) {
    let Scale { days, users, churn_days, pause, file_bytes_max, .. } = *scale;
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("overlaid.redb"), folder.path().join("backup.redb"));
    let (mut dice, mut signal_dice) = (Dice::new(1), Dice::new(2));
    let store = Store::open_or_create(&path).unwrap();
    write(&store, (0..days * SIGNALS_A_DAY).map(|number| signal(number, &mut signal_dice)), SIGNALS_A_DAY);
    write(&store, (0..users).map(|user| overlay(user, 0, &mut dice)), 100);
    println!("fresh: {}", megabytes(&path));
    assert!(bytes(&path) <= file_bytes_max);
    let churn = (1..=churn_days).flat_map(|day| (0..users).map(move |user| (day, user)));
    write(&store, churn.map(|(day, user)| overlay(user, day, &mut dice)), 64);
    println!("after {churn_days} days of balances: {}", megabytes(&path));
    assert!(bytes(&path) <= file_bytes_max);
    let watch = Stopwatch::start();
    let made = back_up(&store.snapshot().unwrap(), &copy).unwrap();
    println!("backup, verified: {} in {:.3} s (goal: below 1 s)", megabytes(&copy), watch.seconds());
    let watch = Stopwatch::start();
    assert_eq!(verify(&copy).unwrap(), made);
    println!("verify: {:.3} s", watch.seconds());
    let alone = acknowledgements(&store, users, 4, || std::thread::sleep(pause));
    println!("a balance is acknowledged after: {}", alone.shown());
    let beside = acknowledgements(&store, users, 5, || {
        let watch = Stopwatch::start();
        while watch.seconds() < pause.as_secs_f64() {
            back_up(&store.snapshot().unwrap(), &copy).unwrap();
        }
    });
    println!("the same while backups are made: {}", beside.shown());
    let made = back_up(&store.snapshot().unwrap(), &copy).unwrap();
    drop(store);
    println!("an old signal is read from the file in: {} (goal: below 50 us)", read_old_signals(&path, scale).shown());
    assert_eq!(compact(&path).unwrap().sha256, made.sha256);
    println!("compacted: {}", megabytes(&path));
    assert!(bytes(&path) <= file_bytes_max);
    println!("an old signal is read from the compacted file in: {}", read_old_signals(&path, scale).shown());
    let counts = made.counts;
    assert_eq!((counts.signals, counts.overlays), ((days * SIGNALS_A_DAY) as u64, users as u64));
}

/// A new installation: the signals of one day and as many users as the samples have.
#[test]
fn a_fresh_file_of_one_day_is_below_200_kilobytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("overlaid.redb");
    let store = Store::open_or_create(&path).unwrap();
    let mut dice = Dice::new(1);
    write(&store, (0..SIGNALS_A_DAY).map(|number| signal(number, &mut dice)), 1);
    write(&store, (0..26).map(|user| overlay(user, 0, &mut dice)), 1);
    println!("while it is open: {} bytes", bytes(&path));
    assert!(bytes(&path) < 200_000);
    drop(store);
    println!("closed: {} bytes", bytes(&path));
    assert!(bytes(&path) < 200_000);
}
