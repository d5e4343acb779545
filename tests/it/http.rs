//! What clients see: whole answers of a server with the sample data.

use insta::assert_snapshot;

use crate::kit::{EURUSD, Server, create_token};

#[test]
fn views_are_right_for_accounts_in_dollars_euros_and_yen() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    server.send("PUT", "/v1/signals/S1", EURUSD);
    let sizes = |user: &str| {
        let view = server.get(&format!("/v1/users/{user}/missions/S1")).json();
        let mission = &view["mission"];
        format!(
            "{} {} of {} {} at {}",
            mission["lots"],
            mission["risk_amount"],
            mission["risk_budget"],
            mission["account_currency"],
            mission["conversion_rate"]
        )
    };
    // 217.0094 / 200; 450 / (200 / 1.085); 50,000 / (200 × 148.5).
    assert_eq!(sizes("7001"), "1.08 216 of 217.0094 \"USD\" at 1");
    assert_eq!(sizes("7002"), "2.44 449.76958525 of 450 \"EUR\" at 0.92165899");
    assert_eq!(sizes("7003"), "1.68 49896 of 50000 \"JPY\" at 148.5");
}

#[test]
fn a_signal_is_published_once_and_a_balance_is_patched() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let signal = r#"{"symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"session":"LONDON","x":{"a":1.10}}"#;

    assert_snapshot!(server.send("PUT", "/v1/signals/S1", signal).shown(), @r#"201 application/json {"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"…","expires_at":"…","session":"LONDON","x":{"a":1.10}}"#);
    assert_eq!(server.send("PUT", "/v1/signals/S1", signal).status, 200);
    assert_snapshot!(server.send("PUT", "/v1/signals/S1", EURUSD).shown(), @r#"409 application/problem+json {"type":"/problems/conflict","title":"Conflict","status":409,"code":"conflict","detail":"signal S1 is there already, with other content"}"#);

    assert_snapshot!(server.send("PATCH", "/v1/users/7/overlay", r#"{"account_balance":1}"#).shown(), @r#"404 application/problem+json {"type":"/problems/not-found","title":"Not found","status":404,"code":"not-found","detail":"no overlay for user 7"}"#);
    assert_snapshot!(server.send("PUT", "/v1/users/7/overlay", r#"{"account_balance":10000,"risk_percent":2}"#).shown(), @"201 - ");
    assert_snapshot!(server.get("/v1/users/7/missions/S1").shown(), @r#"200 application/json {"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"…","expires_at":"…","session":"LONDON","x":{"a":1.10}},"user":{"user_id":"7","risk_percent":2,"account_balance":10000,"account_currency":"USD","updated_at":"…"},"mission":{"status":"active","seconds_remaining":…,"tradable":true,"reasons":[],"stop_pips":20,"target_pips":40,"risk_reward":2,"risk_percent":2,"risk_budget":200,"lots_raw":1,"lots":1,"risk_amount":200,"reward_amount":400,"targets":[{"price":1.089,"pips":40,"risk_reward":2,"share":100,"lots":1,"reward_amount":400}],"limited_by":"risk","margin_required":null,"balance_confirmed_at":"…","instrument":"EURUSD","account_currency":"USD","conversion_rate":1,"conversion_path":[],"rates_confirmed_at":null}}"#);
    assert_snapshot!(server.send("PATCH", "/v1/users/7/overlay", r#"{"account_balance":12000.5,"risk_percent":null}"#).shown(), @r#"200 application/json {"user_id":"7","account_balance":12000.5,"account_currency":"USD","updated_at":"…"}"#);
    assert_snapshot!(server.send("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"fired","ticket":"1"}"#).shown(), @"201 - ");
    assert_snapshot!(server.get("/v1/users/7/missions/S1").shown(), @r#"200 application/json {"signal":{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","entry_price":1.085,"stop_loss":1.083,"take_profit":1.089,"created_at":"…","expires_at":"…","session":"LONDON","x":{"a":1.10}},"user":{"user_id":"7","account_balance":12000.5,"account_currency":"USD","updated_at":"…"},"mission":{"status":"fired","seconds_remaining":…,"tradable":false,"reasons":["already_fired","no_risk_percent"],"stop_pips":20,"target_pips":40,"risk_reward":2,"risk_percent":null,"risk_budget":null,"lots_raw":null,"lots":null,"risk_amount":null,"reward_amount":null,"targets":[{"price":1.089,"pips":40,"risk_reward":2,"share":100,"lots":null,"reward_amount":null}],"limited_by":null,"margin_required":null,"balance_confirmed_at":"…","instrument":"EURUSD","account_currency":"USD","conversion_rate":1,"conversion_path":[],"rates_confirmed_at":null}}"#);
    assert_snapshot!(server.get("/v1/users/7/outcomes/S1").shown(), @r#"200 application/json {"signal_id":"S1","user_id":"7","status":"fired","at":"…","ticket":"1"}"#);
    assert_eq!(server.send("DELETE", "/v1/users/7/overlay", "").status, 204);
    assert_eq!(server.get("/v1/users/7/missions/S1").status, 404);
    assert_eq!(server.send("DELETE", "/v1/users/7/overlay", "").status, 404);
}

#[test]
fn a_rate_makes_a_cross_tradable() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.send(
        "PUT",
        "/v1/signals/S1",
        r#"{"symbol":"EURJPY","direction":"BUY","entry_price":172.895,"stop_loss":172.7221}"#,
    );
    server.send("PUT", "/v1/users/7/overlay", r#"{"account_balance":15000,"risk_percent":3}"#);
    let mission = || server.get("/v1/users/7/missions/S1").json()["mission"].clone();
    assert_eq!(mission()["reasons"], serde_json::json!(["no_conversion_rate"]));
    assert_eq!(mission()["lots"], serde_json::Value::Null);
    assert_eq!(server.send("PUT", "/v1/rates/USDJPY", r#"{"price":148.5}"#).status, 201);
    assert_eq!(
        (mission()["lots"].to_string(), mission()["risk_amount"].to_string()),
        ("3.86".to_owned(), "449.42356902".to_owned())
    );
    assert_snapshot!(server.get("/v1/rates").shown(), @r#"200 application/json {"rates":[{"pair":"USDJPY","price":148.5,"updated_at":"…","confirmed_at":"…"}],"next_cursor":null}"#);
}

#[test]
fn tags_spare_a_body_and_guard_a_write() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    let view = "/v1/users/7001/missions/ELITE_GUARD_EURUSD_1763905800";
    let tag = server.get(view).header("etag").unwrap().to_owned();
    let again = server.send_with("GET", view, &[("if-none-match", &tag)], b"");
    assert_eq!((again.status, again.body.as_str(), again.header("etag")), (304, "", Some(tag.as_str())));

    // The user's own balance, a rate or an outcome changes the view; another user's does not.
    server.send("PATCH", "/v1/users/7002/overlay", r#"{"account_balance":1}"#);
    assert_eq!(server.send_with("GET", view, &[("if-none-match", &tag)], b"").status, 304);
    server.send("PATCH", "/v1/users/7001/overlay", r#"{"account_balance":1}"#);
    assert_eq!(server.send_with("GET", view, &[("if-none-match", &tag)], b"").status, 200);

    let overlay = "/v1/users/7001/overlay";
    let json = ("content-type", "application/json");
    let tag = server.get(overlay).header("etag").unwrap().to_owned();
    let first = server.send_with("PATCH", overlay, &[json, ("if-match", &tag)], br#"{"account_balance":2}"#);
    assert_eq!(first.status, 200);
    let second = server.send_with("PATCH", overlay, &[json, ("if-match", &tag)], br#"{"account_balance":3}"#);
    assert_snapshot!(second.shown(), @r#"412 application/problem+json {"type":"/problems/precondition-failed","title":"Precondition failed","status":412,"code":"precondition-failed","detail":"the record is not as the condition expects it"}"#);
    let create = server.send_with("PUT", overlay, &[json, ("if-none-match", "*")], b"{}");
    assert_eq!(create.status, 412);
    assert_eq!(server.get(overlay).json()["account_balance"], 2);
}

#[test]
fn the_missions_of_a_signal_come_in_pages_as_a_list_of_users_and_as_lines() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    let all = "/v1/signals/ELITE_GUARD_EURUSD_1763905800/missions";
    let users = |json: &serde_json::Value| -> Vec<String> {
        json["missions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|view| view["user"]["user_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let whole = users(&server.get(all).json());
    assert_eq!(whole.len(), 25);
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("{all}?limit=7{cursor}")).json();
        paged.extend(users(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, whole);

    let lines = server.send_with("GET", all, &[("accept", "application/x-ndjson")], b"");
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    let from_lines: Vec<String> = lines
        .body
        .lines()
        .map(|line| {
            let view: serde_json::Value = serde_json::from_str(line).unwrap();
            view["user"]["user_id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(from_lines, whole);

    let listed = server.get(&format!("{all}?users=7003,nobody,7001")).json();
    assert_eq!(users(&listed), ["7003", "7001"]);
    assert_eq!(listed["absent"], serde_json::json!(["nobody"]));
    let repeated = server.get(&format!("{all}?users=7003&users=nobody,7001")).json();
    assert_eq!((&repeated["missions"], &repeated["absent"]), (&listed["missions"], &listed["absent"]));

    let fangs = users(&server.get(&format!("{all}?tier=fang")).json());
    assert_eq!(fangs.len(), 7);
    assert_eq!(users(&server.get(&format!("{all}?tier=PREDATOR")).json()), fangs, "an alias finds the same");
}

#[test]
fn lines_are_for_clients_that_would_rather_have_them_than_pages() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    let (lines, pages) = ("application/x-ndjson", "application/json");
    for (accept, expected) in [
        ("application/x-ndjson", lines),
        ("Application/X-NDJSON; charset=utf-8", lines),
        ("application/x-ndjson, */*", lines),
        ("application/x-ndjson, application/json;q=0.9", lines),
        ("*/*;q=0.1, application/x-ndjson;q=0.5", lines),
        ("*/*", pages),
        ("application/json, application/x-ndjson, application/problem+json", pages),
        ("application/x-ndjson;q=0.1, application/json", pages),
        ("application/x-ndjson;q=0.1, */*", pages),
        ("application/x-ndjson;q=0", pages),
        ("text/html", pages),
    ] {
        let path = "/v1/signals/ELITE_GUARD_EURUSD_1763905800/missions";
        let answer = server.send_with("GET", path, &[("accept", accept)], b"");
        assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
        assert!(answer.head.contains("\r\nvary: accept\r\n"), "{answer:?}");
    }
}

#[test]
fn a_users_missions_and_the_signals_are_listed_by_status() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    let count = |path: &str, name: &str| server.get(path).json()[name].as_array().unwrap().len();
    assert_eq!(count("/v1/signals", "signals"), 30);
    assert_eq!(count("/v1/signals?status=active", "signals"), 20);
    assert_eq!(count("/v1/signals?status=expired", "signals"), 10);
    let of_user = |status: &str| count(&format!("/v1/users/7001/missions?status={status}&limit=1000"), "missions");
    assert_eq!(of_user("all"), 30);
    assert_eq!(of_user("active") + of_user("expired") + of_user("fired") + of_user("failed"), 30);
    assert_eq!(count("/v1/users/7001/missions", "missions"), of_user("active"));
    let symbols = server.get("/v1/signals?symbol=xau/usd").json();
    let symbols = symbols["signals"].as_array().unwrap();
    assert!(!symbols.is_empty() && symbols.iter().all(|signal| signal["symbol"] == "XAUUSD"), "{symbols:?}");

    let mut seen = 0;
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/v1/signals?status=active&limit=6{cursor}")).json();
        seen += page["signals"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, 20);
}

/// A broker that pushes balances knows neither the tier nor the currency.
#[test]
fn an_imported_patch_keeps_what_a_whole_overlay_would_remove_and_says_that_it_removed() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let import = |line: &str| {
        let lines = format!("{line}\n");
        let kind = [("content-type", "application/x-ndjson")];
        let answer = server.send_with("POST", "/v1/import", &kind, lines.as_bytes());
        answer.body.lines().next().unwrap().to_owned()
    };
    let stored = || server.get("/v1/users/7/overlay").json();
    let whole =
        r#"{"overlay":{"user_id":"7","tier":"FANG","account_balance":100,"account_currency":"EUR","broker":"N"}}"#;
    assert_eq!(import(whole), r#"{"line":1,"effect":"created"}"#);
    assert_eq!(import(r#"{"patch":{"user_id":"7","account_balance":250}}"#), r#"{"line":1,"effect":"changed"}"#);
    let patched = stored();
    assert_eq!(
        [&patched["account_balance"], &patched["account_currency"], &patched["tier"], &patched["broker"]],
        [&serde_json::json!(250), &"EUR".into(), &"FANG".into(), &"N".into()]
    );
    insta::assert_snapshot!(
        import(r#"{"overlay":{"user_id":"7","account_balance":300}}"#),
        @r#"{"line":1,"effect":"changed","removed":["tier","account_currency","broker"]}"#
    );
    assert_eq!(stored()["account_currency"], "USD");
    insta::assert_snapshot!(
        import(r#"{"patch":{"user_id":"nobody","account_balance":1}}"#),
        @r#"{"line":1,"effect":"refused","code":"not-found","detail":"no overlay for user nobody"}"#
    );
    insta::assert_snapshot!(
        import(r#"{"patch":{"account_balance":1}}"#),
        @r#"{"line":1,"effect":"refused","code":"missing-member","detail":"a patch needs the user_id of its overlay","pointer":"/user_id"}"#
    );
}

#[test]
fn an_import_answers_each_line_and_then_the_counts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let body = format!(
        "{{\"signal\":{{\"signal_id\":\"S1\",{}}}\n\n{{\"overlay\":{{\"user_id\":\"7\",\"account_balance\":1}}}}\n{{\"overlay\":{{\"user_id\":\"a b\"}}}}\nnot json\n{{\"outcome\":{{\"signal_id\":\"S1\",\"user_id\":\"7\",\"status\":\"fired\"}}}}\n{{\"rate\":{{\"pair\":\"GBPUSD\",\"price\":1.34}}}}",
        &EURUSD[1..]
    );
    let answer = server.import(body.as_str());
    assert_snapshot!(answer.body, @r#"
    {"line":1,"effect":"created"}
    {"line":3,"effect":"created"}
    {"line":4,"effect":"refused","code":"invalid-name","detail":"user_id \"a b\" is not valid: expected 1 to 128 bytes of A-Z a-z 0-9 . _ : @ -","pointer":"/user_id"}
    {"line":5,"effect":"refused","code":"malformed-json","detail":"this is not JSON: no (column 2)"}
    {"line":6,"effect":"created"}
    {"line":7,"effect":"created"}
    {"lines":6,"created":4,"changed":0,"unchanged":0,"kept":0,"refused":2}
    "#);
}

#[test]
fn once_there_is_a_token_every_request_needs_one_that_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    let [read, own, write] = ["read", "read:7001", "write"].map(|scope| create_token(folder.path(), scope));
    let server = Server::with_samples(folder.path());
    let get = |path: &str, token: &str| server.get_as(token, path).status;
    let refused = server.get("/v1/users/7001/overlay");
    assert_snapshot!(refused.shown(), @r#"401 application/problem+json {"type":"/problems/unauthorized","title":"Token required","status":401,"code":"unauthorized","detail":"a bearer token is needed"}"#);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"overlaid\""));
    assert_eq!(get("/v1/users/7001/overlay", &read), 200);
    assert_eq!(get("/v1/users/7001/overlay", &own), 200);
    assert_eq!(get("/v1/users/7002/overlay", &own), 403);
    assert_eq!(get("/v1/signals/ELITE_GUARD_EURUSD_1763905800/missions", &own), 403);
    assert_eq!(get("/v1/signals/ELITE_GUARD_EURUSD_1763905800", &own), 200);
    assert_eq!(get("/v1/users/7001/overlay", &write), 403);
    assert_eq!(get("/v1/users/7001/overlay", &read.replace(|c: char| c.is_ascii_digit(), "0")), 401);
    assert_eq!(get("/v1/users/7001/overlay", ""), 401);
    assert_eq!(server.get("/healthz").status, 200);
    let patch = |token: &str| {
        let headers = [("content-type", "application/json"), ("authorization", &format!("Bearer {token}"))];
        server.send_with("PATCH", "/v1/users/7001/overlay", &headers, b"{\"account_balance\":1}").status
    };
    assert_eq!(
        (patch(&read), patch(&own), patch(&write)),
        (403, 403, 204),
        "who may only write is not shown the balance"
    );
}

#[test]
fn metrics_count_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    let view = "/v1/users/7001/missions/ELITE_GUARD_EURUSD_1763905800";
    let tag = server.get(view).header("etag").map(str::to_owned).unwrap();
    server.send_with("GET", view, &[("if-none-match", &tag)], b"");
    server.get("/v1/users/nobody/overlay");
    server.send("PATCH", "/v1/users/nobody/overlay", "{}");
    let unread = server.send_raw("nothing that a server reads\r\n\r\n");
    assert_eq!(unread.iter().map(|answer| answer.status).collect::<Vec<_>>(), [400]);
    // What is no request is counted when its connection has ended, which the client sees before the server is done with
    // it.
    let unreadable = "overlaid_http_unreadable_requests_total{status=\"400\"} 1";
    let text = loop {
        let text = server.get("/metrics").body;
        if text.contains(unreadable) {
            break text;
        }
    };
    for line in [
        "overlaid_views_total 1",
        "overlaid_views_not_modified_total 1",
        "overlaid_signals 30",
        "overlaid_overlays 25",
        "overlaid_writes_refused_total 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
    }
}

#[test]
fn batches_are_compressed_when_asked_and_single_views_never() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with_samples(folder.path());
    let encoding = |path: &str| {
        let headers = [("accept-encoding", "gzip")];
        server.send_with("GET", path, &headers, b"").header("content-encoding").map(str::to_owned)
    };
    assert_eq!(encoding("/v1/signals/ELITE_GUARD_EURUSD_1763905800/missions").as_deref(), Some("gzip"));
    assert_eq!(encoding("/v1/users/7001/missions/ELITE_GUARD_EURUSD_1763905800"), None);
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::with_samples(folder.path());
    for round in 1..=5 {
        for user in 7001..7010 {
            let balance = round * 10_000 + user;
            let answer = server.send(
                "PATCH",
                &format!("/v1/users/{user}/overlay"),
                &format!("{{\"account_balance\":{balance}}}"),
            );
            assert_eq!(answer.status, 200);
        }
        if round % 2 == 0 {
            assert_eq!(server.terminate(), Some(0));
        } else {
            server.kill();
        }
        server = Server::with_samples(folder.path());
        for user in 7001..7010 {
            let overlay = server.get(&format!("/v1/users/{user}/overlay")).json();
            assert_eq!(overlay["account_balance"], round * 10_000 + user, "loading the samples again must not undo it");
        }
    }
}
