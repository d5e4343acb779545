//! Damaged files: bits flipped, ends cut off, pages swapped, torn or filled with rubbish.
//!
//! Whatever has happened to a file, opening it either refuses, or what it shows is what was written, to the last byte. That holds for
//! `verify` and for the server alike, as both open it by the same way. Nothing panics its way out, and no damage
//! makes the program ask for more memory than a whole file of that size would.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use overlaid::store::{Contents, Store, StoreError, contents, verify};

use crate::disk::{Dice, MemoryDisk, effort, in_parallel, seed};
use crate::process::run;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/samples");
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

/// The most memory that this process ever had, in bytes, where the system says so.
fn memory_peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) * 1_024
}

/// Opens `count` damaged versions of the file; returns how many were refused.
fn damage_many(count: usize, damage: impl Fn(&mut Vec<u8>, &mut Dice) + Sync) -> usize {
    let seed = seed();
    let folder = tempfile::tempdir().unwrap();
    let path = whole_file(folder.path());
    let original = fs::read(&path).unwrap();
    let expected = verify(&path).unwrap();
    let refused = AtomicUsize::new(0);
    in_parallel(count, |number| {
        let mut bytes = original.clone();
        damage(&mut bytes, &mut Dice::new(seed.wrapping_add(number as u64)));
        match serve(bytes) {
            Ok(contents) => {
                assert_eq!(contents.sha256, expected.sha256, "seed {seed}, number {number}: a wrong answer");
            }
            Err(error) => {
                let text = error.to_string();
                assert!(!text.contains("panicked"), "seed {seed}, number {number}: {text}");
                refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    assert!(memory_peak() < 1 << 30, "memory without bounds: {} bytes", memory_peak());
    let refused_count = refused.load(Ordering::Relaxed);
    println!("{count} damaged files, {refused_count} refused, the others as they were; peak {} bytes", memory_peak());
    refused.into_inner()
}

#[test]
fn a_flipped_bit_is_found_or_does_not_matter() {
    let refused = damage_many(effort(3_000), |bytes, dice| {
        // Every other one where it hurts most: in the head of the file.
        let at = if dice.below(2) == 0 { dice.below(PAGE) } else { dice.below(bytes.len()) };
        bytes[at] ^= 1 << dice.below(8);
    });
    assert!(refused > 0);
}

#[test]
fn a_file_cut_short_or_grown_is_found() {
    damage_many(effort(300), |bytes, dice| {
        let len = if dice.below(4) == 0 { dice.below(bytes.len() * 2) } else { dice.below(bytes.len()) };
        bytes.resize(len.max(1), 0);
    });
}

#[test]
fn swapped_torn_and_overwritten_pages_are_found() {
    damage_many(effort(700), |bytes, dice| {
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
}

/// Where the engine describes the layout of the file, each bit is tried.
#[test]
fn every_bit_of_the_header_is_tried() {
    let next = AtomicUsize::new(0);
    damage_many(512 * 8, |bytes, _| {
        let bit = next.fetch_add(1, Ordering::Relaxed);
        bytes[bit / 8] ^= 1 << (bit % 8);
    });
}

#[test]
fn a_damaged_file_is_refused_with_exit_code_1_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = whole_file(folder.path());
    let original = fs::read(&path).unwrap();
    let mut bytes = original.clone();
    // In the middle of a row, wherever it lies.
    let at = bytes.windows(6).position(|window| window == b"EURUSD").unwrap();
    bytes[at] = b'X';
    fs::write(&path, &bytes).unwrap();
    for command in [&["verify", path.to_str().unwrap()][..], &["serve", "--listen", "127.0.0.1:0"], &["stats"]] {
        let output = run(folder.path(), command);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs::read(&path).unwrap(), bytes, "{command:?} changed the file");
    }
    for rubbish in [&b""[..], b"redb", &[0; 10_000], &original[..1_000], &original[PAGE..]] {
        fs::write(&path, rubbish).unwrap();
        assert_eq!(run(folder.path(), &["verify", path.to_str().unwrap()]).status.code(), Some(1), "{}", rubbish.len());
        assert_eq!(fs::read(&path).unwrap(), rubbish);
    }
}
