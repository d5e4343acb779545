//! Damaged files: bits flipped, ends cut off, pages swapped, torn or filled with rubbish.
//!
//! Whatever has happened to a file, opening it either refuses, or what it shows is what was written, to the last byte.
//! That holds for `verify` and for the server alike, as both open it by the same way. Nothing panics its way out, and
//! no damage makes the program ask for more memory than a whole file of that size would.
//!
//! There is one exception, which these tests count apart. After a kill, damage to just what the very last commit wrote
//! looks like a commit that the kill interrupted. The engine shows the commit before it then.
//!
//! These are 10,000 damaged files, and 1,500 of a server that was killed; `OVERLAID_EFFORT=20` makes it twenty times as
//! many, but for the header, which is tried bit by bit:
//! `OVERLAID_EFFORT=20 cargo test --release -p overlaid --test it damage:: -- --nocapture`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use overlaid::store::{Contents, Store, StoreError, contents, verify};

use crate::kit::{Dice, MemoryDisk, SAMPLES, Server, effort, error, in_parallel, run, seed, skipped};

const PAGE: usize = 4_096;

/// A file with a day of samples, closed properly.
fn whole_file(folder: &Path) -> PathBuf {
    assert_eq!(run(folder, &["load", SAMPLES]).status.code(), Some(0));
    folder.join("overlaid.redb")
}

/// As a server opens it, and everything that it would serve.
fn serve(bytes: Vec<u8>) -> Result<Contents, StoreError> {
    let file_bytes = bytes.len() as u64;
    let store = Store::open_on(MemoryDisk::with(bytes), Path::new("in memory"))?;
    contents(&store.snapshot()?, file_bytes)
}

/// The most memory that this process ever had, in bytes; `None` where the system does not say so.
fn memory_peak() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<usize>().ok()? * 1_024)
}

/// Opens `count` damaged versions of a file that was closed properly; returns how many were refused.
fn damage_many(count: usize, damage: impl Fn(&mut Vec<u8>, &mut Dice) + Sync) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = whole_file(folder.path());
    let (original, expected) = (fs::read(&path).unwrap(), verify(&path).unwrap().sha256);
    damage_file(count, &original, &expected, damage)
}

/// Opens `count` damaged versions of a file; returns how many were refused. The others must show what the whole one
/// does.
fn damage_file(
    count: usize,
    original: &[u8],
    expected: &str,
    damage: impl Fn(&mut Vec<u8>, &mut Dice) + Sync,
) -> usize {
    damage_killed_file(count, original, [expected, expected], damage).0
}

/// As [`damage_file`], of a file that was killed: one whose last commit is damaged may show the state before that
/// commit.
///
/// - `states`: what the whole file shows, and what it showed before its last commit.
///
/// Returns how many were refused, and how many showed the state before.
fn damage_killed_file(
    count: usize,
    original: &[u8],
    [expected, before]: [&str; 2],
    damage: impl Fn(&mut Vec<u8>, &mut Dice) + Sync,
) -> (usize, usize) {
    let seed = seed();
    let (refused, older) = (AtomicUsize::new(0), AtomicUsize::new(0));
    in_parallel(count, |number| {
        let mut bytes = original.to_vec();
        damage(&mut bytes, &mut Dice::new(seed.wrapping_add(number as u64)));
        match serve(bytes) {
            Ok(contents) if contents.sha256 == expected => {}
            Ok(contents) if contents.sha256 == before => drop(older.fetch_add(1, Ordering::Relaxed)),
            Ok(contents) => panic!("seed {seed}, number {number}: a wrong answer: {contents:?}"),
            Err(error) => {
                let text = error.to_string();
                assert!(!text.contains("panicked"), "seed {seed}, number {number}: {text}");
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    match memory_peak() {
        Some(bytes) => assert!((1..1 << 30).contains(&bytes), "memory without bounds: {bytes} bytes"),
        None => skipped("this system does not say how much memory a process has had"),
    }
    let (refused, older) = (refused.into_inner(), older.into_inner());
    println!(
        "{count} damaged files: {refused} refused, {older} at the commit before, the others right; peak {:?} bytes",
        memory_peak()
    );
    (refused, older)
}

#[test]
fn a_flipped_bit_is_found_or_does_not_matter() {
    let refused = damage_many(effort(4_404), |bytes, dice| {
        // Every other one where it hurts most: in the head of the file.
        let at = if dice.below(2) == 0 { dice.below(PAGE) } else { dice.below(bytes.len()) };
        bytes[at] ^= 1 << dice.below(8);
    });
    assert!(refused > 0);
}

#[test]
fn a_file_cut_short_or_grown_is_found() {
    let refused = damage_many(effort(500), |bytes, dice| {
        let len = if dice.below(4) == 0 { dice.below(bytes.len() * 2) } else { dice.below(bytes.len()) };
        bytes.resize(len.max(1), 0);
    });
    assert!(refused > 0);
}

#[test]
fn swapped_torn_and_overwritten_pages_are_found() {
    let refused = damage_many(effort(1_000), |bytes, dice| {
        let pages = bytes.len() / PAGE;
        let (one, other) = (dice.below(pages) * PAGE, dice.below(pages) * PAGE);
        match dice.below(3) {
            0 => {
                let kept = bytes[one..one + PAGE].to_vec();
                bytes.copy_within(other..other + PAGE, one);
                bytes[other..other + PAGE].copy_from_slice(&kept);
            }
            1 => bytes.copy_within(other..other + PAGE / 2, one),
            _ => bytes[one..one + PAGE].fill_with(|| u8::try_from(dice.below(256)).unwrap()),
        }
    });
    assert!(refused > 0);
}

/// A file as `kill -9` leaves it is refused or shows what was acknowledged last; or, if the damage hits what the very
/// last commit wrote, the state before that commit.
#[test]
fn damage_to_the_file_of_a_killed_server_is_found_or_does_not_matter_or_takes_the_last_commit_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (whole_file(folder.path()), folder.path().join("copy.redb"));
    let server = Server::start(folder.path(), &["--copy-gate-ms", "0"]);
    let write = |balance: u64| {
        let written = server.put_balance(7, balance);
        assert!(written.status < 300, "{written:?}");
    };
    write(1);
    write(2);
    fs::copy(&path, &copy).unwrap();
    write(3);
    server.kill();
    let (before, original) = (fs::read(&copy).unwrap(), fs::read(&path).unwrap());
    let expected = serve(original.clone()).unwrap().sha256;
    let one_before = serve(before.clone()).unwrap().sha256;
    assert_ne!(one_before, expected, "the last commit changed something");
    let states = [&*expected, &*one_before];
    // The pages that the last commit wrote, without the first, where the engine's own head is.
    let written: Vec<_> = (PAGE..original.len())
        .step_by(PAGE)
        .filter(|page| before.get(*page..*page + PAGE) != original.get(*page..*page + PAGE))
        .collect();
    assert!(written.len() > 2, "{written:?}");
    let (refused, older) = damage_killed_file(effort(1_500), &original, states, |bytes, dice| {
        let at = match dice.below(3) {
            0 => dice.below(PAGE),
            1 => written[dice.below(written.len())] + dice.below(PAGE),
            _ => dice.below(bytes.len()),
        };
        if dice.below(4) == 0 {
            let page = at / PAGE * PAGE;
            let end = bytes.len().min(page + PAGE);
            bytes[page..end].fill_with(|| u8::try_from(dice.below(256)).unwrap());
        } else {
            bytes[at] ^= 1 << dice.below(8);
        }
    });
    assert!(refused > 0 && older > 0);
    // Each page of the last commit, as a whole, and the slot of the head that names it.
    let torn = AtomicUsize::new(0);
    let places = written.len() + 2;
    damage_killed_file(places, &original, states, |bytes, _| match torn.fetch_add(1, Ordering::Relaxed) {
        number if number < written.len() => bytes[written[number]..written[number] + PAGE].fill(0),
        number => {
            let slot = 64 + 128 * (number - written.len());
            bytes[slot..slot + 128].fill(0);
        }
    });
    // The program itself, on the file: it may tidy up a whole one, but never touches one that it refuses.
    let mut dice = Dice::new(seed());
    for round in 0..effort(12) {
        let mut bytes = original.clone();
        let at =
            if round % 2 == 0 { dice.below(bytes.len()) } else { written[dice.below(written.len())] + dice.below(64) };
        bytes[at] ^= 1 << dice.below(8);
        fs::write(&path, &bytes).unwrap();
        let verified = run(folder.path(), &["verify", path.to_str().unwrap()]);
        assert_eq!(fs::read(&path).unwrap(), bytes, "verify changed the file");
        let shown = run(folder.path(), &["overlay", "get", "7"]);
        assert_eq!(verified.status.code(), shown.status.code(), "bit in byte {at}");
        match verified.status.code() {
            Some(0) => {
                let shown = String::from_utf8_lossy(&shown.stdout).replace(' ', "");
                let is_right = [3, 2].iter().any(|balance| shown.contains(&format!("account_balance\":{balance}")));
                assert!(is_right, "{shown}");
            }
            Some(1) => assert_eq!(fs::read(&path).unwrap(), bytes, "a refused file was changed"),
            other => panic!("exit code {other:?}: {verified:?}"),
        }
    }
}

/// Where the engine describes the layout of the file, each bit is tried.
#[test]
fn every_bit_of_the_header_is_tried() {
    let next = AtomicUsize::new(0);
    let refused = damage_many(512 * 8, |bytes, _| {
        let bit = next.fetch_add(1, Ordering::Relaxed);
        bytes[bit / 8] ^= 1 << (bit % 8);
    });
    assert!(refused > 0);
}

#[test]
fn a_damaged_file_is_refused_with_exit_code_1_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = whole_file(folder.path());
    let original = fs::read(&path).unwrap();
    let mut bytes = original.clone();
    // In the middle of a row, wherever it lies, also in pages that are free by now.
    let rows: Vec<_> = (PAGE..bytes.len()).filter(|at| bytes[*at..].starts_with(b"EURUSD")).collect();
    for at in &rows {
        bytes[*at] = b'X';
    }
    assert!(!rows.is_empty());
    fs::write(&path, &bytes).unwrap();
    for command in [&["verify", path.to_str().unwrap()][..], &["serve", "--listen", "127.0.0.1:0"], &["stats"]] {
        let output = run(folder.path(), command);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {}", error(&output));
        assert_eq!(fs::read(&path).unwrap(), bytes, "{command:?} changed the file");
    }
    for rubbish in [&b""[..], b"redb", &[0; 10_000], &original[..1_000], &original[PAGE..]] {
        fs::write(&path, rubbish).unwrap();
        assert_eq!(run(folder.path(), &["verify", path.to_str().unwrap()]).status.code(), Some(1), "{}", rubbish.len());
        assert_eq!(fs::read(&path).unwrap(), rubbish);
    }
}
