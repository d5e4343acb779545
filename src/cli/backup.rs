//! `backup`, `verify`, `restore`, `compact`: the file as a whole.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{Answer, client, explain_open, explain_replacing, settings};
use crate::config::Config;
use crate::service::{Clock, Service};
use crate::store::{self, Contents, Store, StoreError};

/// Copy the whole database, tokens too, into one verified file.
///
/// While a server has the database open, the server is asked to make the backup in its own backup folder, and the result is
/// copied to PATH; writes go on meanwhile. The file appears whole or not at all.
#[derive(Debug, Args)]
pub(super) struct BackupCommand {
    /// The file to make; without it, a file named after the moment in the folder `backups` beside the database.
    path: Option<PathBuf>,
    /// Where a server that has the database open listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7717", env = "OVERLAID_SERVER")]
    server: SocketAddr,
    /// A token with the scope admin, if the server has any tokens.
    #[arg(long, env = "OVERLAID_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// Read all of a file and say whether it is whole; the file is not changed.
///
/// Every page, record and index is checked. The exit code is 0 for a whole file and 1 for a damaged one.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A backup, or the database of a server that is stopped.
    file: PathBuf,
}

/// Put a backup in the place of the database.
///
/// The server must be stopped. FILE is verified first. The old database stays as
/// overlaid.redb.before-restore-TIME, which nothing overwrites.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup.
    file: PathBuf,
}

/// Make the database file as small as it can be. The server must be stopped.
///
/// The file is written anew beside the old one and then takes its place, so there must be room for both.
#[derive(Debug, Args)]
pub(super) struct Compact {}

impl BackupCommand {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let database = config.database();
        let store = match Store::open_to_read(&database) {
            Ok(store) => store,
            Err(StoreError::InUse(_)) => return self.ask_server(&database),
            Err(error) => return Err(explain_open(error, &database)),
        };
        if let Some(path) = &self.path {
            // This process has it open to read, which keeps no other file from its place.
            if path.canonicalize().is_ok_and(|path| database.canonicalize().is_ok_and(|database| path == database)) {
                return Err(explain_replacing(StoreError::InUse(path.clone())));
            }
            report(path, &store::back_up(&store.snapshot()?, path).map_err(explain_replacing)?)?;
            return Ok(Answer::Done);
        }
        let service =
            Service::start(store, settings(config)?).with_context(|| format!("cannot read {}", database.display()))?;
        let backup = service.back_up()?;
        if let Some(contents) = &backup.contents {
            report(&backup.file, contents)?;
        }
        Ok(Answer::Done)
    }

    fn ask_server(&self, database: &Path) -> anyhow::Result<Answer> {
        let (status, answer) = client::post(self.server, "/v1/admin/backup", self.token.as_deref()).context(
            "another process has the database open and could not be asked for a backup (--server says where it listens)",
        )?;
        let text = |name: &str| answer.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        anyhow::ensure!(status == 200, "the server answered {status}: {}", text("detail"));
        let database = database.canonicalize().context("cannot find out where the database is")?;
        anyhow::ensure!(
            Path::new(&text("database")) == database,
            "the server at {} serves {}, and not {}: --server says where another one listens",
            self.server,
            text("database"),
            database.display()
        );
        let made = PathBuf::from(text("file"));
        match &self.path {
            None => report(&made, &store::verify(&made)?)?,
            Some(path) => {
                let store = Store::open_to_read(&made).with_context(|| format!("cannot read {}", made.display()))?;
                report(path, &store::back_up(&store.snapshot()?, path).map_err(explain_replacing)?)?;
            }
        }
        Ok(Answer::Done)
    }
}

impl Verify {
    pub(super) fn run(&self) -> anyhow::Result<Answer> {
        let contents = store::verify(&self.file).map_err(|error| match error {
            StoreError::InUse(path) => {
                anyhow::anyhow!("another process has {} open; verify a backup or a copy of it", path.display())
            }
            StoreError::Absent(path) => anyhow::anyhow!("there is no file {}", path.display()),
            other => anyhow::Error::new(other).context(format!("{} can not be trusted", self.file.display())),
        })?;
        report(&self.file, &contents)?;
        Ok(Answer::Done)
    }
}

impl Restore {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let database = config.database();
        let restored = store::restore(&self.file, &database, Clock::System.now()).map_err(|error| match error {
            StoreError::InUse(path) => {
                anyhow::anyhow!("another process has {} open; stop the server first", path.display())
            }
            StoreError::Absent(path) => anyhow::anyhow!("there is no file {}", path.display()),
            other => anyhow::Error::new(other).context(format!("{} can not be restored", self.file.display())),
        })?;
        report(&database, &restored.contents)?;
        if let Some(kept) = restored.kept {
            let kept = kept.display();
            writeln!(io::stdout(), "{:<12} {kept}", "kept")?;
            writeln!(
                io::stdout(),
                "{:<12} start the server; the file that stood here before is kept until you delete it, and \
                 `overlaid restore {kept}` brings it back",
                "next"
            )?;
        }
        Ok(Answer::Done)
    }
}

impl Compact {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let database = config.database();
        let length = || std::fs::metadata(&database).map_or(0, |file| file.len());
        let before = length();
        store::compact(&database).map_err(|error| explain_open(error, &database))?;
        writeln!(io::stdout(), "{}: {before} bytes before, {} after", database.display(), length())?;
        Ok(Answer::Done)
    }
}

fn report(file: &Path, contents: &Contents) -> anyhow::Result<()> {
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
    let mut out = io::stdout().lock();
    writeln!(out, "{:<12} {}", "file", file.display())?;
    for (name, number) in numbers {
        writeln!(out, "{name:<12} {number}")?;
    }
    Ok(writeln!(out, "{:<12} {}", "sha256", contents.sha256)?)
}
