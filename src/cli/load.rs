//! `load` and `export`: records in and out as NDJSON.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{Answer, open, open_or_create, write_file};
use crate::config::Config;
use crate::domain::Invalid;
use crate::service::{LINE_BYTES_MAX, LineReader, Pending, RecordKind, Service, ServiceError, export_lines};
use crate::store::{Effect, Operation, Precedence};

/// Most writes under way at once: fills a group commit, far below the writer's queue.
const PENDING_MAX: usize = 1_024;

/// Put records in from NDJSON files or folders.
///
/// One record a line: {"signal":{…}}, {"overlay":{…}}, {"rate":{"pair":"GBPUSD","price":1.34}}, {"outcome":{…}}. A folder is read for
/// .ndjson and .jsonl files, and for one record a file in signals/shared/ and `user_overlays/`. A line that is
/// refused is named with its reason; the others go in. A record with an older time than the stored one is left out.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Files or folders.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

/// Write all records out as NDJSON, to load elsewhere; tokens are left out.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Write to this file instead of standard output; it appears whole or not at all.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Load {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let files = find_files(&self.paths)?;
        let service = open_or_create(config)?;
        let mut report = |place: &str, reason: &str| -> anyhow::Result<()> {
            writeln!(io::stderr(), "{place}: {reason}").context("cannot write to standard error")
        };
        let counts = load(&service, &files, Precedence::Newest, &mut report)?;
        service.stop();
        let mut out = io::stdout().lock();
        if self.json { writeln!(out, "{}", counts.json()) } else { writeln!(out, "{}", counts.text()) }?;
        Ok(if counts.refused == 0 { Answer::Done } else { Answer::No })
    }
}

impl Export {
    pub(super) fn run(&self, config: &Config) -> anyhow::Result<Answer> {
        let service = open(config)?;
        let write = |out: &mut dyn io::Write| -> anyhow::Result<()> {
            let snapshot = service.snapshot()?;
            for line in export_lines(&snapshot)? {
                out.write_all(&line?)?;
            }
            Ok(out.flush()?)
        };
        match &self.out {
            Some(path) => write_file(path, write).with_context(|| format!("cannot export to {}", path.display()))?,
            None => write(&mut io::BufWriter::new(io::stdout().lock()))?,
        }
        Ok(Answer::Done)
    }
}

/// One file to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// NDJSON.
    Lines(PathBuf),
    /// One record of a kind.
    Document(PathBuf, RecordKind),
}

/// What a load did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LoadCounts {
    pub(super) created: u64,
    pub(super) changed: u64,
    pub(super) unchanged: u64,
    pub(super) kept: u64,
    pub(super) refused: u64,
}

impl LoadCounts {
    fn add(&mut self, effect: Effect) {
        match effect {
            Effect::Created => self.created += 1,
            Effect::Changed | Effect::Deleted => self.changed += 1,
            Effect::Unchanged => self.unchanged += 1,
            Effect::Kept => self.kept += 1,
        }
    }

    pub(super) fn text(&self) -> String {
        let Self { created, changed, unchanged, kept, refused } = self;
        format!(
            "{created} created, {changed} changed, {unchanged} unchanged, {kept} kept as they were, {refused} refused"
        )
    }

    fn json(&self) -> String {
        let Self { created, changed, unchanged, kept, refused } = self;
        format!(
            "{{\"created\":{created},\"changed\":{changed},\"unchanged\":{unchanged},\"kept\":{kept},\"refused\":{refused}}}"
        )
    }
}

/// Finds the files to load, in a fixed order.
pub(super) fn find_files(paths: &[PathBuf]) -> anyhow::Result<Vec<Source>> {
    let mut files = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if kind.is_dir() {
            let before = files.len();
            walk(path, &mut files)?;
            anyhow::ensure!(files.len() > before, "{} holds nothing to load", path.display());
        } else {
            files.push(source(path).unwrap_or_else(|| Source::Lines(path.clone())));
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
            files.extend(source(&path));
        }
    }
    Ok(())
}

/// Says how a file is to be read; `None` for one that is not for loading.
fn source(path: &Path) -> Option<Source> {
    let parents: Vec<_> = path.parent()?.iter().rev().take(2).map(|name| name.to_string_lossy()).collect();
    match path.extension()?.to_str()? {
        "ndjson" | "jsonl" => Some(Source::Lines(path.to_owned())),
        "json" => match parents.first().map(AsRef::as_ref) {
            Some("user_overlays") => Some(Source::Document(path.to_owned(), RecordKind::Overlay)),
            Some("shared") => Some(Source::Document(path.to_owned(), RecordKind::Signal)),
            _ => None,
        },
        _ => None,
    }
}

/// Puts the records of all files in. `refused` is told the place and the reason of each line that did not go in.
pub(super) fn load(
    service: &Service,
    files: &[Source],
    precedence: Precedence,
    refused: &mut dyn FnMut(&str, &str) -> anyhow::Result<()>,
) -> anyhow::Result<LoadCounts> {
    let mut load = Loading { service, precedence, pending: VecDeque::new(), counts: LoadCounts::default(), refused };
    // Outcomes need their signals, which may stand in a later file.
    let mut files_with_outcomes = Vec::new();
    for file in files {
        match file {
            Source::Lines(path) => {
                if load.lines(path, Pass::AllButOutcomes)? {
                    files_with_outcomes.push(path);
                }
            }
            Source::Document(path, kind) => load.document(path, *kind)?,
        }
    }
    load.settle(0)?;
    for path in files_with_outcomes {
        load.lines(path, Pass::Outcomes)?;
    }
    load.settle(0)?;
    Ok(load.counts)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    AllButOutcomes,
    Outcomes,
}

struct Loading<'a> {
    service: &'a Service,
    precedence: Precedence,
    pending: VecDeque<(String, Pending)>,
    counts: LoadCounts,
    refused: &'a mut dyn FnMut(&str, &str) -> anyhow::Result<()>,
}

impl Loading<'_> {
    /// Reads one file's lines; returns whether there are outcomes among them.
    fn lines(&mut self, path: &Path, pass: Pass) -> anyhow::Result<bool> {
        let cannot = || format!("cannot read {}", path.display());
        let mut file = BufReader::new(File::open(path).with_context(cannot)?);
        let mut reader = self.service.line_reader(self.precedence);
        let mut has_outcomes = false;
        let mut line = Vec::new();
        for number in 1_u64.. {
            let is_long = match read_line(&mut file, &mut line).with_context(cannot)? {
                LineRead::End => break,
                LineRead::Whole => false,
                LineRead::TooLong => true,
            };
            let place = format!("{}:{number}", path.display());
            if is_long {
                if pass == Pass::AllButOutcomes {
                    self.refuse(&place, &format!("the line is longer than {LINE_BYTES_MAX} bytes"))?;
                }
                continue;
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            self.line(&mut reader, &line, place, pass, &mut has_outcomes)?;
        }
        Ok(has_outcomes)
    }

    fn line(
        &mut self,
        reader: &mut LineReader,
        line: &[u8],
        place: String,
        pass: Pass,
        has_outcomes: &mut bool,
    ) -> anyhow::Result<()> {
        match reader.line(line, self.service.now()) {
            Ok(Some(operation)) => {
                let is_outcome = matches!(operation, Operation::PutOutcome { .. });
                *has_outcomes |= is_outcome;
                if is_outcome == (pass == Pass::Outcomes) {
                    self.submit(place, operation)?;
                }
                Ok(())
            }
            // In the second pass the others were named already.
            Err(error) if pass == Pass::AllButOutcomes => self.refuse(&place, &reason(&error)),
            Ok(None) | Err(_) => Ok(()),
        }
    }

    fn document(&mut self, path: &Path, kind: RecordKind) -> anyhow::Result<()> {
        let place = path.display().to_string();
        let mut json = Vec::new();
        let cannot = || format!("cannot read {}", path.display());
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        File::open(path).with_context(cannot)?.take(limit).read_to_end(&mut json).with_context(cannot)?;
        if json.len() > LINE_BYTES_MAX {
            return self.refuse(&place, &format!("the file is longer than {LINE_BYTES_MAX} bytes"));
        }
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let reader = self.service.line_reader(self.precedence);
        match reader.document(kind, &name, &json, self.service.now()) {
            Ok(operation) => self.submit(place, operation),
            Err(error) => self.refuse(&place, &reason(&error)),
        }
    }

    fn submit(&mut self, place: String, operation: Operation) -> anyhow::Result<()> {
        self.settle(PENDING_MAX - 1)?;
        match self.service.submit(operation) {
            Ok(pending) => self.pending.push_back((place, pending)),
            Err(error @ ServiceError::TooManyOverlays { .. }) => self.refuse(&place, &error.to_string())?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Waits until at most `most` writes are under way.
    fn settle(&mut self, most: usize) -> anyhow::Result<()> {
        while self.pending.len() > most {
            let Some((place, pending)) = self.pending.pop_front() else { break };
            match pending.done_blocking() {
                Ok(receipt) => self.counts.add(receipt.effect),
                Err(error @ (ServiceError::Store(_) | ServiceError::Busy | ServiceError::Worker)) => {
                    return Err(anyhow::Error::new(error).context(format!("cannot write {place}")));
                }
                Err(ServiceError::Invalid(error)) => self.refuse(&place, &reason(&error))?,
                Err(error) => self.refuse(&place, &error.to_string())?,
            }
        }
        Ok(())
    }

    fn refuse(&mut self, place: &str, reason: &str) -> anyhow::Result<()> {
        self.counts.refused += 1;
        (self.refused)(place, reason)
    }
}

fn reason(error: &Invalid) -> String {
    format!("{error} ({})", error.kind().code())
}

enum LineRead {
    Whole,
    TooLong,
    End,
}

/// Reads a line without its end into `line`; one that is too long is skipped.
fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<LineRead> {
    line.clear();
    let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let read = file.by_ref().take(limit).read_until(b'\n', line)?;
    if read == 0 {
        return Ok(LineRead::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > LINE_BYTES_MAX {
        line.clear();
        file.skip_until(b'\n')?;
        return Ok(LineRead::TooLong);
    }
    Ok(LineRead::Whole)
}
