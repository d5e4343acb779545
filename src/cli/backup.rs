//! `backup`, `verify`, `restore`, `compact`: the file as a whole.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize as _;
use serde_json::Value;

use super::{Access, Answer, Global, Member, explain_open, new_file};
use crate::client::{self, Client, Content, Method, Problem, percent_encoded};
use crate::service::Clock;
use crate::store::{self, Contents, StoreError};

/// Copy the whole database, tokens too, into one verified file.
///
/// While a server has the database open, the server makes the backup, and writes go on meanwhile. The file appears
/// whole or not at all.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid backup moving.redb")]
pub(super) struct BackupCommand {
    /// The file to make; without it, a file named after the moment in the server's backup folder, or in the folder
    /// `backups` beside the database if no server runs.
    path: Option<PathBuf>,
}

/// Read all of a file and say whether it is whole; the file is not changed.
///
/// Every page, record and index is checked. The exit code is 0 for a whole file and 1 for a damaged one.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid verify moving.redb")]
pub(super) struct Verify {
    /// A backup, or the database of a server that is stopped.
    file: PathBuf,
}

/// Put a backup in the place of the database.
///
/// The server must be stopped. FILE is verified first. The old database stays as
/// overlaid.redb.before-restore-TIME, which nothing overwrites.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid restore moving.redb")]
pub(super) struct Restore {
    /// The backup.
    file: PathBuf,
}

/// Make the database file as small as it can be. The server must be stopped.
///
/// The file is written anew beside the old one and then takes its place, so there must be space for both.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid compact")]
pub(super) struct Compact {}

impl BackupCommand {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let database = global.config.database();
        let new = self.path.as_ref().map(|path| new_file(path, &database)).transpose()?;
        let client = global.client(Access::Read)?;
        let (Some(path), Some(new)) = (&self.path, new) else {
            let made: Value = ask(&client, &Method::POST, &database)?.json()?;
            let file = made.get("file").and_then(Value::as_str).context("the server's answer names no file")?;
            let contents =
                Contents::deserialize(&made).context("the server's answer does not say what the file holds")?;
            return report(global, Path::new(file), &contents, Vec::new());
        };
        ask(&client, &Method::GET, &database)?.copy_to(&mut new.file())?;
        let contents = store::verify_open(new.file()).context("what was copied is not whole")?;
        new.commit()?;
        report(global, path, &contents, Vec::new())
    }
}

/// Asks until a backup is made. A server at an address that has another database than the one that is meant refuses.
fn ask<'a>(client: &'a Client, method: &Method, database: &Path) -> anyhow::Result<client::Answer<'a>> {
    let mut target = "/v1/admin/backup".to_owned();
    if client.is_at_address()
        && let Ok(path) = database.canonicalize()
    {
        let path = path.to_str().context("the path of the database is not UTF-8")?;
        target = format!("{target}?database={}", percent_encoded(path));
    }
    loop {
        let asked = client.send(method.clone(), &target, Content::None);
        let problem = asked.as_ref().err().and_then(|error| error.downcast_ref::<Problem>());
        match problem.map_or("", |problem| &problem.code) {
            // A large backup takes longer than any request may. It goes on, and the next request waits for the same
            // one.
            "time-limit" => {}
            "other-database" => {
                let detail = problem.map_or("", |problem| &problem.detail);
                anyhow::bail!("the server has another database than {}: {detail}", database.display());
            }
            _ => return asked,
        }
    }
}

impl Verify {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let contents = store::verify(&self.file).map_err(|error| match error {
            StoreError::InUse(path) => {
                anyhow::anyhow!("another process has {} open; verify a backup or a copy of it", path.display())
            }
            StoreError::Absent(path) => anyhow::anyhow!("there is no file {}", path.display()),
            other => anyhow::Error::new(other).context(format!("{} can not be trusted", self.file.display())),
        })?;
        report(global, &self.file, &contents, Vec::new())
    }
}

impl Restore {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let database = global.config.database();
        let restored = store::restore(&self.file, &database, Clock::System.now()).map_err(|error| match error {
            StoreError::InUse(path) => {
                anyhow::anyhow!("another process has {} open; stop the server first", path.display())
            }
            StoreError::Absent(path) => anyhow::anyhow!("there is no file {}", path.display()),
            other => anyhow::Error::new(other).context(format!("{} can not be restored", self.file.display())),
        })?;
        let Some(kept) = restored.kept else { return report(global, &database, &restored.contents, Vec::new()) };
        let next = format!(
            "start the server; the file that stood here before is kept until you delete it, and `overlaid restore {}` \
             brings it back",
            kept.display()
        );
        let more = vec![("kept", kept.display().to_string().into()), ("next", next.into())];
        report(global, &database, &restored.contents, more)
    }
}

impl Compact {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let database = global.config.database();
        let length = || std::fs::metadata(&database).map_or(0, |file| file.len());
        let before = length();
        store::compact(&database).map_err(|error| explain_open(error, &database))?;
        let after = length();
        let file = database.display().to_string();
        global.print(&[("file", file.into()), ("bytes_before", before.into()), ("bytes", after.into())])
    }
}

/// Prints what a file holds, and more.
fn report(global: &Global, file: &Path, contents: &Contents, more: Vec<Member>) -> anyhow::Result<Answer> {
    let counts = contents.counts;
    let numbers = [
        ("bytes", contents.file_bytes),
        ("schema", contents.schema),
        ("seq", contents.seq),
        ("signals", counts.signals),
        ("overlays", counts.overlays),
        ("outcomes", counts.outcomes),
        ("rates", counts.rates),
        ("tokens", counts.tokens),
    ];
    let mut members: Vec<Member> = vec![("file", file.display().to_string().into())];
    members.extend(numbers.map(|(name, number)| (name, number.into())));
    members.push(("sha256", contents.sha256.clone().into()));
    members.extend(more);
    global.print(&members)
}
