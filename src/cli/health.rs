//! `health`: whether the server is well, for containers and scripts without an HTTP client.

use std::io::{self, Write as _};

use clap::Args;

use super::lists::Row;
use super::{Answer, Global};
use crate::client::Problem;

/// Ask the server whether it answers reads and takes writes.
///
/// Exit code 0: it does; 1: it says that it does not; 2: no server could be asked.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid health && echo well")]
pub(super) struct Health {}

impl Health {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        // Never the file: the question is how the server is.
        let client = global.server()?;
        let ready = match client.get("/readyz") {
            Ok(ready) => ready,
            Err(error) => match error.downcast_ref::<Problem>() {
                Some(problem) if problem.status >= 500 => {
                    writeln!(io::stdout(), "{}", problem.detail)?;
                    return Ok(Answer::No);
                }
                _ => return Err(error),
            },
        };
        let row = Row::parse(&ready)?;
        let status = row.text("status");
        if global.json {
            writeln!(io::stdout(), "{ready}")?;
        } else {
            let writes = row.known("writes").filter(|_| status != "ok").map(|code| format!(": {code}"));
            writeln!(io::stdout(), "{status}{}", writes.unwrap_or_default())?;
        }
        Ok(if status == "ok" { Answer::Done } else { Answer::No })
    }
}
