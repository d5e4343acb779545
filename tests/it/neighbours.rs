//! Good neighbours: what one client does costs the others nothing that they would notice.
//!
//! How long anything takes is measured by `cargo bench --bench neighbours`; here is what makes it so.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use overlaid::service::Line;

use crate::kit::{Server, World, patch_overlay, signal_id, start};

const SIGNAL: &str = r#"{"symbol":"EURUSD","direction":"BUY","stop_pips":20}"#;
const GET_LINES: &str = "GET /v1/signals/S1/missions HTTP/1.1\r\nhost: localhost\r\naccept: application/x-ndjson\r\nconnection: close\r\n\r\n";
/// Bytes of a piece of a long answer.
const PIECE_BYTES: usize = 64 * 1024;
/// Users with overlays of [`PADDING`] bytes: more than the kernel takes of an answer that nobody reads.
const LARGE_USERS: usize = 300;
const PADDING: usize = 60_000;

/// A server with a signal and some users, `u000` and so on.
fn server(folder: &Path, arguments: &[&str], users: usize, padding: usize) -> Server {
    let server = Server::start(folder, arguments);
    assert_eq!(server.send("PUT", "/v1/signals/S1", SIGNAL).status, 201);
    let padding = "x".repeat(padding);
    let line = |user| {
        format!("{{\"overlay\":{{\"user_id\":\"u{user:03}\",\"account_balance\":1000,\"padding\":\"{padding}\"}}}}\n")
    };
    let lines: String = (0..users).map(line).collect();
    let headers = [("content-type", "application/x-ndjson")];
    let answer = server.send_with("POST", "/v1/import", &headers, lines.as_bytes());
    assert!(answer.body.contains(&format!("\"created\":{users},")), "{}", answer.body);
    server
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").body;
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} is missing"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Asks for all lines, and returns the answer's bytes as they come.
fn lines_of(server: &Server) -> Vec<u8> {
    let mut stream = connect(server);
    stream.write_all(GET_LINES.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // One that is cut off has no end.
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// The chunks of an answer, which must have its end.
fn chunks(answer: &[u8]) -> Vec<&[u8]> {
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let (mut rest, mut chunks) = (&answer[start..], Vec::new());
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return chunks;
        }
        chunks.push(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

/// The text of an answer that came in chunks.
fn text(answer: &[u8]) -> String {
    String::from_utf8(chunks(answer).concat()).unwrap()
}

#[test]
fn a_long_answer_comes_in_small_pieces_between_which_others_have_a_turn() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &[], 900, 300);
    let answer = lines_of(&server);
    let sizes: Vec<_> = chunks(&answer).into_iter().map(<[u8]>::len).collect();
    assert!(sizes.len() > 10 && sizes.iter().all(|size| *size < PIECE_BYTES + 2_000), "{sizes:?}");
    let page = server.get("/v1/signals/S1/missions?limit=900");
    let length: usize = page.header("content-length").unwrap().parse().unwrap();
    assert!(length > 10 * PIECE_BYTES && page.json()["missions"].as_array().unwrap().len() == 900);
}

/// A client that reads slowly would otherwise hold the overlays in memory as they were when it began.
#[test]
fn a_line_says_how_things_are_when_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &[], LARGE_USERS, PADDING);
    let mut slow = connect(&server);
    slow.write_all(GET_LINES.as_bytes()).unwrap();
    let mut answer = vec![0; PADDING];
    slow.read_exact(&mut answer).unwrap();
    let last = format!("/v1/users/u{:03}/overlay", LARGE_USERS - 1);
    assert_eq!(server.send("PATCH", &last, r#"{"account_balance":4242}"#).status, 200);
    slow.read_to_end(&mut answer).unwrap();
    let lines = text(&answer);
    assert_eq!(lines.lines().count(), LARGE_USERS);
    assert!(lines.lines().last().unwrap().contains("\"account_balance\":4242"));
}

#[test]
fn the_slowest_readers_are_cut_off_where_answers_would_take_more_memory_than_they_may() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &["--answers-memory", "1MiB"], LARGE_USERS, PADDING);
    let mut silent: Vec<_> = (0..24)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(GET_LINES.as_bytes()).unwrap();
            stream
        })
        .collect();
    let event = server.logged(|event| event["option"] == "--answers-memory");
    assert!(event["held_bytes"].as_u64().unwrap() > 0, "{event}");
    // On a slow machine a reader that waits for a processor may be the slowest; it comes again.
    let whole = (0..20).map(|_| lines_of(&server)).find(|answer| answer.ends_with(b"0\r\n\r\n"));
    assert_eq!(text(&whole.unwrap()).lines().count(), LARGE_USERS, "one that reads is served");
    assert!(metric(&server, "overlaid_answers_cut_off_total") > 0);
    assert!(metric(&server, "overlaid_answers_bytes ") <= 1 << 20);
    let mut answer = Vec::new();
    let cut_off = silent.iter_mut().any(|stream| {
        answer.clear();
        // The connection is closed, or reset.
        let _ = stream.read_to_end(&mut answer);
        !answer.ends_with(b"0\r\n\r\n")
    });
    assert!(cut_off, "an answer that was cut off has no end");
    drop(silent);
    while metric(&server, "overlaid_answers_bytes ") > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn the_slowest_senders_are_cut_off_where_bodies_would_take_more_memory_than_they_may() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path(), &["--bodies-memory", "1MiB"], 1, 0);
    let head = "PATCH /v1/users/u000/overlay HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let unfinished = format!("{head}content-length: 60001\r\n\r\n{}", " ".repeat(60_000));
    let mut slow: Vec<_> = (0..24)
        .map(|_| {
            let mut stream = connect(&server);
            // One that is cut off already may refuse it.
            let _ = stream.write_all(unfinished.as_bytes());
            stream
        })
        .collect();
    server.logged(|event| event["option"] == "--bodies-memory");
    assert!(metric(&server, "overlaid_bodies_cut_off_total") > 0);
    assert!(metric(&server, "overlaid_bodies_bytes ") <= 1 << 20);
    assert_eq!(server.send("PATCH", "/v1/users/u000/overlay", r#"{"account_balance":2}"#).status, 200);
    // On a slow machine the others are told that their body is late, or the whole request.
    let answers = slow.iter_mut().map(|stream| {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    let (cut_off, late): (Vec<_>, Vec<_>) = answers.partition(Vec::is_empty);
    assert!(!cut_off.is_empty(), "those that are cut off get no answer");
    let is_late = |answer: &Vec<u8>| answer.starts_with(b"HTTP/1.1 408 ") || answer.starts_with(b"HTTP/1.1 503 ");
    assert!(late.iter().all(is_late), "{}", late.concat().escape_ascii());
}

/// A dozen imports would fill the writer's queue, and a push would be turned away.
#[tokio::test]
async fn imports_leave_room_for_pushes_and_share_the_rest() {
    let world = World::new();
    world.put_overlay(r#"{"user_id":"7","account_balance":1}"#).await;
    // The writer waits while somebody copies the file.
    let copy = File::open(world.path()).unwrap();
    let imports: Vec<_> = (0..12)
        .map(|import| {
            let service = world.service.clone();
            tokio::spawn(async move {
                let mut lines = service.import();
                for number in 0..600 {
                    let user = format!("{import}-{number}");
                    let text = format!(r#"{{"overlay":{{"user_id":"{user}","account_balance":1}}}}"#);
                    lines.line(&Line { number, text: Some(text.into()) }).await;
                }
                lines.finish().await;
                lines.counts()
            })
        })
        .collect();
    // Each import gets as far as it can.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let push = |balance: usize| patch_overlay("7", &format!(r#"{{"account_balance":{balance}}}"#), start());
    let pushes: Vec<_> = (0..2_048).map(|balance| world.service.submit(push(balance))).collect();
    let turned_away = pushes.iter().filter(|push| push.is_err()).count();
    assert_eq!(turned_away, 0);
    drop(copy);
    for push in pushes {
        push.unwrap().done().await.unwrap();
    }
    for import in imports {
        let counts = import.await.unwrap();
        assert_eq!((counts.created, counts.refused), (600, 0), "each has its turn");
    }
}

/// The share of imports counts bytes too, and a record of any size finds a place in it.
#[tokio::test]
async fn imports_of_large_records_come_through() {
    let world = World::new();
    let mut import = world.service.import();
    for number in 0..100 {
        let padding = "x".repeat(if number % 2 == 0 { 60_000 } else { 0 });
        let text = format!(r#"{{"overlay":{{"user_id":"{number}","padding":"{padding}"}}}}"#);
        import.line(&Line { number, text: Some(text.into()) }).await;
    }
    import.finish().await;
    assert_eq!(import.counts().created, 100);
}

/// A tier that nobody has is looked for among so many users at a time.
#[tokio::test]
async fn a_page_of_a_tier_passes_over_so_many_users() {
    const USERS: usize = 10_100;
    let world = World::new();
    world.put_signal(r#"{"signal_id":"S1","symbol":"EURUSD","direction":"BUY","stop_pips":20}"#).await;
    let mut import = world.service.import();
    for number in 0..USERS {
        let tier = if number == USERS - 1 { "COMMANDER" } else { "FANG" };
        let text = format!(r#"{{"overlay":{{"user_id":"u{number:05}","tier":"{tier}"}}}}"#);
        import.line(&Line { number: 1, text: Some(text.into()) }).await;
    }
    import.finish().await;
    let mut batch = world.service.batch(&signal_id("S1"), Some("COMMANDER".parse().unwrap())).await.unwrap();
    let mut counts = Vec::new();
    while !batch.is_done() {
        let separator = overlaid::service::Separator::Newline;
        counts.push(batch.write_some(10, usize::MAX, separator, &mut Vec::new()));
    }
    assert_eq!(counts, [0, 1]);
}
