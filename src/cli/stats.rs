//! `stats`: how much is stored, and what that takes.

use std::io::{self, Write as _};

use clap::Args;

use super::lists::Row;
use super::{Access, Answer, Global};

/// Show how much is stored, what it takes, and what the same would take as one file for each user and signal.
///
/// While a server runs, also whether it takes writes, and how much it had to do in the last 15 minutes.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid stats")]
pub(super) struct Stats {}

impl Stats {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let client = global.client(Access::Read)?;
        let stats = client.get("/v1/stats")?;
        if global.json {
            writeln!(io::stdout(), "{stats}")?;
            return Ok(Answer::Done);
        }
        let stats = Row::parse(&stats)?;
        let row = |name: &str, value: String| writeln!(io::stdout(), "{name:<12} {value}");
        let (records, file) = (stats.object("records"), stats.object("file"));
        for name in ["signals", "overlays", "outcomes", "rates", "tokens"] {
            row(name, records.text(name))?;
        }
        row("seq", stats.text("seq"))?;
        row("file bytes", file.text("bytes"))?;
        let backup = stats.object("backup");
        let last = backup.known("verified_at").map(|at| format!("{at}, {} bytes", backup.text("file_bytes")));
        row("last backup", last.unwrap_or_else(|| "none".to_owned()))?;
        if !client.is_in_process() {
            let total = stats.object("recent").object("total");
            row("writes", file.text("writes"))?;
            row("copies", if file.text("copies_are_safe") == "true" { "safe" } else { "not safe" }.to_owned())?;
            let [requests, writes, p99] = ["requests", "writes", "p99_us"].map(|name| total.text(name));
            row("15 minutes", format!("{requests} requests, all but 1 % within {p99} µs, {writes} writes"))?;
        }
        writeln!(io::stdout(), "\n{:<12}{:>16}{:>16}", "", "as files", "one database")?;
        for line in stats.object("saves").list("table") {
            let line = Row::parse(line.get())?;
            let [name, as_files, now, ratio] = ["name", "as_files", "now", "ratio"].map(|name| line.text(name));
            writeln!(io::stdout(), "{}", format!("{name:<12}{as_files:>16}{now:>16}{ratio:>12}").trim_end())?;
        }
        Ok(Answer::Done)
    }
}
