//! A signal's whole life, and what is left of a user: withdrawn, closed, removed, forgotten.

use overlaid::domain::{Condition, Scope, TokenDraft};
use overlaid::service::Pruned;
use overlaid::store::{Effect, Operation};
use serde_json::{Value, json};

use crate::kit::{
    Direct, EURUSD, EURUSD_PIPS, Server, World, code, create_token, done, error, export, pips_signal, put_outcome, run,
    signal, signal_id, start, text, user_id, value,
};

const VIEW: &str = "/v1/users/7/missions/S1";

/// A server with the signal S1 and the user 7, who may trade it.
fn server(folder: &std::path::Path) -> Server {
    let server = Server::start(folder, &[]);
    assert_eq!(server.send("PUT", "/v1/signals/S1", EURUSD).status, 201);
    let overlay = r#"{"account_balance":10000,"risk_percent":2}"#;
    assert_eq!(server.send("PUT", "/v1/users/7/overlay", overlay).status, 201);
    server
}

/// The status of a mission and the reasons not to trade it.
fn said(view: &Value) -> (Value, Value) {
    let mission = &view["mission"];
    assert_eq!(mission["tradable"], mission["reasons"].as_array().unwrap().is_empty());
    (mission["status"].clone(), mission["reasons"].clone())
}

#[test]
fn a_signal_is_cancelled_or_closed_by_a_patch_and_its_missions_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let before = server.get(VIEW);
    assert_eq!(before.json()["signal"]["status"], Value::Null, "it was never set");
    for (status, reasons) in
        [("cancelled", json!(["signal_cancelled"])), ("closed", json!(["signal_closed"])), ("active", json!([]))]
    {
        let patched = server.send("PATCH", "/v1/signals/S1", &format!(r#"{{"status":"{status}"}}"#));
        assert_eq!((patched.status, &patched.json()["status"]), (200, &json!(status)));
        let view = server.get(VIEW);
        assert_eq!(said(&view.json()), (json!(status), reasons.clone()));
        assert_ne!(view.header("etag"), before.header("etag"));
        let list = server.get("/v1/signals/S1/missions").json();
        assert_eq!(said(&list["missions"][0]), (json!(status), reasons));
    }
    for (body, code) in [(r#"{"status":"paused"}"#, "wrong-type"), (r#"{"status":1}"#, "wrong-type")] {
        let refused = server.send("PATCH", "/v1/signals/S1", body);
        assert_eq!(refused.problem(), (422, code.to_owned()));
        assert_eq!(refused.json()["pointer"], "/status");
    }
    let refused = server.send("PUT", "/v1/signals/S2", &EURUSD.replace('{', r#"{"status":"paused","#));
    assert_eq!((refused.problem(), &refused.json()["pointer"]), ((422, "wrong-type".to_owned()), &json!("/status")));
}

/// A sender may be late, or give a signal no life at all.
#[test]
fn a_signal_ends_after_it_begins_and_one_whose_end_is_over_is_expired_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let put = |id: &str, times: &str| {
        server.send("PUT", &format!("/v1/signals/{id}"), &EURUSD.replacen('{', &format!("{{{times},"), 1))
    };
    let second = "2025-11-30T10:00:00";
    for (created_at, expires_at) in [("Z", "Z"), (".400Z", ".400Z"), (".400Z", "Z"), (".001Z", ".0009Z")] {
        let times = format!(r#""created_at":"{second}{created_at}","expires_at":"{second}{expires_at}""#);
        let refused = put("S2", &times);
        assert_eq!(refused.problem(), (422, "expiry-before-creation".to_owned()), "{times}");
        assert_eq!(refused.json()["pointer"], "/expires_at");
    }
    let lived = put("S3", &format!(r#""created_at":"{second}Z","expires_at":"{second}.001Z""#));
    let over = put("S4", &format!(r#""expires_at":"{second}Z""#));
    for (id, published, created_at) in [("S3", lived, "2025-11-30T10:00:00Z"), ("S4", over, "2025-11-30T09:00:00Z")] {
        assert_eq!((published.status, &published.json()["created_at"]), (201, &json!(created_at)), "{id}");
        let view = server.get(&VIEW.replace("S1", id)).json();
        assert_eq!(said(&view), (json!("expired"), json!(["expired"])), "{id}");
    }
    let patched = server.send("PATCH", "/v1/signals/S3", &format!(r#"{{"expires_at":"{second}Z"}}"#));
    assert_eq!(patched.problem(), (422, "expiry-before-creation".to_owned()));
}

#[test]
fn publishing_a_cancelled_signal_again_leaves_it_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let cancelled = server.send("PATCH", "/v1/signals/S1", r#"{"status":"cancelled"}"#).json();
    let as_active = EURUSD.replace('{', r#"{"status":"active","#);
    for body in [EURUSD, &as_active] {
        let again = server.send("PUT", "/v1/signals/S1", body);
        assert_eq!((again.status, again.json()), (200, cancelled.clone()));
    }
    // Another status is other content.
    let closed = server.send("PUT", "/v1/signals/S1", &EURUSD.replace('{', r#"{"status":"closed","#));
    assert_eq!(closed.problem(), (409, "conflict".to_owned()));
    let made = server.send("PUT", "/v1/signals/S2", &EURUSD.replace('{', r#"{"status":"cancelled","#));
    assert_eq!((made.status, &made.json()["status"]), (201, &json!("cancelled")));
}

#[test]
fn a_user_with_a_position_is_told_of_it_before_the_signal_is_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    server.send("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"fired"}"#);
    server.send("PATCH", "/v1/signals/S1", r#"{"status":"cancelled"}"#);
    assert_eq!(said(&server.get(VIEW).json()), (json!("fired"), json!(["already_fired", "signal_cancelled"])));
    let closed = r#"{"status":"closed","profit":"-12.50","result":"LOSS","ticket":7}"#;
    assert_eq!(server.send("PUT", "/v1/users/7/outcomes/S1", closed).status, 204);
    let outcome = server.get("/v1/users/7/outcomes/S1").json();
    assert_eq!(
        (&outcome["status"], &outcome["result"], &outcome["ticket"]),
        (&json!("closed"), &json!("loss"), &json!(7))
    );
    assert_eq!(outcome["profit"].to_string(), "-12.5");
    assert_eq!(said(&server.get(VIEW).json()), (json!("closed"), json!(["already_closed", "signal_cancelled"])));
    for (body, pointer) in [
        (r#"{"status":"closed","profit":"much"}"#, "/profit"),
        (r#"{"status":"closed","result":"won"}"#, "/result"),
        (r#"{"status":"over"}"#, "/status"),
    ] {
        let refused = server.send("PUT", "/v1/users/7/outcomes/S1", body);
        assert_eq!((refused.problem(), &refused.json()["pointer"]), ((422, "wrong-type".to_owned()), &json!(pointer)));
    }
}

#[test]
fn a_cancelled_signal_and_a_closed_outcome_come_back_from_an_export_as_they_were() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = server(folder.path());
    server.send("PATCH", "/v1/signals/S1", r#"{"status":"cancelled"}"#);
    server.send("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"closed","profit":3.25,"result":"win"}"#);
    drop(server);
    let lines = export(folder.path());
    assert!(lines.contains(r#""status":"cancelled""#) && lines.contains(r#""profit":3.25,"result":"win""#), "{lines}");
    let file = other.path().join("lines.ndjson");
    std::fs::write(&file, &lines).unwrap();
    for _ in 0..2 {
        done(run(other.path(), &["load", file.to_str().unwrap()]));
    }
    assert_eq!(export(other.path()), lines);
    let listed = done(run(other.path(), &["signal", "list", "--status", "active", "--json"]));
    assert_eq!(listed, "", "a cancelled signal is not active");
    assert!(done(run(other.path(), &["signal", "list"])).contains(" cancelled"));
}

/// Time alone makes it tradable, so its tag must change with time alone.
#[tokio::test]
async fn a_signal_from_the_future_becomes_tradable_with_time_and_so_does_its_tag() {
    let world = World::new();
    let created_at = start().plus_millis(60_001);
    let times = format!(r#"{{"created_at":"{created_at}","#);
    world.put_signal(&pips_signal("S1").replacen('{', &times, 1)).await;
    world.put_overlay(r#"{"user_id":"7","account_balance":10000,"risk_percent":2}"#).await;
    let reasons = async || {
        let view: Value = serde_json::from_str(&world.view("S1", "7").await.unwrap()).unwrap();
        said(&view)
    };
    assert_eq!(reasons().await, (json!("active"), json!(["not_yet_active"])));
    let early = world.view_tag("S1", "7").await;
    world.advance(1);
    assert_eq!(reasons().await, (json!("active"), json!([])));
    assert_ne!(world.view_tag("S1", "7").await, early);
}

/// The weak tag that a client sees, beside that of the service.
#[test]
fn a_client_that_holds_an_early_view_is_sent_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let far = EURUSD_PIPS.replacen('{', r#"{"created_at":"2099-01-01T00:00:00Z","#, 1);
    server.send("PUT", "/v1/signals/S2", &far);
    let view = server.get("/v1/users/7/missions/S2");
    assert_eq!(said(&view.json()).1, json!(["not_yet_active"]));
    let tag = view.header("etag").unwrap().to_owned();
    assert_eq!(server.send_with("GET", "/v1/users/7/missions/S2", &[("if-none-match", &tag)], b"").status, 304);
}

/// Each of these is a read that could show it.
#[test]
fn a_deleted_signal_is_gone_from_every_answer_with_its_outcomes() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    server.send("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"fired"}"#);
    assert_eq!(server.get(VIEW).status, 200, "and so it is in memory");
    let old = server.get("/v1/signals/S1").header("etag").unwrap().to_owned();
    assert_eq!(server.send("DELETE", "/v1/signals/S1", "").status, 204);
    for path in ["/v1/signals/S1", VIEW, "/v1/signals/S1/missions", "/v1/users/7/outcomes/S1"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
    assert_eq!(server.get("/v1/signals").json()["signals"], json!([]));
    assert_eq!(server.get("/v1/users/7/missions?status=all").json()["missions"], json!([]));
    assert_eq!(server.get("/v1/users/7/outcomes").json()["outcomes"], json!([]));
    for (method, path) in [("DELETE", "/v1/signals/S1"), ("DELETE", "/v1/users/7/outcomes/S1")] {
        assert_eq!(server.send(method, path, "").problem(), (404, "not-found".to_owned()));
    }
    // Published again it is another signal: no outcome, no tag of the old one.
    assert_eq!(server.send("PUT", "/v1/signals/S1", EURUSD).status, 201);
    assert_eq!(said(&server.get(VIEW).json()), (json!("active"), json!([])));
    assert_ne!(server.get("/v1/signals/S1").header("etag"), Some(old.as_str()));
    assert_eq!(server.get("/v1/users/7/outcomes/S1").status, 404);
    drop(server);
    let file = folder.path().join("overlaid.redb");
    assert_eq!(value(&done(run(folder.path(), &["verify", text(&file)])), "signals"), "1");
}

#[test]
fn the_number_of_a_deleted_signal_is_not_given_again() {
    let mut direct = Direct::new();
    let number = |direct: &Direct, id: &str| direct.signal(id).unwrap().number;
    let delete = |id: &str| Operation::DeleteSignal { id: signal_id(id), condition: Condition::None };
    for id in ["A", "B", "C"] {
        direct.put(signal(id));
    }
    for user in ["7", "8"] {
        direct.put(put_outcome(&format!(r#"{{"signal_id":"C","user_id":"{user}","status":"fired"}}"#), start()));
    }
    // The newest first: the number before it must not be taken for the last that was given.
    for id in ["C", "B"] {
        assert_eq!(direct.put(delete(id)).effect, Effect::Deleted);
    }
    direct = direct.restart();
    direct.put(signal("D"));
    assert_eq!((number(&direct, "A"), number(&direct, "D")), (0, 3));
    assert_eq!(direct.snapshot().outcomes().unwrap().count(), 0);
    assert_eq!(direct.snapshot().outcomes_of(&user_id("7"), None).unwrap().count(), 0);
    // In one commit too, with an outcome on the old one before, and on the new one after.
    let fired = put_outcome(r#"{"signal_id":"D","user_id":"7","status":"fired"}"#, start());
    let failed = put_outcome(r#"{"signal_id":"D","user_id":"8","status":"failed"}"#, start());
    let written = direct.together([fired, delete("D"), signal("D"), failed]);
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    assert_eq!(number(&direct, "D"), 4);
    let users: Vec<_> = direct.snapshot().outcomes_on(4).unwrap().map(|row| row.unwrap().outcome.user_id).collect();
    assert_eq!(users, [user_id("8")]);
}

#[test]
fn a_deleted_outcome_leaves_the_mission_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path());
    let before = server.get(VIEW);
    server.send("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"failed"}"#);
    assert_eq!(said(&server.get(VIEW).json()).0, json!("failed"));
    assert_eq!(server.send("DELETE", "/v1/users/7/outcomes/S1", "").status, 204);
    assert_eq!(said(&server.get(VIEW).json()), said(&before.json()));
    assert_eq!(server.get("/v1/users/7/outcomes/S1").status, 404);
    let absent = server.send("DELETE", "/v1/users/7/outcomes/S1", "");
    assert_eq!(absent.json()["detail"], "no outcome of signal S1 for user 7");
}

#[test]
fn the_outcomes_of_a_user_come_in_pages_newest_signal_first() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.get("/v1/users/7/outcomes").json(), json!({"outcomes": [], "next_cursor": null}));
    for id in ["A", "B", "C", "D", "E"] {
        server.send("PUT", &format!("/v1/signals/{id}"), EURUSD);
        server.send("PUT", &format!("/v1/users/70/outcomes/{id}"), r#"{"status":"fired"}"#);
    }
    // In another order than the signals came.
    for id in ["E", "A", "D", "B"] {
        server.send("PUT", &format!("/v1/users/7/outcomes/{id}"), r#"{"status":"fired"}"#);
    }
    let ids = |page: &Value| {
        let rows = page["outcomes"].as_array().unwrap().iter();
        rows.map(|row| row["signal_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids(&server.get("/v1/users/7/outcomes").json()), "E D B A");
    for (limit, pages) in [(1, vec!["E", "D", "B", "A"]), (3, vec!["E D B", "A"]), (4, vec!["E D B A"])] {
        let (mut read, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/v1/users/7/outcomes?limit={limit}{cursor}")).json();
            read.push(ids(&page));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(read, pages);
    }
    for query in ["cursor=x", "cursor=1.2", "limit=0", "status=fired"] {
        assert_eq!(server.get(&format!("/v1/users/7/outcomes?{query}")).status, 400, "{query}");
    }
}

/// Whether any byte of a file spells a text.
fn holds(file: &std::path::Path, text: &str) -> bool {
    std::fs::read(file).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_deleted_user_is_in_no_table_and_in_no_backup_that_is_made_after() {
    let folder = tempfile::tempdir().unwrap();
    let (data, before, after) =
        (folder.path().join("data"), folder.path().join("before.redb"), folder.path().join("after.redb"));
    let user = "user-to-forget";
    done(run(&data, &["load", crate::kit::SAMPLES]));
    let admin = create_token(&data, "admin");
    let own = create_token(&data, &format!("read:{user}"));
    let server = Server::start(&data, &[]);
    let bearer = format!("Bearer {admin}");
    let ask = |method: &str, path: &str, body: &str| {
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        server.send_with(method, path, &headers, body.as_bytes())
    };
    let (overlay, missions) = (format!("/v1/users/{user}/overlay"), format!("/v1/users/{user}/missions"));
    ask("PUT", &overlay, r#"{"account_balance":10000,"risk_percent":2}"#);
    let signals = ask("GET", "/v1/signals", "").json();
    let signals: Vec<_> = signals["signals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["signal_id"].as_str().unwrap().to_owned())
        .collect();
    for id in &signals {
        assert_eq!(ask("PUT", &format!("/v1/users/{user}/outcomes/{id}"), r#"{"status":"fired"}"#).status, 201);
        // In memory, with the outcome.
        assert_eq!(ask("GET", &format!("{missions}/{id}"), "").json()["mission"]["status"], "fired");
    }
    assert_eq!(server.get_as(&own, &overlay).status, 200);
    done(run(&data, &["backup", text(&before), "--server", &server.address.to_string(), "--token", &admin]));
    assert!(holds(&before, user));

    let tag = ask("GET", &overlay, "").header("etag").unwrap().to_owned();
    let conditional = |tag: &str| {
        server.send_with("DELETE", &format!("/v1/users/{user}"), &[("authorization", &bearer), ("if-match", tag)], b"")
    };
    assert_eq!(conditional("\"x\"").status, 412);
    assert_eq!(conditional(&tag).status, 204);
    for path in [&overlay, &missions] {
        assert_eq!(ask("GET", path, "").status, 404, "{path}");
    }
    for id in &signals {
        assert_eq!(ask("GET", &format!("/v1/users/{user}/outcomes/{id}"), "").status, 404);
        let all = ask("GET", &format!("/v1/signals/{id}/missions?limit=1000"), "").body;
        assert!(!all.contains(user));
    }
    assert_eq!(ask("GET", &format!("/v1/users/{user}/outcomes"), "").json()["outcomes"], json!([]));
    // Whoever has the id next is not read by the old token, which counts as revoked.
    assert_eq!(server.get_as(&own, &overlay).status, 401);
    assert_eq!(ask("DELETE", &format!("/v1/users/{user}"), "").problem(), (404, "not-found".to_owned()));
    done(run(&data, &["backup", text(&after), "--server", &server.address.to_string(), "--token", &admin]));
    assert!(!holds(&after, user), "the backup has no byte of it");
    drop(server);
    assert!(!export(&data).contains(user));
    assert_eq!(value(&done(run(&data, &["verify", text(&after)])), "overlays"), "25");
}

#[tokio::test]
async fn a_user_of_whom_there_are_only_outcomes_can_be_deleted_too() {
    let world = World::new();
    let delete = || Operation::DeleteUser { user: user_id("7"), condition: Condition::Exists };
    assert_eq!(world.write(delete()).await.unwrap_err().to_string(), "no user 7");
    world.put_signal(&pips_signal("S1")).await;
    world.put_outcome(r#"{"signal_id":"S1","user_id":"7","status":"fired"}"#).await;
    world.put_outcome(r#"{"signal_id":"S1","user_id":"70","status":"fired"}"#).await;
    world.service.read_signal(&signal_id("S1")).unwrap();
    assert_eq!(world.write(delete()).await.unwrap().effect, Effect::Deleted);
    let signal = world.service.read_signal(&signal_id("S1")).unwrap().unwrap();
    assert_eq!(signal.outcomes().iter().map(|stored| stored.outcome.user_id.as_str()).collect::<Vec<_>>(), ["70"]);
    let scopes = vec![Scope::Read, Scope::ReadUser(user_id("7"))];
    world.service.create_token(TokenDraft { scopes, name: String::new(), expires: None }).await.unwrap();
    world.write(delete()).await.unwrap();
    let tokens = world.service.tokens();
    assert_eq!(tokens.iter().map(|token| token.scopes.clone()).collect::<Vec<_>>(), [vec![Scope::Read]]);
    assert_eq!(world.write(delete()).await.unwrap_err().to_string(), "no user 7");
}

#[tokio::test]
async fn pruning_removes_what_expired_before_and_nothing_else() {
    let world = World::new();
    for number in 0..200 {
        let (created_at, expires_at) = (start().plus_millis(number * 1_000 - 1), start().plus_millis(number * 1_000));
        let times = format!(r#"{{"created_at":"{created_at}","expires_at":"{expires_at}","#);
        world.put_signal(&pips_signal(format!("S{number}")).replacen('{', &times, 1)).await;
    }
    for user in 0..1_500 {
        let outcome = format!(r#"{{"signal_id":"S{}","user_id":"{user}","status":"fired"}}"#, user % 3);
        world.service.submit(put_outcome(&outcome, start())).unwrap().done().await.unwrap();
    }
    // None is expired now before it expires, whatever is asked for.
    world.advance(9_000);
    assert_eq!(
        world.service.prune(start().plus_millis(1_000_000)).await.unwrap(),
        Pruned { signals: 9, outcomes: 1_500, is_more: false }
    );
    world.advance(1_000_000);
    assert_eq!(world.service.prune(start().plus_millis(9_000)).await.unwrap(), Pruned::default());
    assert_eq!(
        world.service.prune(start().plus_millis(150_000)).await.unwrap(),
        Pruned { signals: 141, outcomes: 0, is_more: false }
    );
    let snapshot = world.service.snapshot().unwrap();
    let left = snapshot.signals().unwrap().map(|row| row.unwrap().signal.id.to_string());
    assert!(left.eq((150..200).map(|number| format!("S{number}"))));
    assert_eq!(snapshot.counts().unwrap().outcomes, 0);
}

/// Signals that expired long ago, an hour ago, and one that is active.
const OF_ALL_AGES: &str = r#"{"signal":{"signal_id":"OLD","symbol":"EURUSD","direction":"BUY","stop_pips":20,"expires_at":"2020-01-01T00:00:00Z"}}
{"signal":{"signal_id":"OLDER","symbol":"EURUSD","direction":"BUY","stop_pips":20,"expires_at":"2019-01-01T00:00:00Z"}}
{"signal":{"signal_id":"NEW","symbol":"EURUSD","direction":"BUY","stop_pips":20,"expires_at":"2099-01-01T00:00:00Z"}}
{"outcome":{"signal_id":"OLDER","user_id":"7","status":"fired"}}
{"outcome":{"signal_id":"OLD","user_id":"7","status":"fired"}}
"#;

#[test]
fn the_prune_command_says_how_much_it_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, lines) = (folder.path().join("data"), folder.path().join("lines.ndjson"));
    std::fs::write(&lines, OF_ALL_AGES).unwrap();
    done(run(&data, &["load", text(&lines)]));
    let prune = |before: &str| run(&data, &["prune", "--before", before]);
    for (before, signals, outcomes) in
        [("2019-06-01", "1", "1"), ("90d", "1", "1"), ("90d", "0", "0"), ("1s", "0", "0")]
    {
        let report = done(prune(before));
        assert_eq!(
            (value(&report, "signals"), value(&report, "outcomes")),
            (signals.into(), outcomes.into()),
            "{before}"
        );
    }
    assert!(export(&data).contains("NEW"));
    let refused = prune("2099-06-01");
    assert_eq!(code(&refused), 1);
    assert!(error(&refused).contains("still to come"), "{refused:?}");
    assert_eq!(code(&prune("long ago")), 2);
}

#[test]
fn a_server_that_keeps_signals_for_so_long_removes_the_older_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (data, lines) = (folder.path().join("data"), folder.path().join("lines.ndjson"));
    std::fs::write(&lines, OF_ALL_AGES).unwrap();
    done(run(&data, &["load", text(&lines)]));
    let server = Server::start(&data, &["--keep-signals", "365d", "--log-format", "json"]);
    let line = server.logged(|line| line["message"] == "signals that expired long ago were removed");
    assert_eq!((&line["signals"], &line["outcomes"]), (&json!(2), &json!(2)));
    let left = server.get("/v1/signals").json();
    assert_eq!((left["signals"].as_array().unwrap().len(), &left["signals"][0]["signal_id"]), (1, &json!("NEW")));
}

#[test]
fn a_command_cancels_or_closes_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    drop(server(folder.path()));
    for (command, status) in [("cancel", "cancelled"), ("close", "closed")] {
        let shown = done(run(folder.path(), &["signal", command, "S1"]));
        assert!(shown.contains(&format!(r#""status":"{status}""#)), "{shown}");
        assert_eq!(done(run(folder.path(), &["signal", "get", "S1"])), shown);
        let absent = run(folder.path(), &["signal", command, "S2"]);
        assert_eq!((code(&absent), error(&absent)), (1, "overlaid: no signal S2\n".to_owned()));
    }
}
