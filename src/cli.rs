//! The command line: what a person or a script at the server runs.
//!
//! A command is a client of the HTTP routes: of the server that has the database open, or, where none has, of the same
//! routes in its own process. Those that need the file to themselves say so. The exit code is 0 when it is done, 1 when
//! the answer is no (absent, refused), 2 when it could not be done; errors are one line with their causes.

mod backup;
mod completions;
mod deploy;
mod doctor;
mod health;
mod instruments;
mod legacy;
mod lists;
mod load;
mod mission;
mod prune;
mod records;
mod serve;
mod settings;
mod stats;
mod systemd;
mod token;
mod watch;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use serde_json::Value;
use tracing_subscriber::filter::{Directive, EnvFilter, LevelFilter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::client::{Client, Problem, ServerAddress};
use crate::config::{Config, LogFormat};
use crate::domain::{Instruments, Tiers};
use crate::service::{BackupPlan, Service, Settings};
use crate::store::{Replacement, Store, StoreError};

/// Serve mission views from shared signals and per-user overlays, kept in one file.
///
/// A signal is stored once for all users, each user's overlay (tier, risk, balance) once for all signals. The mission
/// view, with its position size, is computed when it is read. Copying the file is a backup.
///
/// Exit codes: 0 done; 1 the answer is no: the user, signal or other record is unknown, what was sent is refused, or a
/// file is damaged; 2 it could not be done.
#[derive(Debug, Parser)]
#[command(name = "overlaid", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    #[command(flatten)]
    config: Config,
    /// Ask the server at this address of this machine, as 127.0.0.1:7717; without it, the server that has the database
    /// of --data open.
    #[arg(long, value_name = "URL", env = "OVERLAID_SERVER", global = true)]
    server: Option<ServerAddress>,
    /// A token for --server, once the server has any; the socket beside the database needs none.
    #[arg(long, env = "OVERLAID_TOKEN", hide_env_values = true, global = true)]
    token: Option<String>,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
}

/// A name and its value, for [`Global::print`].
type Member = (&'static str, Value);

/// How a command opens the database where no server has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Other commands may read it too.
    Read,
    Write,
    /// To write; it is made if it is not there.
    Make,
}

impl Global {
    /// The server that has the database open; else this process, on the file.
    fn client(&self, access: Access) -> anyhow::Result<Client> {
        if let Some(address) = &self.server {
            return Client::at_address(address.clone(), self.token.as_deref());
        }
        let (path, socket) = (self.config.database(), self.config.socket());
        if let Some(client) = Client::at_socket(&socket)? {
            return Ok(client);
        }
        // Before the file: none is made if the tables can not be read.
        let mut settings = settings(&self.config)?;
        // How many the server keeps is not known here.
        settings.backups.keep = usize::MAX;
        let opened = match access {
            Access::Read => Store::open_to_read(&path),
            Access::Write => Store::open_behind_gate(&path, self.config.copy_gate()),
            Access::Make => Store::open_or_create_behind_gate(&path, self.config.copy_gate()),
        };
        if let Err(StoreError::InUse(_)) = opened {
            // A server that was just starting listens by now.
            return Client::at_socket(&socket)?.with_context(|| {
                format!(
                    "{} is open in another process, and no server answers at {}: another command is at work, or a server is \
                     starting or stopping; try again (a server without a socket is asked by --server)",
                    path.display(),
                    socket.display()
                )
            });
        }
        Client::in_process(&start(opened, settings, &self.config)?)
    }

    /// The server that runs, and never the file.
    fn server(&self) -> anyhow::Result<Client> {
        if let Some(address) = &self.server {
            return Client::at_address(address.clone(), self.token.as_deref());
        }
        let socket = self.config.socket();
        Client::at_socket(&socket)?.with_context(|| format!("no server answers at {}", socket.display()))
    }

    /// Prints names and values: a line each for a person, or one JSON object.
    fn print(&self, members: &[Member]) -> anyhow::Result<Answer> {
        let mut out = io::stdout().lock();
        if self.json {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            writeln!(out, "{{{}}}", members.join(","))?;
            return Ok(Answer::Done);
        }
        for (name, value) in members {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            writeln!(out, "{:<12} {value}", name.replace('_', " "))?;
        }
        Ok(Answer::Done)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve views and take writes over HTTP.
    Serve(serve::Serve),
    /// Put records in from NDJSON files or folders.
    Load(load::Load),
    /// Write all records out as NDJSON, to load elsewhere; tokens are left out.
    Export(load::Export),
    /// Show a user's active missions, or the mission on one signal.
    Mission(mission::MissionCommand),
    /// Show signals; publish, withdraw, close or remove one.
    #[command(subcommand)]
    Signal(records::SignalCommand),
    /// Show overlays; put, change or remove one.
    #[command(subcommand)]
    Overlay(records::OverlayCommand),
    /// Show the rates of currency pairs, or put one.
    #[command(subcommand)]
    Rate(records::RateCommand),
    /// Show what happened for a user; put or remove it.
    #[command(subcommand)]
    Outcome(records::OutcomeCommand),
    /// Forget a user.
    #[command(subcommand)]
    User(records::UserCommand),
    /// Show what a symbol is taken for, or the table of instruments.
    Instruments(instruments::ShowInstruments),
    /// Show how much is stored.
    Stats(stats::Stats),
    /// Print what changes, as it changes.
    Watch(watch::Watch),
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
    /// Ask the server whether it answers reads and takes writes.
    Health(health::Health),
    /// Look at everything that can go wrong around the database, and say what to do.
    Doctor(doctor::Doctor),
    /// Look at settings.
    #[command(subcommand)]
    Config(settings::ConfigCommand),
    /// Print a file to run the server with: for systemd, nginx, Caddy, Docker, Prometheus.
    Deploy(deploy::Deploy),
    /// Print what a shell needs to complete commands and options.
    Completions(completions::Completions),
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
    let cli = Cli::from_arg_matches(&command_line(Cli::command()).get_matches()).unwrap_or_else(|error| error.exit());
    start_log(cli.global.config.log_format, std::env::var("RUST_LOG").as_deref().unwrap_or_default());
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
            ExitCode::from(if is_no(&error) { 1 } else { 2 })
        }
    }
}

/// The command line, on which every value may be a negative number: the ids of group chats are, and so is a loss.
fn command_line(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| if arg.get_action().takes_values() { arg.allow_negative_numbers(true) } else { arg })
        .mut_subcommands(command_line)
}

fn run(cli: Cli) -> anyhow::Result<Answer> {
    let Cli { global, command } = cli;
    match command {
        Command::Serve(serve) => serve.run(&global.config),
        Command::Load(load) => load.run(&global),
        Command::Export(export) => export.run(&global),
        Command::Mission(mission) => mission.run(&global),
        Command::Signal(signal) => signal.run(&global),
        Command::Overlay(overlay) => overlay.run(&global),
        Command::Rate(rate) => rate.run(&global),
        Command::Outcome(outcome) => outcome.run(&global),
        Command::User(user) => user.run(&global),
        Command::Instruments(show) => show.run(&global),
        Command::Stats(stats) => stats.run(&global),
        Command::Watch(watch) => watch.run(&global),
        Command::Prune(prune) => prune.run(&global),
        Command::Token(token) => token.run(&global),
        Command::Backup(backup) => backup.run(&global),
        Command::Verify(verify) => verify.run(&global),
        Command::Restore(restore) => restore.run(&global),
        Command::Compact(compact) => compact.run(&global),
        Command::Legacy(legacy) => legacy.run(&global),
        Command::Health(health) => health.run(&global),
        Command::Doctor(doctor) => doctor.run(&global),
        Command::Config(config) => config.run(&global),
        Command::Deploy(deploy) => deploy.run(&global),
        Command::Completions(completions) => completions.run(),
        Command::Migrate(input) => input.import(&global),
    }
}

fn start_log(format: LogFormat, wanted: &str) {
    let (filter, unread) = log_filter(wanted);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Human => lines
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()))
            .with_target(false)
            .boxed(),
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
    let mut settings = Settings::built_in().context("the built-in tables")?;
    (settings.instruments, settings.tiers) = tables(config)?;
    settings.signal_lifetime_ms = i64::from(config.signal_lifetime) * 1_000;
    settings.copy_gate_ms = config.copy_gate_ms;
    settings.overlays_bytes_max = config.overlays_memory.as_u64();
    settings.max_ages = config.max_ages();
    Ok(settings)
}

/// Reads the tables: the built-in ones, with the entries of the operator's files.
fn tables(config: &Config) -> anyhow::Result<(Instruments, Tiers)> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let Settings { mut instruments, mut tiers, .. } = Settings::built_in().context("the built-in tables")?;
    if let Some(path) = &config.instruments {
        instruments.override_with(&read(path)?).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &config.tiers {
        tiers.override_with(&read(path)?).with_context(|| path.display().to_string())?;
    }
    Ok((instruments, tiers))
}

/// Whether the answer is no: what was asked for is refused, or a file is damaged. Doing it again would not help.
fn is_no(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<StoreError>().is_some_and(StoreError::is_damage)
            || cause.downcast_ref::<Problem>().is_some_and(Problem::is_refusal)
    })
}

/// Opens the database, or makes one, for a server.
fn open_or_create(config: &Config, backups: BackupPlan) -> anyhow::Result<Service> {
    // In this order: no database is made if the tables can not be read.
    let settings = Settings { backups, ..settings(config)? };
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
            "{} is open in another process, and this needs it for itself: stop the server first, or wait for the command that \
             is at work",
            path.display()
        ),
        StoreError::Absent(_) => anyhow::anyhow!(
            "there is no database at {}; `overlaid serve` and `overlaid load` make one, and --data names another folder",
            path.display()
        ),
        other => anyhow::Error::new(other).context(format!("cannot open {}", path.display())),
    }
}

/// Makes a file that takes the place of the one at `path`, if any; never that of a database that is in use.
fn new_file(path: &Path, database: &Path) -> anyhow::Result<Replacement> {
    let in_use = || anyhow::anyhow!("{} is a database that is in use: write to another file", path.display());
    // A command that only reads the database keeps no other file from its place.
    if path.canonicalize().is_ok_and(|path| database.canonicalize().is_ok_and(|database| path == database)) {
        return Err(in_use());
    }
    Replacement::of(path).map_err(|error| match error {
        StoreError::InUse(_) => in_use(),
        other => anyhow::Error::new(other),
    })
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
