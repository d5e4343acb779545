//! `deploy`: the files to run a server with, so that what is installed is enough to install from.

use std::io::{self, Write as _};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Answer, Global};

/// Print a file to run the server with; without a name, which there are.
///
/// Each begins with what to do with it.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid deploy systemd > overlaid.service")]
pub(super) struct Deploy {
    name: Option<Recipe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Recipe {
    /// A service of systemd, hardened, with a watchdog.
    Systemd,
    /// A proxy with TLS: nginx.
    Nginx,
    /// A proxy with TLS that gets its own certificate: Caddy.
    Caddy,
    /// A container, built from source.
    Docker,
    /// Alerts of Prometheus.
    Prometheus,
}

impl Recipe {
    fn file(self) -> &'static str {
        match self {
            Self::Systemd => include_str!("../../data/deploy/overlaid.service"),
            Self::Nginx => include_str!("../../data/deploy/nginx.conf"),
            Self::Caddy => include_str!("../../data/deploy/Caddyfile"),
            Self::Docker => include_str!("../../data/deploy/Dockerfile"),
            Self::Prometheus => include_str!("../../data/deploy/prometheus.yml"),
        }
    }
}

impl Deploy {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let mut out = io::stdout().lock();
        if let Some(recipe) = self.name {
            out.write_all(recipe.file().as_bytes())?;
            return Ok(Answer::Done);
        }
        for recipe in Recipe::value_variants().iter().filter_map(ValueEnum::to_possible_value) {
            let help = recipe.get_help().map(ToString::to_string).unwrap_or_default();
            if global.json {
                writeln!(out, "{}", json!({ "name": recipe.get_name(), "what": help }))?;
            } else {
                writeln!(out, "{:<12} {help}", recipe.get_name())?;
            }
        }
        Ok(Answer::Done)
    }
}
