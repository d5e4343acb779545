//! Rules about the source text that no lint checks: who may use what, and a header on every file.

mod modules;

use std::fs;
use std::path::{Path, PathBuf};

/// Crates that stay behind one wall, and where that is. A folder's name stands for all that lies in it.
const WALLS: &[(&[&str], &[&str])] = &[
    (&["redb", "bincode"], &["src/store"]),
    (&["moka"], &["src/cache"]),
    (&["tower", "tower_http", "tokio_io_timeout"], &["src/http"]),
    (&["axum", "hyper", "hyper_util", "http_body_util"], &["src/http", "src/client"]),
    (&["pulldown_cmark"], &["src/http/docs"]),
    (&["clap"], &["src/cli", "src/config"]),
    (&["clap_complete", "sd_notify"], &["src/cli"]),
    (&["anyhow"], &["src/main", "src/cli", "src/client", "src/legacy"]),
    (&["tar", "blake3", "indicatif"], &["src/legacy"]),
    (&["zstd"], &["src/legacy", "src/store"]),
];

/// What the pure part does without: files, sockets, clocks, locks, threads of control, a log.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "tokio",
    "tracing",
    "async ",
    "Mutex",
    "RwLock",
    "SystemTime",
    "Instant",
];
const PURE: &[&str] = &["src/domain", "src/render"];

/// What is not finished, or was only meant to be looked at.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "dbg!"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `folder`, as its path from the root with `/` in it, and its text.
pub(crate) fn sources(folder: &str) -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

/// Whether `file` is the module `place` (`src/store` is `src/store.rs` and all in `src/store/`).
fn lies_in(file: &str, place: &str) -> bool {
    file.strip_prefix(place).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Whether a line of code uses a crate: `redb::…`, or `use redb`.
fn uses_crate(line: &str, name: &str) -> bool {
    let is_part_of_a_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    line.match_indices(name).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        // A module of ours may have a crate's name: `super::tar::…` is not the crate, `::tar::…` is.
        let inner = before.strip_suffix("::").is_some_and(|before| before.ends_with(is_part_of_a_name));
        let starts = !inner && !before.ends_with(is_part_of_a_name);
        starts && (after.starts_with("::") || (before.ends_with("use ") && !after.starts_with(is_part_of_a_name)))
    })
}

/// Every rule that a file breaks, with the line that does.
fn breaches(file: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !text.starts_with("//!") {
        found.push(format!("{file}:1: does not open with `//!`"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.starts_with("//") {
            continue;
        }
        let mut blame = |what: &str, rule: &str| found.push(format!("{file}:{number}: {what} {rule}: {line}"));
        for (crates, places) in WALLS {
            if places.iter().any(|place| lies_in(file, place)) {
                continue;
            }
            for name in crates.iter().filter(|name| uses_crate(line, name)) {
                blame(name, &format!("belongs in {}", places.join(", ")));
            }
        }
        if PURE.iter().any(|place| lies_in(file, place)) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                blame(word, "has no place in the pure part");
            }
        }
        for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
            blame(word, "is not finished");
        }
    }
    found
}

#[test]
fn every_file_keeps_the_rules() {
    let files = sources("src");
    assert!(files.iter().any(|(name, _)| name == "src/domain/mission.rs"), "the walk finds the source");
    let found: Vec<_> = files.iter().flat_map(|(name, text)| breaches(name, text)).collect();
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn every_test_file_says_what_it_is_for() {
    for (name, text) in sources("tests") {
        assert!(text.starts_with("//!"), "{name} does not open with `//!`");
    }
}

#[test]
fn every_dependency_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut count = 0;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]") && !line.is_empty() && !line.starts_with('#') {
            count += 1;
            let reason = line.split_once(" # ").map(|(_, reason)| reason.trim());
            assert!(reason.is_some_and(|reason| !reason.is_empty()), "no reason on this line of Cargo.toml: {line}");
        }
    }
    assert!(count >= 7, "the walk finds the dependencies");
}

/// The rules find what they are there to find.
#[test]
fn a_breach_is_found() {
    for (file, code) in [
        ("src/service.rs", "use redb::Database;"),
        ("src/service.rs", "use redb;"),
        ("src/http/routes.rs", "let table: redb::Table<u64, u64>;"),
        ("src/storekeeper.rs", "bincode::decode_from_slice(bytes)"),
        ("src/service.rs", "let cache = moka::sync::Cache::new(1);"),
        ("src/service.rs", "use axum::Router;"),
        ("src/cli/serve.rs", "hyper_util::rt::TokioIo::new(stream)"),
        ("src/service.rs", "pub use ::tower::Layer;"),
        ("src/http/auth.rs", "-> anyhow::Result<()>"),
        ("src/service.rs", "#[derive(clap::Args)]"),
        ("src/store/backup.rs", "blake3::hash(bytes)"),
        ("src/service.rs", "zstd::bulk::compress(bytes, 3)"),
        ("src/domain/time.rs", "std::fs::read(path)"),
        ("src/domain.rs", "pub async fn compute() {}"),
        ("src/render.rs", "static LAST: Mutex<u8> = Mutex::new(0);"),
        ("src/render/tests.rs", "tracing::info!(\"here\");"),
        ("src/domain/mission.rs", "let now = SystemTime::now();"),
        ("src/store.rs", "todo!()"),
        ("src/store.rs", "dbg!(row);"),
    ] {
        assert!(!breaches(file, &format!("//! Header.\n{code}\n")).is_empty(), "{file}: {code}");
    }
    assert!(!breaches("src/store.rs", "use std::fmt;\n").is_empty(), "no header");
}

#[test]
fn what_only_looks_like_a_breach_is_left_alone() {
    for (file, code) in [
        ("src/store.rs", "use redb::Database;"),
        ("src/store/codec.rs", "bincode::config::legacy()"),
        ("src/cache.rs", "use moka::sync::Cache;"),
        ("src/main.rs", "fn main() -> anyhow::Result<()> {"),
        ("src/legacy/archive.rs", "tar::Builder::new(file)"),
        ("src/service.rs", "/// Not by redb::Database itself."),
        ("src/service.rs", "let power = starter::tower_of(1);"),
        ("src/service.rs", "crate::legacy::tar::pack(file)"),
        ("src/service.rs", "use std::sync::Mutex;"),
    ] {
        assert_eq!(breaches(file, &format!("//! Header.\n{code}\n")), Vec::<String>::new());
    }
}
