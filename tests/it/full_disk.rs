//! A disk that is really full: a small tmpfs, with the program as it is run on it.
//!
//! Mounting takes the right to; where that is missing, the test says so and does nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use overlaid::service::Stopwatch;

use crate::kit::{Answer, EURUSD, Server, SmallDisk};

/// How soon writes must be taken after there is room again.
const RECOVERY: Duration = Duration::from_secs(5);
/// What is left for the server to fill, and how long the disk stays full then: nothing, and a moment; some, and until
/// the pauses between two attempts to recover are longest.
const ROUNDS: [(u64, Duration); 2] = [(0, Duration::from_secs(1)), (1 << 20, Duration::from_millis(3_500))];
/// Far more writes than a full disk takes into what the file has free within.
const WRITES_MAX: usize = 5_000;

/// What may be there for each user: the last balance that was acknowledged, and those refused since.
#[derive(Default)]
struct Ledger {
    allowed: BTreeMap<u64, Vec<u64>>,
    balance: u64,
}

impl Ledger {
    /// Writes a balance that was never there: of a new user, or of one that is there.
    fn write(&mut self, server: &Server, is_new: bool) -> Answer {
        self.balance += 1;
        let (balance, padding) = (self.balance, "n".repeat(2_000));
        let known = self.allowed.iter().filter(|(_, allowed)| !allowed.contains(&0)).map(|(user, _)| *user);
        let known: Vec<_> = known.collect();
        let (method, user) = if is_new || known.is_empty() {
            ("PUT", self.allowed.len() as u64)
        } else {
            ("PATCH", known[usize::try_from(balance).unwrap() * 7 % known.len()])
        };
        let body = format!(r#"{{"account_balance":{balance},"risk_percent":2,"note":"{padding}"}}"#);
        let answer = server.send(method, &format!("/v1/users/{user}/overlay"), &body);
        let allowed = self.allowed.entry(user).or_insert_with(|| vec![0]);
        match answer.status {
            200 | 201 | 204 => *allowed = vec![balance],
            503 => allowed.push(balance),
            _ => panic!("{answer:?}"),
        }
        answer
    }

    /// Everything acknowledged is there. A refused write may be, but is not half there.
    fn check(&self, server: &Server) {
        for (user, allowed) in &self.allowed {
            let answer = server.get(&format!("/v1/users/{user}/overlay"));
            let found = match answer.status {
                404 => 0,
                200 => answer.json()["account_balance"].as_u64().unwrap(),
                _ => panic!("user {user}: {answer:?}"),
            };
            assert!(allowed.contains(&found), "user {user} has {found}, of {allowed:?}");
        }
    }

    fn acknowledged(&self) -> usize {
        self.allowed.values().filter(|allowed| allowed[0] != 0).count()
    }
}

/// Reads of every kind until `is_over`; each must be answered. Returns how many there were.
fn read_on(server: &Server, is_over: &AtomicBool, done: &AtomicUsize) {
    let paths = [
        "/v1/users/0/missions/S1",
        "/v1/users/0/overlay",
        "/v1/users/0/missions",
        "/v1/signals/S1",
        "/v1/signals/S1/missions",
        "/v1/signals",
        "/v1/rates",
        "/healthz",
        "/readyz",
        "/metrics",
    ];
    while !is_over.load(Ordering::SeqCst) {
        for path in paths {
            let answer = server.get(path);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            done.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn readiness(server: &Server) -> (String, String) {
    assert_eq!(server.get("/readyz").json()["disk_low"], true, "it was low from the start");
    server.readiness()
}

/// Fills the disk, writes until that is noticed and for a while longer, makes room, and waits until writes are taken
/// again. Returns how long that took.
fn fill_and_empty(disk: &SmallDisk, server: &Server, ledger: &mut Ledger, room: u64, time: Duration) -> f64 {
    let ballast = disk.fill(room);
    let refused = (0..WRITES_MAX).find(|number| ledger.write(server, number % 3 != 0).status == 503);
    assert!(refused.is_some(), "the disk is full, and {WRITES_MAX} writes were taken");
    let full = Stopwatch::start();
    let mut number = 0;
    while full.seconds() < time.as_secs_f64() {
        number += 1;
        assert_eq!(
            readiness(server),
            ("degraded".to_owned(), "storage-full".to_owned()),
            "as long as there is no room"
        );
        let answer = ledger.write(server, number % 2 == 0);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (503, Some("storage-full")), "{answer:?}");
        assert!(answer.header("retry-after").is_some_and(|after| after.parse::<u32>().unwrap() > 0), "{answer:?}");
        ledger.check(server);
    }
    ballast.remove();
    let emptied = Stopwatch::start();
    while ledger.write(server, true).status == 503 {
        assert!(emptied.seconds() < RECOVERY.as_secs_f64(), "there is room again, and writes are still refused");
        std::thread::sleep(Duration::from_millis(20));
    }
    let seconds = emptied.seconds();
    assert!(seconds < RECOVERY.as_secs_f64(), "writes were taken again only after {seconds} s");
    assert_eq!(readiness(server), ("ok".to_owned(), "ok".to_owned()));
    for number in 0..20 {
        assert_ne!(ledger.write(server, number % 2 == 0).status, 503, "once taken, writes are taken");
    }
    ledger.check(server);
    seconds
}

#[test]
fn a_disk_that_is_really_full_stops_writes_until_there_is_room_and_never_reads() {
    let Some(disk) = SmallDisk::mount("24m") else { return };
    let mut server = Server::start(&disk.data(), &[]);
    let mut ledger = Ledger::default();
    assert_eq!(server.send("PUT", "/v1/signals/S1", EURUSD).status, 201);
    assert_eq!(server.send("PUT", "/v1/rates/USDJPY", r#"{"price":148.5}"#).status, 201);
    for _ in 0..20 {
        assert_eq!(ledger.write(&server, true).status, 201);
    }
    let mut reads = 0;
    let mut longest: f64 = 0.0;
    for (round, (room, time)) in ROUNDS.into_iter().enumerate() {
        let (is_over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| read_on(&server, &is_over, &done));
            let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                fill_and_empty(&disk, &server, &mut ledger, room, time)
            }));
            is_over.store(true, Ordering::SeqCst);
            reading.join().unwrap();
            longest = longest.max(written.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        });
        reads += done.into_inner();
        if round == 0 {
            assert_eq!(server.terminate(), Some(0));
        } else {
            server.kill();
        }
        server = Server::start(&disk.data(), &[]);
        ledger.check(&server);
        assert_eq!(server.get("/v1/signals/S1").status, 200);
    }
    let acknowledged = ledger.acknowledged();
    println!(
        "{reads} reads answered, {acknowledged} users there; writes were taken again after {longest:.2} s at most"
    );
    assert!(reads > 100, "{reads} reads");
}
