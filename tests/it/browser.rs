//! The page at `/` in Chromium: every view shows what the server has, follows it, and asks nobody else.
//!
//! Without Chromium and its driver these tests say that they skipped. Pictures of the views are left in
//! `target/screens`, for somebody to look at.

mod faults;

use serde_json::Value;

use crate::kit::{Browser, Server, create_token, skipped};

const SIGNAL: &str = "ELITE_RAPID_EURUSD_1763904604";
/// Lots of its instrument are multiples of 0.1.
const US30: &str = "ELITE_GUARD_US30_1763897444";

/// The address of a view.
fn at(server: &Server, view: &str) -> String {
    format!("http://{}/#{view}", server.address)
}

/// Opens a view, and waits until it has what it shows.
#[track_caller]
fn open(browser: &Browser, server: &Server, view: &str) {
    browser.open(&at(server, view));
    shown(browser);
}

/// Waits until the view that the address names has been read.
#[track_caller]
fn shown(browser: &Browser) {
    browser.until("return document.getElementById('view').getAttribute('aria-busy') === 'false'");
}

/// Every address that the page has asked, without the server's own.
fn asked_elsewhere(browser: &Browser) -> Value {
    browser.run(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)
            .filter((name) => !name.startsWith(`${location.origin}/`))",
    )
}

/// Each view with a name for its picture, and what a person finds there.
fn views() -> [(&'static str, String, &'static [&'static str]); 7] {
    [
        (
            "overview",
            "/".to_owned(),
            &["Serving reads and writes", "in 15 min", "no verified backup is known", "One database", "USDJPY"],
        ),
        (
            "signals",
            "/signals".to_owned(),
            &["Active, soonest to expire first", "Others, newest first", "SELL", "expired", "h"],
        ),
        (
            "signal",
            format!("/signals/{SIGNAL}"),
            &["Entry", "24 pips", "1 : 2", "21 of 25 users may trade", "below minimum lot", "499.20 USD"],
        ),
        ("users", "/users".to_owned(), &["7001", "COMMANDER", "10,850.47 USD", "2,500,000 JPY"]),
        ("user", "/users/7002".to_owned(), &["15,000.00 EUR", "3 %", "Active missions", "risk budget", "fired"]),
        (
            "why",
            format!("/users/7002/missions/{SIGNAL}"),
            &["May trade 4.06 lots", "risk budget decides", "loss per lot", "steps of 0.01", "1.0846"],
        ),
        ("changes", "/changes".to_owned(), &["Outcome", "No change has come"]),
    ]
}

#[test]
fn every_view_shows_the_samples_in_both_schemes_and_on_any_width() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    for (name, view, texts) in views() {
        browser.look(1280, 900, "light");
        open(&browser, &server, &view);
        for text in texts {
            browser.sees("main", text);
        }
        browser.picture(&format!("{name}-1280-light"));
        assert_ne!(browser.text("h1"), "");
        assert!(browser.run("return document.title").as_str().unwrap().ends_with("overlaid"));
        for (width, scheme) in [(360, "dark"), (360, "light"), (1600, "dark"), (1600, "light")] {
            browser.look(width, 900, scheme);
            let fits = "return document.documentElement.scrollWidth <= innerWidth";
            assert_eq!(browser.run(fits), true, "{name} is wider than {width}");
            let height = browser.run("return document.documentElement.scrollHeight").as_u64().unwrap();
            browser.look(width, u32::try_from(height).unwrap(), scheme);
            browser.picture(&format!("{name}-{width}-{scheme}"));
        }
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(asked_elsewhere(&browser), serde_json::json!([]));
}

#[test]
fn lots_have_the_decimals_of_the_lot_step_in_every_view() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    let column = |name: &str| {
        let script = format!(
            "const at = [...document.querySelectorAll('th')].findIndex((one) => one.innerText === '{name}');
             return [...document.querySelectorAll('tbody tr')].map((row) => row.cells[at]?.innerText)"
        );
        let cells = browser.run(&script);
        cells.as_array().unwrap().iter().filter_map(|cell| cell.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    for (signal, decimals) in [(SIGNAL, 2), (US30, 1)] {
        open(&browser, &server, &format!("/signals/{signal}"));
        let lots = column("Lots");
        assert!(lots.len() == 25 && lots.iter().filter(|size| *size != "–").count() > 20, "{lots:?}");
        for size in lots.iter().filter(|size| *size != "–") {
            assert_eq!(size.split_once('.').map(|(_, places)| places.len()), Some(decimals), "{signal}: {size}");
        }
    }
    open(&browser, &server, "/users/7002");
    let (symbols, lots) = (column("Symbol"), column("Lots"));
    let of = |symbol| symbols.iter().position(|one| one == symbol).map(|at| lots[at].as_str());
    assert_eq!((of("GBPJPY"), of("US30")), (Some("2.90"), Some("3.4")));
    open(&browser, &server, &format!("/users/7024/missions/{SIGNAL}"));
    browser.sees("dd", "0.04");
    open(&browser, &server, &format!("/users/7015/missions/{US30}"));
    browser.sees(".verdict", "17.8 lots");
    browser.sees(".ladder", "17.8 lots");
}

/// axe-core is a stranger's tool: `AXE` names the `axe.min.js` that `.ci/strangers` installs.
#[test]
fn axe_finds_nothing_serious_on_any_page() {
    let Ok(path) = std::env::var("AXE") else { return skipped("AXE names no axe.min.js") };
    let Some(browser) = Browser::start() else { return };
    let axe = std::fs::read_to_string(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    for view in views().map(|(_, view, _)| view).iter().map(String::as_str).chain(["/users/nobody", "/nowhere"]) {
        browser.look(1280, 900, "light");
        open(&browser, &server, view);
        check_by_axe(&browser, &axe, view);
    }
    browser.open(&format!("http://{}/docs", server.address));
    let chapters = browser.run("return [...document.querySelectorAll('nav a')].map((link) => link.pathname)");
    let chapters = chapters.as_array().unwrap().iter().map(|path| path.as_str().unwrap());
    let pages: Vec<_> = chapters.chain(["/docs", "/problems/not-found"]).collect();
    assert!(pages.len() > 15 && pages.contains(&"/docs/api"), "{pages:?}");
    for page in pages {
        browser.open(&format!("http://{}{page}", server.address));
        browser.enter("#query", "token");
        browser.sees("search p", "sections");
        check_by_axe(&browser, &axe, page);
    }
    drop(server);
    create_token(folder.path(), "read");
    let server = Server::start(folder.path(), &[]);
    open(&browser, &server, "/");
    browser.enter("#token", "ovl_wrong");
    browser.sees("[role=alert]", "the token is not known. Enter another one.");
    check_by_axe(&browser, &axe, "the form for a token");
}

#[track_caller]
fn check_by_axe(browser: &Browser, axe: &str, page: &str) {
    // It is run by the driver, which the page's policy does not concern.
    browser.run(axe);
    for (width, scheme) in [(1280, "light"), (360, "dark")] {
        browser.look(width, 900, scheme);
        browser.run(
            "delete window.axeFound;
             axe.run().then((found) => { window.axeFound = found.violations
                .filter((one) => ['serious', 'critical'].includes(one.impact))
                .map((one) => `${one.id}: ${one.nodes.map((node) => node.target).join(' ')}`) })",
        );
        let serious = browser.until("return window.axeFound && { found: window.axeFound }");
        assert_eq!(serious["found"], serde_json::json!([]), "{page} at {width} in {scheme}");
    }
}

/// Presses Tab until a link has the focus, which must show, and follows it.
#[track_caller]
fn follow_by_keyboard(browser: &Browser, address: &str) {
    let wanted = format!("return document.activeElement.getAttribute('href') === '{address}'");
    let is_reached = (0..12).any(|_| {
        browser.press("\u{e004}");
        browser.run(&wanted) == true
    });
    assert!(is_reached, "Tab does not lead to {address}");
    assert_ne!(browser.run("return getComputedStyle(document.activeElement).outlineStyle"), "none", "{address}");
    browser.press("\u{e007}");
}

#[test]
fn the_page_and_the_documentation_lead_to_each_other_by_keyboard() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    open(&browser, &server, "/");
    follow_by_keyboard(&browser, "/docs");
    browser.sees("h1", "Documentation");
    follow_by_keyboard(&browser, "/");
    browser.sees("h1", "Overview");
    open(&browser, &server, &format!("/signals/{SIGNAL}"));
    browser.click(".bars a");
    browser.until("return location.pathname === '/docs/missions' && document.querySelector(':target')");
}

#[test]
fn what_is_pushed_while_the_page_is_open_shows_on_it() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());

    open(&browser, &server, "/users/7002");
    browser.sees("dd", "15,000.00 EUR");
    server.send("PATCH", "/v1/users/7002/overlay", r#"{"account_balance":12345.6}"#);
    browser.sees("dd", "12,345.60 EUR");

    open(&browser, &server, "/signals?status=active");
    let row = format!("a[title={SIGNAL}]");
    browser.until(&format!("return document.querySelector('{row}')"));
    server.send("PATCH", &format!("/v1/signals/{SIGNAL}"), r#"{"status":"cancelled"}"#);
    browser.until(&format!("return !document.querySelector('{row}')"));

    open(&browser, &server, "/changes");
    browser.sees("tr", "7002");
    browser.click("nav a[href='#/changes?kind=signal']");
    browser.until("return location.hash.includes('kind=signal') && document.querySelectorAll('tbody tr').length === 1");
    browser.sees("tr", SIGNAL);

    // A stranger's text is text.
    let note = r#"{"note":"<img src=x onerror=document.title='broken'><script>document.title='broken'</script>"}"#;
    server.send("PATCH", &format!("/v1/signals/{SIGNAL}"), note);
    open(&browser, &server, &format!("/signals/{SIGNAL}"));
    browser.click("summary");
    browser.sees("dd", "<img src=x onerror=");
    browser.sees("main", "signal cancelled");
    assert_eq!(browser.run("return document.querySelectorAll('main img, main script').length"), 0);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_person_finds_a_signal_a_user_and_a_mission_by_keyboard() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    open(&browser, &server, "/signals");
    browser.enter("[name=text]", "xauusd");
    browser.until("return location.hash.includes('symbol=xauusd')");
    browser.until("return [...document.querySelectorAll('td.name')].every((cell) => cell.innerText === 'XAUUSD')");
    browser.run("document.querySelector('select').focus()");
    browser.press("expired");
    browser.until("return location.hash === '#/signals?status=expired&symbol=xauusd'");
    browser.sees("h2", "Expired");
    browser.run("history.back()");
    browser.sees("h2", "Active, soonest to expire first");
    browser.click("td.name a");
    browser.sees("h1", "XAUUSD");
    assert_eq!(browser.run("return document.activeElement.id"), "title", "a reader of the screen hears the new view");
    browser.enter("[name=text]", "7003");
    browser.until("return document.querySelectorAll('tbody tr').length === 1");
    browser.click("td.name a");
    browser.sees("h1", "XAUUSD for user 7003");
    browser.sees(".steps", "loss per lot");
    browser.run("history.back()");
    browser.until("return document.querySelectorAll('tbody tr').length === 1");
    browser.run("history.back()");
    browser.until(
        "return document.querySelectorAll('tbody tr').length > 1 && document.querySelector('[name=text]').value === ''",
    );
    browser.run("document.querySelector('.skip').click()");
    assert_eq!(browser.run("return document.activeElement.id"), "title");
    browser.sees("h1", "XAUUSD");
    open(&browser, &server, "/nowhere");
    browser.sees("main", "leads nowhere");
    open(&browser, &server, "/users/nobody");
    browser.sees("main", "It may have been removed");
    // Times are those of this place, and of UTC on hover.
    open(&browser, &server, "/users/7002");
    browser.until("return /^\\w{3}, \\d\\d \\w{3} \\d{4} \\d\\d:\\d\\d:\\d\\d UTC$/.test(document.querySelector('dd time').title)");
}

#[test]
fn a_token_is_asked_for_and_what_it_may_not_see_is_said() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mine = create_token(folder.path(), "read:7002");
    let admin = create_token(folder.path(), "admin");
    let server = Server::with_samples(folder.path());

    open(&browser, &server, "/");
    browser.sees("main", "This server asks for a token");
    browser.enter("#token", "ovl_wrong");
    browser.sees("[role=alert]", "the token is not known. Enter another one.");

    browser.enter("#token", &mine);
    browser.sees("main", "Your token may not see this");
    browser.sees("main", "USDJPY");
    open(&browser, &server, "/users/7002");
    browser.sees("dd", "15,000.00 EUR");
    open(&browser, &server, "/users/7001");
    browser.sees("[role=alert]", "Your token may not see this");
    open(&browser, &server, &format!("/signals/{SIGNAL}"));
    browser.sees("main", "Your token may not see this");
    browser.sees("figure", "1.0846");
    open(&browser, &server, "/users");
    browser.enter("[name=text]", "7002");
    browser.sees("h1", "User 7002");

    browser.click("#forget");
    browser.sees("main", "This server asks for a token");
    browser.enter("#token", &admin);
    browser.sees("h1", "User 7002");
    open(&browser, &server, "/");
    browser.sees("main", "checks are fine");
    browser.until("return !document.body.innerText.includes('may not see')");
    let policy = browser.complaints().into_iter().filter(|complaint| complaint.contains("Content Security Policy"));
    assert_eq!(policy.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_page_says_that_the_server_is_gone_and_goes_on_when_it_is_back() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::with_samples(folder.path());
    open(&browser, &server, "/users/7002");
    browser.sees("dd", "15,000.00 EUR");
    let address = server.address.to_string();
    assert_eq!(server.terminate(), Some(0));
    browser.sees("#banner", "The server does not answer");
    browser.sees("#state", "No answer");
    browser.sees("dd", "15,000.00 EUR");

    let server = Server::start_at(folder.path(), &address, &[]);
    browser.until("return document.getElementById('banner').hidden");
    browser.sees("#state", "Live");
    server.send("PATCH", "/v1/users/7002/overlay", r#"{"account_balance":777}"#);
    browser.sees("dd", "777.00 EUR");

    open(&browser, &server, "/");
    browser.sees("#verdict", "Serving reads and writes");
    let file = folder.path().join("overlaid.redb");
    std::fs::rename(&file, folder.path().join("moved")).unwrap();
    browser.sees("#verdict", "Degraded: reads are served, writes are refused, as the database file was moved");
}

/// Less than a second over a slow line.
const VIEW_BYTES_MAX: u64 = 64 * 1024;

/// The bytes of the answers that each view asks for when it is opened, uncompressed: made users are all alike.
fn bytes_of_views(browser: &Browser, server: &Server) -> Vec<(&'static str, u64)> {
    let measured = views().map(|(name, view, _)| {
        browser.open("about:blank");
        open(browser, server, &view.replace("7002", "100002"));
        let bytes = browser.run(
            "return performance.getEntriesByType('resource')
                .filter((entry) => entry.initiatorType === 'fetch').reduce((sum, entry) => sum + entry.decodedBodySize, 0)",
        );
        (name, bytes.as_u64().unwrap())
    });
    measured.to_vec()
}

#[test]
fn a_view_loads_no_more_with_many_users_and_signals_than_with_few() {
    let Some(browser) = Browser::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    let records = |users: std::ops::Range<u32>, signals: std::ops::Range<u32>| {
        let users = users.map(|user| {
            format!(r#"{{"overlay":{{"user_id":"{}","risk_percent":1,"account_balance":10000}}}}"#, 100_000 + user)
        });
        let signals = signals.map(|number| {
            format!(
                r#"{{"signal":{{"signal_id":"MANY-{number}","symbol":"GBPUSD","direction":"BUY","stop_pips":20}}}}"#
            )
        });
        users.chain(signals).collect::<Vec<_>>().join("\n")
    };
    server.import(&records(0..1_000, 0..60));
    let few = bytes_of_views(&browser, &server);
    server.import(&records(1_000..50_000, 60..2_000));
    let many = bytes_of_views(&browser, &server);
    for ((name, few), (_, many)) in few.into_iter().zip(many) {
        assert!(many <= 2 * few, "{name}: {few} bytes, then {many}");
        assert!(many <= VIEW_BYTES_MAX, "{name}: {many} bytes");
        assert!(few > 0 || name == "changes", "{name}");
    }
    open(&browser, &server, &format!("/signals/{SIGNAL}"));
    browser.sees("main", "of 50,025 users may trade");
    browser.enter("[name=text]", "14999");
    browser.sees("td.name", "149999");
    browser.look(1280, 900, "light");
    open(&browser, &server, "/users");
    browser.picture("many-users");
    browser.sees("td.name", "100048");
    browser.click(".pager a");
    browser.sees("td.name", "100049");
    browser.until("return document.querySelector('.block').getBoundingClientRect().top > -1");
    browser.run("history.back()");
    browser.sees("td.name", "100048");
}
