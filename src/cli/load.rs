//! `load` and `export`: records in and out as NDJSON.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use clap::Args;
use serde::Deserialize;

use super::{Access, Answer, Global, new_file};
use crate::client::{Client, Content, Lines, Method};
use crate::domain::{Object, write_json_string};
use crate::service::{ImportCounts, LINE_BYTES_MAX, LineSplitter, without_marks};

/// How much of a file is read at once.
const PIECE_BYTES: usize = 64 * 1024;
/// Refusals that concern no single record: the others would be refused too.
const HOPELESS: &[&str] = &["busy", "file-replaced", "internal", "storage-failed", "storage-full"];

/// Put records in from NDJSON files or folders.
///
/// One record a line: {"signal":{…}}, {"overlay":{…}}, {"rate":{"pair":"GBPUSD","price":1.34}}, {"outcome":{…}}. A
/// folder is read for .ndjson and .jsonl files, and for one record a file in signals/shared/ and `user_overlays/`. A
/// line that is refused is named with its reason; the others go in. Of two records the newer wins, and one without a
/// time is of now; a signal is never replaced. Samples replace nothing.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid load records.ndjson")]
pub(super) struct Load {
    /// Files or folders; `-` is standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Write all records out as NDJSON, to load elsewhere; tokens are left out.
#[derive(Debug, Args)]
#[command(after_help = "Example: overlaid export --out records.ndjson")]
pub(super) struct Export {
    /// Write to this file instead of standard output; it appears whole or not at all.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Load {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        let files = find_files(&self.paths)?;
        let mut report = |place: &str, reason: &str| -> anyhow::Result<()> {
            writeln!(io::stderr(), "{place}: {reason}").context("cannot write to standard error")
        };
        let counts = load(&global.client(Access::Make)?, files, "/v1/import", &mut report)?;
        let mut out = io::stdout().lock();
        if global.json {
            writeln!(out, "{}", serde_json::to_string(&counts)?)
        } else {
            writeln!(out, "{}", text(counts))
        }?;
        Ok(if counts.refused == 0 { Answer::Done } else { Answer::No })
    }
}

impl Export {
    pub(super) fn run(&self, global: &Global) -> anyhow::Result<Answer> {
        const ROUTE: &str = "/v1/export";
        let new = self.out.as_ref().map(|path| new_file(path, &global.config.database())).transpose()?;
        let client = global.client(Access::Read)?;
        let answer = client.send(Method::GET, ROUTE, Content::None)?;
        match new {
            Some(new) => new.write(|out| answer.copy_to(out)).context("cannot export")?,
            None => answer.copy_to(&mut io::stdout().lock())?,
        }
        Ok(Answer::Done)
    }
}

/// Counts in words.
pub(super) fn text(counts: ImportCounts) -> String {
    let ImportCounts { created, changed, unchanged, kept, refused } = counts;
    format!("{created} created, {changed} changed, {unchanged} unchanged, {kept} kept as they were, {refused} refused")
}

/// What is loaded by one request.
#[derive(Debug)]
pub(super) enum Source {
    /// A file of lines, or standard input.
    Lines(PathBuf),
    /// Files that hold one record each.
    Documents(Vec<(PathBuf, Kind)>),
}

/// Which record a file holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Signal,
    Overlay,
}

/// Finds the files to load, in a fixed order.
pub(super) fn find_files(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut files = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            files.push(Source::Lines(path.clone()));
            continue;
        }
        let kind = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() {
            let before = files.len();
            walk(path, &mut files)?;
            anyhow::ensure!(files.len() > before, "{} holds nothing to load", path.display());
        } else if !push_source(path, &mut files) {
            files.push(Source::Lines(path.clone()));
        }
    }
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<Source>) -> anyhow::Result<()> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>).with_context(cannot)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Links are not followed, so that a loop can not be.
        let kind = entry.file_type().with_context(cannot)?;
        if kind.is_dir() {
            walk(&path, files)?;
        } else if kind.is_file() {
            push_source(&path, files);
        }
    }
    Ok(())
}

/// Adds a file, unless it is not for loading. Documents beside each other go into one request.
fn push_source(path: &Path, files: &mut Vec<Source>) -> bool {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("ndjson" | "jsonl") => {
            files.push(Source::Lines(path.to_owned()));
            return true;
        }
        Some("json") if folder == "user_overlays" => Kind::Overlay,
        Some("json") if folder == "shared" => Kind::Signal,
        _ => return false,
    };
    let document = (path.to_owned(), kind);
    match files.last_mut() {
        Some(Source::Documents(documents)) => documents.push(document),
        _ => files.push(Source::Documents(vec![document])),
    }
    true
}

/// Puts the records of all files in by the route `target`. `refused` is told the place and the reason of each line that
/// did not go in.
pub(super) fn load(
    client: &Client,
    files: Vec<Source>,
    target: &str,
    refused: &mut dyn FnMut(&str, &str) -> anyhow::Result<()>,
) -> anyhow::Result<ImportCounts> {
    let mut loading = Loading { client, target, counts: ImportCounts::default(), refused };
    // Outcomes need their signals, which may stand in a later file.
    let mut files_with_outcomes = Vec::new();
    for file in files {
        let file = Opened::open(file)?;
        if loading.send(&file, Pass::AllButOutcomes)? {
            files_with_outcomes.push(file);
        }
    }
    for file in files_with_outcomes {
        loading.send(&file, Pass::Outcomes)?;
    }
    Ok(loading.counts)
}

/// Which lines of a file are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pass {
    AllButOutcomes,
    Outcomes,
}

/// What was found in a file while it was sent.
#[derive(Debug, Default)]
struct Found {
    has_outcomes: AtomicBool,
    /// Why it could not be read.
    failure: OnceLock<String>,
}

struct Loading<'a> {
    client: &'a Client,
    target: &'a str,
    counts: ImportCounts,
    refused: &'a mut dyn FnMut(&str, &str) -> anyhow::Result<()>,
}

/// What became of a line, or how many there were.
#[derive(Deserialize)]
struct LineResult {
    line: Option<u64>,
    effect: Option<String>,
    #[serde(default)]
    removed: Vec<String>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
    /// Why not all lines were read.
    error: Option<String>,
}

impl Loading<'_> {
    /// Sends lines of a file. Returns whether there are outcomes in it.
    fn send(&mut self, file: &Opened, pass: Pass) -> anyhow::Result<bool> {
        let found = Arc::new(Found::default());
        let sent = self.send_lines(file, Lines(file.lines(pass, &found)?));
        if let Some(error) = found.failure.get() {
            anyhow::bail!("cannot read {}: {error}", file.name());
        }
        sent.map(|()| found.has_outcomes.load(Ordering::Relaxed))
    }

    fn send_lines(&mut self, file: &Opened, lines: Lines) -> anyhow::Result<()> {
        let mut answer = self.client.send(Method::POST, self.target, Content::Lines(lines))?;
        let (mut splitter, mut is_whole) = (LineSplitter::default(), false);
        while let Some(piece) = answer.next_piece()? {
            splitter.push(&piece);
            while let Some(line) = splitter.next_line() {
                let json = line.text.unwrap_or_default();
                let result: LineResult =
                    serde_json::from_slice(&json).context("the server's answer is not as it should be")?;
                if let Some(error) = result.error {
                    anyhow::bail!("the server read only a part of {}: {error}", file.name());
                }
                match result.line {
                    Some(number) => self.count(&file.place(number), &result)?,
                    None => is_whole = true,
                }
            }
        }
        anyhow::ensure!(is_whole, "the server broke off its answer; its log may say why");
        Ok(())
    }

    /// Counts a line and names it if it was refused; what stands in the way of all records ends the load.
    fn count(&mut self, place: &str, result: &LineResult) -> anyhow::Result<()> {
        let LineResult { removed, code, detail, .. } = result;
        if !removed.is_empty() {
            let removed = removed.join(", ");
            tracing::warn!(place, removed, "a whole overlay lacks members that the stored one had; a patch keeps them");
        }
        anyhow::ensure!(!HOPELESS.contains(&code.as_str()), "cannot write {place}: {detail}");
        let counts = &mut self.counts;
        let count = match result.effect.as_deref() {
            Some("created") => &mut counts.created,
            Some("changed") => &mut counts.changed,
            Some("unchanged") => &mut counts.unchanged,
            Some("kept") => &mut counts.kept,
            _ => {
                (self.refused)(place, &format!("{detail} ({code})"))?;
                &mut counts.refused
            }
        };
        *count += 1;
        Ok(())
    }
}

/// A source that can be read more than once.
enum Opened {
    Lines(PathBuf, File),
    Documents(Arc<Vec<(PathBuf, Kind)>>),
}

/// Pieces of a body.
type Pieces = Box<dyn Iterator<Item = io::Result<Vec<u8>>> + Send>;

impl Opened {
    fn open(source: Source) -> anyhow::Result<Self> {
        match source {
            // It comes as slowly as it likes, which no server waits for, and only once.
            Source::Lines(path) if path.as_os_str() == "-" => {
                let mut file = tempfile::tempfile().context("cannot make a file for standard input")?;
                io::copy(&mut io::stdin().lock(), &mut file).context("cannot read standard input")?;
                Ok(Self::Lines("standard input".into(), file))
            }
            Source::Lines(path) => {
                let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
                Ok(Self::Lines(path, file))
            }
            Source::Documents(documents) => Ok(Self::Documents(Arc::new(documents))),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Lines(path, _) => path.display().to_string(),
            Self::Documents(_) => "the files".to_owned(),
        }
    }

    /// Where a line stands.
    fn place(&self, number: u64) -> String {
        match self {
            Self::Lines(path, _) => format!("{}:{number}", path.display()),
            Self::Documents(documents) => {
                let document = usize::try_from(number - 1).ok().and_then(|at| documents.get(at));
                document.map(|(path, _)| path.display().to_string()).unwrap_or_default()
            }
        }
    }

    /// The lines of a pass in pieces, with blank lines in the place of the others.
    fn lines(&self, pass: Pass, found: &Arc<Found>) -> anyhow::Result<Pieces> {
        let pieces: Pieces = match self {
            Self::Lines(path, file) => {
                let cannot = || format!("cannot read {}", path.display());
                let mut file = file.try_clone().with_context(cannot)?;
                file.rewind().with_context(cannot)?;
                Box::new(select(pieces_of(file), pass, Arc::clone(found)))
            }
            Self::Documents(documents) => {
                let documents = Arc::clone(documents);
                Box::new((0..documents.len()).map_while(move |at| documents.get(at).map(document_line)))
            }
        };
        let found = Arc::clone(found);
        Ok(Box::new(pieces.inspect(move |piece| {
            if let Err(error) = piece {
                // The first one ends the request.
                let _ = found.failure.set(error.to_string());
            }
        })))
    }
}

fn pieces_of(mut file: File) -> impl Iterator<Item = io::Result<Vec<u8>>> + Send {
    std::iter::from_fn(move || {
        let mut piece = Vec::new();
        let read = (&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece);
        read.map(|bytes| (bytes > 0).then_some(piece)).transpose()
    })
}

/// The lines of a pass, and those that say to which moment the times after them are relative.
fn select(
    mut pieces: impl Iterator<Item = io::Result<Vec<u8>>> + Send,
    pass: Pass,
    found: Arc<Found>,
) -> impl Iterator<Item = io::Result<Vec<u8>>> + Send {
    let (mut splitter, mut lines, mut is_end) = (LineSplitter::default(), 0, false);
    std::iter::from_fn(move || {
        let mut out = Vec::new();
        while out.len() < PIECE_BYTES {
            match splitter.next_line().or_else(|| if is_end { splitter.last_line() } else { None }) {
                Some(line) => {
                    // The text of a line that is too long is gone; another one as long is refused alike.
                    let text = line.text.unwrap_or_else(|| vec![b'x'; LINE_BYTES_MAX + 1].into());
                    let is_outcome = begins_with_member(&text, b"outcome");
                    found.has_outcomes.fetch_or(is_outcome, Ordering::Relaxed);
                    out.resize(out.len() + usize::try_from(line.number - lines - 1).unwrap_or_default(), b'\n');
                    if is_outcome == (pass == Pass::Outcomes) || begins_with_member(&text, b"sample_time") {
                        out.extend_from_slice(&text);
                    }
                    out.push(b'\n');
                    lines = line.number;
                }
                None if is_end => break,
                None => match pieces.next() {
                    Some(Ok(piece)) => splitter.push(&piece),
                    Some(Err(error)) => return Some(Err(error)),
                    None => is_end = true,
                },
            }
        }
        (!out.is_empty()).then_some(Ok(out))
    })
}

/// Whether the first member of a JSON object has this name.
fn begins_with_member(json: &[u8], name: &[u8]) -> bool {
    let inner = json.trim_ascii_start().strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    let rest = inner.and_then(|inner| inner.strip_prefix(b"\""));
    rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with(b"\""))
}

/// A file of one record as a line; one that does not name its record takes the file's name.
fn document_line((path, kind): &(PathBuf, Kind)) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    // What is longer than a line is refused, and need not be read.
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(named)?;
    file.take(LINE_BYTES_MAX as u64 + 1).read_to_end(&mut json).map_err(named)?;
    let (wrapper, id) = match kind {
        Kind::Signal => ("signal", "signal_id"),
        Kind::Overlay => ("overlay", "user_id"),
    };
    let mut line = format!("{{\"{wrapper}\":").into_bytes();
    match Object::parse(without_marks(&json)) {
        Ok(object) => {
            let mut record = object.to_json();
            if object.get(id).is_none() {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                let mut named = Vec::new();
                write_json_string(&mut named, &name);
                let separator = if object.is_empty() { "" } else { "," };
                record.replace_range(..1, &format!("{{\"{id}\":{}{separator}", String::from_utf8_lossy(&named)));
            }
            line.extend_from_slice(record.as_bytes());
        }
        // The server says what is wrong with it.
        Err(_) => line.extend(json.into_iter().map(|byte| if byte == b'\n' { b' ' } else { byte })),
    }
    line.extend_from_slice(b"}\n");
    Ok(line)
}
