//! Files of every schema there has been are opened and read for what they say.
//!
//! `data/golden/schema-1.redb` and those beside it were made by the test below that is ignored otherwise:
//! `cargo test --test it make_the_golden_file -- --ignored`. It makes the file only if it is not there: what files in use hold can not
//! be made again by newer code. A new schema gets a new file beside the old ones.

use std::fs;
use std::path::{Path, PathBuf};

use overlaid::domain::{Scope, Token};
use overlaid::service::export_lines;
use overlaid::store::{Effect, Operation, Store, verify};
use redb::{Database, ReadableDatabase, TableDefinition};
use tempfile::TempDir;

use crate::direct::Direct;
use crate::world::{delete_overlay, patch_overlay, put_outcome, put_overlay, put_rate, put_signal, start, user_id};

/// The schema that today's code writes.
pub(crate) const SCHEMA: u64 = 5;

pub(crate) fn golden(schema: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/golden/schema-{schema}.redb"))
}

/// A copy of a golden file, in a folder of its own.
fn copy_of(schema: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::copy(golden(schema), folder.path().join("overlaid.redb")).unwrap();
    folder
}

/// One of each record, both kinds of levels, and something that was deleted.
fn operations() -> [Operation; 9] {
    let prices = r#"{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,
        "take_profit":1.09,"pattern_type":"BREAK","confidence":82.5,"session":"LONDON","shield":{"score":7.80}}"#;
    let pips = r#"{"signal_id":"S2","symbol":"XAUUSD","direction":"SELL","stop_pips":50,"target_pips":75}"#;
    let overlay = r#"{"user_id":"7001","tier":"FANG","risk_percent":2,"account_balance":10850.47,
        "account_currency":"EUR","win_rate":71.5,"trades_remaining":8,"broker":"Northbridge"}"#;
    let scopes = vec![Scope::Read, Scope::ReadUser(user_id("7001")), Scope::Write, Scope::Admin];
    [
        put_signal(prices, start()),
        put_signal(pips, start()),
        put_overlay(overlay, start()),
        put_overlay(r#"{"user_id":"-100"}"#, start()),
        put_overlay(r#"{"user_id":"gone"}"#, start()),
        delete_overlay("gone"),
        put_outcome(r#"{"signal_id":"S1","user_id":"7001","status":"fired","ticket":"8289"}"#, start()),
        put_rate(r#"{"pair":"EURUSD","price":1.085}"#, start()),
        Operation::PutToken(Token {
            id: "k1".to_owned(),
            sha256: std::array::from_fn(|at| u8::try_from(at).unwrap()),
            scopes,
            label: "bot".to_owned(),
            created_at: start(),
        }),
    ]
}

/// All that a file says, as text.
fn contents(direct: &Direct) -> String {
    let snapshot = direct.snapshot();
    let lines = export_lines(&snapshot).unwrap().map(Result::unwrap).collect::<Vec<_>>().concat();
    let (seq, tokens) = (snapshot.seq().unwrap(), snapshot.tokens().unwrap());
    format!("seq {seq}\n{}{tokens:?}", String::from_utf8(lines).unwrap())
}

#[test]
#[ignore = "makes the file of today's schema in data/golden, if it is not there"]
fn make_the_golden_file() {
    let golden = golden(SCHEMA);
    assert!(!golden.exists(), "it is there");
    let direct = Direct::new();
    for operation in operations() {
        direct.put(operation);
    }
    let path = direct.path();
    let _folder = direct.close();
    fs::create_dir_all(golden.parent().unwrap()).unwrap();
    fs::copy(path, golden).unwrap();
}

#[test]
fn a_file_of_schema_1_is_read_for_what_it_says() {
    let before = fs::read(golden(1)).unwrap();
    let direct = Direct::at(copy_of(1));
    insta::assert_snapshot!(contents(&direct), @r#"
    seq 9
    {"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.09,"pattern_type":"BREAK","confidence":82.5,"created_at":"2026-01-31T12:00:00Z","expires_at":"2026-01-31T13:00:00Z","session":"LONDON","shield":{"score":7.80}}}
    {"signal":{"signal_id":"S2","symbol":"XAUUSD","direction":"SELL","stop_pips":50,"target_pips":75,"created_at":"2026-01-31T12:00:00Z","expires_at":"2026-01-31T13:00:00Z"}}
    {"overlay":{"user_id":"-100","account_currency":"USD","updated_at":"2026-01-31T12:00:00Z"}}
    {"overlay":{"user_id":"7001","tier":"FANG","risk_percent":2,"account_balance":10850.47,"account_currency":"EUR","win_rate":71.5,"trades_remaining":8,"updated_at":"2026-01-31T12:00:00Z","broker":"Northbridge"}}
    {"rate":{"pair":"EURUSD","price":1.085,"updated_at":"2026-01-31T12:00:00Z"}}
    {"outcome":{"signal_id":"S1","user_id":"7001","status":"fired","at":"2026-01-31T12:00:00Z","ticket":"8289"}}
    [Token { id: "k1", sha256: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31], scopes: [Read, ReadUser(UserId("7001")), Write, Admin], label: "bot", created_at: UnixMillis(1769860800000) }]
    "#);

    let changed = direct.put(patch_overlay("7001", r#"{"account_balance":1}"#, start()));
    assert_eq!(changed.effect, Effect::Changed);
    assert_eq!(direct.restart().seq(), 10, "it can be written to");
    assert!(fs::read(golden(1)).unwrap() == before, "the file in the repository is not touched");
}

/// All schemas say the same, and a file of an older one becomes one of today's when it is opened to be written to; not when it is only
/// looked at.
#[test]
fn files_of_all_schemas_say_the_same_and_are_brought_to_todays() {
    for schema in 1..=SCHEMA {
        let folder = copy_of(schema);
        let path = folder.path().join("overlaid.redb");
        let looked_at = verify(&path).unwrap();
        assert_eq!((looked_at.schema, looked_at.seq), (schema, 9));
        assert!(fs::read(&path).unwrap() == fs::read(golden(schema)).unwrap());
        let direct = Direct::at(folder);
        assert_eq!(contents(&direct), contents(&Direct::at(copy_of(1))));
        let _folder = direct.close();
        assert_eq!(verify(&path).unwrap().schema, SCHEMA);
    }
}

/// In schema 4 small commits were in a log in the first page, alone until the file was closed.
#[test]
fn a_file_of_schema_4_whose_process_was_killed_says_what_was_in_its_log() {
    let killed = golden(4).with_file_name("schema-4-killed.redb");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("overlaid.redb");
    fs::copy(&killed, &path).unwrap();
    let looked_at = verify(&path).unwrap();
    assert_eq!((looked_at.schema, looked_at.seq), (4, 9));
    assert!(fs::read(&path).unwrap() == fs::read(&killed).unwrap());
    let direct = Direct::at(folder);
    assert_eq!(contents(&direct), contents(&Direct::at(copy_of(1))));
    direct.put(patch_overlay("7001", r#"{"account_balance":1}"#, start()));
    let now = contents(&direct);
    let direct = direct.restart();
    assert_eq!(contents(&direct), now);

    // An entry of its log is gone that others follow.
    let mut damaged = fs::read(&killed).unwrap();
    damaged[520] ^= 1;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("overlaid.redb");
    fs::write(&path, &damaged).unwrap();
    assert!(verify(&path).is_err_and(|error| error.is_damage()));
    assert!(Store::open(&path).is_err_and(|error| error.is_damage()));
    assert!(fs::read(&path).unwrap() == damaged);
}

/// The first byte of a record is its version: signals are packed since schema 2.
#[test]
fn the_golden_files_hold_the_records_that_they_are_there_for() {
    const SIGNALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("signals-1");
    for (schema, version) in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2)] {
        let folder = copy_of(schema);
        let database = Database::open(folder.path().join("overlaid.redb")).unwrap();
        let signals = database.begin_read().unwrap().open_table(SIGNALS).unwrap();
        for number in 0..2 {
            assert_eq!(signals.get(number).unwrap().unwrap().value()[0], version, "schema {schema}");
        }
    }
}

/// Code of today writes what the golden file says, or it has a new layout without a new schema.
#[test]
fn todays_writes_say_what_the_golden_file_says() {
    let today = Direct::new();
    for operation in operations() {
        today.put(operation);
    }
    assert_eq!(contents(&today), contents(&Direct::at(copy_of(SCHEMA))));
}
