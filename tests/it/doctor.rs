//! What the doctor finds, beside a running server, and what it tells to do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use overlaid::domain::{MaxAge, MaxAges};
use serde_json::Value;

use crate::kit::{Answer, ServedWorld, Server, World, create_token, run, shown};

const DOCTOR: &str = "/v1/admin/doctor";

/// The finding of one check.
#[track_caller]
fn finding(answer: &Answer, check: &str) -> Value {
    let findings = answer.json()["findings"].as_array().unwrap().clone();
    findings.into_iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check}: {answer:?}"))
}

#[track_caller]
fn severity(answer: &Answer, check: &str) -> String {
    finding(answer, check)["severity"].as_str().unwrap().to_owned()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn every_check_is_there_and_all_that_is_not_well_has_something_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let answer = server.get(DOCTOR);
    let findings = answer.json()["findings"].as_array().unwrap().clone();
    let names: Vec<_> = findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    let document: Value = serde_json::from_str(&server.get("/openapi.json").body).unwrap();
    let described = document["paths"][DOCTOR]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        ["properties"]["findings"]["items"]["properties"]["check"]["examples"]
        .clone();
    assert_eq!(Value::from(names), described);
    for finding in &findings {
        assert_eq!(finding["do"].is_null(), finding["severity"] == "fine", "{finding}");
    }
    assert_eq!(severity(&answer, "permissions"), "fine");
    assert_eq!(severity(&answer, "writes"), "fine");
    assert_eq!(finding(&answer, "version")["what"], format!("overlaid {}, schema 1", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_database_that_others_may_read_or_change_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Server::start(&data, &[]);
    let file = data.join("overlaid.redb");
    for (path, mode, expected) in [
        (&file, 0o600, "fine"),
        (&file, 0o644, "warning"),
        (&file, 0o666, "serious"),
        (&file, 0o600, "fine"),
        (&data, 0o777, "serious"),
        (&data, 0o755, "fine"),
    ] {
        set_mode(path, mode);
        let answer = server.get(DOCTOR);
        assert_eq!(severity(&answer, "permissions"), expected, "{mode:o}");
        if expected != "fine" {
            let todo = finding(&answer, "permissions")["do"].as_str().unwrap().to_owned();
            assert!(todo.contains("chmod 600") && todo.contains("overlaid.redb"), "{todo}");
        }
    }
}

#[test]
fn the_command_says_by_its_exit_code_whether_something_is_serious() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let doctor = |arguments: &[&str]| shown(&run(folder.path(), &[&["doctor"], arguments].concat()));
    let file = folder.path().join("overlaid.redb");
    let well = doctor(&[]);
    assert!(well.starts_with("exit 0\nfine     version      overlaid "), "{well}");
    assert!(
        well.contains(
            "\nwarning  backup       no verified backup is known\n                      do: `overlaid backup`"
        )
    );
    // All but the time.
    let same = |report: &str| report.replace(|digit: char| digit.is_ascii_digit(), "");
    assert_eq!(same(doctor(&["--json"]).trim_end()), same(&format!("exit 0\n{}", server.get(DOCTOR).body)));
    drop(server);
    set_mode(&file, 0o666);
    let serious = doctor(&[]);
    assert!(serious.starts_with("exit 1\n") && serious.contains("\nserious  permissions  "), "{serious}");
}

#[test]
fn a_backup_and_a_proxy_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let answer = server.get(DOCTOR);
    assert_eq!([severity(&answer, "backup"), severity(&answer, "access")], ["warning", "fine"]);
    assert_eq!(server.send("POST", "/v1/admin/backup", "").status, 200);
    let proxied = [("x-forwarded-for", "10.0.0.1")];
    assert_eq!(server.send_with("GET", "/v1/rates", &proxied, b"").status, 403);
    let answer = server.get(DOCTOR);
    assert_eq!([severity(&answer, "backup"), severity(&answer, "access")], ["fine", "serious"]);
    assert_eq!(answer.json()["worst"], "serious");
    let metrics = server.get("/metrics").body;
    assert!(metrics.contains("\noverlaid_http_foreign_requests_total 1\n"), "{metrics}");
    drop(server);
    let admin = create_token(folder.path(), "admin");
    let server = Server::start(folder.path(), &[]);
    assert_eq!(severity(&server.get_as(&admin, DOCTOR), "access"), "fine");
}

#[test]
fn a_rate_is_old_from_half_of_its_limit_on() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let max_ages = MaxAges { rate: Some(MaxAge::from_millis(7 * 24 * 3_600_000)), balance: None };
    let served = ServedWorld::new(World::with_max_ages(max_ages), "127.0.0.1");
    served.block_on(served.world.put_rate(r#"{"pair":"EURUSD","price":1}"#));
    let ask = || served.send("", "GET", DOCTOR, "");
    served.world.advance(3 * DAY_MS);
    assert_eq!(severity(&ask(), "rates"), "fine");
    served.block_on(served.world.put_rate(r#"{"pair":"USDJPY","price":150}"#));
    served.world.advance(DAY_MS / 2);
    let answer = ask();
    assert_eq!(severity(&answer, "rates"), "warning");
    let what = finding(&answer, "rates")["what"].as_str().unwrap().to_owned();
    assert!(what.starts_with("1 rates") && what.ends_with(": EURUSD"), "{what}");
}

#[test]
fn a_clock_that_is_behind_and_tokens_that_end_soon_are_found() {
    const DAY_MS: i64 = 24 * 3_600_000;
    let served = ServedWorld::new(World::new(), "127.0.0.1");
    served.block_on(served.world.put_rate(r#"{"pair":"EURUSD","price":1}"#));
    let made = served.send("", "POST", "/v1/admin/tokens", r#"{"scopes":["admin"],"name":"me","expires":"20d"}"#);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let ask = || served.send(&token, "GET", DOCTOR, "");
    assert_eq!([severity(&ask(), "clock"), severity(&ask(), "access")], ["fine", "fine"]);
    served.world.advance(-61_000);
    assert_eq!(severity(&ask(), "clock"), "warning");
    served.world.advance(7 * DAY_MS);
    let answer = ask();
    assert_eq!([severity(&answer, "clock"), severity(&answer, "access")], ["fine", "warning"]);
    assert!(finding(&answer, "access")["what"].as_str().unwrap().ends_with(" me"));
}
