//! `watch`: what changes, as it changes.

use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;

use super::{Access, Answer, Global};
use crate::client::{Client, Interrupted, Problem, percent_encoded};

/// How long one request waits for a change, in seconds.
const WAIT_SECONDS: u32 = 30;
/// How long to wait before a server that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Print signals, overlays, outcomes and rates as they change, until Ctrl-C.
///
/// Each record is named once for all its changes since the last line. When the server is restarted, this goes on from
/// where it was; a line `reset` says that there may have been changes that are not known. With --json a line is a page
/// of `GET /v1/changes`.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid watch --once")]
pub(super) struct Watch {
    /// Begin after this cursor, as an earlier run or an answer of the server gave it; without it, with the next change.
    #[arg(long, value_name = "CURSOR")]
    since: Option<String>,
    /// Print what changed after --since and the present cursor, and end.
    #[arg(long)]
    once: bool,
}

/// A page of the route.
#[derive(Deserialize)]
struct Page {
    cursor: String,
    #[serde(default)]
    reset: bool,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    kind: String,
    key: String,
    seq: u64,
    #[serde(default)]
    deleted: bool,
}

impl Watch {
    pub(super) fn run(self, global: &Global) -> anyhow::Result<Answer> {
        if self.once {
            return self.print_once(global);
        }
        // Never the file: while this has it open, no server could start, and nothing changes.
        let mut client = global.server()?;
        client.end_waits_at_interrupt()?;
        match self.follow(global, &client) {
            Err(error) if error.is::<Interrupted>() => Ok(Answer::Done),
            followed => followed,
        }
    }

    fn print_once(self, global: &Global) -> anyhow::Result<Answer> {
        let client = global.client(Access::Read)?;
        let mut since = self.since;
        loop {
            let text = client.get(&target(since.as_deref(), 0))?;
            let page = Page::parse(&text)?;
            page.print(&text, global)?;
            if page.changes.is_empty() {
                return Ok(Answer::Done);
            }
            since = Some(page.cursor);
        }
    }

    fn follow(self, global: &Global, client: &Client) -> anyhow::Result<Answer> {
        let mut since = self.since;
        let mut is_away = false;
        loop {
            match client.get(&target(since.as_deref(), WAIT_SECONDS)) {
                Ok(text) => {
                    let page = Page::parse(&text)?;
                    if since.is_none() || page.reset || !page.changes.is_empty() {
                        page.print(&text, global)?;
                    }
                    (since, is_away) = (Some(page.cursor), false);
                }
                Err(error) if error.is::<Interrupted>() || is_refusal(&error) => return Err(error),
                Err(error) => {
                    if !is_away {
                        writeln!(io::stderr(), "overlaid: {error:#}; it is asked again until it answers")?;
                    }
                    is_away = true;
                    client.pause(PAUSE)?;
                }
            }
        }
    }
}

impl Page {
    fn parse(text: &str) -> anyhow::Result<Self> {
        serde_json::from_str(text).context("the server's answer is not as it should be")
    }

    /// Prints the changes, or the cursor if there are none.
    fn print(&self, text: &str, global: &Global) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if global.json {
            return writeln!(out, "{text}");
        }
        if self.changes.is_empty() {
            return writeln!(out, "{:<8} {}", if self.reset { "reset" } else { "cursor" }, self.cursor);
        }
        for Change { kind, key, seq, deleted } in &self.changes {
            writeln!(out, "{kind:<8} {key}  seq {seq}{}", if *deleted { ", deleted" } else { "" })?;
        }
        Ok(())
    }
}

fn target(since: Option<&str>, wait_seconds: u32) -> String {
    let since = since.map(|cursor| format!("&since={}", percent_encoded(cursor)));
    format!("/v1/changes?wait={wait_seconds}{}", since.unwrap_or_default())
}

/// Whether the server answers, and says no.
fn is_refusal(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<Problem>()).any(|problem| problem.status < 500)
}
