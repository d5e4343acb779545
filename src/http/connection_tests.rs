//! Connections against hostile and clumsy clients, over real sockets: the router with a few more routes that wait,
//! stream or panic.
//!
//! Clients are plain blocking sockets that send what no HTTP library would. Waits are bounded by the server's own
//! limits, which are shortened here; the only sleeps are those of a client that is slow on purpose.

mod world;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use world::{Connection, PATIENCE, SHORT, World};

use super::body::BODY_BYTES_MAX;
use super::server::Limits;

fn post_head(path: &str, media_type: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n")
}

fn put_object(body: &str) -> String {
    let length = body.len();
    format!(
        "PUT /object HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

const HELLO: &str = "GET /hello HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[test]
fn a_connection_is_kept_for_more_requests() {
    let world = World::new();
    let mut client = world.client();
    for _ in 0..3 {
        client.send(HELLO);
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    }
    client.send("GET /hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.closed();
    let mut old = world.client();
    old.send("GET /hello HTTP/1.0\r\n\r\n");
    assert_eq!(old.answer().body, "hello");
    old.closed();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let world = World::new();
    let mut client = world.client();
    let ask = |number: u32| format!("GET /users/{number}/missions/a HTTP/1.1\r\nhost: localhost\r\n\r\n");
    client.send((0..200).map(ask).collect::<String>());
    for number in 0..200 {
        assert_eq!(client.answer().body, format!("{number} a"));
    }
}

/// Fails with hyper's `pipeline_flush`, which holds the first answer until the second request is whole.
#[test]
fn an_answer_is_not_held_back_by_a_next_request_that_has_only_begun() {
    let world = World::new();
    let mut client = world.client();
    client.send(format!("{HELLO}GET /hel"));
    assert_eq!(client.answer().body, "hello");
    client.send("lo HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(client.answer().body, "hello");
}

#[test]
fn head_is_get_without_the_body() {
    let world = World::new();
    let mut client = world.client();
    for (path, length) in [("/hello", "5"), ("/nowhere", "0")] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        let answer = client.answer_to("HEAD");
        let known: usize = answer.header("content-length").unwrap().parse().unwrap();
        assert!(known >= length.parse().unwrap(), "{answer:?}");
    }
    client.send(HELLO);
    assert_eq!(client.answer().body, "hello", "no body of a HEAD stands in between");
}

#[test]
fn unknown_routes_and_methods_are_problems() {
    let world = World::new();
    let answer = world.ask("GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(answer.problem(), (404, "no-such-route".to_owned()));
    for method in ["PUT", "BREW", "get", "TRACE", "OPTIONS"] {
        let answer = world.ask(&format!("{method} /hello HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        assert_eq!(answer.problem(), (405, "method-not-allowed".to_owned()));
        assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    }
    let answer = world.ask("GET /object HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(answer.header("allow"), Some("PUT,PATCH"));
    for request in [
        "OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "CONNECT localhost:80 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET // HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ] {
        assert_eq!(world.ask(request).problem().0, 404, "{request}");
    }
    assert_eq!(
        world.ask("GET http://localhost/hello HTTP/1.1\r\nhost: localhost\r\n\r\n").body,
        "hello",
        "the absolute form is fine"
    );
}

/// As a page of another origin reads it: a browser shows it nothing of an answer that does not name the origin.
#[test]
fn a_page_that_may_call_reads_a_failure_and_a_stream() {
    let origin = "https://app.example.org";
    let world = World::with_origins(Limits { handler: SHORT, ..Limits::default() }, &[origin.parse().unwrap()]);
    let from_page = |request: &str| request.replacen("\r\n", &format!("\r\norigin: {origin}\r\n"), 1);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n");
    let too_large = put_object(&"x".repeat(BODY_BYTES_MAX + 1));
    for (request, status, code) in [
        (get("/panic"), 500, "internal"),
        (get("/for-ever"), 503, "time-limit"),
        (too_large, 413, "body-too-large"),
        (get("/v1/changes"), 200, ""),
    ] {
        let mut client = world.client();
        client.send_what_is_taken(from_page(&request));
        let answer = if status == 200 { client.head() } else { client.answer() };
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(code.is_empty() || answer.problem().1 == code, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{answer:?}");
        let exposed = "etag,location,retry-after,overlaid-cursor,x-request-id";
        assert_eq!(answer.header("access-control-expose-headers"), Some(exposed), "{answer:?}");
        assert!(answer.head.contains("\r\nvary: origin\r\n"), "{answer:?}");
    }
}

#[test]
fn requests_that_are_not_http_are_refused_with_a_problem() {
    let world = World::new();
    let many_fields = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    let big_field = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(100_000));
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(65_535));
    for (request, status) in [
        ("utter nonsense\r\n\r\n", 400),
        ("GET /hello\r\n\r\n", 400),
        ("GET /hello HTTP/9.9\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\ncontent-length: many\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03", 400),
        ("GET / HTTP/1.1\r\na: \0\r\n\r\n", 400),
        (&many_fields, 431),
        (&big_field, 431),
        (&long_path, 431),
    ] {
        let shown = &request[..request.len().min(60)];
        let mut client = world.client();
        client.send(request);
        let answer = client.answer();
        assert_eq!(answer.problem().0, status, "{shown:?}");
        assert_eq!(answer.header("connection"), Some("close"), "{shown:?}");
        assert!(answer.header("date").is_some(), "{shown:?}");
        client.closed();
    }
    assert_eq!(world.ask(HELLO).status, 200, "the server lives on");
}

#[test]
fn what_was_asked_before_nonsense_is_still_answered() {
    let world = World::new();
    let mut client = world.client();
    client.send(format!("{HELLO}{HELLO}nonsense\r\n\r\n"));
    assert_eq!(client.answer().body, "hello");
    assert_eq!(client.answer().body, "hello");
    assert_eq!(client.answer().problem(), (400, "malformed-request".to_owned()));
    client.closed();
}

#[test]
fn http_2_is_told_that_it_is_not_spoken_here() {
    let world = World::new();
    let answer = world.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(answer.problem(), (505, "http-version".to_owned()));
}

#[test]
fn a_long_id_is_a_problem_and_not_a_lost_connection() {
    let world = World::new();
    let mut client = world.client();
    for id in ["x".repeat(10_000), "%2e".repeat(10_000), "..".to_owned(), "a%2Fb".to_owned(), "%00".to_owned()] {
        client.send(format!("GET /users/1/missions/{id} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        assert_eq!(client.answer().problem(), (400, "invalid-id".to_owned()));
    }
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let world = World::with(Limits { head_read: SHORT * 3, ..Limits::default() });
    let mut idle = world.client();
    let mut slow = world.client();
    slow.send("GET /hello HTTP/1.1\r\nhost:");
    let answer = slow.answer();
    assert_eq!(answer.problem(), (408, "request-timeout".to_owned()));
    assert_eq!(answer.header("connection"), Some("close"));
    slow.closed();
    idle.closed();
    let mut between = world.client();
    between.send(HELLO);
    assert_eq!(between.answer().status, 200);
    between.closed();
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::with(Limits { body_read: SHORT, ..Limits::default() });
    for (request, what) in [
        (put_object("{}").replace("length: 2", "length: 20"), "half a body"),
        (put_object("").replace("content-length: 0", "transfer-encoding: chunked"), "no chunk"),
        (put_object("3\r\n{").replace("content-length: 4", "transfer-encoding: chunked"), "half a chunk"),
        (post_head("/lines", "application/x-ndjson", 100) + "{}\n{}\n{", "half a line"),
    ] {
        let mut client = world.client();
        client.send(request);
        assert_eq!(client.answer().problem(), (408, "request-timeout".to_owned()), "{what}");
        client.closed();
    }
}

/// A trickle never stops for long, but never gets anywhere either.
#[test]
fn a_body_that_trickles_is_not_waited_for() {
    let world = World::with(Limits { body_read: SHORT, ..Limits::default() });
    let mut client = world.client();
    client.send(post_head("/lines", "application/x-ndjson", 60_000));
    let mut stream = client.stream.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        // Ends when the server has closed the connection.
        while stream.write_all(b"\n").is_ok() {
            std::thread::sleep(SHORT / 15);
        }
    });
    assert_eq!(client.answer().problem(), (408, "request-timeout".to_owned()));
    client.stream.shutdown(Shutdown::Both).unwrap();
    trickle.join().unwrap();
}

/// The limit on a request ends with the head of its answer, which an import sends before it reads the body.
#[test]
fn a_long_body_may_take_longer_than_a_handler() {
    let world = World::with(Limits { handler: SHORT, body_read: PATIENCE, ..Limits::default() });
    let mut client = world.client();
    client.send(post_head("/streamed", "application/x-ndjson", 9).replace("HTTP/1.1", "HTTP/1.0"));
    for _ in 0..3 {
        std::thread::sleep(SHORT * 2);
        client.send("{}\n");
    }
    let mut answer = String::new();
    client.stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\n3 0"), "{answer}");
}

#[test]
fn a_handler_that_takes_too_long_is_ended() {
    let world = World::with(Limits { handler: SHORT, ..Limits::default() });
    let mut client = world.client();
    client.send("GET /for-ever HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.problem(), (503, "time-limit".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    client.send("HEAD /for-ever HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(client.answer_to("HEAD").status, 503);
    client.send(HELLO);
    assert_eq!(client.answer().status, 200, "the connection goes on");
}

#[test]
fn a_panic_is_a_problem_and_nothing_else() {
    let world = World::new();
    let mut client = world.client();
    client.send("GET /panic HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.problem(), (500, "internal".to_owned()));
    assert!(!answer.body.contains("purpose"), "{answer:?}");
    client.send(HELLO);
    assert_eq!(client.answer().status, 200, "even the connection goes on");
}

#[test]
fn a_panic_in_a_stream_costs_its_own_connection_only() {
    let world = World::new();
    let mut other = world.client();
    other.send(HELLO);
    assert_eq!(other.answer().status, 200);
    let mut client = world.client();
    client.send("GET /broken-stream HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut text = Vec::new();
    while !text.ends_with(b"piece\r\n") {
        let mut bytes = [0; 1_024];
        let read = client.stream.read(&mut bytes).unwrap();
        assert!(read > 0, "closed after {}", text.escape_ascii());
        text.extend_from_slice(&bytes[..read]);
    }
    world.signals.go_on.notify_one();
    // Cut off before its end or reset: either way the client can tell that it is not whole.
    let _ = client.stream.read_to_end(&mut text);
    assert!(text.starts_with(b"HTTP/1.1 200") && text.ends_with(b"piece\r\n"), "{}", text.escape_ascii());
    other.send(HELLO);
    assert_eq!(other.answer().status, 200);
}

#[test]
fn json_bodies_are_read_strictly() {
    let world = World::new();
    let mut client = world.client();
    let mut send = |request: String| {
        client.send(request);
        client.answer()
    };
    assert_eq!(send(put_object("{ \"a\": 1.10 }")).body, r#"{"a":1.10}"#);
    let chunked = put_object("4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n");
    let length = chunked.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap();
    assert_eq!(
        send(chunked.replace(&format!("content-length: {length}"), "transfer-encoding: chunked")).body,
        r#"{"a":1}"#
    );
    for (body, code) in [("", "malformed-json"), ("{", "malformed-json"), ("{\"a\":1,\"a\":1}", "duplicate-member")] {
        assert_eq!(send(put_object(body)).problem(), (400, code.to_owned()), "{body}");
    }
    assert_eq!(send(put_object("[]")).problem(), (422, "wrong-type".to_owned()));
    let many = (0..300).map(|at| format!("\"m{at}\":1")).collect::<Vec<_>>().join(",");
    assert_eq!(send(put_object(&format!("{{{many}}}"))).problem(), (422, "out-of-range".to_owned()));
    let plain = put_object("{}").replace("application/json", "text/plain");
    assert_eq!(send(plain).problem(), (415, "unsupported-media-type".to_owned()));
    let merge = put_object("{}").replace("application/json", "application/merge-patch+json");
    assert_eq!(send(merge.clone()).problem().0, 415);
    assert_eq!(send(merge.replace("PUT", "PATCH")).body, "{}");
}

#[test]
fn a_body_that_is_too_large_is_refused_however_it_comes() {
    let world = World::new();
    let huge = "x".repeat(4 << 20);
    let known = put_object(&huge);
    let chunk = format!("{:x}\r\n{huge}\r\n0\r\n\r\n", huge.len());
    let head = put_object("").replace("content-length: 0", "transfer-encoding: chunked");
    for request in [known, head + &chunk] {
        let mut client = world.client();
        let mut stream = client.stream.try_clone().unwrap();
        // Sent from beside, as a client does that listens only once all is sent.
        let sender = std::thread::spawn(move || stream.write_all(request.as_bytes()));
        sender.join().unwrap().unwrap();
        assert_eq!(client.answer().problem(), (413, "body-too-large".to_owned()));
    }
    let largest = format!("{{\"a\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX - 8));
    assert_eq!(world.ask(&put_object(&largest)).body.len(), BODY_BYTES_MAX);
}

#[test]
fn a_client_that_asks_first_is_refused_before_it_sends() {
    let world = World::new();
    let head = put_object("").replace("content-length: 0", "expect: 100-continue\r\ncontent-length: 9999999");
    assert_eq!(world.ask(&head).problem(), (413, "body-too-large".to_owned()));
    let mut client = world.client();
    client.send(put_object("").replace("content-length: 0", "expect: 100-continue\r\ncontent-length: 2"));
    assert_eq!(client.answer().status, 100);
    client.send("{}");
    assert_eq!(client.answer().body, "{}");
}

#[test]
fn a_body_that_nobody_reads_does_not_cost_the_client_its_answer() {
    let world = World::new();
    let mut client = world.client();
    let body = "x".repeat(4 << 20);
    client.send(post_head("/unread", "text/plain", body.len()));
    client.send(body);
    assert_eq!(client.answer().body, "did not read it");
}

#[test]
fn an_import_larger_than_any_buffer_is_counted_line_by_line() {
    let world = World::new();
    let mut client = world.client();
    let line = format!("{{\"a\":\"{}\"}}\n", "x".repeat(1000));
    let too_long = "y".repeat(200_000) + "\r\n";
    let body = line.repeat(5000) + &too_long + &line.repeat(5000) + "{}";
    client.send(post_head("/lines", "application/x-ndjson", body.len()));
    client.send(body);
    assert_eq!(client.answer().body, "10001 1");
}

#[test]
fn a_thousand_idle_connections_disturb_nobody() {
    let world = World::new();
    // Each costs two descriptors here, one for either end.
    let idle: Vec<TcpStream> = (0..1000).map_while(|_| TcpStream::connect(world.address).ok()).collect();
    assert!(idle.len() >= 100, "only {} connections", idle.len());
    let mut client = world.client();
    for _ in 0..100 {
        client.send(HELLO);
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn connections_beyond_the_limit_wait_for_their_turn() {
    let world = World::with(Limits { connections_max: 2, ..Limits::default() });
    let mut first = world.client();
    let mut second = world.client();
    for client in [&mut first, &mut second] {
        client.send(HELLO);
        assert_eq!(client.answer().status, 200);
    }
    let mut third = world.client();
    third.send(HELLO);
    third.stream.set_read_timeout(Some(SHORT)).unwrap();
    assert_eq!(third.stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it has to wait");
    third.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(first);
    assert_eq!(third.answer().status, 200);
}

/// Fails with hyper's `pipeline_flush`, which takes in all of a body whether or not the client reads.
#[test]
fn a_client_that_stops_reading_stops_the_stream_and_is_let_go() {
    let world = World::with(Limits { write: SHORT * 2, ..Limits::default() });
    let mut client = world.client();
    // A next request already waits: with `pipeline_flush` this alone would hold everything in memory.
    client.send(format!("GET /endless HTTP/1.1\r\nhost: localhost\r\n\r\n{HELLO}"));
    assert!(client.fill().unwrap(), "the stream begins");
    world.wait_for(&world.signals.stream_dropped);
    // What the kernel's socket buffers hold on both sides, and hyper's own.
    let yielded = world.signals.yielded_bytes.load(Ordering::SeqCst);
    assert!(yielded < 32 << 20, "{yielded} bytes were taken for a client that reads nothing");
    assert_eq!(world.ask(HELLO).status, 200);
}

/// Overlays that each import of these tests changes. One event tells all of them.
const FOLLOWED: usize = 1_000;

/// Gives all overlays a balance, and waits for the answer.
fn change_overlays(world: &World, balance: u32) {
    let padding = "x".repeat(100);
    let line = |user| format!("{{\"overlay\":{{\"user_id\":\"{padding}{user}\",\"account_balance\":{balance}}}}}\n");
    let lines: String = (0..FOLLOWED).map(line).collect();
    let answer = world.ask(&(post_head("/v1/import", "application/x-ndjson", lines.len()) + &lines));
    assert!(answer.status == 200 && answer.body.contains("\"refused\":0"), "{answer:?}");
}

/// A client that has read the present cursor from a stream, and reads no more; and the cursor.
fn follower_that_stops_reading(world: &World) -> (Connection, String) {
    let mut client = world.client();
    client.send("GET /v1/changes HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n");
    assert_eq!(client.head().status, 200);
    loop {
        let chunk = String::from_utf8(client.try_chunk().unwrap()).unwrap();
        if let Some((_, event)) = chunk.split_once("id: ") {
            return (client, event.lines().next().unwrap().to_owned());
        }
    }
}

fn metric(world: &World, name: &str) -> u64 {
    let text = world.ask("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// More than the kernel takes for a client that does not read.
const CHANGES_MAX: u32 = 1_000;

/// A writer that waits for the follower waits for as long as the server lets the follower stay.
#[test]
fn no_writer_waits_for_a_follower_that_stops_reading() {
    let world = World::with(Limits { write: PATIENCE * 100, ..Limits::default() });
    let _follower = follower_that_stops_reading(&world);
    let is_stuck = || {
        // What the kernel takes is gone from the server's memory within a moment.
        (0..100).all(|_| {
            std::thread::sleep(Duration::from_millis(2));
            metric(&world, "overlaid_answers_bytes") > 0
        })
    };
    let stuck_at = (1..CHANGES_MAX).find(|balance| {
        change_overlays(&world, *balance);
        is_stuck()
    });
    let stuck_at = stuck_at.unwrap();
    for balance in stuck_at + 1..stuck_at + 20 {
        change_overlays(&world, balance);
    }
    assert_eq!(metric(&world, "overlaid_followers"), 1, "it is still there");
}

#[test]
fn a_follower_that_stops_reading_is_let_go_and_told_what_it_missed_when_it_comes_back() {
    let world = World::with(Limits { write: SHORT * 2, ..Limits::default() });
    let (follower, mut cursor) = follower_that_stops_reading(&world);
    let is_let_go = (1..CHANGES_MAX).any(|balance| {
        change_overlays(&world, balance);
        metric(&world, "overlaid_followers") == 0
    });
    assert!(is_let_go);
    drop(follower);
    let mut told = BTreeSet::new();
    loop {
        let path = format!("/v1/changes?since={cursor}&limit=300");
        let page = world.ask(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).json();
        assert_eq!(page.get("reset"), None, "{page}");
        cursor = page["cursor"].as_str().unwrap().to_owned();
        let changes = page["changes"].as_array().unwrap();
        if changes.is_empty() {
            break;
        }
        told.extend(changes.iter().map(|change| change["key"].as_str().unwrap().to_owned()));
    }
    assert_eq!(told.len(), FOLLOWED);
}

#[test]
fn shutdown_finishes_what_is_in_flight_and_closes_what_is_idle() {
    let mut world = World::new();
    let mut idle = world.client();
    idle.send(HELLO);
    assert_eq!(idle.answer().status, 200);
    let mut busy = world.client();
    busy.send("GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let signals = world.signals.clone();
    world.wait_for(&signals.entered);

    world.stop();
    idle.closed();
    assert!(TcpStream::connect(world.address).is_err(), "nobody new is let in");
    signals.go_on.notify_one();

    let answer = busy.answer();
    assert_eq!((answer.body.as_str(), answer.header("connection")), ("waited", Some("close")));
    busy.closed();
    world.join();
}

#[test]
fn shutdown_does_not_wait_for_ever() {
    let mut world = World::with(Limits { shutdown: SHORT, ..Limits::default() });
    let mut busy = world.client();
    busy.send("GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut half = world.client();
    half.send("GET /hel");
    let signals = world.signals.clone();
    world.wait_for(&signals.entered);
    world.stop();
    busy.closed();
    half.closed();
    world.join();
}

#[test]
fn a_client_that_will_say_no_more_still_gets_its_answers() {
    let world = World::new();
    for _ in 0..20 {
        for request in [HELLO.to_owned(), put_object("{}"), HELLO.replace("HTTP/1.1", "HTTP/1.0")] {
            let mut client = world.client();
            client.send(request);
            client.stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(client.answer().status, 200);
            client.closed();
        }
    }
    let mut client = world.client();
    client.send(HELLO.repeat(3) + "GET /hel");
    client.stream.shutdown(Shutdown::Write).unwrap();
    for _ in 0..3 {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn clients_that_leave_do_no_harm() {
    let world = World::new();
    for _ in 0..3 {
        let mut client = world.client();
        client.send("GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n");
        world.wait_for(&world.signals.entered);
        drop(client);
    }
    let mut client = world.client();
    client.send(put_object("{}").replace("length: 2", "length: 20"));
    drop(client);
    assert_eq!(world.ask(HELLO).status, 200);
}
