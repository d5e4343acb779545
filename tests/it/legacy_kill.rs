//! Import and archive are killed at random moments, as a power cut would, and run again: the end is that of one clean
//! run, and no file is lost.
//!
//! The program itself runs, so that the kill meets whatever it does. Each of the tests takes six moments;
//! `OVERLAID_KILL_ROUNDS=50` takes more. The moments are spread over the time that a clean run takes.

use std::collections::{BTreeMap, BTreeSet};

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use overlaid::legacy;
use tempfile::TempDir;

use crate::kit::{done, error, export, program, run, tree_entries, write_day, write_shapes, write_unusable};

const TICK: Duration = Duration::from_millis(1);

fn rounds() -> u64 {
    std::env::var("OVERLAID_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(6)
}

fn write_tree(root: &Path) {
    write_shapes(root);
    write_unusable(root);
    write_day(root, 2, 1_100);
}

/// Runs a command; kills it after so many ticks. Returns how many it took, or `None` if it was killed.
fn run_for(folder: &Path, arguments: &[&str], ticks_max: u64) -> Option<u64> {
    let mut command = program();
    command.arg("--data").arg(folder).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    for ticks in 0..ticks_max {
        if child.try_wait().unwrap().is_some() {
            return Some(ticks);
        }
        sleep(TICK);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

/// A moment of each round, anywhere in the time of a clean run.
fn moments(ticks: u64) -> impl Iterator<Item = u64> {
    let rounds = rounds();
    (0..rounds).map(move |round| {
        let random = RandomState::new().build_hasher().finish();
        (round * ticks + random % ticks.max(1)) / rounds
    })
}

#[test]
fn an_import_that_was_killed_ends_as_a_clean_one() {
    let folder = TempDir::new().unwrap();
    let tree = folder.path().join("tree");
    write_tree(&tree);
    let import = ["legacy", "import", tree.to_str().unwrap()];
    let clean = folder.path().join("clean");
    let ticks = run_for(&clean, &import, u64::MAX).unwrap();
    let expected = export(&clean);
    assert!(expected.lines().count() > 1_100);
    for (round, moment) in moments(ticks).enumerate() {
        let data = folder.path().join(round.to_string());
        let end = run_for(&data, &import, moment);
        let again = run(&data, &import);
        assert!(again.status.success(), "killed after {moment} ms: {}", error(&again));
        assert!(export(&data) == expected, "killed after {moment} of {ticks} ms, {end:?}");
        let third = done(run(&data, &[&import[..], &["--json"]].concat()));
        assert!(third.contains("\"written\":0"), "{third}");
    }
}

fn stays(path: &str) -> bool {
    ["bad/dangling.json", "bad/loop.json", "bad/parent", "bad/s"].contains(&path)
}

#[test]
fn an_archive_that_was_killed_loses_no_file() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut ticks = 0;
    let mut original = BTreeMap::new();
    for (round, moment) in std::iter::once(u64::MAX).chain(moments(1_000)).enumerate() {
        let [tree, out, back] = ["tree", "out", "back"].map(|name| folder.path().join(format!("{name}{round}")));
        write_tree(&tree);
        let [tree_text, out_text, back_text] = [&tree, &out, &back].map(|path| path.to_str().unwrap());
        let archive = ["legacy", "archive", tree_text, "--out", out_text, "--delete"];
        if round == 0 {
            original = tree_entries(&tree);
            ticks = run_for(&data, &archive, u64::MAX).unwrap();
        } else {
            run_for(&data, &archive, moment * ticks / 1_000);
            let mut packed: BTreeSet<String> = tree_entries(&tree).into_keys().collect();
            // Without an index there are no packs, and to list them is an error.
            if tree_entries(&out).keys().any(|name| name.ends_with(".ndjson.zst")) {
                legacy::list(&out, &mut |item| {
                    packed.insert(item.path()?.to_str().unwrap().to_owned());
                    Ok(())
                })
                .unwrap();
            }
            assert!(original.keys().all(|path| packed.contains(path)), "killed after {moment} ‰: a file is nowhere");
            let again = run(&data, &archive);
            // The links and the socket stay: the answer is no, and says so.
            assert_eq!(again.status.code(), Some(1), "{}", error(&again));
        }
        let left = tree_entries(&tree);
        assert!(left.keys().all(|path| stays(path)), "everything that could be packed is gone");
        assert_eq!(left.len(), 4, "links and the socket stay");
        assert!(run(&data, &["legacy", "archive", "check", out_text]).status.success());
        let extracted = run(&data, &["legacy", "archive", "extract", out_text, "--to", back_text]);
        assert!(extracted.status.success(), "round {round}: {}", error(&extracted));
        let files = |all: &BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
            let files = all.iter().filter(|(path, _)| !stays(path));
            files.map(|(path, content)| (path.clone(), content.clone())).collect()
        };
        assert!(files(&tree_entries(&back)) == files(&original), "killed after {moment} ‰");
    }
}
