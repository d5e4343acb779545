//! Web pages of other origins: those that the operator names may call and read every answer, and no other page may.

use insta::assert_snapshot;

use crate::kit::{Answer, EURUSD_PIPS, Server, create_token, program, shown};

const APP: &str = "https://app.example.org";
const ORIGINS: [&str; 4] =
    ["--cors-origin", "https://App.example.org", "--cors-origin", "http://localhost:3000,tauri://localhost"];
const VIEW: &str = "/v1/users/7/missions/S1";

/// What a browser reads of an answer before it shows it to a page.
fn seen(answer: &Answer) -> String {
    let fields = answer.head.lines().filter(|line| line.starts_with("access-control-") || line.starts_with("vary"));
    let mut fields: Vec<_> = fields.collect();
    fields.sort_unstable();
    format!("{}\n{}", answer.status, fields.join("\n"))
}

fn may_read(answer: &Answer, origin: &str) -> bool {
    answer.header("access-control-allow-origin") == Some(origin)
}

fn serve(folder: &std::path::Path) -> Server {
    let server = Server::start(folder, &ORIGINS);
    server.send("PUT", "/v1/signals/S1", EURUSD_PIPS);
    server.put_balance(7, 100);
    server
}

#[test]
fn a_preflight_is_answered_also_where_a_token_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    create_token(folder.path(), "read");
    let server = Server::start(folder.path(), &ORIGINS);
    let ask = |origin: &str| {
        let fields = [
            ("origin", origin),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "authorization,content-type,if-match"),
        ];
        server.send_with("OPTIONS", "/v1/users/7/overlay", &fields, b"")
    };
    let answer = ask(APP);
    assert_eq!(answer.body, "");
    assert_snapshot!(seen(&answer), @r"
    200
    access-control-allow-headers: accept,authorization,content-type,if-match,if-none-match,last-event-id,x-request-id
    access-control-allow-methods: GET,HEAD,PUT,PATCH,POST,DELETE
    access-control-allow-origin: https://app.example.org
    access-control-max-age: 3600
    vary: origin
    ");
    for origin in ["http://localhost:3000", "tauri://localhost"] {
        assert!(may_read(&ask(origin), origin), "{origin}");
    }
    for origin in [
        "https://evil.example",
        "null",
        "*",
        "",
        "http://app.example.org",
        "https://app.example.org:8443",
        "https://app.example.org:443",
        "https://app.example.org/",
        "https://App.example.org",
        "https://app.example.org.evil.example",
        "http://localhost",
        "https://app.example.org, https://evil.example",
    ] {
        assert_eq!(ask(origin).header("access-control-allow-origin"), None, "{origin}");
    }
}

#[test]
fn a_page_that_may_call_reads_every_answer() {
    let folder = tempfile::tempdir().unwrap();
    drop(serve(folder.path()));
    let [own, write] = ["read:7", "write"].map(|scope| format!("Bearer {}", create_token(folder.path(), scope)));
    let server = Server::start(folder.path(), &ORIGINS);
    let ask = |method: &str, path: &str, token: &str, body: &str| {
        let fields = [("origin", APP), ("authorization", token), ("content-type", "application/json")];
        server.send_with(method, path, &fields, body.as_bytes())
    };
    let view = ask("GET", VIEW, &own, "");
    assert_snapshot!(seen(&view), @r"
    200
    access-control-allow-origin: https://app.example.org
    access-control-expose-headers: etag,location,retry-after,overlaid-cursor,x-request-id
    vary: origin
    ");
    assert!(view.header("etag").is_some());
    let held = [("origin", APP), ("authorization", &*own), ("if-none-match", view.header("etag").unwrap())];
    let not_modified = server.send_with("GET", VIEW, &held, b"");
    assert!(not_modified.status == 304 && may_read(&not_modified, APP), "{not_modified:?}");
    let large = "x".repeat(70_000);
    for (status, method, path, token, body) in [
        (401, "GET", VIEW, "Bearer x", ""),
        (403, "GET", "/v1/users/8/overlay", &own, ""),
        (404, "GET", "/nowhere", &own, ""),
        (404, "GET", "/v1/users/7/missions/none", &own, ""),
        (405, "TRACE", VIEW, &own, ""),
        (413, "POST", "/v1/signals", &write, &large),
        (422, "POST", "/v1/signals", &write, "{}"),
        (201, "POST", "/v1/signals", &write, EURUSD_PIPS),
        (200, "POST", "/v1/signals", &write, EURUSD_PIPS),
        (204, "PUT", "/v1/users/7/overlay", &write, r#"{"account_balance":5}"#),
        (200, "GET", "/healthz", &own, ""),
        (200, "GET", "/openapi.json", &own, ""),
    ] {
        let answer = ask(method, path, token, body);
        assert!(answer.status == status && may_read(&answer, APP), "{method} {path}: {answer:?}");
    }
    let lists = server.send_with("GET", "/v1/users", &[("origin", APP), ("accept-encoding", "gzip")], b"");
    assert!(lists.status == 401 && may_read(&lists, APP), "{lists:?}");
    let program = server.get_as(own.strip_prefix("Bearer ").unwrap(), VIEW);
    assert_snapshot!(seen(&program), @r"
    200
    access-control-expose-headers: etag,location,retry-after,overlaid-cursor,x-request-id
    vary: origin
    ");
}

#[test]
fn without_tokens_a_page_is_answered_only_if_its_origin_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path());
    let ask = |fields: &[(&str, &str)]| server.send_with("GET", VIEW, fields, b"");
    for origin in [APP, "http://localhost:3000", "tauri://localhost"] {
        let answer = ask(&[("origin", origin)]);
        assert!(answer.status == 200 && may_read(&answer, origin), "{origin}: {answer:?}");
    }
    assert_eq!(ask(&[("host", "localhost:7717"), ("origin", "http://localhost:7717")]).status, 200, "its own page");
    let local_only = (403, "local-only".to_owned());
    for origin in ["https://evil.example", "null", "https://App.example.org", "https://app.example.org:8443", "", "*"] {
        let refused = ask(&[("origin", origin)]);
        assert_eq!((refused.problem(), may_read(&refused, origin)), (local_only.clone(), false), "{origin}");
    }
    for fields in [
        &[("origin", APP), ("origin", "https://evil.example")],
        &[("origin", APP), ("host", "evil.example")],
        &[("origin", APP), ("x-forwarded-for", "10.0.0.1")],
    ] {
        assert_eq!(ask(fields).problem(), local_only, "{fields:?}");
    }
}

#[test]
fn without_an_origin_nothing_is_said_to_browsers() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let preflight = [("origin", "http://localhost"), ("access-control-request-method", "GET")];
    let answer = server.send_with("OPTIONS", VIEW, &preflight, b"");
    assert_eq!((answer.status, seen(&answer)), (405, "405\n".to_owned()));
}

#[test]
fn what_is_no_origin_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for origin in ["*", "null", "app.example.org", "https://app.example.org/", "https://app.example.org/x", ""] {
        let start =
            program().args(["--data", folder.path().to_str().unwrap(), "serve", "--cors-origin", origin]).output();
        let start = shown(&start.unwrap());
        assert!(start.starts_with("exit 2\n") && start.contains("as https://app.example.org or"), "{origin}: {start}");
        let mut start = program();
        start.args(["--data", folder.path().to_str().unwrap(), "serve"]);
        let start = shown(&start.env("OVERLAID_CORS_ORIGINS", format!("{APP},{origin}")).output().unwrap());
        assert!(start.starts_with("exit 2\n") && start.contains("as https://app.example.org or"), "{origin}: {start}");
    }
    let mut show = program();
    show.args(["config", "show"]).env("OVERLAID_CORS_ORIGINS", "https://a.example,https://b.example");
    let show = shown(&show.output().unwrap());
    assert!(show.contains("OVERLAID_CORS_ORIGINS      https://a.example,https://b.example\n"), "{show}");
}
