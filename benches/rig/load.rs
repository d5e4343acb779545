//! The load generator: some connections, each with a fixed number of requests under way, from one thread.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::process::{Cpus, cpu_count, leave_cpu_to_servers};
use super::wire::Answers;

/// Requests in one piece of memory, so that several neighbours are sent with one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    pub(crate) fn new(requests: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut all = Self::default();
        for request in requests {
            all.bytes.extend_from_slice(&request);
            all.ends.push(all.bytes.len());
        }
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of up to `count` requests from `first` on, and where to go on.
    fn slice(&self, first: usize, count: usize) -> (&[u8], usize, usize) {
        let last = (first + count).min(self.len());
        let start = if first == 0 { 0 } else { self.ends[first - 1] };
        (&self.bytes[start..self.ends[last - 1]], last - first, last % self.len())
    }
}

/// How long a server may take.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// How to load a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    /// Requests under way on each connection.
    pub(crate) depth: usize,
    pub(crate) duration: Duration,
    /// What the server runs on. Beside a server with one CPU the generator has one for itself, and never sleeps: waking
    /// it would cost the server some microseconds an answer, the more the faster the generator is, and that is no merit
    /// of either.
    pub(crate) cpus: Cpus,
    /// With which request to begin.
    pub(crate) offset: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) answers: u64,
    pub(crate) elapsed: Duration,
    /// From a request's sending to its answer's end; of each group of pipelined ones, the last.
    pub(crate) latencies: Vec<Duration>,
}

struct Connection {
    stream: TcpStream,
    answers: Answers,
    next: usize,
    under_way: usize,
    sent: Instant,
}

impl Connection {
    fn send(&mut self, requests: &Requests, depth: usize) {
        let (mut bytes, count, next) = requests.slice(self.next, depth);
        (self.next, self.under_way) = (next, count);
        self.sent = Instant::now();
        // A few kilobytes to a connection that holds nothing: the socket takes them at once but for rare cases.
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("cannot send: {error}"),
            }
        }
    }
}

/// Loads a server for a while, in a thread of its own.
pub(crate) fn run(address: SocketAddr, requests: &Requests, shape: Shape) -> Outcome {
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            leave_cpu_to_servers();
            load(address, requests, shape)
        });
        load.join().unwrap()
    })
}

fn load(address: SocketAddr, requests: &Requests, shape: Shape) -> Outcome {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(shape.connections);
    let mut connections: Vec<_> = (0..shape.connections)
        .map(|index| {
            let stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            let mut stream = TcpStream::from_std(stream);
            poll.registry().register(&mut stream, Token(index), Interest::READABLE).unwrap();
            let next = (shape.offset + index * requests.len() / shape.connections) % requests.len();
            Connection { stream, answers: Answers::default(), next, under_way: 0, sent: Instant::now() }
        })
        .collect();
    let mut buffer = vec![0; 256 * 1024];
    let mut latencies = Vec::with_capacity(1 << 16);
    let mut answers = 0;
    let start = Instant::now();
    let end = start + shape.duration;
    for connection in &mut connections {
        connection.send(requests, shape.depth);
    }
    let mut now = start;
    let mut under_way = shape.connections;
    let is_sleepless = shape.cpus == Cpus::One && cpu_count() > 1;
    let patience = if is_sleepless { Duration::ZERO } else { SILENCE_MAX };
    while under_way > 0 {
        poll.poll(&mut events, Some(patience)).unwrap();
        if events.is_empty() {
            assert!(now.elapsed() < SILENCE_MAX, "the server does not answer");
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            loop {
                let read = match connection.stream.read(&mut buffer) {
                    Ok(0) => panic!("the server closed a connection"),
                    Ok(read) => read,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(error) => panic!("cannot read: {error}"),
                };
                let ended = connection.answers.take(&buffer[..read]);
                answers += ended as u64;
                connection.under_way -= ended;
                if ended > 0 && connection.under_way == 0 {
                    now = Instant::now();
                    latencies.push(now - connection.sent);
                    if now < end {
                        connection.send(requests, shape.depth);
                    } else {
                        under_way -= 1;
                    }
                    break;
                }
                // Less than was asked for: there is no more.
                if read < buffer.len() {
                    break;
                }
            }
        }
    }
    Outcome { answers, elapsed: now - start, latencies }
}

/// The latency below which this share of them lies.
pub(crate) fn percentile(latencies: &mut [Duration], share: f64) -> Duration {
    if latencies.is_empty() {
        return Duration::ZERO;
    }
    latencies.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank")]
    let rank = (latencies.len() as f64 * share) as usize;
    latencies[rank.min(latencies.len() - 1)]
}
