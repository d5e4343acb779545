//! Good neighbours: what a well-behaved client notices of others, and what those cost.
//!
//! `cargo bench --bench neighbours` prints a table; `-- --quick` takes a fifth of the users and shorter turns,
//! `--check` exits with 1 if a limit does not hold. Good clients ask for one view or `/healthz` every millisecond,
//! alone and beside each mix of batches in turn; a ratio is made inside one round.
//!
//! Clients stand for machines of their own, and what they cost this one is no fault of the server: those that read
//! batches run only where the processors are idle; a good one runs at once when its answer is there, which needs root
//! (`CAP_SYS_NICE`). The time alone has the wake of a processor that sleeps, as a server without load has.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark measures time in floats, prints what it finds, and stops at the first surprise"
)]

#[expect(dead_code, reason = "the headline uses the rest of it")]
mod rig;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rig::client::Client;
use rig::data::{self, Dice};
use rig::load::percentile;
use rig::process::{self, Cpus, Overlaid};
use rig::wire::Answers;

/// How much longer good clients may wait beside batches.
const MEDIAN_MAX: f64 = 2.0;
const P99_MAX: f64 = 5.0;
/// CPU of a list that matches nothing.
const LIST_CPU_MS_MAX: f64 = 1.0;
/// Signals that such a list has to do with.
const SIGNALS: usize = 12_000;
/// Imports at once: in the writer's queue each wants an eighth.
const IMPORTS: usize = 12;
const SLOW_READERS: usize = 300;

const GZIP: &str = "accept-encoding: gzip\r\n";
const ZSTD: &str = "accept-encoding: zstd\r\n";
const PLAIN: &str = "";

/// Clients that read batches.
#[derive(Clone, Copy)]
struct Greedy {
    is_paged: bool,
    encoding: &'static str,
    /// Between two reads of 64 KB.
    pause: Duration,
}

const LINES: Greedy = Greedy { is_paged: false, encoding: PLAIN, pause: Duration::ZERO };
const PAGES: Greedy = Greedy { is_paged: true, ..LINES };
const SLOW: Duration = Duration::from_millis(50);

impl Greedy {
    fn request(self) -> Vec<u8> {
        let encoding = self.encoding;
        if self.is_paged {
            return data::get(&format!("{}?limit=1000", data::batch_path()), encoding);
        }
        let lines = String::from_utf8(data::get_batch()).unwrap();
        lines.replacen("user-agent", &format!("{encoding}user-agent"), 1).into_bytes()
    }

    /// Reads batches until it is told to stop; returns how many.
    fn run(self, address: SocketAddr, stop: &AtomicBool) -> u64 {
        schedule(&["--idle", "--pid", "0"]);
        let (mut buffer, mut count) = (vec![0; 64 * 1024], 0);
        while !stop.load(Ordering::Relaxed) {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(&self.request()).unwrap();
            let mut answers = Answers::default();
            while !stop.load(Ordering::Relaxed) {
                let read = stream.read(&mut buffer).unwrap();
                assert!(read > 0, "the server closed the connection");
                if answers.take(&buffer[..read]) > 0 {
                    count += 1;
                    break;
                }
                std::thread::sleep(self.pause);
            }
        }
        count
    }
}

/// Sets the policy of the calling thread: of `--idle` the kernel runs it only while no other thread wants the processor
/// (one that is merely nicer runs its slice to the end), of `--fifo` before all others.
fn schedule(policy: &[&str]) {
    let thread = rustix::thread::gettid().to_string();
    let told = Command::new("chrt").args(policy).arg(&thread).status();
    assert!(told.unwrap().success(), "chrt (util-linux) could not set the policy {policy:?}: are you root?");
}

/// A name, and how many of which clients.
fn mixes() -> Vec<(&'static str, Vec<Greedy>)> {
    let of = |count, greedy| vec![greedy; count];
    let gzip = Greedy { encoding: GZIP, ..LINES };
    let zstd = Greedy { encoding: ZSTD, ..LINES };
    let gzip_pages = Greedy { encoding: GZIP, ..PAGES };
    let slow = |greedy| Greedy { pause: SLOW, ..greedy };
    let all = [LINES, gzip, zstd, PAGES, gzip_pages, slow(LINES), slow(gzip), slow(PAGES)];
    vec![
        ("4 batches as lines, gzip", of(4, gzip)),
        ("4 batches as lines, zstd", of(4, zstd)),
        ("4 batches as lines, plain", of(4, LINES)),
        ("16 pages of 1,000", of(16, PAGES)),
        ("16 pages of 1,000, gzip", of(16, gzip_pages)),
        ("64 slow readers of lines", of(64, slow(LINES))),
        ("32 of all kinds", all.into_iter().cycle().take(32).collect()),
    ]
}

/// How long a good client waited, each time.
fn good_client(address: SocketAddr, users: usize, turn: Duration) -> Vec<Duration> {
    let ask = || {
        schedule(&["--fifo", "--pid", "1"]);
        let mut client = Client::connect(address);
        let (mut dice, mut latencies) = (Dice::new(7), Vec::new());
        let end = Instant::now() + turn;
        while Instant::now() < end {
            let view = data::view_path(dice.below(users));
            let request = data::get(if latencies.len() % 4 == 0 { "/healthz" } else { &view }, "");
            let sent = Instant::now();
            client.send(&request);
            latencies.push(sent.elapsed());
            std::thread::sleep(Duration::from_millis(1));
        }
        latencies
    };
    // The policy ends with the thread.
    std::thread::scope(|scope| scope.spawn(ask).join().unwrap())
}

fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Prints a row; returns whether its limits hold.
fn row(what: &str, measured: &str, is_met: bool) -> bool {
    println!("{what:34} {measured}{}", if is_met { "" } else { "   NOT MET" });
    is_met
}

/// Good clients beside a mix of batches.
fn beside(
    server: &Overlaid,
    users: usize,
    (name, greedy): (&str, &[Greedy]),
    (rounds, turn): (usize, Duration),
) -> bool {
    let (mut medians, mut p99s, mut texts, mut batches) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        let mut alone = good_client(server.address, users, turn);
        let stop = AtomicBool::new(false);
        let mut crowded = std::thread::scope(|scope| {
            let clients: Vec<_> = greedy.iter().map(|one| scope.spawn(|| one.run(server.address, &stop))).collect();
            std::thread::sleep(turn / 4);
            let latencies = good_client(server.address, users, turn);
            stop.store(true, Ordering::Relaxed);
            batches += clients.into_iter().map(|client| client.join().unwrap()).sum::<u64>();
            latencies
        });
        let [before, after] = [&mut alone, &mut crowded].map(|all| [0.5, 0.99].map(|share| us(percentile(all, share))));
        medians.push(after[0] / before[0]);
        p99s.push(after[1] / before[1]);
        texts.push(format!("{:.0} → {:.0} µs, p99 {:.0} → {:.0} µs", before[0], after[0], before[1], after[1]));
    }
    let (median_ratio, p99_ratio) = (median(medians), median(p99s));
    let measured = format!("{median_ratio:5.2}× p99 {p99_ratio:5.2}×   {} ({batches} answers)", texts[rounds / 2]);
    row(name, &measured, median_ratio < MEDIAN_MAX && p99_ratio < P99_MAX)
}

/// Pushes beside imports: how many are turned away.
fn pushes_beside_imports(server: &Overlaid, turn: Duration) -> bool {
    let stop = AtomicBool::new(false);
    let lines = AtomicU64::new(0);
    let (sent, refused, mut latencies) = std::thread::scope(|scope| {
        for import in 0..IMPORTS {
            let (stop, lines) = (&stop, &lines);
            scope.spawn(move || {
                schedule(&["--idle", "--pid", "0"]);
                let mut version = import as u64;
                while !stop.load(Ordering::Relaxed) {
                    version += 1;
                    let line = |at: usize| {
                        let balance = data::balance(at, version);
                        let user = data::user_id(at);
                        format!("{{\"patch\":{{\"user_id\":\"{user}\",\"account_balance\":{balance}}}}}\n")
                    };
                    let body: String = (0..2_000).map(|at| line(import * 1_000 + at)).collect();
                    let head = format!(
                        "POST /v1/import HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    Client::connect(server.address).send(&[head.as_bytes(), body.as_bytes()].concat());
                    lines.fetch_add(2_000, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(turn / 4);
        let (mut sent, mut refused, mut latencies) = (0, 0, Vec::new());
        let end = Instant::now() + turn;
        while Instant::now() < end {
            sent += 1;
            let push = data::patch(sent % 500, &data::balance(sent, sent as u64));
            let mut stream = TcpStream::connect(server.address).unwrap();
            let mut status = [0; 12];
            let began = Instant::now();
            stream.write_all(&push).unwrap();
            stream.read_exact(&mut status).unwrap();
            latencies.push(began.elapsed());
            refused += usize::from(&status[9..] != b"200");
        }
        stop.store(true, Ordering::Relaxed);
        (sent, refused, latencies)
    });
    let median_ms = us(percentile(&mut latencies, 0.5)) / 1e3;
    let lines = lines.into_inner();
    let measured = format!("{refused} of {sent} refused, median {median_ms:.1} ms, beside {lines} lines");
    row(&format!("pushes beside {IMPORTS} imports"), &measured, refused == 0)
}

/// What a list costs that matches nothing.
fn lists(server: &Overlaid) -> bool {
    const TIMES: usize = 50;
    let mut client = Client::connect(server.address);
    let user = data::user_id(0);
    let paths = [
        "/v1/signals?symbol=NONE".to_owned(),
        "/v1/signals?symbol=NONE&status=active".to_owned(),
        format!("/v1/users/{user}/missions?status=fired"),
        format!("/v1/users/{user}/missions?status=expired"),
        format!("{}?tier=NONE", data::batch_path()),
    ];
    let mut is_met = true;
    for path in paths {
        let before = process::cpu_ns(&server.pids());
        for _ in 0..TIMES {
            client.send(&data::get(&path, ""));
        }
        let cpu_ms = (process::cpu_ns(&server.pids()) - before) as f64 / 1e6 / TIMES as f64;
        is_met &=
            row("a list that matches nothing", &format!("{cpu_ms:.2} ms of CPU: {path}"), cpu_ms <= LIST_CPU_MS_MAX);
    }
    is_met
}

/// Slow readers of batches while balances change: memory while they read, and when they have gone.
fn memory(server: &Overlaid, users: usize, turn: Duration) {
    let pid = server.process.pid();
    let mb = || process::memory_bytes(pid, "VmRSS") as f64 / 1e6;
    let before = mb();
    let request = LINES.request();
    let (mut readers, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let mut client = Client::connect(server.address);
    let (mut dice, mut most) = (Dice::new(3), before);
    let end = Instant::now() + turn * 4;
    while Instant::now() < end || readers.len() < SLOW_READERS {
        if readers.len() < SLOW_READERS {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(&request).unwrap();
            stream.set_nonblocking(true).unwrap();
            readers.push(stream);
        }
        for _ in 0..20 {
            let user = dice.below(users);
            client.send(&data::patch(user, &data::balance(user, dice.below(9_000) as u64)));
        }
        let at = dice.below(readers.len());
        // Nothing may have come.
        let _ = readers[at].read(&mut buffer);
        most = most.max(mb());
    }
    let while_reading = mb();
    drop(readers);
    std::thread::sleep(Duration::from_secs(2));
    client.send(&data::get("/healthz", ""));
    let measured = format!("{before:.0} → {while_reading:.0} MB (most {most:.0}), {:.0} MB when they have gone", mb());
    row(&format!("{SLOW_READERS} slow readers beside pushes"), &measured, true);
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let is_quick = has("--quick");
    let (users, rounds, turn) =
        if is_quick { (20_000, 3, Duration::from_millis(700)) } else { (100_000, 5, Duration::from_secs(3)) };
    let program = process::program();
    let database = process::folder();
    process::make_database(&program, database.path(), users);
    let server = Overlaid::start(&program, database.path(), Cpus::All);
    Client::connect(server.address).send(&data::get_batch());
    println!("{}; {users} users, medians of {rounds} rounds, turns of {turn:?}\n", process::machine());

    let mut is_met = true;
    for (name, greedy) in mixes() {
        is_met &= beside(&server, users, (name, &greedy), (rounds, turn));
    }
    is_met &= pushes_beside_imports(&server, turn);
    memory(&server, users, turn);

    let line = |at| format!("{{\"signal\":{}}}\n", data::signal_json(&format!("MANY-{at}")));
    let signals = (0..SIGNALS).map(line).collect::<Vec<_>>().concat();
    let head = format!(
        "POST /v1/import HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        signals.len()
    );
    Client::connect(server.address).send(&[head.as_bytes(), signals.as_bytes()].concat());
    is_met &= lists(&server);
    if has("--check") && !is_met { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
