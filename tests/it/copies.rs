//! Copies of the file, made by other programs while it is written at full tilt.
//!
//! Each copy is opened, read to the last record, and held against a ledger of every commit: it must be the state after
//! exactly one of them. With the gate on, all are. With the gate off most are not, which shows that this test can fail;
//! but what is not whole is refused, with or without a gate, and never silently wrong.
//!
//! The long form makes 1,500 copies behind the gate and 200 without it, and prints what came of them:
//! `cargo test --release -p overlaid --test it copies::campaign -- --ignored --nocapture`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use overlaid::domain::UserId;
use overlaid::service::{Service, Settings, Stopwatch};
use overlaid::store::{Change, Imported, Store, Writer, compact, contents, verify};

use crate::kit::{Dice, effort, has_tool, long_overlay, seed, submit_to, write_to};

/// Users, and bytes of each overlay: some megabytes, so that a slow copy takes longer than a commit.
const USERS: usize = 4_000;
const PADDING: usize = 600;
/// As many that `cp` itself takes longer than some commits.
const MANY_USERS: usize = 60_000;

/// By the number of a commit's last change: which overlays it wrote, and with which number each.
type Ledger = BTreeMap<u64, Vec<(usize, u64)>>;

/// How a program copies `$0` to `$1`.
const CP: &str = r#"cp "$0" "$1""#;
/// Where the file system can share blocks between files, a copy is made in an instant and never torn.
const CP_BYTES: &str = r#"cp --reflink=never "$0" "$1""#;
const CAT: &str = r#"cat "$0" > "$1""#;
const DD: &str = r#"dd if="$0" of="$1" bs=4k status=none"#;
const RSYNC: &str = r#"rsync --inplace "$0" "$1""#;
/// Reads a third, waits, reads on: 0.3 s through one descriptor.
const SLOW: &str = r#"exec 3<"$0"; : > "$1"; for i in 1 2 3; do dd bs=1M count=2 status=none <&3 >> "$1"; sleep 0.1; done; cat <&3 >> "$1""#;

/// How copies are made.
#[derive(Clone, Copy, Debug)]
struct Plan {
    gate_is_on: bool,
    script: &'static str,
    copies: usize,
    /// Users that are there before the first copy.
    users: usize,
    /// Whether each write is a new user's.
    grows: bool,
}

/// What came of copies.
#[derive(Debug, Default)]
struct Tally {
    whole: usize,
    refused: usize,
    commits: usize,
    longest_wait_ms: u64,
    longest_copy_s: f64,
    file_bytes: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.whole += other.whole;
        self.refused += other.refused;
        self.commits += other.commits;
        self.longest_wait_ms = self.longest_wait_ms.max(other.longest_wait_ms);
        self.longest_copy_s = self.longest_copy_s.max(other.longest_copy_s);
        self.file_bytes = self.file_bytes.max(other.file_bytes);
    }
}

/// Where a file that grows has grown enough: a copy of it must not take longer than the gate waits.
const GROWN_USERS_MAX: usize = 1_000_000;

/// The number that a user of this test has for a name.
fn number_of(user: &UserId) -> usize {
    user.as_str().parse().unwrap()
}

impl Plan {
    fn new(gate_is_on: bool, script: &'static str, copies: usize) -> Self {
        Self { gate_is_on, script, copies, users: USERS, grows: false }
    }

    /// Makes the copies, each of them under load, and prints what came of them.
    fn run(self, seed: u64) -> Tally {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/overlaid.redb");
        let limit = if self.gate_is_on { Duration::from_secs(5) } else { Duration::ZERO };
        let store = Store::open_or_create_behind_gate(&path, limit).unwrap();
        assert_eq!(store.unsafe_copies().is_none(), self.gate_is_on);
        let ledger = Arc::new(Mutex::new(Ledger::from([(0, Vec::new())])));
        let kept = Arc::clone(&ledger);
        let writer = Writer::start(Arc::clone(&store), move |commit| {
            let overlays = commit.changes.iter().map(|change| match change {
                Change::Overlay(user, Some(stored)) => (number_of(user), stored.seq),
                other => panic!("{other:?}"),
            });
            kept.lock().unwrap().insert(commit.seq, overlays.collect());
        })
        .unwrap();
        let (done, is_done) = std::sync::mpsc::channel();
        let submit = |user: usize, balance: u64| {
            let done = done.clone();
            let acknowledge = Box::new(move |result: Result<_, _>| {
                assert!(result.is_ok());
                done.send(()).unwrap();
            });
            writer.submit(long_overlay(user, balance, PADDING), acknowledge).unwrap();
        };
        for users in (0..self.users).collect::<Vec<_>>().chunks(500) {
            for user in users {
                submit(*user, 1);
            }
            for _ in users {
                is_done.recv().unwrap();
            }
        }
        let mut tally = Tally::default();
        let mut wrong = Vec::new();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (submit, stop_writing) = (&submit, &stop);
            let writing = scope.spawn(move || {
                let mut dice = Dice::new(seed);
                let mut users = self.users;
                while !stop_writing.load(Ordering::Relaxed) {
                    for _ in 0..32 {
                        let grows = self.grows && users < GROWN_USERS_MAX;
                        users += usize::from(grows);
                        let user = if grows { users } else { dice.below(users) };
                        submit(user, dice.roll() % 1_000_000);
                    }
                    (0..32).for_each(|_| is_done.recv().unwrap());
                }
            });
            for number in 0..self.copies {
                assert!(!writing.is_finished(), "the writer has ended");
                let copy = folder.path().join(format!("copy-{number}"));
                let watch = Stopwatch::start();
                let status = Command::new("sh").args(["-c", self.script]).arg(&path).arg(&copy).status().unwrap();
                assert!(status.success(), "{}", self.script);
                tally.longest_copy_s = tally.longest_copy_s.max(watch.seconds());
                tally.file_bytes = tally.file_bytes.max(std::fs::metadata(&copy).unwrap().len());
                match judge(&copy, &ledger) {
                    Ok(true) => tally.whole += 1,
                    Ok(false) => tally.refused += 1,
                    Err(error) => wrong.push(error),
                }
                std::fs::remove_file(&copy).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(wrong.is_empty(), "{wrong:?}");
        writer.stop();
        tally.longest_wait_ms = store.gate_waits().longest_us / 1_000;
        tally.commits = ledger.lock().unwrap().len();
        println!("gate {}, {}: {tally:?}", if self.gate_is_on { "on" } else { "off" }, self.script);
        tally
    }
}

/// Whether a copy opens; one that does and is not the state after one commit is an error.
fn judge(copy: &Path, ledger: &Mutex<Ledger>) -> Result<bool, String> {
    let Ok(contents) = verify(copy) else { return Ok(false) };
    // A commit is on the disk a moment before it is in the ledger.
    while ledger.lock().unwrap().keys().next_back().is_none_or(|last| *last < contents.seq) {
        std::thread::yield_now();
    }
    let mut expected = BTreeMap::new();
    {
        let ledger = ledger.lock().unwrap();
        if !ledger.contains_key(&contents.seq) {
            return Err(format!("no commit ends at {}", contents.seq));
        }
        expected.extend(ledger.range(..=contents.seq).flat_map(|(_, overlays)| overlays).copied());
    }
    let store = Store::open_to_read(copy).unwrap();
    let overlays = store.snapshot().unwrap().overlays(None).unwrap().map(Result::unwrap);
    let found: BTreeMap<_, _> = overlays.map(|stored| (number_of(&stored.overlay.user_id), stored.seq)).collect();
    if found == expected { Ok(true) } else { Err(format!("silently wrong at {}", contents.seq)) }
}

fn all_are_whole(plan: Plan) {
    let tally = plan.run(seed());
    assert_eq!((tally.whole, tally.refused), (plan.copies, 0), "{plan:?}");
}

#[test]
fn every_copy_by_a_common_program_is_whole() {
    for script in [CP, CAT, DD] {
        all_are_whole(Plan::new(true, script, effort(10)));
    }
    if has_tool("rsync") {
        all_are_whole(Plan::new(true, RSYNC, effort(10)));
    }
}

#[test]
fn every_slow_copy_is_whole() {
    all_are_whole(Plan::new(true, SLOW, effort(4)));
}

#[test]
fn every_copy_of_a_growing_file_is_whole() {
    all_are_whole(Plan { grows: true, ..Plan::new(true, CP, effort(5)) });
}

/// The same with the gate off: most copies are torn, and each of those is refused.
#[test]
fn without_the_gate_most_copies_are_torn_and_none_is_silently_wrong() {
    let copies = effort(20);
    let tally = Plan::new(false, SLOW, copies).run(seed());
    assert!(tally.whole * 10 <= copies * 7, "{tally:?}: the tests above prove nothing");
}

/// Another process that has read the first part of a file and reads the rest once it is told to.
struct HalfRead(std::process::Child);

impl HalfRead {
    fn of(file: &Path, copy: &Path) -> Self {
        Self::from(std::fs::metadata(file).unwrap().len() / 2, file, copy)
    }

    /// One that has read so many bytes.
    fn from(bytes: u64, file: &Path, copy: &Path) -> Self {
        let script = format!(r#"exec 3<"$0"; head -c {bytes} <&3 > "$1"; echo; read go; cat <&3 >> "$1""#);
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(file).arg(copy).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Self(child)
    }

    fn finish(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }

    fn finish_after(self, time: Duration) -> std::thread::JoinHandle<()> {
        std::thread::spawn(move || {
            std::thread::sleep(time);
            self.finish();
        })
    }
}

/// A database with some users, closed.
fn small_database(path: &Path) -> String {
    let store = Store::open_or_create(path).unwrap();
    let writer = Writer::start(Arc::clone(&store), |_| {}).unwrap();
    let waiting: Vec<_> = (0..200).map(|user| submit_to(&writer, long_overlay(user, 1, PADDING)).unwrap()).collect();
    for written in waiting {
        written.recv().unwrap().unwrap();
    }
    writer.stop();
    drop((writer, store));
    verify(path).unwrap().sha256
}

const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// Opening a database writes to it, and so do an import, which has no writer, and closing it: each waits for a copy.
#[test]
fn opening_importing_and_closing_wait_for_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("overlaid.redb"), folder.path().join("copy.redb"));
    let before = small_database(&path);
    let limit = Duration::from_secs(5);
    let waits_for_copy = |what: &str, of: &Path, work: &mut dyn FnMut()| {
        let copying = HalfRead::of(of, &copy).finish_after(HALF_A_SECOND);
        let watch = Stopwatch::start();
        work();
        assert!(watch.seconds() >= HALF_A_SECOND.as_secs_f64() * 0.9, "{what} did not wait: {} s", watch.seconds());
        copying.join().unwrap();
        assert_eq!(verify(&copy).unwrap().sha256, before, "{what}");
    };
    let mut store = None;
    let import = |store: &Store, state: &str| store.import(&Imported::default(), ("tree", state)).unwrap();
    waits_for_copy("opening", &path, &mut || store = Some(Store::open_behind_gate(&path, limit).unwrap()));
    let open = store.as_deref().unwrap();
    waits_for_copy("import", &path, &mut || import(open, "half of it"));
    waits_for_copy("another import", &path, &mut || import(open, "all of it"));
    let killed = folder.path().join("killed.redb");
    std::fs::copy(&path, &killed).unwrap();
    waits_for_copy("closing", &path, &mut || drop(store.take()));
    waits_for_copy("opening after a kill", &killed, &mut || drop(Store::open_behind_gate(&killed, limit).unwrap()));
    // A copy that takes longer than the limit is not waited for.
    std::fs::copy(&path, &killed).unwrap();
    let copying = HalfRead::of(&killed, &copy);
    import(&Store::open_behind_gate(&killed, Duration::from_millis(100)).unwrap(), "once more");
    copying.finish();
}

/// A copy survives one commit beside it, wherever in the file it is: what it has read and what it reads later is the
/// state before.
#[test]
fn a_copy_that_one_commit_overtakes_is_the_state_before_or_after() {
    for read in [9, 320, 4_096, 8_192, 100_000] {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("overlaid.redb"), folder.path().join("copy.redb"));
        let before = small_database(&path);
        // So short a limit that the commit comes while the copy is under way, as it may to one that begins just before
        // it.
        let store = Store::open_behind_gate(&path, Duration::from_millis(50)).unwrap();
        let writer = Writer::start(Arc::clone(&store), |_| {}).unwrap();
        let copying = HalfRead::from(read, &path, &copy);
        write_to(&writer, long_overlay(7, 2, 200)).unwrap();
        copying.finish();
        let after = contents(&store.snapshot().unwrap(), 0).unwrap().sha256;
        assert_ne!(after, before);
        // The head names the newest commit.
        let expected = if read < 320 { after } else { before };
        assert_eq!(verify(&copy).unwrap().sha256, expected, "{read} bytes were read before the commit");
    }
}

#[test]
fn writes_of_a_service_wait_for_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("overlaid.redb"), folder.path().join("copy.redb"));
    small_database(&path);
    let service = Service::open(&path, Settings { copy_gate_ms: 2_000, ..Settings::built_in().unwrap() }).unwrap();
    assert!(service.health().unsafe_copies.is_none());
    let write = |balance| drop(service.submit(long_overlay(1, balance, PADDING)).unwrap().done_blocking().unwrap());
    write(2);
    let copying = HalfRead::of(&path, &copy).finish_after(HALF_A_SECOND);
    let watch = Stopwatch::start();
    (3..6).for_each(write);
    // Or longer: a process that another test is just starting has this file open too, for a moment.
    assert!(watch.seconds() >= HALF_A_SECOND.as_secs_f64() * 0.9, "the writes did not wait: {} s", watch.seconds());
    copying.join().unwrap();
    verify(&copy).unwrap();
}

/// Compaction does not write to the old file.
#[test]
fn a_copy_that_is_being_made_while_the_file_is_compacted_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("overlaid.redb"), folder.path().join("copy.redb"));
    let before = small_database(&path);
    let copying = HalfRead::of(&path, &copy);
    assert_eq!(compact(&path).unwrap().sha256, before);
    copying.finish();
    assert_eq!(verify(&copy).unwrap().sha256, before);
    assert_eq!(verify(&path).unwrap().sha256, before);
}

/// Long runs, in parts: a file that grows all the time would be too long to look through at the end.
fn run_in_parts(plan: Plan, seed: u64) -> Tally {
    const PART: usize = 25;
    let mut tally = Tally::default();
    for part in 0..plan.copies.div_ceil(PART) {
        let copies = PART.min(plan.copies - part * PART);
        tally.add(&Plan { copies, ..plan }.run(seed + part as u64));
    }
    tally
}

#[test]
#[ignore = "takes minutes; see the head of this file"]
fn campaign() {
    let seed = seed();
    let mut behind_gate = vec![
        Plan::new(true, CP, 300),
        Plan { users: MANY_USERS, ..Plan::new(true, CP_BYTES, 100) },
        Plan::new(true, CAT, 300),
        Plan::new(true, DD, 300),
        Plan::new(true, SLOW, 100),
        Plan { grows: true, ..Plan::new(true, CP, 100) },
    ];
    if has_tool("rsync") {
        behind_gate.push(Plan::new(true, RSYNC, 300));
    }
    let mut all = Tally::default();
    for plan in &behind_gate {
        let tally = if plan.grows { run_in_parts(*plan, seed) } else { plan.run(seed) };
        assert_eq!((tally.whole, tally.refused), (plan.copies, 0), "{plan:?}");
        all.add(&tally);
    }
    println!("gate on: {} copies, all whole; the longest write waited {} ms", all.whole, all.longest_wait_ms);
    for plan in [Plan { users: MANY_USERS, ..Plan::new(false, CP_BYTES, 100) }, Plan::new(false, SLOW, 100)] {
        let tally = plan.run(seed);
        println!("gate off, {}: {} of {} whole, the others refused", plan.script, tally.whole, plan.copies);
        assert!(tally.whole * 10 <= plan.copies * 7, "{tally:?}: the copies behind the gate prove nothing");
    }
}
