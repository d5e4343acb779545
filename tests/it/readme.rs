//! Runs what the README and the manual tell their readers to paste, and compares what they are told to see.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, iter};

use crate::legacy_tree::write_day;
use crate::process::{Server, program};

const README: &str = include_str!("../../README.md");
const MIGRATION: &str = include_str!("../../data/manual/migration.md");
/// A newcomer reads this much at one sitting; the manual has the rest.
const README_LINES_MAX: usize = 250;

/// Commands and the output that the README shows under each.
fn session() -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for block in README.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => steps.push((command.to_owned(), String::new())),
                None => steps.last_mut().unwrap().1 += &[line, "\n"].concat(),
            }
        }
    }
    steps
}

/// Whether `text` is `pattern` with something in the place of each `…`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        if index + 1 == parts.len() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}

/// Whether these programs are installed; says so if one is not.
fn are_installed(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| Command::new(program).arg("--version").output().is_err());
    if let Some(program) = missing {
        println!("skipped: {program} is not installed");
    }
    missing.is_none()
}

/// A server with the sample data, as the README starts one.
fn sample_server(folder: &Path) -> Server {
    Server::start(folder, &["--load", concat!(env!("CARGO_MANIFEST_DIR"), "/data/samples")])
}

/// What a command of the README prints, if `server` is the one that it asks.
fn output_of(program: &str, command: &str, server: &Server) -> String {
    let command = command.replace("127.0.0.1:7717", &server.address.to_string());
    let output = Command::new(program).args(["-c", &command]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_session_in_the_readme_goes_as_it_says() {
    if !are_installed(&["curl"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = sample_server(folder.path());
    let steps = session();
    assert!(steps.len() >= 6, "the README shows publish, patch, view, all views, 304 and a refusal");
    for (command, expected) in steps {
        let shown = output_of("sh", &command, &server);
        let (shown, expected) = (shown.trim_end(), expected.trim_end());
        assert!(matches(expected, shown), "\n$ {command}\nthe README shows: {expected}\nit printed:       {shown}");
    }
}

#[test]
fn the_python_in_the_readme_reads_a_view_of_each_user() {
    if !are_installed(&["curl", "python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = sample_server(folder.path());
    let (publish, _) = &session()[0];
    assert!(output_of("sh", publish, &server).contains("ELITE_RAPID_EURUSD_1"));
    let script = README.split("```python\n").nth(1).unwrap().split("```").next().unwrap();

    let shown = output_of("python3", &[script, "print(len(views), lots['7001'])"].concat(), &server);

    assert_eq!(shown.trim_end(), "25 1.08");
}

/// The commands of the chapter on old files, one after the other in a folder with such files.
#[test]
fn the_commands_for_old_files_go_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    write_day(&folder.path().join("old-missions"), 2, 5);
    let blocks = MIGRATION.split("```shell\n").skip(1);
    let commands: Vec<_> = blocks.flat_map(|block| block.split("```").next().unwrap().lines()).collect();
    assert_eq!(commands.len(), 9, "plan, import twice, verify, archive, and four for packs");
    for command in commands {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("overlaid"));
        let output = program().args(words).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty(), "{command} says something");
    }
    assert!(!folder.path().join("old-missions/missions").exists());
    assert_eq!(std::fs::read_dir(folder.path().join("back/missions")).unwrap().count(), 10);
}

#[test]
fn the_readme_names_two_commands_for_a_fresh_machine() {
    let commands: Vec<_> = README.split("```sh\n").skip(1).map(|block| block.split("\n```").next().unwrap()).collect();
    assert_eq!(commands, ["cargo run --release -- serve --load data/samples", "cargo test"]);
}

#[test]
fn the_readme_is_short() {
    let lines = README.lines().count();
    assert!(lines <= README_LINES_MAX, "{lines} lines; what does not fit is for data/manual");
}

/// The chapters of the manual.
fn chapters() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/manual");
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The targets of the links and pictures of a page, without those of web addresses.
fn relative_links(page: &str) -> Vec<&str> {
    let targets = page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    targets.filter(|target| !target.contains("://")).collect()
}

/// The names by which links reach the headings of a page: lower case, spaces as hyphens, no other punctuation.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let letter = |letter: char| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        _ => letter.is_alphanumeric().then(|| letter.to_ascii_lowercase()),
    };
    headings.map(|line| line.trim_start_matches('#').trim().chars().filter_map(letter).collect()).collect()
}

#[test]
fn every_link_names_a_file_that_is_there() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    for path in iter::once(readme).chain(chapters()) {
        let page = fs::read_to_string(&path).unwrap();
        for link in relative_links(&page) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.is_file(), "{} links to {link}, which is no file", path.display());
            let is_heading = || anchors(&fs::read_to_string(&target).unwrap()).iter().any(|heading| heading == anchor);
            assert!(anchor.is_empty() || is_heading(), "{} links to {link}: no such heading", path.display());
        }
    }
}

#[test]
fn the_readme_links_to_every_chapter() {
    let links = relative_links(README);
    for path in chapters() {
        let link = format!("data/manual/{}", path.file_name().unwrap().to_str().unwrap());
        assert!(links.contains(&link.as_str()), "the README does not link to {link}");
    }
}
