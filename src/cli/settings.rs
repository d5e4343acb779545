//! `config`: what a server would be set to, and by what.

use std::ffi::OsStr;
use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::parser::ValueSource;
use clap::{CommandFactory as _, Subcommand};
use serde_json::json;

use super::serve::Serve;
use super::{Answer, Cli, Global};

/// Look at settings.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show each setting of a server, and whether it comes from a flag, the environment or the program.
    ///
    /// It takes the flags of `serve`; a flag wins over the environment. No server is asked.
    #[command(after_help = "Example: OVERLAID_DATA=/var/lib/overlaid overlaid config show --listen 8080")]
    Show(Serve),
}

impl ConfigCommand {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let mut command = Cli::command();
        command.build();
        let matches = command.clone().get_matches();
        let show = command.find_subcommand("config").and_then(|config| config.find_subcommand("show"));
        let matches = matches.subcommand_matches("config").and_then(|config| config.subcommand_matches("show"));
        let (show, matches) = show.zip(matches).context("there is no such command")?;
        let mut out = io::stdout().lock();
        // What has no variable is not a setting but a wish of this one time, as --json.
        let settings =
            show.get_arguments().filter_map(|setting| Some((setting, setting.get_long()?, setting.get_env()?)));
        for (setting, name, variable) in settings {
            let id = setting.get_id().as_str();
            // A setting that may be given several times is a list.
            let values =
                matches.get_raw(id).map(|values| values.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(","));
            let value = values.map(|value| if setting.is_hide_env_values_set() { "hidden".to_owned() } else { value });
            let from = match matches.value_source(id) {
                Some(ValueSource::CommandLine) => "flag",
                Some(ValueSource::EnvVariable) => "environment",
                _ => "default",
            };
            let variable = variable.to_string_lossy();
            if global.json {
                let line = json!({ "name": name, "variable": variable, "value": value, "from": from });
                writeln!(out, "{line}")?;
            } else {
                let value = value.unwrap_or("-".to_owned());
                writeln!(out, "{from:<12} {variable:<26} {value}")?;
            }
        }
        Ok(Answer::Done)
    }
}
