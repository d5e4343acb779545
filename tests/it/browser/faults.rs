//! The page at `/` where records are at their limits, the server is not well, or a token allows little.

use std::fs::File;
use std::time::{Duration, UNIX_EPOCH};

use super::{SIGNAL, at, open, shown};
use crate::kit::{Browser, SAMPLES, Server, SmallDisk, create_token, done, run, value};

const HTML: &str = "<img src=x onerror=document.title='broken'>";

/// Records at the limits of what the server takes, one a line; `long` is an id.
fn strange_records(long: &str) -> String {
    let targets: Vec<_> = (1..=8).map(|target| format!("1.10{target}5")).collect();
    [
        format!(
            r#"{{"signal":{{"signal_id":"{long}","symbol":"A+^!&#:.B-CDEFGHIJKLMNOPQRSTUVWX","direction":"BUY","stop_pips":20,"pattern_type":"{HTML}{}","{HTML}":{{"{HTML}":["{HTML}"]}},"note":"{long}{long}"}}}}"#,
            &long[..80]
        ),
        r#"{"signal":{"signal_id":"ENDLESS","symbol":"EURUSD","direction":"SELL","entry_price":1.1,"stop_loss":1.102}}"#.to_owned(),
        r#"{"signal":{"signal_id":"PIPS","symbol":"EURUSD","direction":"SELL","stop_pips":20,"take_profits":[{"pips":20,"share":50},{"pips":60,"share":50}]}}"#.to_owned(),
        format!(
            r#"{{"signal":{{"signal_id":"EIGHT","symbol":"EURUSD","direction":"BUY","entry_price":1.1,"stop_loss":1.099,"take_profits":[{}]}}}}"#,
            targets.join(",")
        ),
        format!(
            r#"{{"overlay":{{"user_id":"{long}","tier":"ABCDEFGHIJKLMNOPQRSTUVWXYZ_12345","account_balance":-12.5,"account_currency":"ABCDEFGHIJ","risk_percent":2,"note":"{HTML}"}}}}"#
        ),
        r#"{"overlay":{"user_id":"a.b_c:d@e-f","account_balance":91234567890.12345678,"account_currency":"ABCDEFGHIJ"}}"#.to_owned(),
        r#"{"overlay":{"user_id":"nothing"}}"#.to_owned(),
    ]
    .join("\n")
}

/// The texts that do not fit into their boxes.
const CUT: &str = "return [...document.querySelectorAll('h1, p, dt, dd, li, td, #view svg text')].filter((one) =>
    one instanceof SVGElement ? one.getBoundingClientRect().right > one.closest('.block').getBoundingClientRect().right
        : one.scrollWidth > one.clientWidth + 1 && !one.matches('.clip') && getComputedStyle(one).display !== 'inline')
    .map((one) => one.textContent.slice(0, 60))";

#[test]
fn records_at_their_limits_are_shown_whole_and_as_text() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let long = "x".repeat(128);
    let answer = server.import(&strange_records(&long)).body;
    assert!(answer.contains(r#""created":7"#), "{answer}");
    let views = [
        ("/".to_owned(), "market"),
        ("/signals".to_owned(), "1.1015 +7"),
        (format!("/signals/{long}"), HTML),
        ("/signals/ENDLESS".to_owned(), "1.102"),
        ("/signals/PIPS".to_owned(), "60 pips · 1 : 3 · 50 %"),
        ("/signals/EIGHT".to_owned(), "1.1085 · 85 pips · 1 : 8.5 · 12.5 %"),
        ("/users".to_owned(), "-12.50 ABCDEFGHIJ"),
        (format!("/users/{long}"), "negative balance"),
        ("/users/a.b_c%3Ad%40e-f".to_owned(), "91,234,567,890.12 ABCDEFGHIJ"),
        ("/users/nothing".to_owned(), "no balance"),
        (format!("/users/{long}/missions/{long}"), "May not trade: unknown symbol"),
        ("/users/a.b_c:d@e-f/missions/EIGHT".to_owned(), "no conversion rate"),
    ];
    for (at, (view, text)) in views.iter().enumerate() {
        for width in [360, 1280] {
            browser.look(width, 900, "light");
            open(&browser, &server, view);
            browser.sees("main", text);
            browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true })");
            let fits = "return document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(browser.run(fits), true, "{view} is wider than {width}");
            assert_eq!(browser.run(CUT), serde_json::json!([]), "{view} at {width}");
            assert_eq!(browser.run("return document.querySelectorAll('main img, main script').length"), 0, "{view}");
            browser.picture(&format!("limits-{at}-{width}"));
        }
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
    for (view, id) in [("a%2Fb", "a/b"), ("%C3%BC%F0%9F%98%80", "ü😀"), ("%E0%A4%A", "%E0%A4%A")] {
        open(&browser, &server, &format!("/users/{view}"));
        browser.sees("[role=alert]", &format!(r#"user_id "{id}" is not valid: expected"#));
    }
}

#[test]
fn a_server_without_records_says_so() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for (view, texts) in [
        ("/", &["No signal is active.", "No verified backup is known."][..]),
        ("/signals", &["No signal is active.", "No other signal."]),
        ("/signals?status=closed&symbol=EURUSD", &["No closed signal of EURUSD."]),
        ("/users", &["There are no users yet."]),
        ("/users?prefix=7", &["No user's id begins with 7."]),
        ("/changes", &["No change has come since this page was opened."]),
    ] {
        open(&browser, &server, view);
        for text in texts {
            browser.sees("main", text);
        }
    }
    server.send("PUT", "/v1/signals/S1", r#"{"symbol":"EURUSD","direction":"BUY","stop_pips":20}"#);
    open(&browser, &server, "/signals/S1");
    browser.sees("main", "0 of 0 users may trade");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_state_names_what_is_not_well_and_what_to_do() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    done(run(folder.path(), &["load", SAMPLES]));
    let backup = value(&done(run(folder.path(), &["backup"])), "file");
    let years_ago = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    File::options().write(true).open(backup).unwrap().set_modified(years_ago).unwrap();
    let server = Server::start(folder.path(), &["--rate-max-age", "1s", "--balance-max-age", "1s"]);
    // A list of missions has all balances read into memory.
    while server.get(&format!("/v1/signals/{SIGNAL}/missions")).status != 200 {}
    open(&browser, &server, "/");
    browser.sees("#verdict.warn", "Serving reads and writes.");
    browser.sees("#verdict", " old: make one with overlaid backup.");
    browser.sees("#verdict", "21 rates are old: see that the price feed runs.");
    browser.sees("#verdict", "balances are old: see that the terminals push them.");
    // Somebody who has the file open for longer than a copy may take.
    let _opened = File::open(folder.path().join("overlaid.redb")).unwrap();
    server.put_balance(7001, 1);
    browser.sees("#verdict", "A copy of the file by cp may be torn: make it with overlaid backup.");
    browser.picture("state");

    let Some(disk) = SmallDisk::mount("24m") else { return };
    let server = Server::start(&disk.data(), &[]);
    open(&browser, &server, "/");
    browser.sees("#verdict.warn", "The disk will be full soon: free space on it.");
    let ballast = disk.fill(0);
    let note = format!(r#"{{"note":"{}"}}"#, "n".repeat(60_000));
    let is_full = (0..100).any(|user| server.send("PUT", &format!("/v1/users/{user}/overlay"), &note).status == 503);
    assert!(is_full, "6 MB are taken by a disk that is full");
    browser
        .sees("#verdict.bad", "Degraded: reads are served, writes are refused, as the disk is full. Free space on it.");
    ballast.remove();
    browser.sees("#verdict.warn", "Serving reads and writes.");
}

#[test]
fn a_token_that_allows_little_or_ends_is_told_so() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let admin = create_token(folder.path(), "admin");
    let hook = create_token(folder.path(), "hook");
    let server = Server::with_samples(folder.path());
    let send = |method: &str, path: &str, body: &str| {
        let headers = [("authorization", &*format!("Bearer {admin}")), ("content-type", "application/json")];
        server.send_with(method, path, &headers, body.as_bytes())
    };
    let make = |body: &str| send("POST", "/v1/admin/tokens", body).json()["token"].as_str().unwrap().to_owned();

    // The path of a hook is what the operator was given.
    open(&browser, &server, "/signals");
    browser.enter("#token", &hook);
    browser.sees("[role=alert]", "the token is not known. Enter another one.");
    browser.enter("#token", hook.split('/').nth(3).unwrap());
    browser.sees("[role=alert]", "Your token may not see this: it needs the scope read.");
    open(&browser, &server, "/changes");
    browser.sees("[role=alert]", "Your token may not see this: it needs the scope read.");

    open(&browser, &server, "/users/7002");
    browser.click("#forget");
    let short = make(r#"{"scopes":["read"],"expires":"2s"}"#);
    browser.enter("#token", &short);
    while server.get_as(&short, "/v1/rates").status != 401 {}
    // The page notices when it next asks for something: what is pushed has it ask.
    send("PUT", "/v1/users/7002/overlay", r#"{"account_balance":12,"account_currency":"EUR"}"#);
    browser.sees("[role=alert]", "the token expired");
    browser.enter("#token", &make(r#"{"scopes":["read"]}"#));
    browser.sees("h1", "User 7002");
    browser.sees("dd", "12.00 EUR");
    // The token is this tab's, and outlives a reload.
    browser.run("location.reload()");
    browser.sees("dd", "12.00 EUR");
}

#[test]
fn a_view_that_takes_long_shows_that_it_is_being_read() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    open(&browser, &server, "/users");
    server.signal("STOP");
    browser.enter("[name=text]", "7002");
    browser.until("return getComputedStyle(document.getElementById('view')).opacity < 1");
    browser.sees("td.name", "7001");
    browser.click("nav a[href='#/signals']");
    browser.sees("#view", "Loading…");
    server.signal("CONT");
    browser.sees("td.name", "USDJPY");
    browser.until("return getComputedStyle(document.getElementById('view')).opacity === '1'");
}

#[test]
fn who_goes_back_is_where_they_were() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    browser.look(360, 500, "light");
    open(&browser, &server, "/users");
    browser.run("document.querySelector('tbody tr:last-child').scrollIntoView()");
    browser.until("return scrollY > 300 && history.state?.y === scrollY");
    browser.click("tbody tr:last-child a");
    browser.sees("dt", "Balance");
    assert_eq!(browser.run("return scrollY"), 0);
    browser.run("history.back()");
    browser.until("return document.querySelector('tbody tr:last-child td') && scrollY > 300");
    browser.run("document.querySelector(\"nav a[href='#/signals']\").click()");
    browser.sees("td.name", "USDJPY");
    assert_eq!(browser.run("return scrollY"), 0, "a view that is opened anew begins at its top");
}

#[test]
fn a_server_that_goes_while_a_view_is_opened_leaves_no_half_of_it() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::with_samples(folder.path());
    open(&browser, &server, "/users/7002");
    let address = server.address.to_string();
    assert_eq!(server.terminate(), Some(0));
    browser.click("nav a[href='#/signals']");
    browser.sees("h1", "Signals");
    browser.sees("#banner", "The server does not answer");
    assert_eq!(browser.text("#view"), "Loading…", "nothing of the view before");
    browser.run("history.back()");
    browser.sees("h1", "User 7002");
    browser.run("history.forward()");

    let server = Server::start_at(folder.path(), &address, &[]);
    browser.sees("main", "Active, soonest to expire first");
    browser.until("return document.getElementById('banner').hidden");
    browser.run("history.back()");
    browser.sees("dd", "15,000.00 EUR");
    browser.open("about:blank");
    browser.open(&at(&server, &format!("/users/7002/missions/{SIGNAL}")));
    shown(&browser);
    browser.sees("h1", "EURUSD for user 7002");
}
