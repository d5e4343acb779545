//! The program's commands, run to their end, and what they print.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The program: the one that was built with the tests, or the one that `OVERLAID_BIN` names.
pub(crate) fn program() -> Command {
    let built = env!("CARGO_BIN_EXE_overlaid").to_owned();
    Command::new(std::env::var("OVERLAID_BIN").unwrap_or(built))
}

/// Runs a command on the data in `folder`.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    program().arg("--data").arg(folder).args(arguments).output().unwrap()
}

#[track_caller]
pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// Standard output of a command, which must have succeeded.
#[track_caller]
pub(crate) fn done(output: Output) -> String {
    assert_eq!(code(&output), 0, "{}", error(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error.
pub(crate) fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit code and all output, as a snapshot has it.
#[track_caller]
pub(crate) fn shown(output: &Output) -> String {
    format!("exit {}\n{}{}", code(output), String::from_utf8_lossy(&output.stdout), error(output))
}

/// What a command prints with `--json`.
#[track_caller]
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(output)))
}

/// The value after a name in what a command reports.
#[track_caller]
pub(crate) fn value(report: &str, name: &str) -> String {
    let line = report.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {report}"));
    line.split_once(' ').unwrap().1.trim().to_owned()
}

/// All records of the data in `folder`, as lines.
#[track_caller]
pub(crate) fn export(folder: &Path) -> String {
    done(run(folder, &["export"]))
}

/// Runs `overlaid token …` on the data in `folder`; returns what it prints.
#[track_caller]
pub(crate) fn run_token(folder: &Path, arguments: &[&str]) -> String {
    done(run(folder, &[&["token"], arguments].concat())).trim().to_owned()
}

/// Makes a token with a scope for the data in `folder`.
#[track_caller]
pub(crate) fn create_token(folder: &Path, scope: &str) -> String {
    run_token(folder, &["create", "--scope", scope])
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What lies in a folder, sorted; without the socket of a server that runs or was killed.
pub(crate) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| !file.ends_with("overlaid.sock"));
    files.sort();
    files
}
