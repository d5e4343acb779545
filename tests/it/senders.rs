//! Senders that can only do so much: bodies with a byte order mark or a NUL, times in forms of their own, imports of
//! which nothing goes in.

use std::fs;

use insta::assert_snapshot;

use overlaid::domain::{Condition, UnixMillis, UnnamedSignal};
use overlaid::store::{Change, Effect, Operation};

use crate::kit::{Answer, Direct, EURUSD_PIPS, Server, create_token, object, run, run_token, shown, signal_id};

const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[test]
fn lines_have_three_names_and_are_answered_under_the_one_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with_mission(folder.path());
    let answer = |path: &str, accept: &str| server.send_with("GET", path, &[("accept", accept)], b"");
    for kind in LINES {
        let missions = answer("/v1/signals/S1/missions", kind);
        assert_eq!((missions.header("content-type"), missions.body.lines().count()), (Some(kind), 1), "{missions:?}");
        assert_eq!(answer("/v1/signals/S1/missions?users=7", kind).header("content-type"), Some(kind));
        let export = answer("/v1/export", kind);
        assert_eq!((export.header("content-type"), export.body.lines().count()), (Some(kind), 2), "{export:?}");
        assert!(export.head.contains("\r\nvary: accept\r\n"), "{export:?}");
        let fields = [("content-type", kind), ("accept", kind)];
        let import = server.send_with("POST", "/v1/import", &fields, br#"{"overlay":{"user_id":"8"}}"#);
        assert_eq!((import.status, import.header("content-type")), (200, Some(kind)));
        let paged = answer("/v1/signals/S1/missions?limit=1", kind);
        assert_eq!(paged.problem(), (400, "invalid-parameter".to_owned()));
        let _ = server.send("DELETE", "/v1/users/8", "");
    }
    let list = answer("/v1/signals/S1/missions", "application/json, application/jsonl;q=0.9");
    assert_eq!(list.header("content-type"), Some("application/json"));
    assert_eq!(answer("/v1/export", "application/json").header("content-type"), Some(LINES[0]));
}

#[test]
fn an_import_of_which_nothing_goes_in_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let (good, bad) = ("{\"overlay\":{\"user_id\":\"7\"}}\n", "{\"mission\":{}}\n");
    let status = |lines: &str| {
        let answer = server.import(lines);
        let last: serde_json::Value = serde_json::from_str(answer.body.lines().last().unwrap()).unwrap();
        let count = |name: &str| last[name].as_u64().unwrap();
        assert_eq!(answer.body.lines().count() as u64, count("lines") + 1, "{answer:?}");
        (answer.status, count("created") + count("unchanged"), count("refused"))
    };
    assert_snapshot!(server.import(bad).shown(), @r#"
    422 application/x-ndjson {"line":1,"effect":"refused","code":"missing-member","detail":"a line must hold one of {\"signal\":…}, {\"overlay\":…}, {\"patch\":…}, {\"rate\":…}, {\"outcome\":…}"}
    {"lines":1,"created":0,"changed":0,"unchanged":0,"kept":0,"refused":1}
    "#);
    assert_eq!(status(&bad.repeat(100)), (422, 0, 100));
    assert_eq!(status(&(bad.repeat(100) + good)), (200, 1, 100), "one went in");
    assert_eq!(status(&(good.to_owned() + &bad.repeat(5_000))), (200, 1, 5_000));
    assert_eq!(status(&bad.repeat(5_000)), (207, 0, 5_000), "the results can not wait for all of it");
    assert_eq!(status(&(bad.repeat(5_000) + good)), (207, 1, 5_000));
    assert_eq!(server.import("\n").status, 200, "there is nothing to refuse");
    let lines = folder.path().join("bad.ndjson");
    fs::write(&lines, bad.repeat(2)).unwrap();
    let port = server.address.to_string();
    let loaded = shown(&run(folder.path(), &["--server", &port, "load", lines.to_str().unwrap()]));
    fs::rename(folder.path().join("overlaid.redb"), folder.path().join("moved.redb")).unwrap();
    let failed = server.import(good.replace('7', "8").as_str());
    assert_eq!(failed.status, 503, "it may be sent again: {failed:?}");
    assert!(failed.body.contains(r#""code":"file-replaced""#), "{failed:?}");
    assert!(loaded.starts_with("exit 1\n0 created") && loaded.contains("bad.ndjson:2: a line must"), "{loaded}");
}

#[test]
fn a_byte_order_mark_and_a_trailing_nul_are_skipped_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with_mission(folder.path());
    let patch = |body: &str| server.send_with("PATCH", "/v1/users/7/overlay", &JSON, body.as_bytes());
    for body in ["\u{feff}{\"a\":1}", "{\"a\":2}\0", "\u{feff}{\"a\":3}\n\0"] {
        assert_eq!(patch(body).status, 200, "{body:?}");
    }
    for body in [
        "\u{feff}\u{feff}{\"a\":4}",
        "{\"a\":4}\0\0",
        "{\"a\":\0 4}",
        "\0{\"a\":4}",
        "{\"a\":\"\0\"}",
        "\0",
        "\u{feff}",
    ] {
        assert_eq!(patch(body).problem(), (400, "malformed-json".to_owned()), "{body:?}");
    }
    assert_eq!(server.get("/v1/users/7/overlay").json()["a"], 3);
    let line = |user: u32| format!("{{\"overlay\":{{\"user_id\":\"{user}\"}}}}");
    let lines = format!("\u{feff}{}\r\n{}\r\n\0", line(8), line(9));
    assert!(server.import(&lines).body.contains(r#"{"lines":2,"created":2,"#));
    assert!(server.import(&format!("{}\n\u{feff}{}", line(8), line(9))).body.contains(r#""refused":1"#));
    drop(server);
    let records = folder.path().join("marked.ndjson");
    fs::write(&records, format!("\u{feff}{}\n{}\0", line(10), line(11))).unwrap();
    let shared = folder.path().join("user_overlays");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("12.json"), "\u{feff}{\"account_balance\":1}\0").unwrap();
    let loaded = run(folder.path(), &["load", records.to_str().unwrap(), shared.to_str().unwrap()]);
    assert_eq!(shown(&loaded), "exit 0\n3 created, 0 changed, 0 unchanged, 0 kept as they were, 0 refused\n");
}

#[test]
fn times_are_rfc_3339_or_unix_seconds_and_other_forms_are_refused_with_what_to_send() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with_mission(folder.path());
    let routes = [
        (
            "PUT",
            "/v1/signals/S9",
            r#"{"symbol":"EURUSD","direction":"BUY","stop_pips":20,"expires_at":253402207200,"created_at":TIME}"#,
            "created_at",
        ),
        ("PUT", "/v1/users/9/overlay", r#"{"updated_at":TIME}"#, "updated_at"),
        ("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"fired","at":TIME}"#, "at"),
        ("PUT", "/v1/rates/GBPUSD", r#"{"price":1.34,"updated_at":TIME}"#, "updated_at"),
    ];
    let said = |answer: &Answer| answer.json()["detail"].as_str().unwrap().to_owned();
    for (method, path, body, member) in routes {
        let body = body.replace("253402207200", "\"2099-01-01T00:00:00Z\"");
        let send = |time: &str| server.send(method, path, &body.replace("TIME", time));
        for time in ["\"2026.11.30 14:05:00\"", "\"2026.11.30 14:05\"", "\"2026.11.30\""] {
            let refused = send(time);
            assert_eq!(refused.problem(), (422, "invalid-time".to_owned()), "{path} {time}");
            assert_eq!(refused.json()["pointer"], format!("/{member}"));
            assert!(said(&refused).contains("send TimeGMT() as a number"), "{refused:?}");
        }
        for time in ["1764511500000", "1764511500000.5", "\"1764511500000\""] {
            let refused = send(time);
            assert_eq!(refused.problem(), (422, "invalid-time".to_owned()), "{path} {time}");
            assert!(
                said(&refused).ends_with("looks like milliseconds; a number is Unix seconds: 1764511500"),
                "{refused:?}"
            );
        }
        for time in ["99999999999999999999999", "-1", "true", "[]", "\"1764511500\"", "\"\"", "\"0000.00.00\\u0000\""] {
            assert_eq!(send(time).problem(), (422, "invalid-time".to_owned()), "{path} {time}");
        }
        for time in ["1764511500", "1764511500.25", "1.7645115e9"] {
            let taken = send(time);
            assert!(matches!(taken.status, 200 | 201 | 204 | 409), "{path} {time}: {taken:?}");
        }
    }
    assert_eq!(server.get("/v1/signals/S9").json()["created_at"], "2025-11-30T14:05:00Z");
}

/// Members that would be kept and change nothing, while the sender believes that they count.
#[test]
fn what_other_programs_call_a_member_is_refused_with_the_right_name() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with_mission(folder.path());
    let said = |method: &str, path: &str, body: &str| {
        let answer = server.send(method, path, body);
        assert_eq!(answer.problem(), (422, "misspelled-member".to_owned()), "{body}: {answer:?}");
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    let overlay = [
        "risk",
        "risk_pct",
        "risk_perc",
        "risk_per_trade",
        "currency",
        "lev",
        "account_leverage",
        "margin",
        "margin_free",
        "trades_left",
        "account_bal",
        "max_lots",
    ];
    let overlay = overlay.map(|name| said("PATCH", "/v1/users/7/overlay", &format!("{{\"{name}\":1}}")));
    assert_snapshot!(overlay.join("\n"), @r#"
    "risk" is not a known member; "risk_percent" is
    "risk_pct" is not a known member; "risk_percent" is
    "risk_perc" is not a known member; "risk_percent" is
    "risk_per_trade" is not a known member; "risk_percent" is
    "currency" is not a known member; "account_currency" is
    "lev" is not a known member; "leverage" is
    "account_leverage" is not a known member; "leverage" is
    there is no member "margin": send what is free for new positions as "free_margin"
    "margin_free" is not a known member; "free_margin" is
    "trades_left" is not a known member; "trades_remaining" is
    "account_bal" is not a known member; "account_balance" is
    there is no member "max_lots": the largest size is the tier's and the instrument's
    "#);
    let signal = ["entry", "price", "stop", "target", "ttl", "expiration", "TP2", "tpPips", "lots", "risk_percent"];
    let signal = signal.map(|name| {
        let body = format!(r#"{{"symbol":"EURUSD","direction":"BUY","stop_pips":20,"{name}":1}}"#);
        said("POST", "/v1/signals", &body)
    });
    assert_snapshot!(signal.join("\n"), @r#"
    "entry" is not a known member; "entry_price" is
    "price" is not a known member; "entry_price" is
    "stop" is not a known member; "stop_loss" is
    "target" is not a known member; "take_profit" is
    there is no member "ttl": send the moment of the end as "expires_at"
    "expiration" is not a known member; "expires_at" is
    "TP2" is not a known member; "take_profits" is
    "tpPips" is not a known member; "target_pips" is
    there is no member "lots": a size is computed for each user when a mission is read
    there is no member "risk_percent": it belongs to the overlay of each user
    "#);
    let outcome = said("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"closed","pnl":-5}"#);
    assert_snapshot!(outcome, @r#""pnl" is not a known member; "profit" is"#);
}

/// Publishes a signal whose sender gives it no id, minutes after 16:00; returns its id.
fn publish(direct: &Direct, body: &str, minutes: i64) -> (String, Effect) {
    let unnamed = UnnamedSignal::from_object(object(body)).unwrap();
    let now = UnixMillis::parse("2026-01-31T16:00:00Z").unwrap().plus_millis(minutes * 60_000);
    let receipt = direct.put(Operation::PublishSignal { unnamed, now, lifetime_ms: 3_600_000 });
    let Change::Signal(stored) = receipt.change else { panic!("a signal is published") };
    (stored.signal.id.to_string(), receipt.effect)
}

/// A sender that names no time and asks again after a timeout.
#[test]
fn the_same_body_again_within_its_life_is_the_same_signal() {
    let direct = Direct::new();
    let publish = |body: &str, minutes: i64| publish(&direct, body, minutes);
    let id = |id: &str, effect| (id.to_owned(), effect);
    let (created, unchanged) = (Effect::Created, Effect::Unchanged);
    let buy = r#"{"symbol":"EURUSD","direction":"BUY","stop_pips":20,"note":1}"#;
    let first = "EURUSD-20260131T160000Z";
    assert_eq!(publish(buy, 0), id(first, created));
    assert_eq!(publish(buy, 59), id(first, unchanged), "it lives");
    assert_eq!(
        publish(r#"{"note":1,"stop_pips":"20.0","direction":"buy","symbol":"eur/usd"}"#, 1),
        id(first, unchanged)
    );
    assert_eq!(publish(buy, 60), id("EURUSD-20260131T170000Z", created), "it is over");
    for (other, number) in [
        (buy.replace("BUY", "SELL"), "-2"),
        (buy.replace("20", "21"), "-3"),
        (buy.replace(":1}", ":2}"), "-4"),
        (buy.replace(":1}", ":1,\"confidence\":50}"), "-5"),
    ] {
        let name = format!("EURUSD-20260131T170000Z{number}");
        assert_eq!(publish(&other, 60), id(&name, created), "{other}");
        assert_eq!(publish(&other, 61), id(&name, unchanged), "{other}");
    }
    let timed = buy.replace(":1}", r#":1,"created_at":"2026-01-31T16:00:00Z"}"#);
    assert_eq!(publish(&timed, 60), id(first, unchanged), "a time tells a signal from later ones that are alike");
    let later = timed.replace("16:00:00", "16:00:01");
    assert_eq!(publish(&later, 0), id("EURUSD-20260131T160001Z", created));
    let lasting = buy.replace(":1}", r#":1,"expires_at":"2026-03-01T00:00:00Z"}"#);
    assert_eq!(publish(&lasting, 70), id("EURUSD-20260131T171000Z", created), "another life is another signal");
    assert_eq!(publish(&lasting, 10_000), id("EURUSD-20260131T171000Z", unchanged));
    let patch = |id: &str, patch: &str| {
        let operation = Operation::PatchSignal { id: signal_id(id), patch: object(patch), condition: Condition::None };
        direct.put(operation);
    };
    patch("EURUSD-20260131T171000Z", r#"{"status":"cancelled"}"#);
    assert_eq!(publish(&lasting, 10_001), id("EURUSD-20260131T171000Z", unchanged), "it stays cancelled");
    assert_eq!(publish(&lasting, 100_000), id("EURUSD-20260131T171000Z", unchanged), "nothing would live");
}

/// The end of a signal may be moved both ways.
#[test]
fn a_body_is_the_same_until_its_signal_is_over_and_would_have_been() {
    let direct = Direct::new();
    let publish = |body: &str, minutes: i64| publish(&direct, body, minutes);
    let expires = |id: &str, time: &str| {
        let patch = object(&format!(r#"{{"expires_at":"{time}"}}"#));
        direct.put(Operation::PatchSignal { id: signal_id(id), patch, condition: Condition::None });
    };
    let untimed = r#"{"symbol":"EURUSD","direction":"BUY","stop_pips":20}"#;
    let first = ("EURUSD-20260131T160000Z".to_owned(), Effect::Unchanged);
    assert_eq!(publish(untimed, 0), (first.0.clone(), Effect::Created));
    expires(&first.0, "2026-02-05T16:00:00Z");
    for minutes in [0, 59, 60, 61, 3 * 24 * 60, 5 * 24 * 60 - 1] {
        assert_eq!(publish(untimed, minutes), first, "{minutes} minutes after");
    }
    expires(&first.0, "2026-01-31T16:10:00Z");
    for minutes in [9, 10, 11, 59] {
        assert_eq!(publish(untimed, minutes), first, "{minutes} minutes after");
    }
    assert_eq!(publish(untimed, 60), ("EURUSD-20260131T170000Z".to_owned(), Effect::Created));
    assert_eq!(publish(untimed, 61), ("EURUSD-20260131T170000Z".to_owned(), Effect::Unchanged), "the newest counts");
    let timed = untimed.replacen('{', r#"{"created_at":"2026-01-31T18:00:00Z","#, 1);
    let last = ("EURUSD-20260131T180000Z".to_owned(), Effect::Unchanged);
    assert_eq!(publish(&timed, 120), (last.0.clone(), Effect::Created));
    expires(&last.0, "2026-01-31T18:10:00Z");
    for minutes in [0, 129, 131, 181, 100_000] {
        assert_eq!(publish(&timed, minutes), last, "a body with its time is one signal always");
    }
}

/// A retry may come after somebody has changed what it published: one more active signal would risk the money twice.
#[test]
fn what_was_published_is_the_same_signal_whatever_was_patched_since() {
    let folder = tempfile::tempdir().unwrap();
    let hook = create_token(folder.path(), "hook");
    let admin = create_token(folder.path(), "admin");
    let server = Server::start(folder.path(), &[]);
    let bearer = format!("Bearer {admin}");
    let send = |method: &str, path: &str, body: &str| {
        server.send_with(method, path, &[JSON[0], ("authorization", &bearer)], body.as_bytes())
    };
    let timed = r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"created_at":TIME}"#;
    let untimed = r#"{"symbol":"PIPS","direction":"BUY","stop_pips":TIME}"#;
    let changes = [
        r#"{"status":"cancelled","note":"x"}"#,
        r#"{"status":"closed"}"#,
        r#"{"stop_loss":1.085,"entry_price":1.086}"#,
        r#"{"stop_pips":5}"#,
        r#"{"expires_at":"2099-01-01T00:00:00Z"}"#,
        r#"{"created_at":"2000-01-01T00:00:00Z"}"#,
        r#"{"symbol":"GBPUSD","direction":"BUY"}"#,
        r#"{"confidence":3,"pattern_type":"P","take_profits":null}"#,
    ];
    let mut number = 0;
    for change in changes {
        let later = |seconds: u32| format!("\"2098-01-01T00:00:{seconds:02}Z\"");
        for (route, body) in [
            ("/v1/signals", timed.replace("TIME", &later(number))),
            ("/v1/signals", untimed.replace("TIME", &(20 + number).to_string())),
            (&*hook, timed.replace("TIME", &later(number + 1))),
            (&*hook, untimed.replace("TIME", &(21 + number).to_string())),
            ("/v1/signals", untimed.replace("TIME", "20").replacen('{', &format!(r#"{{"signal_id":"N{number}","#), 1)),
        ] {
            let published = send("POST", route, &body);
            let address = published.header("location").unwrap_or_else(|| panic!("{published:?}")).to_owned();
            let patch = match change {
                "{\"stop_pips\":5}" if body.contains("stop_loss") => r#"{"take_profit":1.2}"#,
                change => change,
            };
            let patched = send("PATCH", &address, patch);
            assert_eq!((published.status, patched.status), (201, 200), "{body} {patched:?}");
            let again = send("POST", route, &body);
            assert_eq!((again.status, again.header("location")), (200, Some(&*address)), "{body} after {patch}");
            assert_eq!(again.body, patched.body, "it stays as it was patched");
            let put = send("PUT", &address, &body);
            assert_eq!((put.status, &put.body), (200, &patched.body), "{body} after {patch}");
            let other = body.replacen('{', "{\"other\":1,", 1);
            assert_eq!(send("PUT", &address, &other).problem(), (409, "conflict".to_owned()), "it says something else");
        }
        number += 2;
    }
    let count = 5 * changes.len();
    let listed = send("GET", "/v1/signals?limit=1000", "").json();
    assert_eq!(listed["signals"].as_array().unwrap().len(), count);
    drop(server);
    let verified = shown(&run(folder.path(), &["verify", folder.path().join("overlaid.redb").to_str().unwrap()]));
    assert!(verified.starts_with("exit 0\n"), "{verified}");
}

#[test]
fn a_hundred_signals_have_one_symbol_and_time_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let post = |pips: u32| {
        let body = format!(
            r#"{{"symbol":"EURUSD","direction":"BUY","stop_pips":{pips},"created_at":"2099-01-01T00:00:00Z"}}"#
        );
        server.send("POST", "/v1/signals", &body)
    };
    for pips in 1..=100 {
        let made = post(pips);
        let number = if pips == 1 { String::new() } else { format!("-{pips}") };
        let address = format!("/v1/signals/EURUSD-20990101T000000Z{number}");
        assert_eq!((made.status, made.header("location")), (201, Some(&*address)));
        assert_eq!(server.get(&address).body, made.body);
    }
    assert_eq!(post(100).status, 200);
    let full = post(101);
    assert_eq!(full.problem(), (409, "conflict".to_owned()));
    assert_snapshot!(full.json()["detail"].as_str().unwrap(), @"all ids of this symbol and time are taken, up to EURUSD-20990101T000000Z-100: send a signal_id");
}

/// As after a timeout, and at the same instant.
#[test]
fn senders_that_ask_again_at_once_make_one_signal() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let post = || server.send("POST", "/v1/signals", EURUSD_PIPS);
        let posts: Vec<_> = (0..20).map(|_| scope.spawn(post)).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    let made = answers.iter().filter(|answer| answer.status == 201).count();
    let addresses: std::collections::BTreeSet<_> = answers.iter().map(|answer| answer.header("location")).collect();
    assert_eq!((made, addresses.len()), (1, 1), "{answers:?}");
    assert_eq!(server.get("/v1/signals").json()["signals"].as_array().unwrap().len(), 1);
}

/// The path of a hook whose token is the text.
fn hook(token: &str) -> String {
    format!("/v1/hooks/{token}/signals")
}

#[test]
fn a_hook_publishes_signals_by_its_path_and_allows_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = create_token(folder.path(), "hook");
    let token = path.split('/').nth(3).unwrap().to_owned();
    assert_eq!(path, hook(&token));
    let [read, write, admin] = ["read", "write", "admin"].map(|scope| create_token(folder.path(), scope));
    let server = Server::start(folder.path(), &[]);
    let post =
        |path: &str, fields: &[(&str, &str)], body: &str| server.send_with("POST", path, fields, body.as_bytes());
    let body = |pips: u32| format!(r#"{{"symbol":"EURUSD","direction":"buy","stop_pips":{pips}}}"#);

    for (pips, kinds) in (20..).zip([
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "text/plain; charset=utf-8")],
        &[("content-type", "application/json")],
        &[("authorization", "Bearer nonsense")],
    ]) {
        let made = post(&path, kinds, &body(pips));
        let address = made.header("location").unwrap_or_else(|| panic!("{kinds:?}: {made:?}")).to_owned();
        assert_eq!((made.status, server.get_as(&read, &address).body), (201, made.body));
        assert_eq!(post(&path, kinds, &format!("\u{feff}{}\0", body(pips))).status, 200);
    }
    for kind in ["application/x-www-form-urlencoded", "text/html", "text/plain; charset=utf-16", ""] {
        assert_eq!(post(&path, &[("content-type", kind)], &body(20)).problem().0, 415, "{kind}");
    }
    assert_eq!(post(&path, &[], "buy EURUSD").problem(), (400, "malformed-json".to_owned()));
    assert_eq!(post(&path, &[], &"x".repeat(70_000)).problem(), (413, "body-too-large".to_owned()));
    assert_eq!(post(&format!("{path}?x=1"), &[], &body(20)).problem(), (400, "unknown-parameter".to_owned()));
    let encoded = path.replace("ovl_", "%6Fvl%5f");
    assert_eq!(post(&encoded, &[], &body(20)).status, 200, "a path may be encoded");

    let forbidden = (403, "forbidden".to_owned());
    for other in [&read, &write, &admin] {
        let refused = post(&hook(other), &[], &body(20));
        assert_eq!(refused.problem(), forbidden, "it would stand in logs of proxies");
        assert!(!refused.body.contains(&**other) && refused.body.contains("revoke it"), "{refused:?}");
    }
    let unauthorized = (401, "unauthorized".to_owned());
    let wrong = with_another_end(&token);
    for other in [&*wrong, &token[..20], "x", "%00", "%ff", "..", "ovl_", "a%2Fb"] {
        let refused = post(&hook(other), &[("authorization", &format!("Bearer {admin}"))], &body(20));
        assert_eq!(refused.problem(), unauthorized, "{other}");
        assert!(refused.header("www-authenticate").is_some_and(|field| field.contains("invalid_token")), "{refused:?}");
    }
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let refused = server.send_with(method, &path, &[], b"");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")), "{method}");
    }
    let bearer = format!("Bearer {token}");
    for (method, path) in [
        ("GET", "/v1/signals"),
        ("POST", "/v1/signals"),
        ("PUT", "/v1/signals/S1"),
        ("GET", "/v1/users/7/overlay"),
        ("GET", "/metrics"),
        ("POST", "/v1/import"),
        ("GET", "/v1/admin/tokens"),
    ] {
        let refused = server.send_with(method, path, &[JSON[0], ("authorization", &bearer)], body(20).as_bytes());
        assert_eq!(refused.problem(), forbidden, "{method} {path}");
    }
    run_token(folder.path(), &["revoke", token.split('_').nth(1).unwrap()]);
    assert_eq!(post(&path, &[], &body(20)).problem(), unauthorized);
    run_token(folder.path(), &["none"]);
    assert_eq!(post(&path, &[], &body(20)).problem(), unauthorized, "a hook needs its token always");
    assert_eq!(server.get("/v1/signals").json()["signals"].as_array().unwrap().len(), 5);
}

/// The text with another last character, so that it is the secret of no token.
fn with_another_end(text: &str) -> String {
    let (start, end) = text.split_at(text.len() - 1);
    format!("{start}{}", if end == "0" { '1' } else { '0' })
}

#[test]
fn the_token_of_a_hook_stands_in_no_log_metric_or_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = create_token(folder.path(), "hook");
    let admin = create_token(folder.path(), "admin");
    let secret = path.split(['/', '_']).nth(5).unwrap();
    assert_eq!(secret.len(), 64);
    let server = Server::start(folder.path(), &[]);
    let id = |number: usize| format!("hook-{number}");
    let asked = [
        ("POST", path.clone()),
        ("GET", path.clone()),
        ("BREW", path.clone()),
        ("POST", path.replace("signals", "signal")),
        ("POST", path.replace("hooks", "hook")),
        ("POST", path.replace("/hooks", "")),
        ("POST", path.replace("/v1", "")),
        ("POST", path.replace("ovl", "%6fvl") + "/"),
        ("POST", format!("{path}?x=1")),
        ("POST", path.replace(secret, &with_another_end(secret))),
        ("POST", path.clone()),
    ];
    let last = asked.len() - 1;
    for (number, (method, path)) in asked.iter().enumerate() {
        let host = if number == last { "a b" } else { "localhost" };
        let fields = [("x-request-id", &*id(number)), ("host", host), JSON[0]];
        let answer = server.send_with(method, path, &fields, EURUSD_PIPS.as_bytes());
        assert!(!format!("{answer:?}").contains(&secret[..16]), "{answer:?}");
        let line = server.logged(|event| {
            assert!(!event.to_string().contains(&secret[..16]), "{event}");
            event["request_id"] == *id(number)
        });
        let is_known = path.split('?').next().unwrap().ends_with("/signals") && path.starts_with("/v1/hooks/");
        let route = if is_known { "/v1/hooks/{token}/signals".into() } else { serde_json::Value::Null };
        assert_eq!(line["route"], route, "{line}");
    }
    let metrics = server.get_as(&admin, "/metrics").body;
    assert!(metrics.contains("/v1/hooks/{token}/signals") && !metrics.contains(&secret[..16]), "{metrics}");
}
