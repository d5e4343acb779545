//! `legacy`: the per-user mission files of the service before this one, brought in, compared and packed away.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::{Answer, explain_open, settings, write_file};
use crate::config::Config;
use crate::domain::Market;
use crate::legacy::archive::{self, Extracted, Held, Summary};
use crate::legacy::database::Database;
use crate::legacy::group::{Options, collect};
use crate::legacy::plan::{plan, report_of};
use crate::legacy::progress::Progress;
use crate::legacy::report::{PathText, Tally};
use crate::legacy::resolve::resolve;
use crate::legacy::verify::{Verified, verify};
use crate::legacy::walk::{self, Stat, Walk, leave_alone, require_outside};
use crate::legacy::{Context, archive::Item};
use crate::service::Settings;
use crate::store::Store;

/// Most differences without a cause that are listed; the report has all.
const LISTED_MAX: usize = 20;

/// Bring old per-user mission files in, compare, and pack them away.
#[derive(Debug, Subcommand)]
pub(super) enum Legacy {
    /// Say what an import would do, and what the files occupy; nothing is written.
    Plan(Plan),
    /// Put signals, overlays and outcomes of old files into the database.
    #[command(alias = "migrate")]
    Import(Import),
    /// Compute every old mission again and explain each difference.
    Verify(Verify),
    /// Pack old files into `tar.zst` packs by day, or look into packs.
    Archive(Archive),
}

/// Say what an import would do, and what the files occupy; nothing is written.
#[derive(Debug, Args)]
pub(super) struct Plan {
    /// The tree of old files.
    #[arg(value_name = "DIR")]
    tree: PathBuf,
    /// Write a line of JSON a file: its class, the reason, and what it becomes.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// Put signals, overlays and outcomes of old files into the database.
///
/// Each batch of records is on the disk together with how far the import is. Interrupted and run again it ends as one clean run
/// does: the tree is read again, and what is stored already is not written again. The files are left alone.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The tree of old files.
    #[arg(value_name = "DIR")]
    tree: PathBuf,
    /// Write a line of JSON a file: its class, the reason, and what it became.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// Compute every old mission again and explain each difference.
///
/// Exit code 1 if a difference has no explanation.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The tree of old files.
    #[arg(value_name = "DIR")]
    tree: PathBuf,
    /// Write a line of JSON a difference, with its cause.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// Pack old files into `tar.zst` packs by day, or look into packs.
///
/// Links and databases are neither packed nor removed: they are counted, and stay. Exit code 1 if anything stays that is not
/// packed. A folder that is called like one of the commands below is given as ./list.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
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
    /// Take what each file became from this report of an import, instead of reading the files for it; files that are not what it
    /// speaks of stay.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    packs: Option<Packs>,
}

/// What can be done with packs.
#[derive(Debug, Subcommand)]
enum Packs {
    /// List the packed files.
    List {
        /// The folder of the packs.
        folder: PathBuf,
        /// Print a line of JSON a file.
        #[arg(long)]
        json: bool,
    },
    /// Write one packed file to standard output.
    Cat {
        /// The folder of the packs.
        folder: PathBuf,
        /// The file, as `list` shows it.
        path: PathBuf,
    },
    /// Write packed files into a folder, each as it was packed last; what is there already is never replaced.
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
    Check {
        /// The folder of the packs.
        folder: PathBuf,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Legacy {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        match self {
            Self::Plan(plan) => plan.run(config),
            Self::Import(import) => import.run(config),
            Self::Verify(verify) => verify.run(config),
            Self::Archive(archive) => archive.run(config),
        }
    }
}

fn context(settings: &Settings, has_claims: bool) -> Context<'_> {
    Context { instruments: &settings.instruments, lifetime_ms: settings.signal_lifetime_ms, has_claims }
}

/// A bar that counts the tree first, if anybody sees it.
fn progress(what: &'static str, tree: &Path) -> Progress {
    Progress::new(what, || Some(Walk::new(tree, &std::env::temp_dir()).ok()?.count() as u64))
}

/// Bytes of a report's first line that tell what it is; the names of a file's users come after them.
const FIRST_LINE_BYTES_MAX: u64 = 1 << 20;

/// Refuses a tree that is not there, and a report that would take the place of one of its files, or of any file that is no report.
fn check_paths(tree: &Path, report: Option<&PathBuf>) -> anyhow::Result<()> {
    walk::find(tree)?;
    let Some(path) = report else { return Ok(()) };
    let refused = || format!("cannot report to {}", path.display());
    // The folder alone counts: a link that leads into the tree is replaced, and what it names is not.
    let at = std::path::absolute(path).with_context(refused)?;
    require_outside(tree, at.parent().unwrap_or(&at)).with_context(refused)?;
    // Whatever else is there can not be written to, which is said later; to open a pipe would be to wait.
    if !path.is_file() {
        return Ok(());
    }
    let file = File::open(path).with_context(refused)?;
    let mut line = Vec::new();
    BufReader::new(file.take(FIRST_LINE_BYTES_MAX)).read_until(b'\n', &mut line).with_context(refused)?;
    let text = String::from_utf8_lossy(&line);
    let names_a_file = ["{\"path\":\"", "{\"path_hex\":\""].iter().any(|begin| text.starts_with(begin));
    let says_what_it_is = [",\"class\":\"", ",\"cause\":\""].iter().any(|member| text.contains(member));
    let is_report = names_a_file && says_what_it_is;
    if !is_report && !text.is_empty() {
        return Err(anyhow::anyhow!("it is there already and is no report")).with_context(refused);
    }
    Ok(())
}

/// Does something that may write a report.
fn reported<T>(
    report: Option<&PathBuf>,
    work: impl FnOnce(Option<&mut dyn Write>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let Some(path) = report else { return work(None) };
    let mut result = None;
    write_file(path, |out| {
        result = Some(work(Some(out))?);
        Ok(out.flush()?)
    })
    .with_context(|| format!("cannot report to {}", path.display()))?;
    result.context("the report was not written")
}

fn open_store(config: &Config) -> anyhow::Result<std::sync::Arc<Store>> {
    let path = config.database();
    Store::open(&path).map_err(|error| explain_open(error, &path))
}

impl Plan {
    fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        check_paths(&self.tree, self.report.as_ref())?;
        let settings = settings(config)?;
        leave_alone(&config.database());
        let mut bar = progress("reading", &self.tree);
        let planned = reported(self.report.as_ref(), |report| {
            plan(&self.tree, context(&settings, false), &Options::default(), report, &mut |files, _| bar.set(files))
        })?;
        drop(bar);
        let packs = planned.tally.packs(archive::Options::default().pack_files_max);
        let after = [
            ("database_bytes", planned.database_bytes),
            ("pack_bytes", planned.tally.packed_bytes()),
            // The database, and a pack and its index a day.
            ("inodes", 1 + 2 * packs),
        ];
        let mut out = io::stdout().lock();
        if self.json {
            let mut counts = counts(&planned.tally);
            counts.remove("written");
            counts.insert(
                "after".to_owned(),
                after.map(|(name, count)| (name.to_owned(), json!(count))).into_iter().collect::<Map<_, _>>().into(),
            );
            writeln!(out, "{}", Value::Object(counts))?;
        } else {
            write_counts(&mut out, &planned.tally)?;
            writeln!(out, "would become, about")?;
            for (name, count) in after {
                write_row(&mut out, &name.replace('_', " "), count)?;
            }
        }
        Ok(Answer::Done)
    }
}

impl Import {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        check_paths(&self.tree, self.report.as_ref())?;
        let settings = settings(config)?;
        let path = config.database();
        // Opened first: nobody should read a million files to learn that a server has the database.
        let limit = config.copy_gate();
        let store = Store::open_or_create_behind_gate(&path, limit).map_err(|error| explain_open(error, &path))?;
        leave_alone(&path);
        let mut database = Database::new(store, &self.tree)?;
        if let Some(reached) = database.interrupted_at()? {
            let told =
                "an earlier import of this tree was interrupted; its files are read again, and what is stored stays";
            writeln!(io::stderr(), "{told} ({reached})")?;
        }
        let mut bar = progress("reading", &self.tree);
        let tally = reported(self.report.as_ref(), |report| {
            let options = Options { has_report: report.is_some(), ..Options::default() };
            let read = collect(&self.tree, context(&settings, false), &options, &mut |files, _| bar.set(files))?;
            resolve(read, &mut database, report)
        })?;
        drop(bar);
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", Value::Object(counts(&tally)))?;
        } else {
            write_counts(&mut out, &tally)?;
            write_row(&mut out, "written", tally.written)?;
        }
        Ok(Answer::Done)
    }
}

/// Everything that was counted, by name.
fn counts(tally: &Tally) -> Map<String, Value> {
    let named = |pairs: Vec<(&'static str, u64)>| -> Value {
        pairs.into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect::<Map<_, _>>().into()
    };
    let rows = [
        ("files", json!(tally.files)),
        ("bytes", json!(tally.bytes)),
        ("disk_bytes", json!(tally.disk_bytes)),
        ("inodes", json!(tally.files + tally.folders)),
        ("contents", json!(tally.contents)),
        ("classes", named(tally.classes.iter().map(|(class, count)| (class.as_str(), *count)).collect())),
        ("quarantined", named(tally.quarantined.iter().map(|(reason, count)| (reason.as_str(), *count)).collect())),
        ("signals_refused", named(tally.refused.iter().map(|(reason, count)| (reason.as_str(), *count)).collect())),
        ("notes", named(tally.notes.iter().map(|(note, count)| (note.as_str(), *count)).collect())),
        ("signals", json!(tally.signals)),
        ("signal_conflicts", json!(tally.signal_conflicts)),
        ("overlays", json!(tally.overlays)),
        ("overlay_conflicts", json!(tally.overlay_conflicts)),
        ("outcomes", json!(tally.outcomes)),
        ("written", json!(tally.written)),
    ];
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
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
        ("inodes, with folders", tally.files + tally.folders),
        ("different contents", tally.contents),
    ] {
        write_row(out, name, count)?;
    }
    writeln!(out, "files by class")?;
    for (class, count) in &tally.classes {
        write_row(out, class.as_str(), *count)?;
    }
    let quarantined = tally.quarantined.iter().map(|(reason, count)| (reason.sentence(), *count)).collect();
    let refused = tally.refused.iter().map(|(reason, count)| (reason.sentence(), *count)).collect();
    let notes = tally.notes.iter().map(|(note, count)| (note.sentence(), *count)).collect();
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

impl Verify {
    fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        check_paths(&self.tree, self.report.as_ref())?;
        let settings = settings(config)?;
        let mut database = Database::new(open_store(config)?, &self.tree)?;
        leave_alone(&config.database());
        let rates = database.rates()?;
        let market = Market { instruments: &settings.instruments, tiers: &settings.tiers, rates: &rates };
        let mut bar = progress("comparing", &self.tree);
        let verified = reported(self.report.as_ref(), |report| {
            verify(&self.tree, context(&settings, true), market, &mut database, report, &mut |files| bar.set(files))
        })?;
        drop(bar);
        let mut out = io::stdout().lock();
        if self.json { writeln!(out, "{}", verified_json(&verified)) } else { write_verified(&mut out, &verified) }?;
        Ok(if verified.unexplained.is_empty() { Answer::Done } else { Answer::No })
    }
}

fn verified_json(verified: &Verified) -> Value {
    json!({
        "files": verified.files, "missions": verified.missions, "same": verified.same,
        "differences": verified.causes, "unexplained": verified.unexplained,
    })
}

fn write_verified(out: &mut impl Write, verified: &Verified) -> io::Result<()> {
    write_row(out, "files", verified.files)?;
    write_row(out, "missions compared", verified.missions)?;
    write_row(out, "numbers that are the same", verified.same)?;
    writeln!(out, "numbers that differ, by cause")?;
    for (cause, count) in &verified.causes {
        write_row(out, cause.sentence(), *count)?;
    }
    if !verified.unexplained.is_empty() {
        writeln!(out, "without a cause")?;
    }
    for difference in verified.unexplained.iter().take(LISTED_MAX) {
        let (PathText::Path(path) | PathText::PathHex(path)) = &difference.path;
        writeln!(out, "  {path}: {} is {} there, {} now", difference.field, difference.file, difference.now)?;
    }
    let more = verified.unexplained.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        writeln!(out, "  and at least {more} more; --report writes all")?;
    }
    Ok(())
}

impl Archive {
    fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        if let Some(packs) = &self.packs {
            return packs.run();
        }
        let tree = self.tree.as_ref().context("no tree is given")?;
        let folder = self.out.as_ref().context("no folder is given")?;
        require_outside(tree, folder)?;
        let settings = settings(config)?;
        leave_alone(&config.database());
        let mut options = archive::Options { delete: self.delete, ..archive::Options::default() };
        let mut report: Box<dyn BufRead> = if let Some(path) = &self.report {
            let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
            options.reported_ns = Some(Stat::of(&file.metadata()?).modified_ns);
            Box::new(BufReader::new(file))
        } else {
            let mut bar = progress("reading", tree);
            Box::new(report_of(tree, context(&settings, false), &Options::default(), &mut |files, _| bar.set(files))?)
        };
        let mut bar = progress("packing", tree);
        let summary = archive::archive(tree, folder, Some(&mut report), &options, &mut |files| bar.set(files))?;
        drop(bar);
        let mut out = io::stdout().lock();
        let rows = rows(&summary);
        if self.json {
            let rows: Map<_, _> = rows.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
            writeln!(out, "{}", Value::Object(rows))?;
        } else {
            for (name, count) in rows {
                write_row(&mut out, &name.replace('_', " "), count)?;
            }
        }
        for named in &summary.named {
            writeln!(io::stderr(), "overlaid: {named}")?;
        }
        Ok(if summary.is_any_left() { Answer::No } else { Answer::Done })
    }
}

fn rows(summary: &Summary) -> [(&'static str, u64); 10] {
    let &Summary { seen, packed_before, packed, links, databases, listed_only, changed, packs, deleted, kept, .. } =
        summary;
    [
        ("files", seen),
        ("packed_before", packed_before),
        ("packed", packed),
        ("links_left", links),
        ("databases_left", databases),
        ("listed_only", listed_only),
        ("changed_meanwhile", changed),
        ("packs", packs),
        ("deleted", deleted),
        ("kept", kept),
    ]
}

impl Packs {
    fn run(&self) -> anyhow::Result<Answer> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let answer = match self {
            Self::List { folder, json } => {
                let listed = archive::for_each(folder, &mut |item| {
                    if *json {
                        serde_json::to_writer(&mut out, item)?;
                        writeln!(out)?;
                    } else {
                        write_item(&mut out, item)?;
                    }
                    Ok(())
                });
                // What can be listed stands before the error.
                out.flush()?;
                listed?;
                Answer::Done
            }
            Self::Cat { folder, path } => {
                let why = match archive::cat(folder, path, &mut out)? {
                    Held::File => None,
                    Held::Link(to) => Some(format!("is packed as a link to {}, and has no content", to.display())),
                    Held::Name => {
                        Some("is named, but was not packed: it was no file, or changed, and stayed".to_owned())
                    }
                    Held::Nothing => Some("is in no pack".to_owned()),
                };
                if let Some(why) = &why {
                    writeln!(io::stderr(), "overlaid: {} {why}", path.display())?;
                }
                if why.is_none() { Answer::Done } else { Answer::No }
            }
            Self::Extract { folder, path, to } => {
                let done = archive::extract(folder, path.as_deref().unwrap_or(Path::new("")), to)?;
                write_extracted(&mut out, &done)?;
                if let Some(half) = done.half {
                    out.flush()?;
                    anyhow::bail!(half);
                }
                if done.files > 0 { Answer::Done } else { Answer::No }
            }
            Self::Check { folder, json } => {
                let checks = archive::check(folder)?;
                for (pack, check) in &checks {
                    if *json {
                        writeln!(out, "{}", json!({"pack": pack, "whole": check.whole, "damage": check.damage}))?;
                        continue;
                    }
                    writeln!(out, "{pack}: {} files are whole", check.whole)?;
                    for damage in &check.damage {
                        writeln!(out, "  {damage}")?;
                    }
                }
                if checks.values().all(archive::Check::is_whole) { Answer::Done } else { Answer::No }
            }
        };
        out.flush()?;
        Ok(answer)
    }
}

fn write_extracted(out: &mut impl Write, done: &Extracted) -> io::Result<()> {
    writeln!(out, "{} files", done.files)?;
    for (count, what, why) in [
        (done.older, "older version", "each path comes back as it was packed last"),
        (done.links, "link", "`cat` says where each leads"),
    ] {
        if count > 0 {
            writeln!(out, "{count} {what}{} left out: {why}", if count == 1 { "" } else { "s" })?;
        }
    }
    Ok(())
}

fn write_item(out: &mut impl Write, item: &Item) -> io::Result<()> {
    let (PathText::Path(path) | PathText::PathHex(path)) = &item.path;
    let class = item.class.map_or("-", |class| class.as_str());
    writeln!(out, "{:>9} {class:<11} {path}", item.bytes)
}
