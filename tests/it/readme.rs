//! Runs what the README and the manual tell their readers to paste, and compares what they are told to see.
//!
//! The language of a fenced block says what the block is: `console` a session with a running server, `console stopped`
//! commands for a database without one, `python` a program for a running server, `shell` the commands for old files,
//! `sh` those for a fresh machine. The blocks of a page run from top to bottom in one folder, as its reader would run
//! them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::kit::{Server, error, has_tool, program, write_day};

const README: &str = include_str!("../../README.md");
const MIGRATING: &str = include_str!("../../data/manual/migrating.md");
const PACKAGE: &str = env!("CARGO_MANIFEST_DIR");

/// Chapters of the manual, by path.
fn chapters() -> BTreeMap<PathBuf, String> {
    let files = fs::read_dir(Path::new(PACKAGE).join("data/manual")).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// README and chapters, by path.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = chapters();
    pages.insert(Path::new(PACKAGE).join("README.md"), README.to_owned());
    pages
}

/// Fenced blocks of a page: language and content.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let fences = page.split("\n```").skip(1).step_by(2);
    fences.map(|block| block.split_once('\n').unwrap()).collect()
}

/// Commands of a block, and the output that the page shows under each.
fn steps(block: &str) -> Vec<(String, String)> {
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push((command.to_owned(), String::new())),
            None => steps.last_mut().unwrap().1 += &[line, "\n"].concat(),
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

/// The reader of a page: a folder, the program on the `PATH`, and a server that runs or not.
struct Reader {
    folder: TempDir,
    server: Option<Server>,
}

impl Reader {
    /// Starts the server with the samples, as the README's first command does.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink(program().get_program(), folder.path().join("bin/overlaid")).unwrap();
        let mut reader = Self { folder, server: None };
        reader.start();
        reader
    }

    fn start(&mut self) {
        let data = self.folder.path().join("data");
        self.server.get_or_insert_with(|| Server::with_samples(&data));
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            assert_eq!(server.terminate(), Some(0));
        }
    }

    /// Runs a text with an interpreter, with the server's real address in the place of the one on the page.
    fn run(&self, interpreter: &str, text: &str) -> Output {
        let path = format!("{}/bin:{}", self.folder.path().display(), std::env::var("PATH").unwrap());
        let mut command = Command::new(interpreter);
        command.current_dir(&self.folder).env("PATH", path).env_remove("OVERLAID_SERVER").arg("-c");
        match &self.server {
            Some(server) => command.arg(text.replace("127.0.0.1:7717", &server.address.to_string())),
            None => command.arg(text),
        };
        command.output().unwrap()
    }
}

#[test]
fn the_sessions_of_all_pages_go_as_they_say() {
    if !has_tool("curl") {
        return;
    }
    // Without it the programs in Python are left out.
    let has_python = has_tool("python3");
    for (page, text) in pages() {
        let page = page.display();
        let mut reader = None;
        for (language, block) in blocks(&text) {
            if !matches!(language, "console" | "console stopped" | "python") {
                continue;
            }
            let reader = reader.get_or_insert_with(Reader::new);
            if language == "console stopped" {
                reader.stop();
            } else {
                reader.start();
            }
            if language == "python" {
                if has_python {
                    let Output { status, stdout, stderr } = reader.run("python3", block);
                    let is_good = status.success() && !stdout.is_empty();
                    assert!(is_good, "{page}: {block}\n{}", String::from_utf8_lossy(&stderr));
                }
                continue;
            }
            for (command, expected) in steps(block) {
                let Output { stdout, stderr, .. } = reader.run("sh", &command);
                let (shown, expected) = (String::from_utf8(stdout).unwrap(), expected.trim_end());
                let (shown, stderr) = (shown.trim_end(), String::from_utf8_lossy(&stderr));
                assert!(
                    matches(expected, shown),
                    "\n{page}\n$ {command}\nthe page shows: {expected}\nit printed:     {shown}\n{stderr}"
                );
            }
        }
    }
}

#[test]
fn the_readme_has_a_session_of_six_steps_or_more() {
    let sessions = blocks(README).into_iter().filter(|(language, _)| *language == "console");
    assert!(sessions.map(|(_, block)| steps(block).len()).sum::<usize>() >= 6);
}

/// The commands of the chapter on old files, one after the other in a folder with such files.
#[test]
fn the_commands_for_old_files_go_as_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    write_day(&folder.path().join("old-missions"), 2, 5);
    let blocks = blocks(MIGRATING).into_iter().filter(|(language, _)| *language == "shell");
    let commands: Vec<_> = blocks.flat_map(|(_, block)| block.lines()).collect();
    assert_eq!(commands.len(), 9, "plan, import twice, verify, archive, and four for packs");
    for command in commands {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("overlaid"));
        let output = program().args(words).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", error(&output));
        assert!(!output.stdout.is_empty(), "{command} says something");
    }
    assert!(!folder.path().join("old-missions/missions").exists());
    assert_eq!(fs::read_dir(folder.path().join("back/missions")).unwrap().count(), 10);
}

#[test]
fn the_readme_names_two_commands_for_a_fresh_machine() {
    let commands: Vec<_> = blocks(README).into_iter().filter(|(language, _)| *language == "sh").collect();
    assert_eq!(commands, [("sh", "cargo run --release -- serve --load data/samples"), ("sh", "cargo test")]);
}

/// A longer README is not read: what does not fit is a chapter.
#[test]
fn the_readme_is_short_and_its_sections_stand_in_their_order() {
    assert!(README.lines().count() <= 250, "{} lines", README.lines().count());
    let sections: Vec<_> = README.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let order = ["Run it", "A session", "Recipes", "Routes", "Commands", "From zero to a VPS", "Operating", "Limits"];
    assert_eq!(sections[..order.len()], order);
    assert_eq!(sections[order.len()..], ["When not to use this", "How fast it is", "Changes"]);
    let speed = README.split("## How fast it is").nth(1).unwrap().split("\n## ").next().unwrap();
    assert!(speed.lines().filter(|line| line.starts_with('|')).count() <= 2 + 10, "ten rows of figures at most");
}

/// The anchor that a page of this heading has.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>().replace(' ', "-")
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let pages = pages();
    for (page, text) in &pages {
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let target = target.canonicalize().unwrap_or_else(|_| panic!("{}: {link} is not there", page.display()));
            if !wanted.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let is_there = headings.any(|line| anchor(line.trim_start_matches('#').trim()) == wanted);
                assert!(is_there, "{}: no heading for {link}", page.display());
            }
        }
    }
    for chapter in chapters().keys() {
        let link = format!("(data/manual/{}", chapter.file_name().unwrap().to_str().unwrap());
        assert!(README.contains(&link), "the README does not link {}", chapter.display());
    }
}

/// The picture is small, and asks nothing of other machines.
#[test]
fn the_picture_stands_alone() {
    let picture = fs::read_to_string(Path::new(PACKAGE).join("data/flow.svg")).unwrap();
    assert!(picture.len() < 6 * 1024, "{} bytes", picture.len());
    for foreign in ["<script", "href", "@import", "@font-face", "url(h", "<foreignObject"] {
        assert!(!picture.contains(foreign), "the picture has {foreign}");
    }
}
