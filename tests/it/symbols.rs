//! Symbols as brokers have them: which characters they have, which instrument they are taken for, and who says so.

use serde_json::{Value, json};

use crate::kit::{Server, code, create_token, done, error, json as json_of, run};

const TABLE: &str = "suffixes = ['.m', '+', '_i', '#']
    ['MY&IDX']
    aliases = ['^MY:IDX!', 'my-index']
    quote = 'USD'
    contract_size = 10
    pip = 1
    digits = 1
    min_lot = '0.1'
    lot_step = '0.1'
    max_lot = 50
";

/// 20 points to lose: on EURUSD at 2 percent of 10,000 one lot, on the index of 10 dollars a point one lot too.
fn body(symbol: &str) -> String {
    let (entry, stop) = if symbol.to_uppercase().contains("EUR") { ("1.085", "1.083") } else { ("5000", "4980") };
    json!({"symbol": symbol, "direction": "BUY", "entry_price": entry, "stop_loss": stop, "expires_at": "2099-01-01T00:00:00Z"})
        .to_string()
}

#[test]
fn a_brokers_symbol_is_kept_and_sized_as_the_instrument_that_it_is_taken_for() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.toml");
    std::fs::write(&table, TABLE).unwrap();
    let server = Server::start(folder.path(), &["--instruments", table.to_str().unwrap()]);
    server.send("PUT", "/v1/users/7/overlay", r#"{"account_balance":10000,"risk_percent":2}"#);
    for (number, (symbol, kept, instrument)) in [
        ("EURUSD", "EURUSD", json!("EURUSD")),
        ("eur/usd", "EURUSD", json!("EURUSD")),
        ("EURUSD.m", "EURUSD.M", json!("EURUSD")),
        ("EURUSD+", "EURUSD+", json!("EURUSD")),
        ("EURUSD_i", "EURUSD_I", json!("EURUSD")),
        ("EURUSD#", "EURUSD#", json!("EURUSD")),
        ("EURUSD.ecn", "EURUSD.ECN", Value::Null),
        ("My&Idx", "MY&IDX", json!("MY&IDX")),
        ("^my:idx!", "^MY:IDX!", json!("MY&IDX")),
        ("^my:idx!+", "^MY:IDX!+", json!("MY&IDX")),
        ("MY-INDEX.m", "MY-INDEX.M", json!("MY&IDX")),
        ("NASDAQ:AAPL", "NASDAQ:AAPL", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let published = server.send("PUT", &format!("/v1/signals/S{number}"), &body(symbol));
        assert_eq!((published.status, &published.json()["symbol"]), (201, &json!(kept)), "{symbol}");
        let view = server.get(&format!("/v1/users/7/missions/S{number}")).json();
        let mission = &view["mission"];
        assert_eq!((&view["signal"]["symbol"], &mission["instrument"]), (&json!(kept), &instrument), "{symbol}");
        let (lots, reasons) =
            if instrument.is_null() { (Value::Null, json!(["unknown_symbol"])) } else { (json!(1), json!([])) };
        assert_eq!((&mission["lots"], &mission["reasons"]), (&lots, &reasons), "{symbol}");
        // A symbol travels in a query, percent-encoded.
        let encoded: Vec<_> = symbol.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let encoded = encoded.concat();
        let listed = server.get(&format!("/v1/signals?status=all&symbol={encoded}")).json();
        assert!(listed["signals"].as_array().unwrap().iter().all(|signal| signal["symbol"] == kept), "{listed}");
        assert!(!listed["signals"].as_array().unwrap().is_empty(), "{symbol}");
    }
    for symbol in ["EUR USD", "EUR\"USD", "EUR\\USD", "EUR%USD", "", "/", &"X".repeat(33)] {
        let refused = server.send(
            "PUT",
            "/v1/signals/BAD",
            &json!({"symbol": symbol, "direction": "BUY", "stop_pips": 1}).to_string(),
        );
        assert_eq!((refused.status, &refused.json()["pointer"]), (422, &json!("/symbol")), "{symbol}");
    }
    let lines = done(run(folder.path(), &["export"]));
    assert!(lines.contains(r#""symbol":"^MY:IDX!+""#) && lines.contains(r#""symbol":"MY&IDX""#), "{lines}");
}

#[test]
fn the_command_says_what_a_symbol_is_taken_for_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.toml");
    std::fs::write(&table, TABLE).unwrap();
    let ask = |arguments: &[&str]| {
        run(folder.path(), &[&["--instruments", table.to_str().unwrap(), "instruments"], arguments].concat())
    };
    for (symbol, instrument, why) in [
        ("eur/usd", "EURUSD", "exact"),
        ("GOLD", "XAUUSD", "alias"),
        ("EURUSD.m", "EURUSD", "suffix .M removed"),
        ("^my:idx!+", "MY&IDX", "suffix + removed, alias"),
    ] {
        let text = done(ask(&[symbol]));
        assert!(text.contains(&format!("instrument     {instrument}: {why}\n")), "{text}");
        let shown = json_of(&ask(&[symbol, "--json"]));
        assert_eq!((&shown["instrument"], &shown["why"]), (&json!(instrument), &json!(why)));
    }
    let shown = json_of(&ask(&["my-index", "--json"]));
    assert_eq!(
        (&shown["contract_size"], &shown["lot_step"], &shown["base"]),
        (&json!("10"), &json!("0.1"), &Value::Null)
    );
    let unknown = ask(&["EURUSD.ecn"]);
    assert_eq!(code(&unknown), 1);
    assert_eq!(
        error(&unknown),
        "overlaid: the table has no EURUSD.ECN, neither by itself nor by an alias or a suffix\n"
    );
    let whole = done(ask(&[]));
    assert!(whole.ends_with("\nsuffixes: .M _I + #\n") && whole.contains("\nMY&IDX "), "{whole}");
    let lines = done(ask(&["--json"]));
    assert_eq!(lines.lines().count(), whole.lines().count() - 3);
    // Neither a database nor a server is needed, and none is made.
    assert!(!folder.path().join("overlaid.redb").exists());
    std::fs::write(&table, TABLE.replace("'my-index'", "'EURUSD'")).unwrap();
    let refused = ask(&["EURUSD"]);
    assert_eq!(code(&refused), 2);
    assert!(
        error(&refused).contains("alias EURUSD stands for two instruments, EURUSD and MY&IDX"),
        "{}",
        error(&refused)
    );
}

#[test]
fn a_server_lists_the_table_that_it_computes_by() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.toml");
    std::fs::write(&table, TABLE).unwrap();
    let server = Server::start(folder.path(), &["--instruments", table.to_str().unwrap()]);
    let listed = server.get("/v1/instruments");
    let rows = listed.json()["instruments"].as_array().unwrap().clone();
    let names: Vec<_> = rows.iter().map(|row| row["instrument"].as_str().unwrap()).collect();
    assert!(names.len() > 70 && names.is_sorted(), "{names:?}");
    let own = rows.iter().find(|row| row["instrument"] == "MY&IDX").unwrap();
    let expected = json!({"instrument": "MY&IDX", "quote": "USD", "contract_size": 10, "pip": 1, "digits": 1,
        "min_lot": 0.1, "lot_step": 0.1, "max_lot": 50, "aliases": ["^MY:IDX!", "MY-INDEX"]});
    assert_eq!(*own, expected);
    drop(server);
    let (user, metrics) = (create_token(folder.path(), "read:7"), create_token(folder.path(), "metrics"));
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.get_as(&metrics, "/v1/instruments").status, 403);
    let built_in = server.get_as(&user, "/v1/instruments");
    assert_eq!(built_in.status, 200);
    assert_ne!(built_in.header("etag"), listed.header("etag"), "another table has another tag");
}

/// Each entry of the built-in table says what a broker may have otherwise.
#[test]
fn every_entry_of_the_table_says_what_may_differ() {
    let mut lines = include_str!("../../data/instruments.toml").lines();
    let mut entries = 0;
    while let Some(line) = lines.next() {
        if line.starts_with('[') {
            entries += 1;
            assert!(lines.next().unwrap().starts_with("# may differ: "), "{line}");
        }
    }
    assert!(entries > 70);
}
