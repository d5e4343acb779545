//! `serve`: the HTTP server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use sd_notify::NotifyState;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::load::{find_files, load, text};
use super::systemd::{notify, report_to_watchdog};
use super::{Answer, open_or_create, tables};
use crate::client::Client;
use crate::config::Config;
use crate::domain::parse_period;
use crate::http;
use crate::service::{BACKUPS, BackupPlan, Service};
use crate::store::StoreError;

/// Serve views and take writes over HTTP.
///
/// Stops on SIGTERM or SIGINT: requests in flight are finished, and every write is acknowledged or refused. On SIGHUP
/// it reads the files of --instruments and --tiers again. Without any token it serves this machine only.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid serve --listen 127.0.0.1:7717 --backup-every 1h")]
pub(super) struct Serve {
    /// Address and port to listen on; a port alone, as 8080, is one of this machine.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7717", value_parser = parse_listen, env = "OVERLAID_LISTEN")]
    listen: SocketAddr,
    /// First put the records of this file or folder in; what is there already stays.
    #[arg(long, value_name = "PATH")]
    load: Vec<PathBuf>,
    /// Folder for backups; without it, the folder `backups` beside the database.
    #[arg(long, value_name = "DIR", env = "OVERLAID_BACKUP_DIR")]
    backup_dir: Option<PathBuf>,
    /// Make a backup this often: 30m, 1h, 1d; without it, only when asked.
    #[arg(long, value_name = "TIME", value_parser = parse_period, env = "OVERLAID_BACKUP_EVERY")]
    backup_every: Option<Duration>,
    /// How many backups to keep.
    #[arg(long, value_name = "COUNT", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..), env = "OVERLAID_BACKUP_KEEP")]
    backup_keep: u32,
    /// Remove signals this long after they expired, with their outcomes: 90d, 365d; without it, none is removed.
    #[arg(long, value_name = "TIME", value_parser = parse_period, env = "OVERLAID_KEEP_SIGNALS")]
    keep_signals: Option<Duration>,
    /// Memory of lists that clients have not taken yet, together; beyond it the slowest clients are cut off.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", env = "OVERLAID_ANSWERS_MEMORY")]
    answers_memory: ByteSize,
    /// Memory of bodies that clients are sending, together; beyond it the slowest clients are cut off.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", env = "OVERLAID_BODIES_MEMORY")]
    bodies_memory: ByteSize,
    /// Origin whose web pages may call and read the answers, as `https://app.example.org`; may be given several times,
    /// and as a list with commas.
    #[arg(long = "cors-origin", value_name = "ORIGIN", value_delimiter = ',', env = "OVERLAID_CORS_ORIGINS")]
    cors_origins: Vec<http::Origin>,
    /// Whether to log a line for each request; refusals (401, 403) are logged in any case.
    #[arg(long, value_name = "WHEN", default_value = "on", env = "OVERLAID_ACCESS_LOG")]
    access_log: AccessLog,
}

/// Whether requests are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AccessLog {
    On,
    Off,
}

/// Threads for what waits for the disk, some times the processors of a small machine: more answer a crowd that asks for
/// long lists no sooner, and hold up answers from memory, which take their turns with them.
const BLOCKING_THREADS_MAX: usize = 16;

impl Serve {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let files = find_files(&self.load)?;
        self.check_backup_folder(config)?;
        let keep = usize::try_from(self.backup_keep).unwrap_or(usize::MAX);
        let backups = BackupPlan { folder: self.backup_dir.clone(), keep };
        let service = open_or_create(config, backups)?;
        service.check_overlays_memory()?;
        anyhow::ensure!(
            self.listen.ip().is_loopback() || !service.is_access_open(),
            "without a token only this machine may be served: listen on 127.0.0.1, or make one with `overlaid token create`"
        );
        if !files.is_empty() {
            let mut report = |place: &str, reason: &str| -> anyhow::Result<()> {
                tracing::error!(place, reason, "a record was not loaded");
                Ok(())
            };
            let counts = load(&Client::beside(&service)?, files, "/v1/import?existing=keep", &mut report)?;
            tracing::info!("loaded: {}", text(counts));
        }
        self.log_state(&service)?;
        log_access(&service);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build();
        let runtime = runtime.context("cannot start the runtime")?;
        let served = runtime.block_on(serve_until_stopped(self, config, service.clone()));
        // No request is answered any more, and what still reads the file need not be waited for.
        runtime.shutdown_background();
        // Callers that wait for a write are answered before the process ends.
        service.stop();
        served?;
        if let Err(error) = service.check_file() {
            let what_to_do = explain_file(&error);
            return Err(anyhow::Error::new(error).context(what_to_do));
        }
        tracing::info!("stopped");
        Ok(Answer::Done)
    }
}

impl Serve {
    /// Checks that backups can be written, if the operator asks for any, before anything is made.
    fn check_backup_folder(&self, config: &Config) -> anyhow::Result<()> {
        if self.backup_dir.is_none() && self.backup_every.is_none() {
            return Ok(());
        }
        let folder = self.backup_dir.clone().unwrap_or_else(|| config.data.join(BACKUPS));
        // A folder that is not there yet is made in the nearest one that is.
        let there = folder.ancestors().find(|folder| folder.exists()).filter(|there| !there.as_os_str().is_empty());
        let tried = tempfile::tempfile_in(there.unwrap_or(Path::new(".")));
        tried.with_context(|| format!("cannot write to the backup folder {}", folder.display())).map(drop)
    }

    /// Says what is served, and whether it would survive the loss of the disk.
    fn log_state(&self, service: &Service) -> anyhow::Result<()> {
        let (stats, health) = (service.stats()?, service.health());
        tracing::info!(
            file = %service.path().display(),
            size = %ByteSize(stats.file_bytes).display().iec(),
            signals = stats.counts.signals,
            users = stats.counts.overlays,
            "database"
        );
        let newest = health.backup.map_or("none".to_owned(), |backup| backup.made_at.to_string());
        match self.backup_every {
            Some(every) => tracing::info!(every_s = every.as_secs(), newest, "backups are made"),
            None => {
                tracing::info!(newest, "no backups are made: `overlaid backup` makes one, --backup-every 1d one a day");
            }
        }
        match health.unsafe_copies {
            None => tracing::info!("copies of the database file are backups too, also while it is served"),
            Some(reason) => tracing::warn!(
                reason,
                "copies of the live file are not safe: make backups with `overlaid backup` or --backup-every"
            ),
        }
        Ok(())
    }
}

/// Says what is open to whom.
fn log_access(service: &Service) {
    let now = service.now();
    let tokens = service.tokens().iter().filter(|token| !token.is_revoked() && !token.is_expired(now)).count();
    if service.is_access_open() {
        tracing::warn!(
            access = "local",
            "no token has been made: every program of this machine may read and write everything, and nobody else anything; \
             `overlaid token create` closes access"
        );
    } else if tokens == 0 {
        tracing::warn!(
            access = "closed",
            "all tokens are revoked or expired, so nobody may read or write anything: `overlaid token create` makes one, `overlaid token none` \
             opens access to this machine"
        );
    } else {
        tracing::info!(
            access = "tokens",
            tokens,
            "a token is needed for everything but /healthz, /openapi.json and whether /readyz is ok"
        );
    }
}

/// Reads the tables again on each SIGHUP.
async fn reload_on_hangup(mut hangup: Signal, config: Config, service: Service) {
    while hangup.recv().await.is_some() {
        let (config, service) = (config.clone(), service.clone());
        if let Err(error) = tokio::task::spawn_blocking(move || reload(&config, &service)).await {
            tracing::error!(error = &error as &dyn std::error::Error, "SIGHUP: the tables were not read to the end");
        }
    }
}

/// Reads the tables again and says what changed; if one is wrong, both stay as they are.
fn reload(config: &Config, service: &Service) {
    match tables(config) {
        Ok((instruments, tiers)) => {
            let changes = service.replace_tables(instruments, tiers);
            tracing::info!(%changes, "SIGHUP: the tables of instruments and tiers were read again");
        }
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(error, "SIGHUP: the tables of instruments and tiers stay as they were");
        }
    }
}

async fn serve_until_stopped(serve: &Serve, config: &Config, service: Service) -> anyhow::Result<()> {
    let address = serve.listen;
    let listener = listen(address).with_context(|| format!("cannot listen on {address}"))?;
    let socket = bind_socket(&config.socket())?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    // By default it ends the process, as when the terminal is closed that the server was started from.
    let hangup = signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
        notify(NotifyState::Stopping);
    };
    tokio::spawn(reload_on_hangup(hangup, config.clone(), service.clone()));
    tokio::spawn(service.clone().watch_disk_and_rates());
    if let Some(every) = serve.backup_every {
        tokio::spawn(service.clone().back_up_regularly(every));
    }
    if let Some(keep) = serve.keep_signals {
        tokio::spawn(service.clone().prune_regularly(keep));
    }
    tokio::spawn(report_to_watchdog(service.clone()));
    // The listener is open: who connects from now on is answered.
    notify(NotifyState::Ready);
    let overwritten = service.clone().until_overwritten();
    let limits = http::Limits {
        answers_bytes_max: serve.answers_memory.as_u64(),
        bodies_bytes_max: serve.bodies_memory.as_u64(),
        ..http::Limits::default()
    };
    let settings = http::Settings {
        limits,
        access_log: serve.access_log == AccessLog::On,
        cors_origins: serve.cors_origins.clone(),
    };
    tokio::select! {
        served = http::serve(http::Listeners { tcp: listener, socket }, service, settings, shutdown) => served.context("cannot serve"),
        // Connections are dropped as they are: there is nothing to answer from.
        () = overwritten => Ok(()),
    }
}

/// Listens for commands on this machine. Without the socket the server runs all the same, and commands say that it has
/// the database open.
fn bind_socket(path: &Path) -> anyhow::Result<Option<http::UnixSocket>> {
    match http::UnixSocket::bind(path) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            anyhow::bail!(
                "another server answers at {}, so its database was moved away from here: stop that server first",
                path.display()
            )
        }
        Err(error) => {
            tracing::warn!(
                path = %path.display(), %error,
                "there can be no socket for commands: `overlaid` commands reach this server only by --server"
            );
            Ok(None)
        }
    }
}

/// What to do, now that the server has ended, about a database file that is not its own any more.
fn explain_file(error: &StoreError) -> &'static str {
    match error {
        StoreError::Overwritten(_) => {
            "the server has ended, and wrote nothing more to the file; `overlaid restore FILE` puts a backup in its place, then start the \
             server"
        }
        _ => {
            "the server has ended; what was written since its start is in the file that was moved, or lost if it was removed; move the file \
             back, or put a backup in its place with `overlaid restore FILE`, then start the server"
        }
    }
}

/// Reads an address to listen on. Without one, `8080` and `:8080`, only this machine is served.
fn parse_listen(text: &str) -> Result<SocketAddr, &'static str> {
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    match port.parse::<u16>() {
        Ok(port) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        Err(_) => text
            .parse()
            .map_err(|_| "a port is needed, or an address and a port: 8080, localhost:8080, [::1]:8080, 0.0.0.0:8080"),
    }
}

/// Binds with a backlog for as many as may be connected at once: the usual 128 would stall a burst of clients.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    const BACKLOG: u32 = 4_096;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the connections of the run before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_has_ended_need_not_be_stopped() {
        for error in [StoreError::Replaced(PathBuf::new()), StoreError::Overwritten(PathBuf::new())] {
            let explained = explain_file(&error);
            assert!(explained.starts_with("the server has ended") && !explained.contains("stop"), "{explained}");
            assert!(explained.contains("`overlaid restore FILE`") && explained.ends_with("then start the server"));
        }
    }

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        for (text, address) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("0.0.0.0:0", "0.0.0.0:0"),
        ] {
            assert_eq!(parse_listen(text).map(|address| address.to_string()), Ok(address.to_owned()), "{text}");
        }
        for text in ["", ":", "localhost", "65536", "127.0.0.1", "example.org:80", "::1:8080:"] {
            assert!(parse_listen(text).is_err(), "{text}");
        }
    }
}
