//! Copies of the file, made by other programs while it is written at full tilt.
//!
//! Each copy is opened, read to the last record, and held against a ledger of every commit: it must be the state after exactly one
//! of them. With the gate on, all are. With the gate off most are not, which shows that this test can fail; but what is
//! not whole is refused, with or without a gate, and never silently wrong.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use overlaid::store::{Change, CopyGate, Store, Writer, verify};

use crate::crash::overlay;
use crate::disk::{Dice, effort, seed};

/// Users, and bytes of each overlay: some megabytes, so that a copy takes longer than a commit.
const USERS: usize = 4_000;
const PADDING: usize = 600;

/// By the number of a commit's last change: which overlays it wrote, and with which number each.
type Ledger = BTreeMap<u64, Vec<(String, u64)>>;

/// What came of copies.
#[derive(Debug, Default)]
struct Tally {
    whole: usize,
    refused: usize,
    longest_wait_ms: u64,
    commits: usize,
}

/// How a program copies `$0` to `$1`.
const CP: &str = r#"cp --reflink=never "$0" "$1""#;
const CAT: &str = r#"cat "$0" > "$1""#;
const DD: &str = r#"dd if="$0" of="$1" bs=4k status=none"#;
const RSYNC: &str = r#"rsync --inplace "$0" "$1""#;
/// Reads a third, waits, reads on: 0.3 s through one descriptor.
const SLOW: &str = r#"exec 3<"$0"; : > "$1"; for i in 1 2 3; do dd bs=1M count=2 status=none <&3 >> "$1"; sleep 0.1; done; cat <&3 >> "$1""#;

fn copy_under_load(gate_is_on: bool, script: &str, copies: usize, grows: bool) -> Tally {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data/overlaid.redb");
    let store = Store::open_or_create(&path).unwrap();
    let gate = if gate_is_on { CopyGate::new(&path, Duration::from_secs(5)).unwrap() } else { CopyGate::off() };
    let ledger = Arc::new(Mutex::new(Ledger::from([(0, Vec::new())])));
    let kept = Arc::clone(&ledger);
    let writer = Writer::start_behind(gate, Arc::clone(&store), move |commit| {
        let overlays = commit.changes.iter().map(|change| match change {
            Change::Overlay(user, Some(stored)) => (user.as_str().to_owned(), stored.seq),
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
        writer.submit(overlay(user, balance, PADDING), acknowledge).unwrap();
    };
    for users in (0..USERS).collect::<Vec<_>>().chunks(500) {
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
    let seed = seed();
    std::thread::scope(|scope| {
        let (submit, stop_writing) = (&submit, &stop);
        let writing = scope.spawn(move || {
            let mut dice = Dice::new(seed);
            let mut users = USERS;
            while !stop_writing.load(Ordering::Relaxed) {
                for _ in 0..32 {
                    users += usize::from(grows);
                    let user = if grows { users } else { dice.below(USERS) };
                    submit(user, dice.roll() % 1_000_000);
                }
                (0..32).for_each(|_| is_done.recv().unwrap());
            }
        });
        for number in 0..copies {
            assert!(!writing.is_finished(), "the writer has ended");
            let copy = folder.path().join(format!("copy-{number}"));
            let status = Command::new("sh").args(["-c", script]).arg(&path).arg(&copy).status().unwrap();
            assert!(status.success(), "{script}");
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
    tally.longest_wait_ms = writer.gate_waits().longest_us / 1_000;
    tally.commits = ledger.lock().unwrap().len();
    println!("gate {gate_is_on}, {script}: {tally:?}");
    tally
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
        for (user, seq) in ledger.range(..=contents.seq).flat_map(|(_, overlays)| overlays) {
            expected.insert(user.clone(), *seq);
        }
    }
    let store = Store::open_to_read(copy).unwrap();
    let overlays = store.snapshot().unwrap().overlays(None).unwrap().map(Result::unwrap);
    let found: BTreeMap<_, _> =
        overlays.map(|stored| (stored.overlay.user_id.as_str().to_owned(), stored.seq)).collect();
    if found == expected { Ok(true) } else { Err(format!("silently wrong at {}", contents.seq)) }
}

fn all_are_whole(script: &str, copies: usize, grows: bool) {
    let tally = copy_under_load(true, script, effort(copies), grows);
    assert_eq!((tally.whole, tally.refused), (effort(copies), 0), "{script}");
}

#[test]
fn every_copy_by_a_common_program_is_whole() {
    for script in [CP, CAT, DD] {
        all_are_whole(script, 10, false);
    }
    if Command::new("rsync").arg("--version").output().is_ok() {
        all_are_whole(RSYNC, 10, false);
    } else {
        println!("skipped: rsync is not installed");
    }
}

#[test]
fn every_slow_copy_is_whole() {
    all_are_whole(SLOW, 4, false);
}

#[test]
fn every_copy_of_a_growing_file_is_whole() {
    all_are_whole(CP, 5, true);
}

/// The same with the gate off: most copies are torn, and each of those is refused.
#[test]
fn without_the_gate_most_copies_are_torn_and_none_is_silently_wrong() {
    let copies = effort(20);
    let tally = copy_under_load(false, SLOW, copies, false);
    assert!(tally.whole * 10 <= copies * 7, "{tally:?}: the test above proves nothing");
}
