//! Following changes: a client that keeps what it read, and reads again what it is told of, is never behind; and it is
//! told of nothing that it may not see.

mod model;

use std::io::{BufRead as _, BufReader, Lines};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use insta::assert_snapshot;
use overlaid::domain::{Expiry, RecordKey, Scope, TokenDraft};
use overlaid::service::Service;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::kit::{
    Answer, Connection, EURUSD, Event, Events, OVERLAY, SIGNAL, ServedWorld, Server, World, batch, create_token, done,
    error, overlay, patch_signal, program, put_rate, request, run, run_token, shown, signal, signal_id, start,
};

/// As long as a long poll may wait; no test waits for the end of it.
const WAIT: &str = "wait=50";

fn cursor(answer: &Answer) -> String {
    answer.json()["cursor"].as_str().unwrap().to_owned()
}

/// What an answer or an event names, with numbers counted from the first one.
fn named(page: &Value) -> String {
    let changes = page["changes"].as_array().unwrap();
    let text = |change: &Value, name: &str| change[name].as_str().unwrap().to_owned();
    let first = changes.first().map_or(0, |change| change["seq"].as_u64().unwrap());
    let line = |change: &Value| {
        let deleted = if change["deleted"] == true { " deleted" } else { "" };
        let seq = change["seq"].as_u64().unwrap() - first;
        format!("{} {} +{seq}{deleted}", text(change, "kind"), text(change, "key"))
    };
    let lines: Vec<_> = changes.iter().map(line).collect();
    let reset = if page["reset"] == true { "reset " } else { "" };
    format!("{reset}{}", lines.join(", "))
}

/// Asks for changes, as the holder of a token unless that is empty.
fn ask(server: &Server, token: &str, query: &str) -> Answer {
    let path = format!("/v1/changes{query}");
    if token.is_empty() { server.get(&path) } else { server.get_as(token, &path) }
}

/// Sends a long poll that waits.
fn poll(address: SocketAddr, token: &str, since: &str) -> Connection {
    let mut connection = Connection::to(address);
    let bearer = format!("Bearer {token}");
    let fields: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", &bearer)] };
    connection.send(request("GET", &format!("/v1/changes?since={since}&{WAIT}"), fields, ""));
    connection
}

fn put_signal(server: &Server, id: &str) {
    assert_eq!(server.send("PUT", &format!("/v1/signals/{id}"), EURUSD).status, 201);
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").body;
    let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn every_record_that_changed_is_named_once_at_its_newest_number() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let before = cursor(&server.get("/v1/changes"));
    put_signal(&server, "S1");
    server.put_balance(7, 100);
    server.send("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"fired"}"#);
    server.send("PUT", "/v1/rates/GBPUSD", r#"{"price":1.34}"#);
    server.put_balance(8, 100);
    server.put_balance(7, 200);
    // What changes nothing is no change.
    server.put_balance(7, 200);
    server.send("DELETE", "/v1/users/8", "");
    let page = ask(&server, "", &format!("?since={before}"));
    assert_eq!(page.header("content-type"), Some("application/json"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_snapshot!(named(&page.json()), @"signal S1 +0, outcome 7/S1 +2, rate GBPUSD +3, overlay 7 +5, overlay 8 +6 deleted");
    assert_eq!(named(&ask(&server, "", &format!("?since={}", cursor(&page))).json()), "");

    let mut all = Vec::new();
    let mut since = before;
    loop {
        let page = ask(&server, "", &format!("?since={since}&limit=2"));
        if page.json()["changes"] == Value::Array(Vec::new()) {
            break;
        }
        all.push(named(&page.json()));
        since = cursor(&page);
    }
    assert_snapshot!(all.join("\n"), @r"
    signal S1 +0, outcome 7/S1 +2
    rate GBPUSD +0, overlay 7 +2
    overlay 8 +0 deleted
    ");

    server.send("DELETE", "/v1/signals/S1", "");
    server.send("DELETE", "/v1/users/7/overlay", "");
    assert_snapshot!(named(&ask(&server, "", &format!("?since={since}")).json()), @"outcome 7/S1 +0 deleted, signal S1 +1 deleted, overlay 7 +2 deleted");
}

/// Others write in between, and the head of an import's answer comes before its end.
#[test]
fn an_import_and_a_prune_name_the_cursor_from_which_all_that_they_change_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    server.put_balance(6, 100);
    let follow = |answer: &Answer| {
        let since = answer.header("overlaid-cursor").unwrap();
        named(&ask(&server, "", &format!("?since={since}")).json())
    };
    let line = |user: u32| format!("{{\"overlay\":{{\"user_id\":\"{user}\",\"account_balance\":1}}}}\n");
    let whole = server.import(&(line(7) + &line(8)));
    assert_eq!((whole.status, follow(&whole).as_str()), (200, "overlay 7 +0, overlay 8 +1"));
    assert_eq!(follow(&server.import("")), "");
    let refused = server.import("{}\n");
    assert_eq!((refused.status, follow(&refused).as_str()), (422, ""));

    let mut connection = server.connect();
    let fields = [("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked")];
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    connection.send(request("POST", "/v1/import", &fields, ""));
    // The body that a client goes on to send while it reads the answer.
    connection.send(chunk(&line(9).repeat(2_000)));
    let head = connection.head();
    assert_eq!(head.status, 200);
    server.put_balance(10, 100);
    connection.send(chunk(&line(11)) + &chunk(""));
    while !connection.try_chunk().unwrap().is_empty() {}
    assert_eq!(follow(&head), "overlay 9 +0, overlay 10 +1, overlay 11 +2");

    let times = r#","created_at":"2025-01-01T00:00:00Z","expires_at":"2025-01-02T00:00:00Z"}"#;
    for id in ["S1", "S2"] {
        server.send("PUT", &format!("/v1/signals/{id}"), &EURUSD.replace('}', times));
    }
    let prune = || server.send("POST", "/v1/admin/prune?before=2025-02-01T00:00:00Z", "");
    let pruned = prune();
    server.put_balance(12, 100);
    assert_eq!(pruned.json()["signals"], 2);
    assert_eq!(follow(&pruned), "signal S1 +0 deleted, signal S2 +1 deleted, overlay 12 +2");
    assert_eq!(follow(&prune()), "");
}

#[test]
fn a_cursor_that_is_not_good_gets_a_reset() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let empty = cursor(&server.get("/v1/changes"));
    server.put_balance(7, 100);
    let first = cursor(&server.get("/v1/changes"));
    server.put_balance(7, 200);
    let last = cursor(&server.get("/v1/changes"));
    let (run, seq) = last.split_once('-').unwrap();
    let of_another_run = format!("{run}0-{seq}");
    let of_the_future = format!("{run}-{seq}0");
    for bad in ["", "x", "1-1", &of_another_run[1..], &of_the_future, &last.to_uppercase().replace('-', "_")] {
        let page = ask(&server, "", &format!("?since={bad}&{WAIT}"));
        assert_eq!(
            (page.status, named(&page.json()), cursor(&page)),
            (200, "reset ".to_owned(), last.clone()),
            "{bad}"
        );
    }
    for good in [&empty, &first, &last] {
        let page = ask(&server, "", &format!("?since={good}"));
        assert_eq!(page.json().get("reset"), None, "{good}");
    }

    // The ring is empty after a start. The state that was found has the same cursor as before.
    server.terminate();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(cursor(&server.get("/v1/changes")), last);
    assert_eq!(named(&ask(&server, "", &format!("?since={first}")).json()), "reset ");
    assert_eq!(named(&ask(&server, "", &format!("?since={last}")).json()), "");
    server.put_balance(7, 300);
    assert_eq!(named(&ask(&server, "", &format!("?since={last}")).json()), "overlay 7 +0");
}

/// The old state had other changes of the same numbers.
#[test]
fn cursors_of_changes_that_a_restore_has_undone_get_a_reset() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    server.put_balance(7, 100);
    let kept = cursor(&server.get("/v1/changes"));
    let backup = folder.path().join("backup.redb");
    done(run(folder.path(), &["backup", backup.to_str().unwrap()]));
    server.put_balance(8, 100);
    let undone = cursor(&server.get("/v1/changes"));
    server.terminate();
    done(run(folder.path(), &["restore", backup.to_str().unwrap()]));
    let server = Server::start(folder.path(), &[]);
    assert_eq!(named(&ask(&server, "", &format!("?since={undone}")).json()), "reset ");
    assert_eq!(named(&ask(&server, "", &format!("?since={kept}")).json()), "");
    server.put_balance(9, 100);
    assert_eq!(named(&ask(&server, "", &format!("?since={undone}")).json()), "reset ", "of the same number");
    assert_eq!(named(&ask(&server, "", &format!("?since={kept}")).json()), "overlay 9 +0");
}

#[test]
fn a_long_poll_waits_for_a_change_that_the_caller_may_see() {
    let folder = tempfile::tempdir().unwrap();
    let [admin, own, read] = ["admin", "read:7", "read"].map(|scope| create_token(folder.path(), scope));
    let server = Server::start(folder.path(), &[]);
    let send = |method: &str, path: &str, body: &str| {
        let fields = [("content-type", "application/json"), ("authorization", &*format!("Bearer {admin}"))];
        server.send_with(method, path, &fields, body.as_bytes()).status
    };
    let since = cursor(&ask(&server, &own, ""));
    let mut all = poll(server.address, &read, &since);
    let mut user = poll(server.address, &own, &since);
    assert_eq!(user.head().status, 200, "the head comes at once");
    assert_eq!(send("PUT", "/v1/users/8/overlay", r#"{"account_balance":1}"#), 201);
    assert_eq!(named(&all.answer().json()), "overlay 8 +0");
    assert_eq!(send("PUT", "/v1/users/7/overlay", r#"{"account_balance":1}"#), 201);
    let page: Value = serde_json::from_slice(&user.try_chunk().unwrap()).unwrap();
    assert_eq!(named(&page), "overlay 7 +0");
    assert_eq!(user.try_chunk().unwrap(), b"");

    assert_eq!(send("PUT", "/v1/signals/S1", EURUSD), 201);
    assert_eq!(send("PUT", "/v1/users/8/outcomes/S1", r#"{"status":"fired"}"#), 201);
    assert_eq!(send("PUT", "/v1/users/7/outcomes/S1", r#"{"status":"fired"}"#), 201);
    assert_eq!(send("PUT", "/v1/rates/GBPUSD", r#"{"price":1.34}"#), 201);
    // The use of a token is noted in between, so numbers are left out.
    let seen = |token: &str| {
        let page = ask(&server, token, &format!("?since={since}")).json();
        let keys: Vec<_> = page["changes"].as_array().unwrap().iter().map(|change| change["key"].clone()).collect();
        Value::from(keys).to_string()
    };
    assert_snapshot!(seen(&own), @r#"["7","S1","7/S1","GBPUSD"]"#);
    assert_snapshot!(seen(&read), @r#"["8","7","S1","8/S1","7/S1","GBPUSD"]"#);
    for scope in ["write", "metrics"] {
        let token = run_token_of(&server, &admin, scope);
        assert_eq!(ask(&server, &token, "").problem(), (403, "forbidden".to_owned()));
    }
    assert_eq!(ask(&server, "", "").status, 401);
}

/// Makes a token on a running server.
fn run_token_of(server: &Server, admin: &str, scope: &str) -> String {
    let fields = [("content-type", "application/json"), ("authorization", &*format!("Bearer {admin}"))];
    let body = format!(r#"{{"scopes":["{scope}"]}}"#);
    let made = server.send_with("POST", "/v1/admin/tokens", &fields, body.as_bytes());
    made.json()["token"].as_str().unwrap().to_owned()
}

#[test]
fn a_stream_tells_each_change_as_an_event_and_goes_on_from_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut events = Events::follow(server.address, "/v1/changes", &[]);
    for (name, value) in [("cache-control", "no-store"), ("x-accel-buffering", "no"), ("vary", "accept")] {
        assert_eq!(events.head.header(name), Some(value));
    }
    let Event { id: start, data } = events.next().unwrap();
    assert_eq!(named(&data), "", "the present cursor");
    put_signal(&server, "S1");
    let first = events.next().unwrap();
    assert_eq!(named(&first.data), "signal S1 +0");
    drop(events);
    put_signal(&server, "S2");
    // A browser asks for the same address as before, and says in the header how far it came.
    let target = format!("/v1/changes?since={start}");
    let mut events = Events::follow(server.address, &target, &[("last-event-id", &first.id)]);
    assert_eq!(named(&events.next().unwrap().data), "signal S2 +0");
    let mut events = Events::follow(server.address, &target, &[]);
    assert_eq!(named(&events.next().unwrap().data), "signal S1 +0, signal S2 +1");
    let mut events = Events::follow(server.address, &format!("{target}&limit=1"), &[]);
    assert_eq!(named(&events.next().unwrap().data), "signal S1 +0");
    assert_eq!(named(&events.next().unwrap().data), "signal S2 +0");
    let mut events = Events::follow(server.address, &target, &[("last-event-id", "what\u{e9}ver")]);
    assert_eq!(named(&events.next().unwrap().data), "reset ");
    put_signal(&server, "S3");
    assert_eq!(named(&events.next().unwrap().data), "signal S3 +0", "it goes on from there");
    let fields = [("accept", "text/event-stream")];
    let refused = server.send_with("GET", "/v1/changes?wait=1", &fields, b"");
    assert_eq!(refused.problem(), (400, "invalid-parameter".to_owned()));
}

#[test]
fn followers_end_when_their_access_does() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut open = Events::follow(server.address, "/v1/changes", &[]);
    open.next().unwrap();
    let admin = run_token(folder.path(), &["create", "--scope", "admin"]);
    assert!(open.next().is_none(), "no token was needed when it began");

    let own = run_token_of(&server, &admin, "read:7");
    let bearer = format!("Bearer {own}");
    let fields = [("authorization", &*bearer)];
    let mut stream = Events::follow(server.address, "/v1/changes", &fields);
    let since = stream.next().unwrap().id;
    let mut waiting = poll(server.address, &own, &since);
    assert_eq!(waiting.head().status, 200);
    run_token(folder.path(), &["revoke", own.split('_').nth(1).unwrap()]);
    assert!(stream.next().is_none());
    let page: Value = serde_json::from_slice(&waiting.try_chunk().unwrap()).unwrap();
    assert_eq!(named(&page), "");
    assert_eq!(ask(&server, &own, "").status, 401, "the next request is told why");
}

/// A write that follows shows that the tokens were asked, and not the moment.
#[test]
fn a_token_that_expires_ends_its_follower() {
    let served = ServedWorld::new(World::new(), "127.0.0.1");
    let draft = TokenDraft {
        scopes: vec![Scope::Read],
        name: String::new(),
        expires: Some(Expiry::After(Duration::from_mins(1))),
    };
    let (token, _) = served.block_on(served.world.service.create_token(draft)).unwrap();
    let fields = [("authorization", &*format!("Bearer {token}"))];
    let mut events = Events::follow(served.address, "/v1/changes", &fields);
    events.next().unwrap();
    served.block_on(served.world.put_signal(SIGNAL));
    assert_eq!(named(&events.next().unwrap().data), "signal S1 +0");
    served.world.advance(60_000);
    served.block_on(served.world.put_overlay(OVERLAY));
    assert!(events.next().is_none());
}

#[test]
fn a_server_that_stops_waits_for_no_follower() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let since = cursor(&server.get("/v1/changes"));
    let mut stream = Events::follow(server.address, "/v1/changes", &[]);
    stream.next().unwrap();
    let mut waiting = poll(server.address, "", &since);
    assert_eq!(waiting.head().status, 200);
    assert_eq!(metric(&server, "overlaid_followers"), 2);
    assert_eq!(server.terminate(), Some(0));
    assert!(stream.next().is_none(), "it ends as an answer does");
    stream.connection.closed();
    assert!(!waiting.try_chunk().unwrap().is_empty());
    assert_eq!(waiting.try_chunk().unwrap(), b"");
    let dropped = "dropping connections that did not end in time";
    assert!(server.rest_of_log().iter().all(|event| event["message"] != dropped));
}

/// Each has a token of its own user.
#[test]
fn a_thousand_followers_are_told_at_once() {
    const FOLLOWERS: usize = 1_000;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let admin = run_token(folder.path(), &["create", "--scope", "admin"]);
    let own = run_token_of(&server, &admin, "read:7");
    let bearer = format!("Bearer {own}");
    let mut all: Vec<_> =
        (0..FOLLOWERS).map(|_| Events::follow(server.address, "/v1/changes", &[("authorization", &bearer)])).collect();
    for events in &mut all {
        events.next().unwrap();
    }
    let write = |path: &str, body: &str| {
        let fields = [("content-type", "application/json"), ("authorization", &*format!("Bearer {admin}"))];
        assert_eq!(server.send_with("PUT", path, &fields, body.as_bytes()).status, 201);
    };
    write("/v1/users/8/overlay", r#"{"account_balance":1}"#);
    write("/v1/signals/S1", EURUSD);
    for events in &mut all {
        assert_eq!(named(&events.next().unwrap().data), "signal S1 +0");
    }
    assert_eq!(server.get_as(&admin, "/metrics").body.matches("overlaid_followers 1000\n").count(), 1);
}

/// What they do not take is counted as memory of answers. Others go on meanwhile, and come back if they were the ones.
#[test]
fn followers_that_read_nothing_are_cut_off_and_nobody_waits_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--answers-memory", "256KiB"]);
    let _slow: Vec<_> = (0..8).map(|_| Events::follow(server.address, "/v1/changes", &[])).collect();
    let mut last = cursor(&server.get("/v1/changes"));
    let follow = |last: &str| Events::follow(server.address, &format!("/v1/changes?limit=100&since={last}"), &[]);
    let mut reader = follow(&last);
    let padding = "x".repeat(100);
    // More than the kernel takes for a client that does not read.
    for balance in 1.. {
        let line =
            |user| format!("{{\"overlay\":{{\"user_id\":\"{padding}{user}\",\"account_balance\":{balance}}}}}\n");
        server.import(&(0..1_000).map(line).collect::<String>());
        let mut told = 0;
        while told < 1_000 {
            match reader.try_next() {
                Ok(Some(Event { id, data })) => {
                    last = id;
                    told += data["changes"].as_array().unwrap().len();
                }
                _ => reader = follow(&last),
            }
        }
        if metric(&server, "overlaid_answers_cut_off_total") > 0 {
            break;
        }
    }
}

/// The number of the change that left a record as a read finds it in memory; 0 without a record.
fn seq_in_memory(runtime: &Runtime, service: &Service, key: &RecordKey) -> u64 {
    match key {
        RecordKey::Rate(pair) => service.rates().get(pair).map_or(0, |(_, seq)| seq),
        RecordKey::Overlay(user) => runtime.block_on(service.overlay(user)).map_or(0, |overlay| overlay.seq()),
        RecordKey::Signal(signal) => runtime.block_on(service.signal(signal)).map_or(0, |signal| signal.stored.seq),
        RecordKey::Outcome(..) => panic!("no outcome is written here"),
    }
}

/// The writer brings memory up to date before it tells followers. This follower reads in the instant in between, if
/// there is one: commits are large, and it never sleeps.
#[test]
fn a_read_that_follows_a_change_is_never_older_than_it() {
    const COMMITS: u64 = 100;
    let world = World::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let write_all = |number: u64| {
        let pairs = (b'A'..=b'J').flat_map(|high| (b'A'..=b'Z').map(move |low| [high, low].map(char::from)));
        let rates =
            pairs.map(|[high, low]| put_rate(&format!(r#"{{"pair":"G{high}{low}USD","price":{number}}}"#), start()));
        let patch = |signal: u64| patch_signal(&format!("S{signal}"), &format!(r#"{{"note":{number}}}"#));
        let publish = |id: u64| signal(&format!("S{id}"));
        let signals = (0..20).map(|id| if number == 1 { publish(id) } else { patch(id) });
        // Memory comes to rates last.
        let operations = signals.chain((0..100).map(|user| overlay(user, number))).chain(rates);
        let pending: Vec<_> = operations.map(|operation| world.service.submit(operation).unwrap()).collect();
        for pending in pending {
            pending.done_blocking().unwrap();
        }
    };
    write_all(1);
    // Brings all overlays into memory.
    batch(&world.service, &signal_id("S0")).unwrap();
    let mut follower = world.service.follow(None);
    follower.next_page(1, |_| true).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| (2..=COMMITS).for_each(write_all));
        let mut told = 0;
        loop {
            let is_over = writer.is_finished();
            let Some(page) = follower.next_page(1_000, |_| true) else {
                if is_over {
                    break;
                }
                continue;
            };
            for change in page.changes.iter().rev() {
                let read = seq_in_memory(&runtime, &world.service, &change.key);
                assert!(read >= change.seq, "{change:?} was told before a read of {read}");
            }
            told += page.changes.len();
        }
        assert!(told >= 380, "each record is told at least once: {told}");
    });
}

/// In the end every client has everything.
#[test]
fn clients_that_follow_while_others_write_are_not_left_behind() {
    const WRITES: u64 = 300;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let follow = |user: &'static str| {
        let mut events = Events::follow(server.address, "/v1/changes", &[]);
        events.next().unwrap();
        let address = server.address;
        move || {
            let path = format!("/v1/users/{user}/overlay");
            let mut connection = Connection::to(address);
            loop {
                let Event { data, .. } = events.next().unwrap();
                let changes = data["changes"].as_array().unwrap().iter();
                let Some(change) = changes.rev().find(|change| change["key"] == user) else { continue };
                connection.send(request("GET", &path, &[], ""));
                let read = connection.answer();
                assert!(seq_of_tag(&read) >= change["seq"].as_u64().unwrap(), "{change} {read:?}");
                if read.json()["account_balance"] == WRITES {
                    return;
                }
            }
        }
    };
    thread::scope(|scope| {
        for user in ["7", "8"] {
            scope.spawn(follow(user));
        }
        for user in ["7", "8"] {
            let server = &server;
            scope.spawn(move || (1..=WRITES).for_each(|balance| drop(server.put_balance(user, balance))));
        }
    });
}

/// The number of the change that wrote a record, by its tag.
fn seq_of_tag(answer: &Answer) -> u64 {
    let tag = answer.header("etag").unwrap().trim_matches('"');
    let seq = tag.rsplit('-').next().unwrap().split('.').next().unwrap();
    u64::from_str_radix(seq, 16).unwrap()
}

/// Standard output of `overlaid watch` beside a server, line by line.
struct Watch {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut watch = program();
        watch.arg("--data").arg(folder).arg("watch").args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = watch.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn interrupt(mut self) -> Option<i32> {
        assert!(Command::new("kill").args(["-s", "INT", &self.child.id().to_string()]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

#[test]
fn watch_prints_what_changes_across_a_restart_until_it_is_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut watch = Watch::start(folder.path(), &[]);
    assert!(watch.line().starts_with("cursor   "));
    server.put_balance(7, 100);
    assert_eq!(watch.line(), "overlay  7  seq 1");
    server.terminate();
    let server = Server::start(folder.path(), &[]);
    server.put_balance(7, 200);
    assert_eq!(watch.line(), "overlay  7  seq 2");
    server.send("DELETE", "/v1/users/7/overlay", "");
    assert_eq!(watch.line(), "overlay  7  seq 3, deleted");
    assert_eq!(watch.interrupt(), Some(0));
    let mut json = Watch::start(folder.path(), &["--since", "x", "--json"]);
    let page: Value = serde_json::from_str(&json.line()).unwrap();
    assert_eq!(named(&page), "reset ");
    put_signal(&server, "S1");
    assert_eq!(named(&serde_json::from_str(&json.line()).unwrap()), "signal S1 +0");
    assert_eq!(json.interrupt(), Some(0));
}

#[test]
fn watch_may_be_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let once = |more: &[&str]| shown(&run(folder.path(), &[&["watch", "--once"], more].concat()));
    let start = cursor(&server.get("/v1/changes"));
    assert_eq!(once(&[]), format!("exit 0\ncursor   {start}\n"));
    put_signal(&server, "S1");
    server.put_balance(7, 100);
    let present = cursor(&server.get("/v1/changes"));
    assert_eq!(
        once(&["--since", &start]),
        format!("exit 0\nsignal   S1  seq 1\noverlay  7  seq 2\ncursor   {present}\n")
    );
    assert_eq!(once(&["--since", "x"]), format!("exit 0\nreset    {present}\n"));
    assert_eq!(once(&["--json"]), format!("exit 0\n{{\"cursor\":\"{present}\",\"changes\":[]}}\n"));
    assert_eq!(once(&["--server", &server.address.to_string()]), format!("exit 0\ncursor   {present}\n"));
    server.terminate();
    assert_eq!(once(&[]), format!("exit 0\ncursor   {present}\n"), "without a server too");
    let refused = run(folder.path(), &["watch"]);
    assert!(error(&refused).contains("no server answers"), "{refused:?}");
}
