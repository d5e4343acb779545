//! The file's layout: the golden file of each schema is opened and read for what it says, and bare redb reads what this
//! program leaves.
//!
//! `data/golden/schema-1.redb` was made by the test below that is ignored otherwise:
//! `cargo test --test it make_the_golden_file -- --ignored`. It makes the file only if it is not there: what files in
//! use hold can not be made again by newer code. A new schema gets a new file beside the old ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use overlaid::domain::{Scope, Token};
use overlaid::service::export_lines;
use overlaid::store::{Effect, Operation, Store, StoreError, verify};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _};
use tempfile::TempDir;

use crate::kit::{
    Direct, Server, delete_overlay, overlay, patch_overlay, put_outcome, put_overlay, put_rate, put_signal, start,
    user_id,
};

/// The schema that today's code writes.
const SCHEMA: u64 = 1;

fn golden(schema: u64) -> PathBuf {
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
    let pips = r#"{"signal_id":"S2","symbol":"XAUUSD","direction":"SELL","stop_pips":50,"take_profits":[{"pips":75,"share":60},{"pips":90,"share":40}]}"#;
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
            name: "bot".to_owned(),
            created_at: start(),
            expires_at: Some(start()),
            last_used_at: None,
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
    {"signal":{"signal_id":"S2","symbol":"XAUUSD","direction":"SELL","stop_pips":50,"take_profits":[{"pips":75,"share":60},{"pips":90,"share":40}],"created_at":"2026-01-31T12:00:00Z","expires_at":"2026-01-31T13:00:00Z"}}
    {"overlay":{"user_id":"-100","account_currency":"USD","updated_at":"2026-01-31T12:00:00Z"}}
    {"overlay":{"user_id":"7001","tier":"FANG","risk_percent":2,"account_balance":10850.47,"account_currency":"EUR","win_rate":71.5,"trades_remaining":8,"updated_at":"2026-01-31T12:00:00Z","broker":"Northbridge"}}
    {"rate":{"pair":"EURUSD","price":1.085,"updated_at":"2026-01-31T12:00:00Z","confirmed_at":"2026-01-31T12:00:00Z"}}
    {"outcome":{"signal_id":"S1","user_id":"7001","status":"fired","at":"2026-01-31T12:00:00Z","ticket":"8289"}}
    [Token { id: "k1", sha256: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31], scopes: [Read, ReadUser(UserId("7001")), Write, Admin], name: "bot", created_at: UnixMillis(1769860800000), expires_at: Some(UnixMillis(1769860800000)), last_used_at: None }]
    "#);

    let changed = direct.put(patch_overlay("7001", r#"{"account_balance":1}"#, start()));
    assert_eq!(changed.effect, Effect::Changed);
    assert_eq!(direct.restart().seq(), 10, "it can be written to");
    assert!(fs::read(golden(1)).unwrap() == before, "the file in the repository is not touched");
}

/// A file that verification only reads keeps every byte.
#[test]
fn verifying_the_golden_file_does_not_change_it() {
    let folder = copy_of(SCHEMA);
    let path = folder.path().join("overlaid.redb");
    let verified = verify(&path).unwrap();
    assert_eq!((verified.schema, verified.seq), (SCHEMA, 9));
    assert!(fs::read(&path).unwrap() == fs::read(golden(SCHEMA)).unwrap());
}

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// Writes a fact about itself into a file that was closed.
fn write_meta(path: &Path, key: &str, value: Option<u64>) {
    let database = Database::open(path).unwrap();
    let tx = database.begin_write().unwrap();
    {
        let mut meta = tx.open_table(META).unwrap();
        match value {
            Some(value) => drop(meta.insert(key, value).unwrap()),
            None => drop(meta.remove(key).unwrap()),
        }
    }
    tx.commit().unwrap();
}

#[test]
fn files_of_newer_and_of_unreleased_programs_are_refused_with_what_to_do_and_not_changed() {
    let folder = copy_of(SCHEMA);
    let path = folder.path().join("overlaid.redb");
    let refusal = || {
        let before = fs::read(&path).unwrap();
        let refusals = [Store::open(&path).unwrap_err(), verify(&path).unwrap_err()];
        assert!(fs::read(&path).unwrap() == before, "a refused file was changed");
        let [opened, verified] = refusals.map(|error| error.to_string());
        assert_eq!(opened, verified);
        opened
    };
    write_meta(&path, "schema-version", Some(2));
    insta::assert_snapshot!(refusal(), @"the file has schema 2, this program reads up to 1: use a newer overlaid");
    write_meta(&path, "schema-version", None);
    insta::assert_snapshot!(refusal(), @"the file is a redb database of another program");
    write_meta(&path, "schema", Some(5));
    insta::assert_snapshot!(refusal(), @"a build from before the first release wrote the file: let that build `export` the records, and `load` them");
    assert!(matches!(Store::open(&path), Err(StoreError::Unreleased)));
}

/// Each table's rows as bare redb reads them, by the table's name.
fn read_with_bare_redb(path: &Path) -> BTreeMap<String, usize> {
    let mut database = Database::open(path).unwrap();
    assert!(database.check_integrity().unwrap(), "the engine found something to repair");
    let tx = database.begin_read().unwrap();
    let mut tables = BTreeMap::new();
    for table in tx.list_tables().unwrap() {
        let rows = tx.open_untyped_table(table.clone()).unwrap();
        tables.insert(
            table.name().to_owned(),
            usize::try_from(redb::ReadableTableMetadata::len(&rows).unwrap()).unwrap(),
        );
    }
    tables
}

/// The overlays of a file with the `seq` of each, as bare redb and this program's codec read them.
fn overlays_by_bare_redb(path: &Path) -> BTreeMap<String, Vec<u8>> {
    const OVERLAYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("overlays-1");
    let database = Database::open(path).unwrap();
    let overlays = database.begin_read().unwrap().open_table(OVERLAYS).unwrap();
    let rows = overlays.iter().unwrap().map(Result::unwrap);
    rows.map(|(user, record)| (user.value().to_owned(), record.value().to_vec())).collect()
}

/// Whether the file was closed, its server killed, or copied while it was written: bare redb opens it, reads every
/// table, and finds every overlay that was acknowledged.
#[test]
fn bare_redb_reads_what_a_close_a_kill_and_a_live_copy_leave() {
    const USERS: usize = 300;
    let folder = TempDir::new().unwrap();
    let [path, live, killed] = ["overlaid.redb", "live.redb", "killed.redb"].map(|name| folder.path().join(name));
    let server = Server::start(folder.path(), &[]);
    for user in 0..USERS {
        let written = server.put_balance(user, 100);
        assert!(written.status < 300, "{written:?}");
    }
    fs::copy(&path, &live).unwrap();
    server.kill();
    fs::copy(&path, &killed).unwrap();
    let direct = Direct::at(folder);
    direct.put(overlay(USERS, 1));
    let folder = direct.close();
    let expected = BTreeMap::from(
        [
            ("legacy-checkpoint-1", 0),
            ("meta", 2),
            ("outcome-changes-1", 0),
            ("outcomes-1", 0),
            ("outcomes-by-user-1", 0),
            ("overlays-1", USERS),
            ("rates-1", 0),
            ("runs-1", 1),
            ("signal-bodies-1", 0),
            ("signal-numbers-1", 0),
            ("signals-1", 0),
            ("signals-by-body-1", 0),
            ("signals-by-expiry-1", 0),
            ("signals-by-start-1", 0),
            ("tokens-1", 0),
        ]
        .map(|(name, rows)| (name.to_owned(), rows)),
    );
    assert_eq!(read_with_bare_redb(&live), expected);
    assert_eq!(read_with_bare_redb(&killed), expected);
    assert_eq!(overlays_by_bare_redb(&live), overlays_by_bare_redb(&killed));
    assert_eq!(read_with_bare_redb(&path)["overlays-1"], USERS + 1);
    drop(folder);
}

/// The first byte of a record is its version: signals are packed.
#[test]
fn the_golden_file_holds_packed_signals() {
    const SIGNALS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("signals-1");
    let folder = copy_of(SCHEMA);
    let database = Database::open(folder.path().join("overlaid.redb")).unwrap();
    let signals = database.begin_read().unwrap().open_table(SIGNALS).unwrap();
    for number in 0..2 {
        assert_eq!(signals.get(number).unwrap().unwrap().value()[0], 2);
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
