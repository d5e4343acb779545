//! `doctor`: what an operator should look at, and what to do.

use std::io::{self, Write as _};

use clap::Args;

use super::lists::Row;
use super::{Access, Answer, Global};

/// Look at everything that can go wrong around the database, and say what to do.
///
/// Exit code 0: nothing is serious; 1: something is.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid doctor")]
pub(super) struct Doctor {}

impl Doctor {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let report = global.client(Access::Read)?.get("/v1/admin/doctor")?;
        let row = Row::parse(&report)?;
        if global.json {
            writeln!(io::stdout(), "{report}")?;
        } else {
            for finding in row.list("findings") {
                let finding = Row::parse(finding.get())?;
                let [severity, check, what] = ["severity", "check", "what"].map(|name| finding.text(name));
                writeln!(io::stdout(), "{severity:<8} {check:<12} {what}")?;
                if let Some(todo) = finding.known("do") {
                    writeln!(io::stdout(), "{:<8} {:<12} do: {todo}", "", "")?;
                }
            }
        }
        Ok(if row.text("worst") == "serious" { Answer::No } else { Answer::Done })
    }
}
