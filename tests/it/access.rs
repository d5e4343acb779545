//! Who may ask: programs of this machine while there is no token, and who has a token from then on.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::kit::{EURUSD_PIPS, Server, create_token, run, run_token};

const OVERLAY: &str = "/v1/users/7/overlay";
const VIEW: &str = "/v1/users/7/missions/S1";
const JSON: (&str, &str) = ("content-type", "application/json");

/// What says that a request does not come from a program of this machine that asks for itself.
const FOREIGN: &[&[(&str, &str)]] = &[
    &[("host", "evil.example")],
    &[("host", "localhost.evil.example:7717")],
    &[("host", "127.0.0.1.evil.example")],
    &[("host", "10.0.0.1")],
    &[("host", "0.0.0.0:7717")],
    &[("host", "[::]")],
    &[("host", "")],
    &[("origin", "http://evil.example")],
    &[("origin", "null")],
    &[("origin", "http://localhost:3000")],
    &[("origin", "https://localhost")],
    &[("origin", "http://localhost"), ("origin", "http://evil.example")],
    &[("forwarded", "for=10.0.0.1")],
    &[("x-forwarded-for", "10.0.0.1")],
    &[("X-Forwarded-Proto", "https")],
];

/// The part of a token by which it is listed and revoked.
fn id(token: &str) -> &str {
    token.split('_').nth(1).unwrap()
}

/// A server with one signal and one user.
fn serve(folder: &Path) -> Server {
    let server = Server::start(folder, &[]);
    server.send("PUT", "/v1/signals/S1", EURUSD_PIPS);
    server.put_balance(7, 100);
    server
}

/// The status of a GET with this token.
fn status(server: &Server, path: &str, token: &str) -> u16 {
    server.get_as(token, path).status
}

#[test]
fn without_a_token_only_this_machines_own_programs_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    // In memory, where an answer needs no look at the file.
    assert_eq!(server.get("/v1/signals/S1/missions").status, 200);
    let before = server.get(OVERLAY).body;
    for foreign in FOREIGN {
        let refused = |method: &str, path: &str, more: &[(&str, &str)], body: &str| {
            let answer = server.send_with(method, path, &[*foreign, more].concat(), body.as_bytes());
            assert_eq!(
                (answer.status, answer.json()["code"].as_str()),
                (403, Some("local-only")),
                "{method} {path} {foreign:?}"
            );
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("overlaid token create"), "what to do: {detail}");
        };
        for path in [VIEW, OVERLAY, "/v1/signals", "/v1/rates", "/readyz", "/metrics", "/openapi.json", "/nowhere", "/"]
        {
            refused("GET", path, &[], "");
        }
        refused("PATCH", OVERLAY, &[JSON], r#"{"account_balance":9}"#);
        refused("PUT", OVERLAY, &[JSON], r#"{"account_balance":9}"#);
        refused("DELETE", OVERLAY, &[], "");
        refused("POST", "/v1/admin/backup", &[], "");
        refused("POST", "/v1/import", &[("content-type", "application/x-ndjson")], r#"{"overlay":{"user_id":"8"}}"#);
        refused("TRACE", VIEW, &[], "");
        assert_eq!(server.send_with("GET", "/healthz", foreign, b"").status, 200, "{foreign:?}");
    }
    assert_eq!(server.get(OVERLAY).body, before);
    assert_eq!(server.get("/v1/users/8/overlay").status, 404);
    assert!(!folder.path().join("backups").exists());
}

#[test]
fn a_target_that_names_another_host_is_foreign_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    for (target, expected) in [("http://localhost:7717/v1/rates", 200), ("http://evil.example/v1/rates", 403)] {
        assert_eq!(server.get(target).status, expected, "{target}");
    }
}

#[test]
fn loopback_names_and_a_pages_own_origin_are_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    for host in ["localhost", "LocalHost:7717", "127.0.0.1", "127.0.0.1:1", "127.255.1.9:80", "[::1]", "[::1]:7717"] {
        assert_eq!(server.send_with("GET", VIEW, &[("host", host)], b"").status, 200, "{host}");
        let own = format!("http://{host}");
        assert_eq!(server.send_with("GET", VIEW, &[("host", host), ("origin", &own)], b"").status, 200, "{own}");
    }
    let old = server.send_raw("GET /v1/rates HTTP/1.0\r\n\r\n");
    assert!(old.len() == 1 && old[0].head.starts_with("HTTP/1.0 200"), "HTTP/1.0 names no host: {old:?}");
}

#[test]
fn with_a_token_it_does_not_matter_by_what_way_a_request_comes() {
    let folder = tempfile::tempdir().unwrap();
    drop(serve(folder.path()));
    let read = format!("Bearer {}", create_token(folder.path(), "read"));
    let server = Server::start(folder.path(), &[]);
    for foreign in FOREIGN {
        let with_token = [*foreign, &[("authorization", &*read)]].concat();
        assert_eq!(server.send_with("GET", VIEW, &with_token, b"").status, 200, "{foreign:?}");
        assert_eq!(server.send_with("GET", VIEW, foreign, b"").status, 401, "{foreign:?}");
    }
}

/// The paths of all routes, as the sources have them.
fn routes() -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for file in ["routes", "docs", "page"] {
        let source = fs::read_to_string(format!("{}/src/http/{file}.rs", env!("CARGO_MANIFEST_DIR"))).unwrap();
        paths.extend(source.split(".route(").skip(1).filter_map(|rest| rest.split('"').nth(1)).map(str::to_owned));
    }
    paths
}

#[test]
fn what_stays_open_beside_tokens_is_what_the_manual_lists() {
    let folder = tempfile::tempdir().unwrap();
    create_token(folder.path(), "read");
    let server = serve(folder.path());
    let mut open = BTreeSet::new();
    for path in routes() {
        let statuses: Vec<_> = ["GET", "PUT", "POST", "PATCH", "DELETE"]
            .into_iter()
            .map(|method| server.send_with(method, &path.replace(['{', '}'], ""), &[JSON], b"{}").status)
            .filter(|status| *status != 405)
            .collect();
        let is_open = statuses.iter().all(|status| *status != 401);
        assert!(
            !statuses.is_empty() && (is_open || statuses.iter().all(|status| *status == 401)),
            "{path} {statuses:?}"
        );
        if is_open {
            // An address with a slash at its end leads to the one without.
            open.insert(if path == "/docs/" { "/docs".to_owned() } else { path });
        }
    }
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/data/manual/access.md")).unwrap();
    let sentence = manual.split("Only\n").nth(1).unwrap().split("Access stays closed").next().unwrap();
    let listed = sentence.split('`').filter(|code| code.starts_with('/')).map(str::to_owned);
    assert_eq!(open, listed.collect::<BTreeSet<_>>());
}

#[test]
fn the_start_says_what_is_open_to_whom() {
    let folder = tempfile::tempdir().unwrap();
    let said = || {
        let server = Server::start(folder.path(), &[]);
        let event = server.logged(|event| event["access"].is_string());
        format!(
            "{} {}: {}",
            event["level"].as_str().unwrap(),
            event["access"].as_str().unwrap(),
            event["message"].as_str().unwrap()
        )
    };
    insta::assert_snapshot!(said(), @"WARN local: no token has been made: every program of this machine may read and write everything, and nobody else anything; `overlaid token create` closes access");
    let made = create_token(folder.path(), "read");
    insta::assert_snapshot!(said(), @"INFO tokens: a token is needed for everything but /healthz, /openapi.json and whether /readyz is ok");
    run_token(folder.path(), &["revoke", id(&made)]);
    insta::assert_snapshot!(said(), @"WARN closed: all tokens are revoked or expired, so nobody may read or write anything: `overlaid token create` makes one, `overlaid token none` opens access to this machine");
}

#[test]
fn access_stays_closed_when_the_last_token_is_revoked_until_token_none() {
    let folder = tempfile::tempdir().unwrap();
    drop(serve(folder.path()));
    let (read, write) = (create_token(folder.path(), "read"), create_token(folder.path(), "write"));
    run_token(folder.path(), &["revoke", id(&write)]);
    run_token(folder.path(), &["revoke", id(&read)]);
    for _ in 0..2 {
        let server = Server::start(folder.path(), &[]);
        assert_eq!(server.get(VIEW).status, 401, "nobody is let in by accident");
        assert_eq!([status(&server, VIEW, &read), status(&server, VIEW, &write)], [401, 401]);
    }
    let listed = run_token(folder.path(), &["list"]);
    assert_eq!(listed.lines().filter(|line| line.contains("revoked")).count(), 2, "{listed}");

    run_token(folder.path(), &["none"]);
    assert_eq!(run_token(folder.path(), &["list", "--json"]), "");
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.get(VIEW).status, 200);
}

#[test]
fn token_none_revokes_tokens_that_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let read = create_token(folder.path(), "read");
    run_token(folder.path(), &["none"]);
    let server = serve(folder.path());
    assert_eq!(server.get(VIEW).status, 200);
    drop(server);
    create_token(folder.path(), "read");
    let server = Server::start(folder.path(), &[]);
    assert_eq!(status(&server, VIEW, &read), 401, "it is not known any more");
}

#[test]
fn a_closed_database_may_be_served_to_other_machines_and_an_open_one_not() {
    let folder = tempfile::tempdir().unwrap();
    let everywhere = ["serve", "--listen", "0.0.0.0:0"];
    let refused = run(folder.path(), &everywhere);
    assert_eq!(refused.status.code(), Some(2));
    let made = create_token(folder.path(), "read");
    run_token(folder.path(), &["revoke", id(&made)]);
    run_token(folder.path(), &["none"]);
    assert_eq!(run(folder.path(), &everywhere).status.code(), Some(2), "it is open again");
}

#[test]
fn metrics_are_for_those_who_watch_and_for_no_single_user() {
    let folder = tempfile::tempdir().unwrap();
    let [metrics, read, own, write, admin] =
        ["metrics", "read", "read:7", "write", "admin"].map(|scope| create_token(folder.path(), scope));
    let server = Server::start(folder.path(), &[]);
    let statuses = [&metrics, &read, &own, &write, &admin].map(|token| status(&server, "/metrics", token));
    assert_eq!(statuses, [200, 200, 403, 403, 200]);
    for path in [VIEW, OVERLAY, "/v1/signals", "/v1/rates", "/v1/signals/S1/missions"] {
        assert_eq!(status(&server, path, &metrics), 403, "{path}");
    }
}

#[test]
fn strangers_learn_no_more_than_whether_the_server_is_ready() {
    let folder = tempfile::tempdir().unwrap();
    let watcher = create_token(folder.path(), "metrics");
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.get("/readyz").body, r#"{"status":"ok"}"#);
    assert_eq!(server.get_as("ovl_00000000_00", "/readyz").body, r#"{"status":"ok"}"#);
    assert!(server.get_as(&watcher, "/readyz").json()["seq"].is_number());
}

#[test]
fn refusals_are_logged_with_the_tokens_id_and_never_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let refusal = |server: &Server| {
        let event = server.logged(|event| event["message"] == "request refused");
        let field = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
        (
            event["status"].as_u64().unwrap(),
            ["level", "method", "route", "token"].map(field),
            field("reason"),
            event.to_string(),
        )
    };
    server.send_with("PATCH", OVERLAY, &[("host", "evil.example"), JSON], b"{}");
    let (status_code, fields, reason, _) = refusal(&server);
    assert_eq!((status_code, fields), (403, ["WARN", "PATCH", "/v1/users/{user}/overlay", "-"].map(str::to_owned)));
    assert!(reason.contains("evil.example"), "{reason}");
    drop(server);

    let (own, revoked) = (create_token(folder.path(), "read:7"), create_token(folder.path(), "read"));
    run_token(folder.path(), &["revoke", id(&revoked)]);
    let server = Server::start(folder.path(), &[]);
    let asked: [(&str, &str, &str, Option<&str>, u64); 4] = [
        ("/v1/users/8/overlay", &own, "/v1/users/{user}/overlay", Some(id(&own)), 403),
        ("/v1/signals", &revoked, "/v1/signals", Some(id(&revoked)), 401),
        ("/v1/rates", "ovl_12345678_secret", "/v1/rates", None, 401),
        ("/v1/rates", "nonsense", "/v1/rates", None, 401),
    ];
    for (path, token, route, shown, expected) in asked {
        assert_eq!(u64::from(status(&server, path, token)), expected);
        let (status_code, fields, reason, line) = refusal(&server);
        let expected_fields = ["WARN", "GET", route, shown.unwrap_or("-")].map(str::to_owned);
        assert_eq!((status_code, fields), (expected, expected_fields), "{line}");
        assert!(reason.len() > 5 && !line.contains(token), "{line}");
        assert!(Value::is_string(&serde_json::from_str::<Value>(&line).unwrap()["timestamp"]));
    }
}
