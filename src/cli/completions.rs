//! `completions`: what a shell needs to complete the commands.

use std::io::{self, Write as _};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Answer, Cli};

/// Print what a shell needs to complete commands and options.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid completions bash > overlaid.bash")]
pub(super) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> anyhow::Result<Answer> {
        let mut script = Vec::new();
        // Into memory, as it panics where it can not write.
        clap_complete::generate(self.shell, &mut Cli::command(), "overlaid", &mut script);
        io::stdout().write_all(&script)?;
        Ok(Answer::Done)
    }
}
