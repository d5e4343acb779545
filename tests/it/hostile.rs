//! Bad input: each is refused with a problem that says what is wrong, and changes nothing.

use std::net::TcpStream;

use crate::kit::{Answer, EURUSD, EURUSD_PIPS, OVERLAY, Server, request};

/// Expects a refusal with this status, code and pointer.
#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str, pointer: Option<&str>) {
    assert_eq!(answer.problem(), (status, code.to_owned()), "{answer:?}");
    assert_eq!(answer.json()["pointer"].as_str(), pointer, "{answer:?}");
    assert!(answer.body.len() < 1_024, "a refusal is short: {}", answer.body);
}

#[test]
fn a_bad_signal_is_refused_with_a_pointer_and_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let good = EURUSD.trim_matches(['{', '}']);
    let check = |body: &str, status: u16, code: &str, pointer: Option<&str>| {
        refused(&server.send("PUT", "/v1/signals/S1", body), status, code, pointer);
        assert_eq!(server.get("/v1/signals/S1").status, 404, "{body}");
    };
    check("", 400, "malformed-json", None);
    check("{", 400, "malformed-json", None);
    check("[1]", 422, "wrong-type", None);
    check("{\"symbol\":NaN}", 400, "malformed-json", Some("/symbol"));
    check("{\"entry_price\":Infinity}", 400, "malformed-json", Some("/entry_price"));
    check("{\"entry_price\":1e999}", 422, "out-of-range", Some("/entry_price"));
    check(&format!("{{{good},\"symbol\":\"EURUSD\"}}"), 400, "duplicate-member", Some("/symbol"));
    check(&format!("{{{good},\"x\":{{\"a\":1,\"a\":1}}}}"), 400, "duplicate-member", Some("/x/a"));
    check("{}", 422, "missing-member", Some("/symbol"));
    check(r#"{"symbol":5}"#, 422, "wrong-type", Some("/symbol"));
    check(r#"{"symbol":"EUR USD"}"#, 422, "invalid-name", Some("/symbol"));
    check(r#"{"symbol":"EURUSD","direction":"UP"}"#, 422, "wrong-type", Some("/direction"));
    check(r#"{"symbol":"EURUSD","direction":"BUY"}"#, 422, "missing-member", Some("/stop_loss"));
    check(r#"{"symbol":"EURUSD","direction":"BUY","stop_loss":1}"#, 422, "missing-member", Some("/entry_price"));
    let levels = |levels: &str| format!(r#"{{"symbol":"EURUSD","direction":"BUY",{levels}}}"#);
    check(&levels(r#""entry_price":1.085,"stop_loss":1.087"#), 422, "stop-wrong-side", Some("/stop_loss"));
    check(&levels(r#""entry_price":1.085,"stop_loss":1.085"#), 422, "zero-distance", Some("/stop_loss"));
    check(
        &levels(r#""entry_price":1.085,"stop_loss":1.083,"take_profit":1.08"#),
        422,
        "target-wrong-side",
        Some("/take_profit"),
    );
    check(
        &levels(r#""entry_price":1.085,"stop_loss":1.083,"take_profit":1.085"#),
        422,
        "zero-distance",
        Some("/take_profit"),
    );
    check(&levels(r#""stop_pips":0"#), 422, "zero-distance", Some("/stop_pips"));
    check(&levels(r#""stop_pips":-5"#), 422, "out-of-range", Some("/stop_pips"));
    check(&levels(r#""entry_price":0,"stop_loss":1"#), 422, "out-of-range", Some("/entry_price"));
    check(&levels(r#""entry_price":" 1.085","stop_loss":1.083"#), 422, "wrong-type", Some("/entry_price"));
    check(&levels(r#""entry_price":"1e999","stop_loss":1.083"#), 422, "out-of-range", Some("/entry_price"));
    check(&levels(r#""entry_price":100000000000,"stop_loss":1.083"#), 422, "out-of-range", Some("/entry_price"));
    check(&levels(r#""entry_price":true,"stop_loss":1.083"#), 422, "wrong-type", Some("/entry_price"));
    check(&format!("{{{good},\"confidence\":101}}"), 422, "out-of-range", Some("/confidence"));
    check(&format!("{{{good},\"confidance\":80}}"), 422, "misspelled-member", Some("/confidance"));
    check(&format!("{{{good},\"expires_at\":\"soon\"}}"), 422, "invalid-time", Some("/expires_at"));
    check(
        &format!("{{{good},\"created_at\":\"2026-01-01T01:00:00Z\",\"expires_at\":\"2026-01-01T01:00:00Z\"}}"),
        422,
        "expiry-before-creation",
        Some("/expires_at"),
    );
    check(&format!("{{{good},\"signal_id\":\"S2\"}}"), 422, "id-mismatch", Some("/signal_id"));
    let long = "x".repeat(70_000);
    check(&format!("{{{good},\"note\":\"{long}\"}}"), 413, "body-too-large", None);
    check(&format!("{{{good},\"note\":{}1{}}}", "[".repeat(500), "]".repeat(500)), 400, "malformed-json", None);
    let many: Vec<String> = (0..300).map(|index| format!(",\"m{index}\":1")).collect();
    check(&format!("{{{good}{}}}", many.concat()), 422, "out-of-range", None);
}

#[test]
fn a_bad_overlay_rate_or_outcome_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.send("PUT", "/v1/users/7/overlay", r#"{"account_balance":10000,"risk_percent":2}"#);
    let before = server.get("/v1/users/7/overlay").body;
    for (body, code, pointer) in [
        (r#"{"risk_percent":101}"#, "out-of-range", "/risk_percent"),
        (r#"{"risk_percent":-1}"#, "out-of-range", "/risk_percent"),
        (r#"{"account_balance":-92233720368.54775808}"#, "out-of-range", "/account_balance"),
        (r#"{"leverage":0}"#, "out-of-range", "/leverage"),
        (r#"{"balance":5}"#, "misspelled-member", "/balance"),
        (r#"{"account_balance":"1 000"}"#, "wrong-type", "/account_balance"),
        (r#"{"account_balance":"12 "}"#, "wrong-type", "/account_balance"),
        (r#"{"account_balance":[]}"#, "wrong-type", "/account_balance"),
        (r#"{"acount_balance":5}"#, "misspelled-member", "/acount_balance"),
        (r#"{"account_currency":"$"}"#, "invalid-name", "/account_currency"),
        (r#"{"tier":"*"}"#, "invalid-name", "/tier"),
        (r#"{"win_rate":100.1}"#, "out-of-range", "/win_rate"),
        (r#"{"trades_remaining":1.5}"#, "wrong-type", "/trades_remaining"),
        (r#"{"trades_remaining":-1}"#, "out-of-range", "/trades_remaining"),
        (r#"{"user_id":"8"}"#, "id-mismatch", "/user_id"),
    ] {
        for method in ["PUT", "PATCH"] {
            refused(&server.send(method, "/v1/users/7/overlay", body), 422, code, Some(pointer));
        }
    }
    assert_eq!(server.get("/v1/users/7/overlay").body, before);
    refused(&server.send("PUT", "/v1/rates/GBPUSD", r#"{"price":0}"#), 422, "out-of-range", Some("/price"));
    refused(&server.send("PUT", "/v1/rates/GBPUSD", r#"{"prize":1}"#), 422, "missing-member", Some("/price"));
    refused(&server.send("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"fired"}"#), 404, "not-found", None);
    refused(&server.send("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"won"}"#), 422, "wrong-type", Some("/status"));
}

#[test]
fn bad_ids_paths_and_queries_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let long = "x".repeat(10_000);
    for id in ["a%2Fb", "%00", "..%2f..", "%2e%2e", "%ff%fe", "a%20b", "caf%C3%A9", long.as_str()] {
        refused(&server.get(&format!("/v1/users/{id}/overlay")), 400, "invalid-id", None);
        refused(&server.send("PUT", &format!("/v1/signals/{id}"), "{}"), 400, "invalid-id", None);
    }
    for path in ["/v1", "/v2/signals", "/v1/users/7/balance", "/v1/signals/a/b/c"] {
        refused(&server.get(path), 404, "no-such-route", None);
    }
    refused(&server.get("/v1/users//overlay"), 400, "invalid-id", None);
    refused(&server.get("/v1/signals?limt=5"), 400, "unknown-parameter", None);
    refused(&server.get("/v1/signals?limit=0"), 400, "invalid-parameter", None);
    refused(&server.get("/v1/signals?limit=1001"), 400, "invalid-parameter", None);
    refused(&server.get("/v1/signals?limit=ten"), 400, "invalid-parameter", None);
    refused(&server.get("/v1/signals?status=dead"), 400, "invalid-parameter", None);
    refused(&server.get("/v1/signals?cursor=%00"), 400, "invalid-parameter", None);
}

#[test]
fn wrong_methods_and_media_types_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let wrong = server.send("POST", "/v1/signals/S1", "{}");
    refused(&wrong, 405, "method-not-allowed", None);
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("PUT")));
    refused(&server.send_with("BREW", "/v1/signals/S1", &[], b""), 405, "method-not-allowed", None);
    refused(
        &server.send_with("PUT", "/v1/signals/S1", &[("content-type", "text/plain")], b"{}"),
        415,
        "unsupported-media-type",
        None,
    );
    refused(&server.send_with("PUT", "/v1/signals/S1", &[], b"{}"), 415, "unsupported-media-type", None);
    refused(
        &server.send_with("POST", "/v1/import", &[("content-type", "application/json")], b"{}"),
        415,
        "unsupported-media-type",
        None,
    );
}

#[test]
fn a_half_sent_request_and_a_thousand_idle_connections_do_not_disturb_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut half = server.connect();
    let whole = request("PUT", "/v1/users/7/overlay", &[("content-type", "application/json")], OVERLAY);
    half.send(&whole[..whole.len() - 5]);
    let idle: Vec<TcpStream> = (0..1_000).map_while(|_| TcpStream::connect(server.address).ok()).collect();
    assert!(idle.len() >= 500, "this machine lets a process open few connections: {}", idle.len());
    for _ in 0..20 {
        assert_eq!(server.get("/healthz").status, 200);
    }
    drop(idle);
    half.finish_sending();
    refused(&half.answer(), 400, "broken-body", None);
    half.closed();
    assert_eq!(server.get("/v1/users/7/overlay").status, 404, "a half-sent body changes nothing");
}

#[test]
fn a_refusal_does_not_cost_the_client_its_next_request() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut client = server.connect();
    for _ in 0..20 {
        const BODY: &str = r#"{"price":1.3}"#;
        let put = request("PUT", "/v1/rates/BAD", &[("content-type", "application/json")], BODY);
        client.send(&put[..put.len() - BODY.len()]);
        // As clients do that send the body in a packet of its own, after the refusal is already clear.
        std::thread::yield_now();
        client.send([BODY.as_bytes(), &request("GET", "/healthz", &[], "")].concat());
        let (refusal, next) = (client.answer(), client.answer());
        assert_eq!((refusal.status, refusal.header("connection")), (400, None), "{refusal:?}");
        assert_eq!((next.status, next.header("connection")), (200, None), "{next:?}");
        assert!(next.body.contains("\"status\":\"ok\""), "{next:?}");
    }
}

#[test]
fn an_encoding_that_can_not_be_is_no_reason_to_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.send("PUT", "/v1/signals/S1", EURUSD_PIPS);
    for accepted in ["identity;q=0", "*;q=0", "br", "gzip;q=0", ""] {
        let answer = server.send_with("GET", "/v1/signals/S1/missions", &[("accept-encoding", accepted)], b"");
        assert_eq!((answer.status, answer.header("content-encoding")), (200, None), "{accepted}");
        let absent = server.send_with("GET", "/v1/signals/S2/missions", &[("accept-encoding", accepted)], b"");
        refused(&absent, 404, "not-found", None);
    }
}

#[test]
fn an_unknown_parameter_is_refused_on_every_route() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    for path in [
        "/v1/users/7/missions/S1",
        "/v1/users/7/overlay",
        "/v1/signals/S1",
        "/v1/rates",
        "/v1/rates/GBPUSD",
        "/healthz",
        "/readyz",
        "/metrics",
    ] {
        refused(&server.get(&format!("{path}?x=1")), 400, "unknown-parameter", None);
    }
}

#[test]
fn a_page_of_large_records_ends_early() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.send("PUT", "/v1/signals/S1", EURUSD_PIPS);
    let note = "x".repeat(50_000);
    let lines: Vec<String> =
        (0..40).map(|user| format!("{{\"overlay\":{{\"user_id\":\"u{user:02}\",\"note\":\"{note}\"}}}}\n")).collect();
    assert_eq!(server.import(&lines.concat()).status, 200);
    let mut seen = 0;
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/signals/S1/missions?limit=1000{cursor}"));
        assert!(page.body.len() < 1_200_000, "{}", page.body.len());
        let page = page.json();
        seen += page["missions"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, 40);
}

/// A request that two programs on its way may read as one for two hosts is refused; it is a request all the same, so
/// the connection goes on.
#[test]
fn a_head_that_two_programs_can_understand_differently_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let body = "d\r\n{\"price\":1.3}\r\n0\r\n\r\n";
    let put = |coding: &str| {
        let head =
            "PUT /v1/rates/GBPUSD HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close";
        format!("{head}\r\ntransfer-encoding: {coding}\r\n\r\n{body}")
    };
    let get = |fields: &str| format!("GET /v1/rates HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n");
    let ask = |request: &str| server.send_raw(request).pop().unwrap();
    for coding in [
        "gzip, chunked",
        "gzip\r\ntransfer-encoding: chunked",
        "identity, chunked",
        "chunked, chunked",
        "chunked\r\ntransfer-encoding: chunked",
    ] {
        refused(&ask(&put(coding)), 501, "transfer-coding", None);
    }
    assert_eq!(ask(&get("")).json()["rates"], serde_json::json!([]), "nothing was taken from them");
    for twice in
        ["authorization: Bearer a\r\nauthorization: Bearer b\r\n", "content-type: a/b\r\ncontent-type: a/b\r\n"]
    {
        refused(&ask(&get(twice)), 400, "malformed-request", None);
    }
    let kinds = "chunked\r\ncontent-type: text/plain";
    refused(&ask(&put(kinds)), 400, "malformed-request", None);
    assert_eq!(ask(&get("")).json()["rates"], serde_json::json!([]), "nothing was taken from it");
    for fine in [put("chunked"), put("Chunked"), get("authorization: Bearer a\r\n")] {
        assert!(ask(&fine).status < 300, "{fine:?}");
    }
}

#[test]
fn a_request_has_to_name_one_host() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let get = |version: &str, fields: &str| format!("GET /healthz HTTP/{version}\r\n{fields}\r\n");
    let put =
        "PUT /v1/rates/GBPUSD HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 13\r\n\r\n{\"price\":1.3}";
    let refused = [
        get("1.1", ""),
        get("1.1", "host: x\r\nhost: x\r\n"),
        get("1.1", "Host: x\r\nhost: y\r\n"),
        get("1.1", "host: a b\r\n"),
        get("1.1", "host: x/y\r\n"),
        get("1.1", "host: u@x\r\n"),
        get("1.1", "host: localhost:abc\r\n"),
        get("1.1", "host: localhost:99999\r\n"),
        get("1.1", "host: localhost\r\n").replace("/healthz", "http://localhost:99999/healthz"),
        // Its body is not taken for a request.
        put.to_owned(),
        // The absolute form does not stand for the header.
        get("1.1", "").replace("/healthz", "http://x/healthz"),
    ];
    let fine = ["x", "x:7717", "[::1]:7717", ""].map(|host| get("1.1", &format!("host: {host}\r\n")));
    let answers = server.send_raw([refused.concat(), fine.concat(), get("1.0", "")].concat());
    let (refusals, others) = answers.split_at(refused.len());
    for refusal in refusals {
        assert_eq!(refusal.problem(), (400, "malformed-request".to_owned()));
    }
    assert_eq!(others.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200; 5]);
    let twice = server.send_raw(get("1.0", "host: x\r\nhost: y\r\n"));
    assert!(twice.len() == 1 && twice[0].head.starts_with("HTTP/1.0 400"), "{twice:?}");
}
