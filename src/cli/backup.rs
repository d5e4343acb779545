//! `backup`, `verify`, `restore`, `compact`: the file as a whole.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize as _;
use serde_json::Value;

use super::client::{self, Client, percent_encoded};
use super::{Answer, block_on, explain_open, explain_replacing, settings};
use crate::config::Config;
use crate::service::{Clock, Service};
use crate::store::{self, Contents, Replacement, Store, StoreError};

/// Where a server listens unless it is told otherwise.
const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7717);

/// Copy the whole database, tokens too, into one verified file.
///
/// While a server has the database open, the server makes the backup and sends it; writes go on meanwhile. The file
/// appears whole or not at all.
#[derive(Debug, Args)]
pub(super) struct BackupCommand {
    /// The file to make; without it, a file named after the moment in the server's backup folder, or in the folder
    /// `backups` beside the database if no server runs.
    path: Option<PathBuf>,
    /// Ask the server that listens here; without it, 127.0.0.1:7717 is asked if another process has the database open.
    #[arg(long, value_name = "ADDRESS", env = "OVERLAID_SERVER")]
    server: Option<SocketAddr>,
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
/// The file is written anew beside the old one and then takes its place, so there must be space for both.
#[derive(Debug, Args)]
pub(super) struct Compact {}

impl BackupCommand {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let database = config.database();
        if let Some(server) = self.server {
            return self.ask(server, &database);
        }
        let store = match Store::open_to_read(&database) {
            Ok(store) => store,
            Err(StoreError::InUse(_)) => {
                return self.ask(SERVER, &database).with_context(|| {
                    format!(
                        "another process has {} open (--server says where it listens, if that is a server)",
                        database.display()
                    )
                });
            }
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
        let mut settings = settings(config)?;
        // How many the server keeps is not known here.
        settings.backups.keep = usize::MAX;
        let service = Service::start(store, settings).with_context(|| format!("cannot read {}", database.display()))?;
        let backup = block_on(service.back_up())??;
        report(&backup.file, &backup.contents)?;
        Ok(Answer::Done)
    }

    /// Lets a server make the backup: in its own folder, or for PATH.
    fn ask(&self, server: SocketAddr, database: &Path) -> anyhow::Result<Answer> {
        let client = Client { server, token: self.token.as_deref() };
        // A server of another database than the one that is meant refuses.
        let target = match database.canonicalize() {
            Ok(path) => {
                let path = path.to_str().context("the path of the database is not UTF-8")?;
                format!("/v1/admin/backup?database={}", percent_encoded(path))
            }
            Err(_) => "/v1/admin/backup".to_owned(),
        };
        let Some(path) = &self.path else {
            let made = ask(client, "POST", &target, database)?.json()?;
            let file =
                made.get("file").and_then(Value::as_str).context("the server's answer names no file")?.to_owned();
            let contents =
                Contents::deserialize(made).context("the server's answer does not say what the file holds")?;
            report(Path::new(&file), &contents)?;
            return Ok(Answer::Done);
        };
        let new = Replacement::of(path).map_err(explain_replacing)?;
        ask(client, "GET", &target, database)?.copy_to(new.file())?;
        let contents = store::verify_open(new.file()).context("what the server sent is not whole")?;
        new.commit()?;
        report(path, &contents)?;
        Ok(Answer::Done)
    }
}

/// Asks a server until it has made a backup.
fn ask(client: Client<'_>, method: &str, target: &str, database: &Path) -> anyhow::Result<client::Answer> {
    loop {
        let answer = client.send(method, target)?;
        let status = answer.status;
        if status == 200 {
            return Ok(answer);
        }
        let problem = answer.json()?;
        let text = |name: &str| problem.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("code") {
            // A large backup takes longer than any request may. It goes on, and the next request waits for the same
            // one.
            "time-limit" => {}
            "other-database" => anyhow::bail!(
                "the server at {} has another database than {}: {} (--data says where the database is)",
                client.server,
                database.display(),
                text("detail")
            ),
            _ => anyhow::bail!("the server at {} answered {status}: {}", client.server, text("detail")),
        }
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
