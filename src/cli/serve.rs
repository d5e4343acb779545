//! `serve`: the HTTP server.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};

use super::load::{find_files, load};
use super::{Answer, open_or_create};
use crate::config::Config;
use crate::http;
use crate::service::Service;
use crate::store::Precedence;

/// Serve views and take writes over HTTP.
///
/// Stops on SIGTERM or SIGINT: requests in flight are finished, and every write is acknowledged or refused. Without any token it
/// serves this machine only.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7717", env = "OVERLAID_LISTEN")]
    listen: SocketAddr,
    /// First put the records of this file or folder in; what is there already stays.
    #[arg(long, value_name = "PATH")]
    load: Vec<PathBuf>,
}

impl Serve {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let files = find_files(&self.load)?;
        let service = open_or_create(config)?;
        anyhow::ensure!(
            self.listen.ip().is_loopback() || !service.tokens().is_empty(),
            "without a token only this machine may be served: listen on 127.0.0.1, or make one with `overlaid token create`"
        );
        if !files.is_empty() {
            let mut report = |place: &str, reason: &str| -> anyhow::Result<()> {
                tracing::error!(place, reason, "a record was not loaded");
                Ok(())
            };
            let counts = load(&service, &files, Precedence::Seed, &mut report)?;
            tracing::info!("loaded: {}", counts.text());
        }
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let served = runtime.block_on(serve(self.listen, service.clone()));
        // Whoever waits for a write learns of its end before the process does.
        service.stop();
        served?;
        tracing::info!("stopped");
        Ok(Answer::Done)
    }
}

async fn serve(address: SocketAddr, service: Service) -> anyhow::Result<()> {
    let listener = listen(address).with_context(|| format!("cannot listen on {address}"))?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        }
    };
    let responses = service.metrics().response_counters();
    http::run(listener, http::router(service), http::Limits::default(), responses, shutdown)
        .await
        .context("cannot serve")
}

/// Binds with a backlog for as many as may be connected at once: the usual 128 would stall a burst of clients.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    const BACKLOG: u32 = 4_096;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for the connections of the run before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
