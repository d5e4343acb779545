//! `legacy`: the per-user mission files of the service before this one, brought in, compared and packed away.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use os_display::Quotable as _;
use serde::Serialize;
use serde_json::json;

use super::{Answer, Global, explain_open, settings};
use crate::config::Config;
use crate::domain::Savings;
use crate::legacy::{
    self, Archived, Check, Context, Database, Extracted, Imported, Item, Line, Names, ReportFile, Tally, Tree,
    Unreadable, Verified, sentence,
};
use crate::service::Settings;
use crate::store::Store;

/// Most differences without a cause that are listed; the report has all.
const LISTED_MAX: usize = 20;

/// Bring old per-user mission files in, compare, and pack them away.
#[derive(Debug, Subcommand)]
pub(super) enum Legacy {
    /// Say what an import would do, and what the files occupy; nothing is written.
    ///
    /// Exit code 1 if a file or folder could not be read.
    #[command(after_help = "Example: overlaid legacy plan old-missions --report plan.ndjson")]
    Plan(Input),
    /// Put signals, overlays and outcomes of old files into the database.
    ///
    /// Each batch of records is on the disk together with how far the import is. Interrupted and run again it ends as
    /// one clean run does: the tree is read again, and what is stored already is not written again. The files are left
    /// alone. Exit code 1 if a file or folder could not be read.
    #[command(alias = "migrate")]
    #[command(after_help = "Example: overlaid --data data legacy import old-missions --report import.ndjson")]
    Import(Input),
    /// Compute every old mission again and explain each difference.
    ///
    /// Exit code 1 if a difference has no explanation, or a file or folder could not be read.
    #[command(after_help = "Example: overlaid --data data legacy verify old-missions --report differences.ndjson")]
    Verify(Input),
    /// Pack old files into `tar.zst` packs by day, or look into packs.
    Archive(Archive),
}

/// The tree, and where its report goes.
#[derive(Debug, Args)]
pub(super) struct Input {
    /// The tree of old files.
    #[arg(value_name = "DIR")]
    tree: PathBuf,
    /// Write a line of JSON a file, or of `verify` a difference, to this file.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Add the names of members in this TOML file to those that are known.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
}

/// Pack old files into `tar.zst` packs by day, or look into packs.
///
/// Links, databases and what can not be read are neither packed nor removed: they are listed, and stay. Exit code 1 if
/// anything stays that is not packed, or was to be removed. A folder that is called like one of the commands below is
/// given as ./list.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Example: overlaid --data data legacy archive old-missions --out packs --delete")]
pub(super) struct Archive {
    /// The tree of old files.
    #[arg(value_name = "DIR", required = true)]
    tree: Option<PathBuf>,
    /// The folder of the packs, outside of the tree; made if it is not there.
    #[arg(long, value_name = "FOLDER", required = true)]
    out: Option<PathBuf>,
    /// Remove the originals, once every pack was read back, and only those that are still what was packed.
    #[arg(long)]
    delete: bool,
    /// Take what each file became from this report of an import, instead of reading the files for it; files that are
    /// not what it speaks of stay.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Add the names of members in this TOML file to those that are known.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    #[command(subcommand)]
    packs: Option<Packs>,
}

/// What can be done with packs.
#[derive(Debug, Subcommand)]
enum Packs {
    /// List the packed files.
    #[command(after_help = "Example: overlaid legacy archive list packs")]
    List {
        /// The folder of the packs.
        folder: PathBuf,
    },
    /// Write one packed file to standard output.
    #[command(
        after_help = "Example: overlaid legacy archive cat packs missions/mission_ELITE_GUARD_EURUSD_1752645000_7000000001.json"
    )]
    Cat {
        /// The folder of the packs.
        folder: PathBuf,
        /// The file, as `list` shows it.
        path: PathBuf,
    },
    /// Write packed files into a folder, each as it was packed last; what is there already is never replaced.
    #[command(after_help = "Example: overlaid legacy archive extract packs missions --to back")]
    Extract {
        /// The folder of the packs.
        folder: PathBuf,
        /// Only this file, or what lies below this folder.
        path: Option<PathBuf>,
        /// Where to.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Read every pack back and compare it with its index.
    #[command(after_help = "Example: overlaid legacy archive check packs")]
    Check {
        /// The folder of the packs.
        folder: PathBuf,
    },
}

impl Legacy {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        match self {
            Self::Plan(input) => input.plan(global),
            Self::Import(input) => input.import(global),
            Self::Verify(input) => input.verify(global),
            Self::Archive(archive) => archive.run(global),
        }
    }
}

/// What files are read with.
struct Reading {
    tree: Tree,
    names: Names,
    settings: Settings,
}

impl Reading {
    fn new(config: &Config, tree: &Path, names: Option<&PathBuf>) -> anyhow::Result<Self> {
        let mut tree = Tree::open(tree)?;
        tree.exclude_file(&config.database());
        let mut known = Names::built_in()?;
        if let Some(path) = names {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            known.add(&text).with_context(|| path.display().to_string())?;
        }
        Ok(Self { tree, names: known, settings: settings(config)? })
    }

    fn context(&self) -> Context<'_> {
        let Settings { instruments, signal_lifetime_ms, .. } = &self.settings;
        Context { instruments, names: &self.names, lifetime_ms: *signal_lifetime_ms }
    }
}

impl Input {
    fn open(&self, global: &Global) -> anyhow::Result<(Reading, Option<ReportFile>)> {
        let reading = Reading::new(&global.config, &self.tree, self.names.as_ref())?;
        let report = self.report.as_ref().map(|path| ReportFile::new(path, &reading.tree)).transpose()?;
        Ok((reading, report))
    }

    fn plan(&self, global: &Global) -> anyhow::Result<Answer> {
        let (reading, report) = self.open(global)?;
        let planned = legacy::plan(&reading.tree, reading.context(), report.as_ref())?;
        let mut out = io::stdout().lock();
        if global.json {
            write_json(&mut out, &planned)?;
        } else {
            write_counts(&mut out, &planned.tally)?;
            writeln!(out, "would become, about")?;
            let after = planned.after;
            write_row(&mut out, "database bytes", after.database_bytes)?;
            write_row(&mut out, "pack bytes", after.pack_bytes)?;
            write_row(&mut out, "inodes", after.inodes)?;
            write!(out, "{}", planned.saves.to_text())?;
        }
        Ok(list_unreadable(&planned.tally.unreadable))
    }

    pub(super) fn import(&self, global: &Global) -> anyhow::Result<Answer> {
        let (mut reading, report) = self.open(global)?;
        let path = global.config.database();
        // Open the database first: an operator should not wait for a million files to learn that a server has it.
        let store = Store::open_or_create_behind_gate(&path, global.config.copy_gate());
        let store = store.map_err(|error| explain_open(error, &path))?;
        reading.tree.exclude_file(&path);
        let mut database = Database::new(store, &reading.tree)?;
        if let Some(reached) = database.interrupted_at()? {
            let message =
                "an earlier import of this tree was interrupted; its files are read again, and what is stored stays";
            writeln!(io::stderr(), "{message} ({reached})")?;
        }
        let imported = legacy::import(&reading.tree, reading.context(), &mut database, report.as_ref())?;
        // Its length is known once it is closed.
        drop(database);
        let database_bytes = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        let saves = imported.tally.savings(database_bytes);
        let mut out = io::stdout().lock();
        if global.json {
            write_json(&mut out, &ImportAnswer { imported: &imported, saves: &saves })?;
        } else {
            write_counts(&mut out, &imported.tally)?;
            write_row(&mut out, "written", imported.written)?;
            write!(out, "{}", saves.to_text())?;
        }
        Ok(list_unreadable(&imported.tally.unreadable))
    }

    fn verify(&self, global: &Global) -> anyhow::Result<Answer> {
        let (reading, report) = self.open(global)?;
        let path = global.config.database();
        let store = Store::open(&path).map_err(|error| explain_open(error, &path))?;
        let database = Database::new(store, &reading.tree)?;
        let tiers = &reading.settings.tiers;
        let verified = legacy::verify(&reading.tree, reading.context(), tiers, &database, report.as_ref())?;
        let mut out = io::stdout().lock();
        if global.json {
            write_json(&mut out, &verified)?;
        } else {
            write_verified(&mut out, &verified)?;
        }
        let all_read = list_unreadable(&verified.unreadable);
        Ok(if verified.unexplained.is_empty() { all_read } else { Answer::No })
    }
}

impl Archive {
    fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        if let Some(packs) = &self.packs {
            return packs.run(global);
        }
        let tree = self.tree.as_ref().context("no tree is given")?;
        let folder = self.out.as_ref().context("no folder is given")?;
        let reading = Reading::new(&global.config, tree, self.names.as_ref())?;
        let done = legacy::archive(&reading.tree, reading.context(), folder, self.delete, self.report.as_deref())?;
        let mut out = io::stdout().lock();
        if global.json {
            write_json(&mut out, &BTreeMap::from(done.counts()))?;
        } else {
            for (name, count) in done.counts() {
                write_row(&mut out, &name.replace('_', " "), count)?;
            }
        }
        Ok(list_unpacked(&done))
    }
}

/// What an import prints as JSON.
#[derive(Serialize)]
struct ImportAnswer<'a> {
    #[serde(flatten)]
    imported: &'a Imported,
    saves: &'a Savings,
}

fn write_json(out: &mut impl Write, answer: &impl Serialize) -> anyhow::Result<()> {
    Ok(writeln!(out, "{}", serde_json::to_string(answer)?)?)
}

fn write_row(out: &mut impl Write, name: &str, count: u64) -> io::Result<()> {
    writeln!(out, "  {name:<44} {count:>12}")
}

fn write_counts(out: &mut impl Write, tally: &Tally) -> anyhow::Result<()> {
    writeln!(out, "the tree occupies")?;
    for (name, count) in [
        ("files", tally.files),
        ("bytes", tally.bytes),
        ("bytes of disk blocks", tally.disk_bytes),
        ("inodes, with folders", tally.inodes),
        ("different contents", tally.contents),
    ] {
        write_row(out, name, count)?;
    }
    writeln!(out, "files by class")?;
    for (class, count) in &tally.classes {
        write_row(out, class.as_str(), *count)?;
    }
    let quarantined = tally.quarantined.iter().map(|(reason, count)| (sentence(reason), *count)).collect();
    let refused = tally.signals_refused.iter().map(|(reason, count)| (sentence(reason), *count)).collect();
    let notes = tally.notes.iter().map(|(note, count)| (sentence(note), *count)).collect();
    let sections: [(&str, Vec<(&str, u64)>); 3] = [
        ("quarantined, by reason", quarantined),
        ("signals refused beside facts that were taken, by reason", refused),
        ("put right or decided, in files", notes),
    ];
    for (title, rows) in sections.into_iter().filter(|(_, rows)| !rows.is_empty()) {
        writeln!(out, "{title}")?;
        for (sentence, count) in rows {
            writeln!(out, "  {count:>9}  {sentence}")?;
        }
    }
    writeln!(out, "records")?;
    for (name, count) in [
        ("signals", tally.signals),
        ("  of these, under an id that another one has", tally.signal_conflicts),
        ("overlays", tally.overlays),
        ("  of these, users whose facts changed", tally.overlay_conflicts),
        ("outcomes", tally.outcomes),
    ] {
        write_row(out, name, count)?;
    }
    Ok(())
}

fn write_verified(out: &mut impl Write, verified: &Verified) -> io::Result<()> {
    write_row(out, "files", verified.files)?;
    write_row(out, "missions compared", verified.missions)?;
    write_row(out, "numbers that are the same", verified.same)?;
    writeln!(out, "numbers that differ, by cause")?;
    for (cause, count) in &verified.causes {
        writeln!(out, "  {count:>9}  {}", sentence(cause))?;
    }
    if !verified.unexplained.is_empty() {
        writeln!(out, "without a cause")?;
    }
    for difference in verified.unexplained.iter().take(LISTED_MAX) {
        let path = difference.path.quoted();
        writeln!(out, "  {path}: {} is {} there, {} now", difference.field, difference.file, difference.now)?;
    }
    let more = verified.unexplained.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        writeln!(out, "  and at least {more} more; --report writes all")?;
    }
    Ok(())
}

/// Lists the files and folders that could not be read; the answer is no if there are any.
fn list_unreadable(unreadable: &Unreadable) -> Answer {
    let lines = unreadable.first.iter().map(|path| format!("{} can not be read", path.maybe_quote()));
    list(lines, unreadable.count)
}

/// Lists the files that stay in a tree that was to be packed.
fn list_unpacked(done: &Archived) -> Answer {
    list(
        done.unpacked.iter().map(|(path, why)| format!("{} {why}: it stays", path.maybe_quote())),
        done.unpacked_count(),
    )
}

/// Writes the first of `count` lines to standard error; the answer is no if there are any.
fn list(lines: impl ExactSizeIterator<Item = String>, count: u64) -> Answer {
    let more = count.saturating_sub(lines.len() as u64);
    let more = (more > 0).then(|| format!("and {more} more"));
    for line in lines.chain(more) {
        // If standard error is closed, there is no way to tell.
        let _ = writeln!(io::stderr(), "overlaid: {line}");
    }
    if count > 0 { Answer::No } else { Answer::Done }
}

impl Packs {
    fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let answer = match self {
            Self::List { folder } => {
                let listed = legacy::list(folder, &mut |item| {
                    if global.json { write_json(&mut out, item) } else { Ok(write_item(&mut out, item)?) }
                });
                // What can be listed stands before the error.
                out.flush()?;
                listed?;
                Answer::Done
            }
            Self::Cat { folder, path } => {
                let is_there = legacy::cat(folder, path, &mut out)?;
                if !is_there {
                    writeln!(io::stderr(), "overlaid: {} is in no pack", path.maybe_quote())?;
                }
                if is_there { Answer::Done } else { Answer::No }
            }
            Self::Extract { folder, path, to } => {
                let done = legacy::extract(folder, path.as_deref().unwrap_or(Path::new("")), to)?;
                write_extracted(&mut out, &done)?;
                if let Some(incomplete) = done.incomplete {
                    out.flush()?;
                    anyhow::bail!(incomplete);
                }
                if done.files > 0 { Answer::Done } else { Answer::No }
            }
            Self::Check { folder } => {
                let checks = legacy::check(folder)?;
                for (pack, check) in &checks {
                    if global.json {
                        writeln!(out, "{}", json!({"pack": pack, "whole": check.whole, "damage": check.damage}))?;
                        continue;
                    }
                    writeln!(out, "{pack}: {} files are whole", check.whole)?;
                    for damage in &check.damage {
                        writeln!(out, "  {damage}")?;
                    }
                }
                if checks.values().all(Check::is_whole) { Answer::Done } else { Answer::No }
            }
        };
        out.flush()?;
        Ok(answer)
    }
}

fn write_extracted(out: &mut impl Write, done: &Extracted) -> io::Result<()> {
    writeln!(out, "{} files", done.files)?;
    if done.older > 0 {
        let versions = if done.older == 1 { "version" } else { "versions" };
        writeln!(out, "{} older {versions} left out: each path comes back as it was packed last", done.older)?;
    }
    Ok(())
}

fn write_item(out: &mut impl Write, item: &Item) -> io::Result<()> {
    let Line { bytes, class, path, .. } = &item.line;
    writeln!(out, "{bytes:>9} {:<11} {}", class.as_str(), path.quoted())
}
