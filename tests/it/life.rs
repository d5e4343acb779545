//! A signal's whole life, and what is left of a user: withdrawn, closed, removed, forgotten.

use serde_json::{Value, json};

use crate::kit::{EURUSD, EURUSD_PIPS, Server, World, done, export, pips_signal, run, start};

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
    let listed = done(run(other.path(), &["signal", "list", "--active", "--json"]));
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
