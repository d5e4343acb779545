//! Tokens while the server runs: made, used, expired, revoked, and deleted, each effective at once.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::kit::{Answer, Connection, ServedWorld, Server, World, create_token, request, run_token, skipped};

const TOKENS: &str = "/v1/admin/tokens";
const VIEW: &str = "/v1/users/7/missions/S1";
const JSON: (&str, &str) = ("content-type", "application/json");
const MINUTE_MS: i64 = 60_000;

/// A part of a token that was made.
#[track_caller]
fn part(made: &Answer, name: &str) -> String {
    assert_eq!(made.status, 201, "{made:?}");
    made.json()[name].as_str().unwrap().to_owned()
}

/// Makes a token with another one; with none while access is open.
#[track_caller]
fn make(server: &Server, admin: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {admin}");
    let fields = [JSON, ("authorization", &bearer)];
    server.send_with("POST", TOKENS, &fields[..2 - usize::from(admin.is_empty())], body.as_bytes())
}

#[track_caller]
fn delete(server: &Server, admin: &str, path: &str) -> Answer {
    server.send_with("DELETE", path, &[("authorization", &format!("Bearer {admin}"))], b"")
}

/// Clients read all the time; tokens come and go beside them.
#[test]
fn tokens_are_made_and_revoked_under_load_without_a_failed_request_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with_mission(folder.path());
    let admin = part(&make(&server, "", r#"{"scopes":["admin"]}"#), "token");
    let reader = part(&make(&server, &admin, r#"{"scopes":["read"],"name":"bot"}"#), "token");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let asked = request("GET", VIEW, &[("authorization", &format!("Bearer {reader}"))], "");
                    let mut connection = Connection::to(server.address);
                    let mut answers = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        connection.send(&asked);
                        assert_eq!(connection.answer().status, 200);
                        answers += 1;
                    }
                    answers
                })
            })
            .collect();
        for round in 0..40 {
            let made = make(&server, &admin, &format!(r#"{{"scopes":["read:7"],"name":"{round}"}}"#));
            let (token, id) = (part(&made, "token"), part(&made, "id"));
            assert_eq!(server.get_as(&token, VIEW).status, 200, "effective at once");
            assert_eq!(delete(&server, &admin, &format!("{TOKENS}/{id}")).status, 204);
            assert_eq!(server.get_as(&token, VIEW).problem(), (401, "unauthorized".to_owned()), "revoked at once");
        }
        is_over.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}

#[test]
fn the_first_token_closes_access_and_only_the_deletion_of_all_opens_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with_mission(folder.path());
    assert_eq!(server.get(VIEW).status, 200);
    let made = make(&server, "", r#"{"scopes":["admin"]}"#);
    let (admin, id) = (part(&made, "token"), part(&made, "id"));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert_eq!(server.get(VIEW).problem(), (401, "unauthorized".to_owned()));
    assert_eq!(server.get_as(&admin, VIEW).status, 200);
    let second = part(&make(&server, &admin, r#"{"scopes":["admin"]}"#), "token");
    for _ in 0..2 {
        assert_eq!(delete(&server, &second, &format!("{TOKENS}/{id}")).status, 204);
    }
    assert_eq!(server.get_as(&admin, TOKENS).status, 401);
    assert_eq!(delete(&server, &second, &format!("{TOKENS}/nobody")).problem(), (404, "not-found".to_owned()));

    assert_eq!(delete(&server, &second, TOKENS).body, r#"{"deleted":2}"#);
    assert_eq!(server.get(VIEW).status, 200);
    assert_eq!(server.get_as(&second, VIEW).status, 200, "no token is looked at");
    let last = make(&server, "", r#"{"scopes":["admin"]}"#);
    let (last, id) = (part(&last, "token"), part(&last, "id"));
    assert_eq!(delete(&server, &last, &format!("{TOKENS}/{id}")).status, 204);
    assert_eq!(
        [server.get(VIEW).status, server.get_as(&last, VIEW).status],
        [401, 401],
        "nobody is let in by accident"
    );
}

#[test]
fn tokens_are_listed_in_pages_without_their_texts_and_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let admin = create_token(folder.path(), "admin");
    let server = Server::start(folder.path(), &[]);
    let mut made = vec![admin.clone()];
    for body in [r#"{"scopes":["read:7","write"],"name":"Ann \"A\"","expires":"90d"}"#, r#"{"scopes":["metrics"]}"#] {
        made.push(part(&make(&server, &admin, body), "token"));
    }
    let all = server.get_as(&admin, TOKENS).json()["tokens"].clone();
    let ids: Vec<_> = made.iter().map(|token| token.split('_').nth(1).unwrap()).collect();
    assert_eq!(all.as_array().unwrap().len(), 3);
    let of = |id: &str| all.as_array().unwrap().iter().find(|token| token["id"] == id).unwrap().clone();
    let (ann, used) = (of(ids[1]), of(ids[0]));
    assert_eq!((&ann["name"], &ann["revoked"]), (&Value::from(r#"Ann "A""#), &Value::from(false)));
    assert_eq!(ann["scopes"], serde_json::json!(["read:7", "write"]));
    assert!(ann["expires_at"].is_string() && ann["last_used_at"].is_null(), "{ann}");
    assert!(used["expires_at"].is_null() && used["last_used_at"].is_string(), "{used}");
    let text = all.to_string();
    assert!(made.iter().all(|token| !text.contains(&token[13..])), "no secret is shown");

    let (mut paged, mut path) = (Vec::new(), format!("{TOKENS}?limit=2"));
    loop {
        let page = server.get_as(&admin, &path).json();
        paged.extend(page["tokens"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("{TOKENS}?limit=2&cursor={cursor}");
    }
    assert_eq!(Value::from(paged), all);
    drop(server);
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.get_as(&admin, TOKENS).json()["tokens"].as_array().unwrap().len(), 3);
    assert_eq!(server.get_as(&made[2], "/metrics").status, 200);
    drop(server);
    assert!(run_token(folder.path(), &["list"]).contains(r#"Ann "A""#));
}

#[test]
fn an_expired_token_is_told_apart_from_an_unknown_one_and_access_stays_closed() {
    let served = ServedWorld::new(World::new(), "127.0.0.1");
    let made = served.send("", "POST", TOKENS, r#"{"scopes":["admin"],"name":"short","expires":"30m"}"#);
    let token = part(&made, "token");
    assert_eq!(part(&made, "expires_at"), "2026-01-31T12:30:00Z");
    served.world.advance(30 * MINUTE_MS - 1);
    assert_eq!(served.send(&token, "GET", TOKENS, "").status, 200);
    served.world.advance(1);
    let refused = served.send(&token, "GET", TOKENS, "");
    assert_eq!(refused.problem(), (401, "token-expired".to_owned()));
    assert_eq!(refused.json()["detail"], "the token expired at 2026-01-31T12:30:00Z");
    assert_eq!(refused.header("www-authenticate"), Some(r#"Bearer realm="overlaid", error="invalid_token""#));
    let wrong = format!("{}0", &token[..token.len() - 1]);
    let wrong = if wrong == token { format!("{}1", &token[..token.len() - 1]) } else { wrong };
    assert_eq!(
        served.send(&wrong, "GET", TOKENS, "").problem(),
        (401, "unauthorized".to_owned()),
        "a guess learns no more"
    );
    assert_eq!(served.send("", "GET", TOKENS, "").status, 401, "nobody is let in by accident");
    let over = served.block_on(async { served.world.service.tokens() });
    assert!(over[0].is_expired(served.world.service.now()));
}

#[test]
fn a_token_that_would_be_over_is_not_made() {
    let served = ServedWorld::new(World::new(), "127.0.0.1");
    let past = served.send("", "POST", TOKENS, r#"{"scopes":["admin"],"expires":"2026-01-31T12:00:00Z"}"#);
    assert_eq!((past.problem(), past.json()["pointer"].as_str()), ((422, "out-of-range".to_owned()), Some("/expires")));
    assert_eq!(served.send("", "GET", TOKENS, "").body, r#"{"tokens":[],"next_cursor":null}"#, "access is open still");
}

/// Requests are many, and a write each would be the end of the disk.
#[test]
fn the_file_learns_once_an_hour_that_a_token_is_used() {
    let served = ServedWorld::new(World::new(), "127.0.0.1");
    let token = part(&served.send("", "POST", TOKENS, r#"{"scopes":["admin"]}"#), "token");
    let used =
        || served.send(&token, "GET", TOKENS, "").json()["tokens"][0]["last_used_at"].as_str().unwrap().to_owned();
    let stored = || {
        // Behind the note, as the writer takes them in order.
        served.block_on(served.world.put_rate(r#"{"pair":"EURUSD","price":1}"#));
        let snapshot = served.world.service.snapshot().unwrap();
        snapshot.tokens().unwrap()[0].last_used_at.unwrap().to_string()
    };
    assert_eq!((used(), stored()), ("2026-01-31T12:00:00Z".to_owned(), "2026-01-31T12:00:00Z".to_owned()));
    for _ in 0..59 {
        served.world.advance(MINUTE_MS);
        used();
    }
    assert_eq!((used(), stored()), ("2026-01-31T12:59:00Z".to_owned(), "2026-01-31T12:00:00Z".to_owned()));
    served.world.advance(MINUTE_MS);
    assert_eq!((used(), stored()), ("2026-01-31T13:00:00Z".to_owned(), "2026-01-31T13:00:00Z".to_owned()));
}

/// A server that listens on all addresses may lose its tokens while it runs.
#[test]
fn without_a_token_other_machines_are_refused_whatever_they_say_their_host_is() {
    // No packet is sent: the system only says which of its addresses it would use.
    let other = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect("192.0.2.1:9").and(socket.local_addr()));
    let Some(address) = other.ok().filter(|address| !address.ip().is_loopback()) else {
        return skipped("this machine has no other address than loopback");
    };
    let served = ServedWorld::new(World::new(), "0.0.0.0");
    let ask = |address: SocketAddr| {
        let mut connection = Connection::to(address);
        connection.send(request("GET", "/v1/rates", &[], ""));
        connection.answer()
    };
    assert_eq!(ask(served.address).status, 200);
    let refused = ask(SocketAddr::new(address.ip(), served.address.port()));
    assert_eq!(refused.problem(), (403, "local-only".to_owned()));
}
