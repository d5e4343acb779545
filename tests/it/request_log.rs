//! One request, one log line, one id, one measurement; and metrics that Prometheus' own tool finds clean.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::kit::{Answer, Server, create_token, has_tool, request};

const RECORDS: &str = r#"
{"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"expires_at":"2099-01-01T00:00:00Z"}}
{"overlay":{"user_id":"7","risk_percent":2,"account_balance":10000}}
"#;

fn serve(folder: &std::path::Path, arguments: &[&str]) -> Server {
    Server::with_records(folder, RECORDS, arguments)
}

/// The next line about a request: its fields without the duration, which is checked to be one.
fn next_line(server: &Server) -> Value {
    let mut line = server.logged(|event| event["target"] == "overlaid::access");
    let ms = line["ms"].as_f64().expect("a duration");
    assert!((0.0..20_000.0).contains(&ms), "{line}");
    let decimals = line["ms"].to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
    assert!(decimals <= 3, "a duration is shown to the microsecond: {line}");
    for varying in ["ms", "timestamp", "target"] {
        line.as_object_mut().unwrap().remove(varying);
    }
    line
}

#[test]
fn every_request_has_one_line_that_says_what_was_asked_and_answered() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &[]);
    let id = ("x-request-id", "bot-1");
    let length = |answer: &Answer| answer.body.len();

    let view = server.send_with("GET", "/v1/users/7/missions/S1", &[id], b"");
    assert_eq!(
        next_line(&server),
        json!({
            "level": "INFO", "message": "request", "method": "GET", "route": "/v1/users/{user}/missions/{signal}", "status": 200,
            "bytes": length(&view), "request_id": "bot-1",
        })
    );
    let put = [id, ("content-type", "application/json")];
    server.send_with("PUT", "/v1/users/8/overlay", &put, br#"{"account_balance":5}"#);
    assert_eq!(
        next_line(&server),
        json!({
            "level": "INFO", "message": "request", "method": "PUT", "route": "/v1/users/{user}/overlay", "status": 201, "bytes": 0,
            "request_id": "bot-1",
        })
    );
    let lines = server.send_with("GET", "/v1/signals/S1/missions", &[id, ("accept", "application/x-ndjson")], b"");
    assert_eq!(
        next_line(&server),
        json!({
            "level": "INFO", "message": "request", "method": "GET", "route": "/v1/signals/{signal}/missions", "status": 200,
            "bytes": length(&lines), "request_id": "bot-1",
        })
    );
    let unknown = server.send_with("BREW", "/pot", &[id], b"");
    assert_eq!(
        next_line(&server),
        json!({
            "level": "INFO", "message": "request", "method": "BREW", "status": 404, "bytes": length(&unknown), "request_id": "bot-1",
        })
    );
}

#[test]
fn a_line_names_the_token_and_a_refusal_its_reason_also_when_the_log_of_requests_is_off() {
    let folder = tempfile::tempdir().unwrap();
    let token = create_token(folder.path(), "read:7");
    let bearer = format!("Bearer {token}");
    let server = serve(folder.path(), &["--access-log", "off"]);
    let id = ("x-request-id", "x");
    let ask = |path, fields: &[(&str, &str)]| server.send_with("GET", path, &[&[id], fields].concat(), b"").status;

    assert_eq!(ask("/v1/users/7/overlay", &[("authorization", &bearer)]), 200);
    assert_eq!(ask("/v1/users/8/overlay", &[("authorization", &bearer)]), 403);
    let mut line = next_line(&server);
    let named = line["token"].take();
    assert!(token.contains(named.as_str().unwrap()), "{named}");
    line.as_object_mut().unwrap().remove("bytes");
    assert_eq!(
        line,
        json!({
            "level": "WARN", "message": "request refused", "method": "GET", "route": "/v1/users/{user}/overlay", "status": 403,
            "token": null, "request_id": "x", "reason": "the token does not allow this: it needs the scope read",
        })
    );
    assert_eq!(ask("/v1/signals", &[]), 401);
    assert_eq!(next_line(&server)["reason"], "a bearer token is needed");
}

#[test]
fn a_request_keeps_its_id_and_gets_one_if_it_has_none_that_is_fit_for_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &[]);
    let id = |sent: Option<&str>| {
        let fields: Vec<_> = sent.map(|id| ("x-request-id", id)).into_iter().collect();
        let answer = server.send_with("GET", "/v1/signals/S1", &fields, b"");
        answer.header("x-request-id").unwrap().to_owned()
    };
    for kept in ["a", "6f1d1c1e-8a0b-4d27-9c0f-1f0a5b1f7b11", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]
    {
        assert_eq!(id(Some(kept)), kept);
    }
    let made =
        [id(None), id(None), id(Some("")), id(Some("two words")), id(Some("\"quoted\"")), id(Some(&"x".repeat(65)))];
    let different: std::collections::BTreeSet<_> = made.iter().collect();
    assert_eq!(different.len(), made.len(), "{made:?}");
    let answers = server.send_raw("nonsense\r\n\r\n");
    let [refusal] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!((refusal.status, refusal.header("x-request-id")), (400, None), "what is no request has no id");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_stream_has_a_line_too() {
    let folder = tempfile::tempdir().unwrap();
    let users = (0..60_000).map(|user| format!("{{\"overlay\":{{\"user_id\":\"{user}\",\"account_balance\":1}}}}\n"));
    std::fs::write(folder.path().join("users.ndjson"), users.collect::<String>()).unwrap();
    let server = serve(folder.path(), &["--load", folder.path().join("users.ndjson").to_str().unwrap()]);
    let mut client = server.connect();
    client.send(request("GET", "/v1/signals/S1/missions", &[("accept", "application/x-ndjson")], ""));
    client.stream.read_exact(&mut [0; 1000]).unwrap();
    drop(client);
    let line = next_line(&server);
    assert_eq!((&line["status"], &line["route"]), (&json!(200), &json!("/v1/signals/{signal}/missions")));
    let bytes = line["bytes"].as_u64().unwrap();
    assert!((1000..30_000_000).contains(&bytes), "{bytes}");
}

#[test]
fn requests_are_measured_by_method_route_and_status() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &[]);
    for _ in 0..3 {
        server.get("/v1/users/7/missions/S1");
    }
    server.get("/v1/users/none/missions/S1");
    server.send("PATCH", "/v1/users/7/overlay", r#"{"account_balance":9}"#);
    server.send_with("BREW", "/nowhere", &[], b"");
    assert_eq!(server.send_raw("nonsense\r\n\r\n").len(), 1);
    let metrics = server.get("/metrics").body;
    let count = |labels: &[&str]| {
        let is_it = |line: &&str| {
            line.starts_with("overlaid_http_request_duration_seconds_count{")
                && labels.iter().all(|label| line.contains(label))
        };
        metrics.lines().find(is_it).map(|line| line.rsplit(' ').next().unwrap().to_owned())
    };
    let view = "route=\"/v1/users/{user}/missions/{signal}\"";
    assert_eq!(count(&["method=\"GET\"", view, "status=\"200\""]).as_deref(), Some("3"), "{metrics}");
    assert_eq!(count(&["method=\"GET\"", view, "status=\"404\""]).as_deref(), Some("1"));
    assert_eq!(
        count(&["method=\"PATCH\"", "route=\"/v1/users/{user}/overlay\"", "status=\"200\""]).as_deref(),
        Some("1")
    );
    assert_eq!(count(&["method=\"other\"", "route=\"\"", "status=\"404\""]).as_deref(), Some("1"));
    assert!(metrics.contains("overlaid_http_unreadable_requests_total{status=\"400\"} 1"), "{metrics}");
    for name in
        ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"]
    {
        assert!(metrics.contains(&format!("\n{name} ")), "{name} in {metrics}");
    }
    assert!(metrics.contains(&format!("overlaid_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn promtool_finds_the_metrics_clean() {
    // Of the package `prometheus`.
    if !has_tool("promtool") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &[]);
    server.get("/v1/users/7/missions/S1");
    server.send("PATCH", "/v1/users/7/overlay", r#"{"account_balance":9}"#);
    assert_eq!(server.send_with("POST", "/v1/admin/backup", &[], b"").status, 200, "so that its gauges are there");
    let answer = server.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(answer.body.as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}\n{}", answer.body);
}
