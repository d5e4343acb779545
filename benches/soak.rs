//! The soak: balances pushed at a steady rate while many read, and every read checked against what was acknowledged
//! before it began.
//!
//! `cargo bench --bench soak`, or with other figures: `-- --seconds 30 --updates 200 --users 5000 --readers 4`. Pushes
//! raise a user's balance by whole numbers, so that a view says which push it shows; a view that shows an older one
//! than had been acknowledged when its request was sent is stale. Exits with 1 if one was, or if a request failed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    clippy::cast_precision_loss,
    reason = "a benchmark measures time in floats, prints what it finds, and stops at the first surprise"
)]

#[expect(dead_code, reason = "the headline uses the rest of it")]
mod rig;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rig::client::Client;
use rig::data::{self, Dice};
use rig::load::percentile;
use rig::process::{self, Cpus, Overlaid};

/// Connections that push: enough that one slow sync does not hold the rate back.
const PUSHERS: u32 = 4;

#[derive(Clone, Copy, Debug)]
struct Options {
    seconds: u64,
    updates_per_second: u32,
    users: usize,
    readers: usize,
}

/// What is known of each user: the newest push that was acknowledged.
struct Acknowledged(Vec<AtomicU64>);

fn main() {
    let options = options();
    let program = process::program();
    let database = process::folder();
    process::make_database(&program, database.path(), options.users);
    let server = Overlaid::start(&program, database.path(), Cpus::All);
    Client::connect(server.address).send(&data::get(&data::view_path(0), ""));
    let first_answer = server.started.elapsed();

    let pid = server.process.pid();
    let rss_before = process::memory_bytes(pid, "VmRSS");
    let report = soak(server.address, options);
    let rss_after = process::memory_bytes(pid, "VmRSS");

    let Options { seconds, updates_per_second, users, readers } = options;
    println!("{}", process::machine());
    println!("{seconds} s, {users} overlays, {updates_per_second} pushes/s wanted, {readers} readers");
    println!("pushes          {:>12}   {:.0}/s", report.pushes.count(), report.pushes.count() as f64 / seconds as f64);
    println!("reads           {:>12}   {:.0}/s", report.reads.count(), report.reads.count() as f64 / seconds as f64);
    println!("batches         {:>12}", report.batches.count());
    println!("stale           {:>12}", report.stale);
    println!("failed          {:>12}", report.failed);
    println!("push latency    {}", report.pushes.text());
    println!("read latency    {}", report.reads.text());
    println!("batch latency   {}", report.batches.text());
    println!("server memory   {:.1} MB at first, {:.1} MB after", rss_before as f64 / 1e6, rss_after as f64 / 1e6);
    println!("first answer    {:.1} ms after exec", first_answer.as_secs_f64() * 1e3);
    if report.stale + report.failed > 0 {
        std::process::exit(1);
    }
}

fn options() -> Options {
    let mut options = Options { seconds: 30, updates_per_second: 200, users: 5_000, readers: 4 };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u32>().ok()).filter(|value| *value > 0);
        match (name.as_str(), value) {
            ("--seconds", Some(value)) => options.seconds = value.into(),
            ("--updates", Some(value)) => options.updates_per_second = value,
            ("--users", Some(value)) => options.users = value as usize,
            ("--readers", Some(value)) => options.readers = value as usize,
            _ => {
                eprintln!("{name}: options are --seconds, --updates, --users and --readers, each with a number");
                std::process::exit(2);
            }
        }
    }
    options
}

/// Latencies of one kind of request.
#[derive(Debug, Default)]
struct Latencies(Vec<Duration>);

impl Latencies {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn text(&self) -> String {
        let mut sorted = self.0.clone();
        let [median, high, most] = [0.5, 0.99, 1.0].map(|share| percentile(&mut sorted, share).as_secs_f64() * 1e3);
        format!("p50 {median:.3} ms, p99 {high:.3} ms, max {most:.3} ms")
    }
}

#[derive(Debug, Default)]
struct Report {
    pushes: Latencies,
    reads: Latencies,
    batches: Latencies,
    stale: usize,
    failed: usize,
}

impl Report {
    fn add(mut self, other: Self) -> Self {
        self.pushes.0.extend(other.pushes.0);
        self.reads.0.extend(other.reads.0);
        self.batches.0.extend(other.batches.0);
        self.stale += other.stale;
        self.failed += other.failed;
        self
    }
}

fn soak(address: SocketAddr, options: Options) -> Report {
    let acknowledged = Acknowledged((0..options.users).map(|_| AtomicU64::new(0)).collect());
    let is_over = AtomicBool::new(false);
    let (acknowledged, is_over) = (&acknowledged, &is_over);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for index in 0..PUSHERS {
            threads.push(scope.spawn(move || push(address, options, index, acknowledged, is_over)));
        }
        for index in 0..options.readers {
            threads.push(scope.spawn(move || read(address, index, acknowledged, is_over)));
        }
        threads.push(scope.spawn(move || read_batches(address, acknowledged, is_over)));
        std::thread::sleep(Duration::from_secs(options.seconds));
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).fold(Report::default(), Report::add)
    })
}

/// Pushes balances to the users whose number leaves `index` when divided by [`PUSHERS`]: one connection a user, so that
/// pushes of one user do not overtake each other.
fn push(
    address: SocketAddr,
    options: Options,
    index: u32,
    acknowledged: &Acknowledged,
    is_over: &AtomicBool,
) -> Report {
    let mut client = Client::connect(address);
    let mut dice = Dice::new(index.into());
    let mut report = Report::default();
    let start = Instant::now();
    for turn in 0.. {
        let due = start + Duration::from_secs(1) * PUSHERS / options.updates_per_second * turn;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let user = dice.below(options.users.div_ceil(PUSHERS as usize)) * PUSHERS as usize + index as usize;
        if user >= options.users {
            continue;
        }
        let newest = &acknowledged.0[user];
        let next = newest.load(Ordering::SeqCst) + 1;
        let sent = Instant::now();
        let answer = client.send(&data::patch(user, &balance(next)));
        if version(answer) == Some(next) {
            report.pushes.0.push(sent.elapsed());
            newest.store(next, Ordering::SeqCst);
        } else {
            report.failed += 1;
        }
    }
    report
}

/// Reads views of users at random, those that were pushed to not less often than others.
fn read(address: SocketAddr, index: usize, acknowledged: &Acknowledged, is_over: &AtomicBool) -> Report {
    let mut client = Client::connect(address);
    let mut dice = Dice::new(1_000 + index as u64);
    let mut report = Report::default();
    while !is_over.load(Ordering::Relaxed) {
        let user = dice.below(acknowledged.0.len());
        let least = acknowledged.0[user].load(Ordering::SeqCst);
        let sent = Instant::now();
        let shown = version(client.send(&data::get(&data::view_path(user), "")));
        report.reads.0.push(sent.elapsed());
        match shown {
            Some(shown) => report.stale += usize::from(shown < least),
            None => report.failed += 1,
        }
    }
    report
}

/// Reads all views at once, ten times a second, and checks each.
fn read_batches(address: SocketAddr, acknowledged: &Acknowledged, is_over: &AtomicBool) -> Report {
    let mut client = Client::connect(address);
    let numbers: std::collections::HashMap<String, usize> =
        (0..acknowledged.0.len()).map(|number| (data::user_id(number), number)).collect();
    let mut report = Report::default();
    while !is_over.load(Ordering::Relaxed) {
        let least: Vec<u64> = acknowledged.0.iter().map(|version| version.load(Ordering::SeqCst)).collect();
        let sent = Instant::now();
        client.send(&data::get_batch());
        report.batches.0.push(sent.elapsed());
        // Asked for again: the first answer was timed, this one is read. It begins later, so it must show at least as
        // much.
        let body = client.body(&data::get_batch());
        let mut seen = 0;
        for view in body.split(|byte| *byte == b'\n').filter(|view| !view.is_empty()) {
            let number = member(view, b"\"user_id\":\"").and_then(|user| numbers.get(std::str::from_utf8(user).ok()?));
            match (number, version(view)) {
                (Some(number), Some(shown)) => report.stale += usize::from(shown < least[*number]),
                _ => report.failed += 1,
            }
            seen += 1;
        }
        report.failed += acknowledged.0.len() - seen;
        std::thread::sleep(Duration::from_millis(100));
    }
    report
}

/// What the whole part of all pushed balances begins at; those that were loaded are below it.
const PUSHED: u64 = 1_000_000;

/// The balance of this push.
fn balance(version: u64) -> String {
    format!("{}", PUSHED + version)
}

/// Which push a view or an overlay shows; 0 for the balance that was loaded.
fn version(answer: &[u8]) -> Option<u64> {
    let digits = member(answer, b"\"account_balance\":")?;
    let whole: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(whole.saturating_sub(PUSHED))
}

/// The letters and digits after `name`.
fn member<'a>(answer: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = answer.windows(name.len()).position(|window| window == name)? + name.len();
    let length = answer[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    Some(&answer[start..start + length])
}
