//! A year of data: how large its file is, and how long a backup of it takes. Run it with `cargo test --release --test it year -- --ignored
//! --nocapture`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use overlaid::domain::{Object, OverlayDraft, SignalDraft, SignalId, UnixMillis, UserId};
use overlaid::service::Stopwatch;
use overlaid::store::{Condition, Operation, Precedence, Store, Writer, back_up, compact, verify};

use crate::disk::Dice;

const DAYS: usize = 365;
const SIGNALS_A_DAY: usize = 30;
const USERS: usize = 5_000;
const DAY_MS: i64 = 86_400_000;

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
    let id = SignalId::parse(&format!("ELITE_GUARD_EURUSD_{}", 1_735_689_600 + number * 2_880)).unwrap();
    let draft = SignalDraft::from_object(Object::parse(json.as_bytes()).unwrap(), Some(&id)).unwrap();
    Operation::PutSignal { draft, now: at, lifetime_ms: 3_600_000, precedence: Precedence::Replace }
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

fn megabytes(path: &Path) -> String {
    let bytes = fs::metadata(path).unwrap().len();
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

#[test]
#[ignore = "measures, for a minute"]
fn a_year_and_its_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("overlaid.redb"), folder.path().join("backup.redb"));
    let (mut dice, mut signal_dice) = (Dice::new(1), Dice::new(2));
    let store = Store::open_or_create(&path).unwrap();
    write(&store, (0..DAYS * SIGNALS_A_DAY).map(|number| signal(number, &mut signal_dice)), SIGNALS_A_DAY);
    write(&store, (0..USERS).map(|user| overlay(user, 0, &mut dice)), 100);
    println!("fresh: {}", megabytes(&path));
    let churn = (1..=30).flat_map(|day| (0..USERS).map(move |user| (day, user)));
    write(&store, churn.map(|(day, user)| overlay(user, day, &mut dice)), 64);
    println!("after a month of balances: {}", megabytes(&path));
    let watch = Stopwatch::start();
    let made = back_up(&store.snapshot().unwrap(), &copy).unwrap();
    println!("backup, verified: {} in {:.3} s", megabytes(&copy), watch.seconds());
    let watch = Stopwatch::start();
    assert_eq!(verify(&copy).unwrap(), made);
    println!("verify: {:.3} s", watch.seconds());
    drop(store);
    assert_eq!(compact(&path).unwrap().sha256, made.sha256);
    println!("compacted: {}", megabytes(&path));
    let counts = made.counts;
    assert_eq!((counts.signals, counts.overlays), ((DAYS * SIGNALS_A_DAY) as u64, USERS as u64));
}
