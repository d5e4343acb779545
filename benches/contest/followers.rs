//! What a subscriber feels: from the moment at which a signal is sent to the server until each of many followers holds
//! its own mission of it.
//!
//! Each follower has a token of its own user, a stream of changes, and a connection by which it reads: it is told of
//! one change and asks for its mission once. Followers and server share the machine.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::batches::while_updating;
use super::rounds::spread;
use super::table::{Floor, Row, Unit};
use super::{Lab, USERS};
use crate::rig::client::Client;
use crate::rig::data;
use crate::rig::load::percentile;
use crate::rig::process::{self, Cpus, Overlaid, cpu_ns};
use crate::rig::wire::Answers;

const FOLLOWERS: usize = 1_000;
/// How long to wait for a change; many times what one takes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn run(lab: &Lab) -> Vec<Row> {
    let database = lab.database();
    let admin = process::create_token(&lab.program, database.path(), "admin");
    let ours = Overlaid::start(&lab.program, database.path(), Cpus::All);
    let mut followers = Followers::connect(ours.address, &admin);
    let signals = if lab.quick { 7 } else { 30 };
    let (mut medians, mut p99s) = (Vec::new(), Vec::new());
    let (started, cpu_before) = (Instant::now(), cpu_ns(&ours.pids()));
    let server_cpu = while_updating(Some((ours.address, &admin)), || {
        // Followers are only woken: what that costs is said beside the times.
        followers.wait(started + 3 * lab.turn, usize::MAX);
        let cpu = (cpu_ns(&ours.pids()) - cpu_before) as f64 / started.elapsed().as_nanos() as f64;
        for number in 0..signals {
            let id = format!("ELITE_FOLLOWED_{number:010}");
            let mut latencies = followers.publish(&id);
            medians.push(percentile(&mut latencies, 0.5).as_secs_f64() * 1e3);
            p99s.push(percentile(&mut latencies, 0.99).as_secs_f64() * 1e3);
            // A signal does not come at the beat of the updates.
            followers.wait(Instant::now() + Duration::from_millis(50 + 7 * number), usize::MAX);
        }
        cpu
    });
    let what = format!(
        "from the PUT of a signal to {FOLLOWERS} followers that hold their own mission of it, 200 balance updates a second going on, median"
    );
    let idle = format!("{:.0} % of a processor between signals", server_cpu * 100.0);
    vec![
        Row::new(what, Floor::None, Unit::Milliseconds, Some(spread(medians)), "", idle),
        Row::new("the same, 99th percentile", Floor::AtMost(100.0), Unit::Milliseconds, Some(spread(p99s)), "", ""),
    ]
}

/// All of them, by one thread.
struct Followers {
    poll: Poll,
    all: Vec<Follower>,
    publisher: Client,
    admin: String,
    buffer: Vec<u8>,
    /// The signal that they wait for, and when it was sent.
    awaited: Option<(Vec<u8>, Instant)>,
    latencies: Vec<Duration>,
}

struct Follower {
    stream: TcpStream,
    /// The end of what the stream said last.
    tail: Vec<u8>,
    reader: TcpStream,
    answers: Answers,
    user: usize,
    bearer: String,
}

impl Followers {
    fn connect(address: SocketAddr, admin: &str) -> Self {
        let (poll, mut publisher) = (Poll::new().unwrap(), Client::connect(address));
        let all: Vec<_> = (0..FOLLOWERS)
            .map(|number| {
                let user = number * (USERS / FOLLOWERS);
                let scope = format!(r#"{{"scopes":["read:{}"]}}"#, data::user_id(user));
                let made = publisher.body(&data::send("POST", "/v1/admin/tokens", Some(admin), &scope));
                let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
                let bearer = made["token"].as_str().unwrap().to_owned();
                let connect = |index: usize, request: Vec<u8>| {
                    let mut stream = std::net::TcpStream::connect(address).unwrap();
                    stream.set_nodelay(true).unwrap();
                    stream.write_all(&request).unwrap();
                    stream.set_nonblocking(true).unwrap();
                    let mut stream = TcpStream::from_std(stream);
                    poll.registry().register(&mut stream, Token(index), Interest::READABLE).unwrap();
                    stream
                };
                let follow = data::get_with("/v1/changes", &bearer, "accept: text/event-stream\r\n");
                let stream = connect(2 * number, follow);
                let reader = connect(2 * number + 1, data::get_with(&data::view_path(user), &bearer, ""));
                Follower { stream, tail: Vec::new(), reader, answers: Answers::default(), user, bearer }
            })
            .collect();
        let (admin, buffer) = (admin.to_owned(), vec![0; 64 * 1024]);
        let mut followers = Self { poll, all, publisher, admin, buffer, awaited: None, latencies: Vec::new() };
        // Each has read its mission of the usual signal, and has the greeting of its stream.
        followers.wait(Instant::now() + Duration::from_millis(500), usize::MAX);
        followers
    }

    /// Publishes a signal; returns how long it took each follower to hold its mission.
    fn publish(&mut self, id: &str) -> Vec<Duration> {
        self.latencies.clear();
        let request = data::send("PUT", &format!("/v1/signals/{id}"), Some(&self.admin), &data::signal_json(id));
        self.awaited = Some((id.as_bytes().to_vec(), Instant::now()));
        self.publisher.post(&request);
        self.wait(Instant::now() + PATIENCE, FOLLOWERS);
        assert_eq!(self.latencies.len(), FOLLOWERS, "a follower was not told");
        self.publisher.answer();
        self.awaited = None;
        std::mem::take(&mut self.latencies)
    }

    /// Does what followers do until a moment, or until `count` missions are there.
    fn wait(&mut self, until: Instant, count: usize) {
        let mut events = Events::with_capacity(2 * FOLLOWERS);
        while self.latencies.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.poll.poll(&mut events, Some(left)).unwrap();
            for event in &events {
                let Token(index) = event.token();
                let follower = &mut self.all[index / 2];
                if index % 2 == 0 {
                    follower.hear(&mut self.buffer, self.awaited.as_ref().map(|(id, _)| &**id));
                } else if follower.read(&mut self.buffer)
                    && let Some((_, sent)) = &self.awaited
                {
                    self.latencies.push(sent.elapsed());
                }
            }
        }
    }
}

impl Follower {
    /// Takes what the stream says, and asks for the mission if it names the signal.
    fn hear(&mut self, buffer: &mut [u8], awaited: Option<&[u8]>) {
        while let Some(length) = take(&mut self.stream, buffer) {
            self.tail.extend_from_slice(&buffer[..length]);
            // An event ends in an empty line.
            let Some(end) = self.tail.windows(2).rposition(|pair| pair == b"\n\n") else { continue };
            let said: Vec<u8> = self.tail.drain(..end + 2).collect();
            let Some(id) = awaited.filter(|id| said.windows(id.len()).any(|part| part == *id)) else { continue };
            let path = format!("/v1/users/{}/missions/{}", data::user_id(self.user), String::from_utf8_lossy(id));
            let request = data::get_with(&path, &self.bearer, "if-none-match: W/\"0\"\r\n");
            self.reader.write_all(&request).unwrap();
        }
    }

    /// Takes what came of an answer; whether it is whole.
    fn read(&mut self, buffer: &mut [u8]) -> bool {
        let mut ended = 0;
        while let Some(length) = take(&mut self.reader, buffer) {
            ended += self.answers.take(&buffer[..length]);
        }
        ended > 0
    }
}

/// Reads what is there; `None` if that is nothing.
fn take(stream: &mut TcpStream, buffer: &mut [u8]) -> Option<usize> {
    match stream.read(buffer) {
        Ok(0) => panic!("the server closed a connection"),
        Ok(length) => Some(length),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("cannot read: {error}"),
    }
}
