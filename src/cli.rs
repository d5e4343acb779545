//! The command line: what a person or a script at the server runs.
//!
//! A command opens the file itself, so it and a server exclude each other. The exit code is 0 when it is done, 1 when
//! the answer is no (absent, refused lines), 2 when it could not be done; errors are one line with their causes.

mod backup;
mod client;
mod legacy;
mod load;
mod prune;
mod serve;
mod show;
mod token;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tracing_subscriber::filter::{Directive, EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Config, LogFormat};
use crate::service::{Service, Settings};
use crate::store::{Replacement, Store, StoreError};

/// Serve mission views from shared signals and per-user overlays, kept in one file.
///
/// A signal is stored once for all users, each user's overlay (tier, risk, balance) once for all signals. The mission
/// view, with its position size, is computed when it is read. Copying the file is a backup.
#[derive(Debug, Parser)]
#[command(name = "overlaid", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    config: Config,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve views and take writes over HTTP.
    Serve(serve::Serve),
    /// Put records in from NDJSON files or folders.
    Load(load::Load),
    /// Write all records out as NDJSON, to load elsewhere; tokens are left out.
    Export(load::Export),
    /// Show one user's mission on one signal.
    Mission(show::ShowMission),
    /// Show signals; withdraw or close one.
    #[command(subcommand)]
    Signal(show::ShowSignal),
    /// Show overlays.
    #[command(subcommand)]
    Overlay(show::ShowOverlay),
    /// Show how much is stored.
    Stats(show::Stats),
    /// Remove the signals that expired before a moment, with their outcomes.
    Prune(prune::Prune),
    /// Make, list and revoke access tokens.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Copy the whole database into one verified file, also while a server runs.
    Backup(backup::BackupCommand),
    /// Read all of a file and say whether it is whole; the file is not changed.
    Verify(backup::Verify),
    /// Put a backup in the place of the database.
    Restore(backup::Restore),
    /// Make the database file as small as it can be.
    Compact(backup::Compact),
    /// Bring old per-user mission files in, compare, and pack them away.
    #[command(subcommand)]
    Legacy(legacy::Legacy),
    /// As `legacy import`.
    #[command(hide = true)]
    Migrate(legacy::Input),
}

/// How a command ended that could be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Done; exit code 0.
    Done,
    /// The answer is no; exit code 1.
    No,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // Wrong options end here, with clap's message and exit code 2; `--help` with 0.
    let cli = Cli::parse();
    start_log(cli.config.log_format, std::env::var("RUST_LOG").as_deref().unwrap_or_default());
    match run(cli) {
        Ok(Answer::Done) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        // A reader such as `head` has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
            // A file's name may hold what would move the cursor of a terminal.
            let text = causes.join(": ").replace(char::is_control, "\u{fffd}");
            // There is nobody left to tell if standard error is closed too.
            let _ = writeln!(io::stderr(), "overlaid: {text}");
            ExitCode::from(if is_damage(&error) { 1 } else { 2 })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Answer> {
    let Cli { config, command } = cli;
    match command {
        Command::Serve(serve) => serve.run(&config),
        Command::Load(load) => load.run(&config),
        Command::Export(export) => export.run(&config),
        Command::Mission(show) => show.run(&config),
        Command::Signal(show) => show.run(&config),
        Command::Overlay(show) => show.run(&config),
        Command::Stats(stats) => stats.run(&config),
        Command::Prune(prune) => prune.run(&config),
        Command::Token(token) => token.run(&config),
        Command::Backup(backup) => backup.run(&config),
        Command::Verify(verify) => verify.run(),
        Command::Restore(restore) => restore.run(&config),
        Command::Compact(compact) => compact.run(&config),
        Command::Legacy(legacy) => legacy.run(&config),
        Command::Migrate(input) => input.import(&config),
    }
}

fn start_log(format: LogFormat, wanted: &str) {
    let (filter, unread) = log_filter(wanted);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Human => lines.with_ansi(io::stderr().is_terminal()).with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    if !unread.is_empty() {
        tracing::warn!(
            unread = unread.join(","),
            "part of RUST_LOG can not be read and is left out: it takes a level (error, warn, info, debug, trace, off) and levels by \
             module, as in info,overlaid::http=debug"
        );
    }
}

/// Reads what is to be logged: a level, and levels by module (`info,overlaid::http=debug`). Without any, the level is
/// info.
///
/// Returns also the parts that can not be read. A bare name is one of them, which `EnvFilter` would take for a module
/// to log, and nothing but it.
fn log_filter(wanted: &str) -> (EnvFilter, Vec<&str>) {
    let parts = wanted.split(',').map(str::trim).filter(|part| !part.is_empty());
    let is_read = |part: &&str| {
        let names_a_level = part.parse::<LevelFilter>().is_ok() || part.contains('=');
        names_a_level && part.parse::<Directive>().is_ok()
    };
    let (read, unread): (Vec<_>, Vec<_>) = parts.partition(is_read);
    let builder = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    (builder.parse_lossy(read.join(",")), unread)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

/// Reads the tables and puts the settings together.
fn settings(config: &Config) -> anyhow::Result<Settings> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let mut settings = Settings::built_in().context("the built-in tables")?;
    settings.signal_lifetime_ms = i64::from(config.signal_lifetime) * 1_000;
    settings.copy_gate_ms = config.copy_gate_ms;
    settings.overlays_bytes_max = config.overlays_memory.as_u64();
    if let Some(path) = &config.instruments {
        settings.instruments.override_with(&read(path)?).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &config.tiers {
        settings.tiers.override_with(&read(path)?).with_context(|| path.display().to_string())?;
    }
    Ok(settings)
}

/// Whether the answer is that a file is damaged: doing it again would not help.
fn is_damage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<StoreError>().is_some_and(StoreError::is_damage))
}

/// Opens the database that is there.
fn open(config: &Config) -> anyhow::Result<Service> {
    let settings = settings(config)?;
    start(Store::open_behind_gate(&config.database(), config.copy_gate()), settings, config)
}

/// Opens the database, or makes one.
fn open_or_create(config: &Config) -> anyhow::Result<Service> {
    open_or_create_with(config, |_| ())
}

/// Opens the database, or makes one, with settings that `change` has the last word on.
fn open_or_create_with(config: &Config, change: impl FnOnce(&mut Settings)) -> anyhow::Result<Service> {
    // In this order: no database is made if the tables can not be read.
    let mut settings = settings(config)?;
    change(&mut settings);
    start(Store::open_or_create_behind_gate(&config.database(), config.copy_gate()), settings, config)
}

fn start(opened: Result<Arc<Store>, StoreError>, settings: Settings, config: &Config) -> anyhow::Result<Service> {
    let path = config.database();
    let store = opened.map_err(|error| explain_open(error, &path))?;
    Service::start(store, settings).with_context(|| format!("cannot read {}", path.display()))
}

fn explain_open(error: StoreError, path: &Path) -> anyhow::Error {
    match error {
        StoreError::InUse(_) => anyhow::anyhow!(
            "{} is open in another process; if that is the server, ask it over HTTP (http://127.0.0.1:7717/v1/… unless it \
             listens elsewhere) or stop it first",
            path.display()
        ),
        StoreError::Absent(_) => anyhow::anyhow!(
            "there is no database at {}; `overlaid serve` and `overlaid load` make one, and --data names another folder",
            path.display()
        ),
        other => anyhow::Error::new(other).context(format!("cannot open {}", path.display())),
    }
}

/// Says why a file may not be replaced by a new one.
fn explain_replacing(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::InUse(path) => {
            anyhow::anyhow!("{} is a database that is in use: write to another file", path.display())
        }
        other => anyhow::Error::new(other),
    }
}

/// Runs async work on this thread.
fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    Ok(runtime.block_on(work))
}

/// Writes a file, which appears whole or not at all.
fn write_file(path: &Path, write: impl FnOnce(&mut dyn io::Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
    Replacement::of(path).map_err(explain_replacing)?.write(write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_or_levels_by_module_set_what_is_logged() {
        for (wanted, filter, unread) in [
            ("", "info", &[][..]),
            ("debug", "debug", &[]),
            ("warn, overlaid::http=trace", "overlaid::http=trace,warn", &[]),
            ("no such thing=at all", "info", &["no such thing=at all"]),
            ("nonsense", "info", &["nonsense"]),
            ("nonsense,debug,hyper=loud", "debug", &["nonsense", "hyper=loud"]),
            (",", "info", &[]),
        ] {
            let (read, left_out) = log_filter(wanted);
            assert_eq!((read.to_string().as_str(), &*left_out), (filter, unread), "{wanted:?}");
        }
    }
}
