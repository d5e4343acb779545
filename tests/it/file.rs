//! The file: who may open it, what is refused and left alone, what a damaged record does, what a restart keeps.
//!
//! A restart in here closes the file in good order, so it proves that everything is in the file, not when it came
//! there. What a power cut leaves is tested apart from this, on a disk that forgets. Between the two stands
//! `what_is_acknowledged_is_in_a_copy_of_the_open_file`.

use std::fs;
use std::path::Path;

use overlaid::service::{Service, Settings, export_lines};
use overlaid::store::{Effect, Operation, Store, StoreError, WriteError, verify};
use redb::{
    Database, MultimapTableDefinition, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};
use tempfile::TempDir;

use crate::kit::{
    Direct, OUTCOME, SIGNAL, effects, overlay, patch_signal, put_outcome, put_overlay, put_rate, put_signal, rate,
    signal, signal_id, start, token, user_id,
};

/// Everything but tokens, as lines.
fn export(store: &Store) -> String {
    let lines = export_lines(&store.snapshot().unwrap()).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    String::from_utf8(lines.concat()).unwrap()
}

#[test]
fn folder_and_file_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a/b/overlaid.redb");
    assert!(matches!(Store::open(&path), Err(StoreError::Absent(absent)) if absent == path));
    assert!(!folder.path().join("a").exists());
    let store = Store::open_or_create(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(store.path(), path);
}

#[test]
fn a_second_opener_is_told_that_the_file_is_in_use() {
    let direct = Direct::new();
    for result in [Store::open(&direct.path()), Store::open_or_create(&direct.path())] {
        assert!(matches!(result, Err(StoreError::InUse(path)) if path == direct.path()));
    }
    direct.put(overlay("7", 1));
    direct.restart().put(overlay("7", 2));
}

/// A process that replaces the file holds the lock of the old one until the new one is in its place. A process that
/// tries for the lock meanwhile has opened the old file, which must not become its database.
#[cfg(target_os = "linux")]
#[test]
fn an_opener_that_waits_for_a_file_that_is_being_replaced_gets_the_new_one() {
    let make = |balance| {
        let direct = Direct::new();
        direct.put(overlay("7", balance));
        direct.close()
    };
    let (old, new) = (make(1), make(2));
    let path = old.path().join("overlaid.redb");
    let held = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    held.try_lock().unwrap();
    let mut visits = inotify::Inotify::init().unwrap();
    visits.watches().add(&path, inotify::WatchMask::OPEN).unwrap();
    let opening = std::thread::spawn({
        let path = path.clone();
        move || Store::open(&path)
    });
    visits.read_events_blocking(&mut [0; 1_024]).unwrap();
    fs::rename(new.path().join("overlaid.redb"), &path).unwrap();
    drop(held);
    let store = opening.join().unwrap().unwrap();
    let balance = |store: &Store| {
        let stored = store.snapshot().unwrap().overlay(&user_id("7")).unwrap().unwrap();
        stored.overlay.account_balance.unwrap().to_string()
    };
    assert_eq!(balance(&store), "2");
    drop(store);
    let direct = Direct::at(old);
    direct.put(overlay("7", 3));
    assert_eq!(balance(&direct.restart().store), "3");
}

/// A server lets its commits wait while another process has its file open, so a command that is told "in use" has it
/// open for moments only.
#[cfg(target_os = "linux")]
#[test]
fn an_opener_that_waits_for_the_lock_does_not_keep_the_file_open() {
    let direct = Direct::new();
    let mut visits = inotify::Inotify::init().unwrap();
    visits.watches().add(direct.path(), inotify::WatchMask::OPEN | inotify::WatchMask::CLOSE).unwrap();
    let path = direct.path();
    std::thread::scope(|scope| {
        for open in [Store::open, Store::open_to_read] {
            let path = &path;
            let opening = scope.spawn(move || open(path));
            let mut is_open = false;
            let mut closed = 0;
            while closed < 2 {
                for event in visits.read_events_blocking(&mut [0; 1_024]).unwrap() {
                    assert_ne!(
                        event.mask.contains(inotify::EventMask::OPEN),
                        is_open,
                        "opened again before it was closed"
                    );
                    is_open = !is_open;
                    closed += usize::from(!is_open);
                }
            }
            assert!(matches!(opening.join().unwrap(), Err(StoreError::InUse(_))));
            while visits.read_events(&mut [0; 1_024]).is_ok_and(|events| events.count() > 0) {}
        }
    });
}

/// Checks that a file is refused and that it is left as it was.
#[track_caller]
fn check_refused(path: &Path, expected: &str) {
    let before = fs::read(path).unwrap();
    for result in [Store::open(path), Store::open_or_create(path)] {
        assert_eq!(result.unwrap_err().to_string(), expected);
        assert!(fs::read(path).unwrap() == before, "the file was changed");
    }
    // Whoever it belongs to can still open it, if anybody could.
    let copy = path.with_extension("copy");
    fs::write(&copy, &before).unwrap();
    assert_eq!(Database::open(&copy).is_ok(), Database::open(path).is_ok());
}

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

#[test]
fn a_database_of_another_program_is_refused_and_left_alone() {
    const NAMES: TableDefinition<'_, u32, &str> = TableDefinition::new("names");
    const OTHER_META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
    const TAGS: MultimapTableDefinition<'_, u32, u32> = MultimapTableDefinition::new("tags");
    let expected = "the file is a redb database of another program";
    let folder = TempDir::new().unwrap();
    let make = |name: &str, fill: &dyn Fn(&redb::WriteTransaction)| {
        let path = folder.path().join(name);
        let database = Database::create(&path).unwrap();
        let tx = database.begin_write().unwrap();
        fill(&tx);
        tx.commit().unwrap();
        (path, database)
    };
    let (path, database) = make("names", &|tx| {
        let mut table = tx.open_table(NAMES).unwrap();
        for at in 0..1_000 {
            table.insert(at, "name").unwrap();
        }
    });
    // Taken while it is open: as a crash leaves it.
    let crashed = folder.path().join("crashed");
    fs::copy(&path, &crashed).unwrap();
    drop(database);
    check_refused(&path, expected);
    check_refused(&crashed, expected);
    let (path, _) = make("other-meta", &|tx| drop(tx.open_table(OTHER_META).unwrap().insert("schema", "1").unwrap()));
    check_refused(&path, expected);
    let (path, _) = make("no-schema", &|tx| drop(tx.open_table(META).unwrap().insert("version", 1).unwrap()));
    check_refused(&path, expected);
    let (path, _) = make("tags", &|tx| assert!(!tx.open_multimap_table(TAGS).unwrap().insert(1, 1).unwrap()));
    check_refused(&path, expected);

    // One that has no tables yet belongs to nobody.
    let (path, database) = make("new", &|_| ());
    drop(database);
    Store::open(&path).unwrap();
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let check = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        check_refused(&path, "the storage engine failed");
    };
    check("text", b"signal_id,symbol\n");
    check("zeros", &vec![0; 100_000]);
    let direct = Direct::new();
    for user in 0..500 {
        direct.submit(overlay(user, 1)).unwrap();
    }
    let path = direct.path();
    let _folder = direct.close();
    let whole = fs::read(&path).unwrap();
    check("head", &whole[..100]);
    check("half", &whole[..whole.len() / 2]);
}

/// A byte that changed on the disk is met when the file is opened, not in the middle of a trade.
#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let direct = Direct::new();
    let marker = "a-text-that-is-there-once";
    direct.put(put_overlay(&format!(r#"{{"user_id":"7","note":"{marker}"}}"#), start()));
    let path = direct.path();
    let _folder = direct.close();
    let mut bytes = fs::read(&path).unwrap();
    let places: Vec<_> =
        (0..bytes.len() - marker.len()).filter(|at| bytes[*at..].starts_with(marker.as_bytes())).collect();
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&path, &bytes).unwrap();
    check_refused(&path, "the storage engine failed");
}

const SIGNALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("signals-1");
const SIGNAL_NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("signal-numbers-1");
const OVERLAYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("overlays-1");
const OUTCOMES: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("outcomes-1");
const RATES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("rates-1");
const TOKENS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("tokens-1");

#[test]
fn a_damaged_record_is_named_and_fails_only_those_who_ask_for_it() {
    let direct = Direct::new();
    for id in ["S1", "S2"] {
        direct.put(signal(id));
        for user in ["7", "8"] {
            direct.put(put_outcome(&OUTCOME.replace("S1", id).replace('7', user), start()));
        }
    }
    for user in ["7", "8"] {
        direct.put(overlay(user, 1));
    }
    let direct = direct.tamper(|tx| {
        tx.open_table(SIGNALS).unwrap().insert(0, &[1, 2, 3][..]).unwrap();
        tx.open_table(OVERLAYS).unwrap().insert("7", &[9][..]).unwrap();
        tx.open_table(OUTCOMES).unwrap().insert((1, "7"), &[][..]).unwrap();
    });
    let snapshot = direct.snapshot();
    let message = |error: StoreError| error.to_string();
    let overlay_error = "damaged record in table overlays-1, key 7: record version 9";
    assert_eq!(message(snapshot.overlay(&user_id("7")).unwrap_err()), overlay_error);
    assert!(snapshot.overlay(&user_id("8")).unwrap().is_some());
    let rows: Vec<_> = snapshot.overlays(None).unwrap().map(|row| row.is_ok()).collect();
    assert_eq!(rows, [false, true], "a list goes on behind it");
    let signal_error = message(snapshot.signal(&signal_id("S1")).unwrap_err());
    assert!(signal_error.starts_with("damaged record in table signals-1, key 0: "), "{signal_error}");
    assert!(snapshot.signal(&signal_id("S2")).unwrap().is_some());
    let rows: Vec<_> = snapshot.signals_active(start(), None).unwrap().map(|row| row.is_ok()).collect();
    assert_eq!(rows, [false, true]);
    let outcome_error = "damaged record in table outcomes-1, key 1/7: empty record";
    assert_eq!(message(snapshot.outcome(1, &user_id("7")).unwrap_err()), outcome_error);
    assert!(snapshot.outcome(0, &user_id("7")).unwrap().is_some());

    let written = direct.together([
        overlay("8", 2),
        overlay("7", 2),
        signal("S3"),
        patch_signal("S1", r#"{"confidence":1}"#),
        put_outcome(&OUTCOME.replace("S1", "S2"), start()),
        patch_signal("S2", r#"{"confidence":1}"#),
    ]);
    let (created, changed) = (Some(Effect::Created), Some(Effect::Changed));
    assert_eq!(effects(&written), [changed, None, created, None, None, changed]);
    match &written[1] {
        Err(WriteError::Failed(error)) => assert_eq!(error.to_string(), overlay_error),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_under_another_ones_key_is_not_passed_off_as_it() {
    let direct = Direct::new();
    for id in ["S1", "S2"] {
        direct.put(signal(id));
    }
    direct.put(overlay("7", 1));
    direct.put(put_outcome(OUTCOME, start()));
    direct.put(rate(1));
    direct.put(Operation::PutToken(token("k1", start())));
    let direct = direct.tamper(|tx| {
        let mut numbers = tx.open_table(SIGNAL_NUMBERS).unwrap();
        numbers.insert("S1", 1).unwrap();
        numbers.insert("S9", 9).unwrap();
        let mut overlays = tx.open_table(OVERLAYS).unwrap();
        let bytes = overlays.get("7").unwrap().unwrap().value().to_vec();
        overlays.insert("8", bytes.as_slice()).unwrap();
        let mut outcomes = tx.open_table(OUTCOMES).unwrap();
        let bytes = outcomes.get((0, "7")).unwrap().unwrap().value().to_vec();
        outcomes.insert((0, "8"), bytes.as_slice()).unwrap();
        let mut rates = tx.open_table(RATES).unwrap();
        let bytes = rates.get("GBPUSD").unwrap().unwrap().value().to_vec();
        rates.insert("EURUSD", bytes.as_slice()).unwrap();
        let mut tokens = tx.open_table(TOKENS).unwrap();
        let bytes = tokens.get("k1").unwrap().unwrap().value().to_vec();
        tokens.insert("k2", bytes.as_slice()).unwrap();
    });
    let snapshot = direct.snapshot();
    let errors = [
        snapshot.signal(&signal_id("S1")).unwrap_err(),
        snapshot.signal(&signal_id("S9")).unwrap_err(),
        snapshot.overlay(&user_id("8")).unwrap_err(),
        snapshot.outcome(0, &user_id("8")).unwrap_err(),
        snapshot.rates().unwrap_err(),
        snapshot.tokens().unwrap_err(),
    ];
    assert_eq!(
        errors.map(|error| error.to_string()),
        [
            "damaged record in table signals-1, key 1: it holds another signal",
            "damaged record in table signal-numbers-1, key S9: it names a signal that is not there",
            "damaged record in table overlays-1, key 8: it holds another user's overlay",
            "damaged record in table outcomes-1, key 0/8: it holds another user's outcome",
            "damaged record in table rates-1, key EURUSD: it holds another pair's rate",
            "damaged record in table tokens-1, key k2: it holds another token",
        ]
    );
    for operation in [signal("S1"), signal("S9"), overlay("8", 5), put_rate(r#"{"pair":"EURUSD","price":2}"#, start())]
    {
        assert!(matches!(direct.write(operation), Err(WriteError::Failed(_))));
    }
}

/// A signal with the number 0, in a file whose index was changed behind the store's back.
#[track_caller]
fn check_index(error: &str, change: impl FnOnce(&redb::WriteTransaction)) {
    let direct = Direct::new();
    direct.put(signal("S1"));
    let direct = direct.tamper(change);
    let path = direct.path();
    let _folder = direct.close();
    assert_eq!(verify(&path).unwrap_err().to_string(), error);
}

#[test]
fn verifying_finds_a_signal_that_an_index_does_not_lead_to_and_an_entry_that_leads_to_none() {
    const BY_TIME: [TableDefinition<'_, (i64, u64), ()>; 2] =
        [TableDefinition::new("signals-by-expiry-1"), TableDefinition::new("signals-by-start-1")];
    const BODIES: TableDefinition<'_, u64, u64> = TableDefinition::new("signal-bodies-1");
    const BY_BODY: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("signals-by-body-1");
    let errors =
        ["expiry-1, key 0: the signal is not under its expiry", "start-1, key 0: the signal is not under its start"];
    for (table, error) in BY_TIME.into_iter().zip(errors) {
        check_index(&format!("damaged record in table signals-by-{error}"), |tx| {
            tx.open_table(table).unwrap().pop_first().unwrap();
        });
    }
    check_index("damaged record in table signal-numbers-1, key S1: it does not lead to its signal", |tx| {
        tx.open_table(SIGNAL_NUMBERS).unwrap().remove("S1").unwrap();
    });
    check_index("damaged record in table signal-bodies-1, key 0: it does not say what published the signal", |tx| {
        tx.open_table(BODIES).unwrap().remove(0).unwrap();
    });
    check_index("damaged record in table signals-by-body-1, key 0: the signal is not under what published it", |tx| {
        tx.open_table(BODIES).unwrap().insert(0, 1).unwrap();
    });
    let too_many = "damaged record in table signals-1, key 1: the indexes have entries for signals that are not there";
    for table in BY_TIME {
        check_index(too_many, |tx| drop(tx.open_table(table).unwrap().insert((7, 7), ()).unwrap()));
    }
    check_index(too_many, |tx| drop(tx.open_table(SIGNAL_NUMBERS).unwrap().insert("S7", 7).unwrap()));
    check_index(too_many, |tx| drop(tx.open_table(BODIES).unwrap().insert(7, 7).unwrap()));
    check_index(too_many, |tx| drop(tx.open_table(BY_BODY).unwrap().insert((7, 7), ()).unwrap()));
}

#[test]
fn a_restart_keeps_everything() {
    let mut direct = Direct::new();
    direct.put(put_signal(SIGNAL, start()));
    direct.together((0..500).map(|user| overlay(user, user)));
    direct.put(put_outcome(OUTCOME, start()));
    direct.put(Operation::PutToken(token("k1", start())));
    for _ in 0..3 {
        let (before, seq) = (export(&direct.store), direct.seq());
        direct = direct.restart();
        assert_eq!(export(&direct.store), before);
        assert_eq!(direct.seq(), seq);
        assert_eq!(direct.snapshot().tokens().unwrap().len(), 1);
        // Numbers and changes go on counting.
        direct.put(signal(&format!("after-{seq}")));
        assert_eq!(direct.seq(), seq + 1);
    }
    assert_eq!(direct.snapshot().signals().unwrap().map(|row| row.unwrap().number).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

/// A copy that broke off at its beginning is no new database.
#[test]
fn an_empty_file_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("overlaid.redb");
    fs::write(&path, "").unwrap();
    check_refused(&path, "the file is damaged: it is empty");
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

/// Opening a pipe waits for whoever writes to it.
#[cfg(unix)]
#[test]
fn what_is_not_a_file_is_refused_at_once() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("overlaid.redb");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(verify(&path).is_err() && Store::open(&path).is_err());
}

#[test]
fn a_file_that_is_opened_to_read_is_not_changed() {
    let direct = Direct::new();
    direct.put(put_signal(SIGNAL, start()));
    direct.together((0..500).map(|user| overlay(user, user)));
    let (path, killed) = (direct.path(), direct.path().with_extension("killed"));
    fs::copy(&path, &killed).unwrap();
    let _folder = direct.close();
    for path in [path, killed] {
        let (before, changed) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
        let store = Store::open_to_read(&path).unwrap();
        assert!(export(&store).lines().count() > 500);
        drop(store);
        assert!(fs::read(&path).unwrap() == before, "reading changed it");
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), changed);
        drop(Store::open(&path).unwrap());
        assert!(fs::metadata(&path).unwrap().modified().unwrap() > changed, "the test sees no change");
    }
}

/// A copy of the open file is what a killed process leaves, as far as the process goes: nothing of it depends on
/// closing. If commits were not written through to the file, the copy would lack them.
#[test]
fn what_is_acknowledged_is_in_a_copy_of_the_open_file() {
    let direct = Direct::new();
    for balance in 1..=20 {
        direct.put(overlay("7", balance));
        let copy = direct.path().with_extension("copy");
        fs::copy(direct.path(), &copy).unwrap();
        let store = Store::open(&copy).unwrap();
        let stored = store.snapshot().unwrap().overlay(&user_id("7")).unwrap().unwrap();
        assert_eq!(stored.overlay.account_balance.unwrap().to_string(), balance.to_string());
        assert_eq!(stored.seq, balance);
    }
}

/// The tables are there from the beginning, so that a reader never meets a missing one, and there are no others.
#[test]
fn a_new_file_has_its_tables() {
    let direct = Direct::new();
    let path = direct.path();
    let _folder = direct.close();
    let database = Database::open(&path).unwrap();
    let tx = database.begin_read().unwrap();
    let mut names: Vec<_> = tx.list_tables().unwrap().map(|table| redb::TableHandle::name(&table).to_owned()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "legacy-checkpoint-1",
            "meta",
            "outcome-changes-1",
            "outcomes-1",
            "outcomes-by-user-1",
            "overlays-1",
            "rates-1",
            "runs-1",
            "signal-bodies-1",
            "signal-numbers-1",
            "signals-1",
            "signals-by-body-1",
            "signals-by-expiry-1",
            "signals-by-start-1",
            "tokens-1"
        ]
    );
    assert_eq!(tx.open_table(META).unwrap().len().unwrap(), 1);
}

/// The next command finds the file closed, and need not check what a kill may have left.
#[test]
fn a_service_that_is_dropped_has_closed_its_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("overlaid.redb");
    for round in 0..20 {
        let service = Service::open(&path, Settings::built_in().unwrap()).unwrap();
        service.submit(overlay("7", round)).unwrap().done_blocking().unwrap();
        drop(service);
        let is_closed = |flags: u8| flags & 2 == 0;
        assert!(is_closed(fs::read(&path).unwrap()[9]), "round {round}");
        assert!(fs::File::open(&path).unwrap().try_lock().is_ok(), "round {round}");
    }
}
