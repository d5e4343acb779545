//! `load` and `export`: records in and out as NDJSON.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::{Answer, block_on, open, open_or_create, write_file};
use crate::config::Config;
use crate::service::{
    Import, ImportCounts, Imported, LINE_BYTES_MAX, LineSplitter, Pass, RecordKind, Service, ServiceError, export_lines,
};
use crate::store::Precedence;

/// How much of a file is read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Put records in from NDJSON files or folders.
///
/// One record a line: {"signal":{…}}, {"overlay":{…}}, {"rate":{"pair":"GBPUSD","price":1.34}}, {"outcome":{…}}. A
/// folder is read for .ndjson and .jsonl files, and for one record a file in signals/shared/ and `user_overlays/`. A
/// line that is refused is named with its reason; the others go in. A record with an older time than the stored one is
/// left out.
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
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&counts)?)
        } else {
            writeln!(out, "{}", text(counts))
        }?;
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

/// Counts in words.
pub(super) fn text(counts: ImportCounts) -> String {
    let ImportCounts { created, changed, unchanged, kept, refused } = counts;
    format!("{created} created, {changed} changed, {unchanged} unchanged, {kept} kept as they were, {refused} refused")
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
) -> anyhow::Result<ImportCounts> {
    let mut load = Loading { import: service.import_with(precedence), refused };
    block_on(load.files(files))??;
    Ok(load.import.counts())
}

struct Loading<'a> {
    import: Import<String>,
    refused: &'a mut dyn FnMut(&str, &str) -> anyhow::Result<()>,
}

impl Loading<'_> {
    async fn files(&mut self, files: &[Source]) -> anyhow::Result<()> {
        // Outcomes need their signals, which may stand in a later file.
        let mut files_with_outcomes = Vec::new();
        for file in files {
            match file {
                Source::Lines(path) => {
                    self.lines(path, Pass::AllButOutcomes).await?;
                    if self.import.has_outcomes() {
                        files_with_outcomes.push(path);
                    }
                }
                Source::Document(path, kind) => self.document(path, *kind).await?,
            }
        }
        self.import.finish().await;
        for path in files_with_outcomes {
            self.lines(path, Pass::Outcomes).await?;
        }
        self.import.finish().await;
        self.report()
    }

    async fn lines(&mut self, path: &Path, pass: Pass) -> anyhow::Result<()> {
        let cannot = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(cannot)?;
        let (mut splitter, mut piece) = (LineSplitter::default(), vec![0; PIECE_BYTES]);
        self.import.start_file(pass);
        loop {
            let read = file.read(&mut piece).with_context(cannot)?;
            let is_end = read == 0;
            splitter.push(piece.get(..read).unwrap_or_default());
            while let Some(line) = splitter.next_line().or_else(|| if is_end { splitter.last_line() } else { None }) {
                self.import.line(format!("{}:{}", path.display(), line.number), &line).await;
                self.report()?;
            }
            if is_end {
                return Ok(());
            }
        }
    }

    async fn document(&mut self, path: &Path, kind: RecordKind) -> anyhow::Result<()> {
        let cannot = || format!("cannot read {}", path.display());
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let mut json = Vec::new();
        File::open(path).with_context(cannot)?.take(limit).read_to_end(&mut json).with_context(cannot)?;
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.import.document(path.display().to_string(), kind, &name, &json).await;
        self.report()
    }

    /// Names what was refused; what stands in the way of all records ends the load.
    fn report(&mut self) -> anyhow::Result<()> {
        for Imported { place, result, removed } in self.import.take_imported() {
            if !removed.is_empty() {
                let removed = removed.join(", ");
                tracing::warn!(
                    place,
                    removed,
                    "a whole overlay lacks members that the stored one had; a patch keeps them"
                );
            }
            match result {
                Ok(_) => {}
                Err(error @ (ServiceError::Store(_) | ServiceError::Busy | ServiceError::Worker)) => {
                    return Err(anyhow::Error::new(error).context(format!("cannot write {place}")));
                }
                Err(ServiceError::Invalid(error)) => {
                    (self.refused)(&place, &format!("{error} ({})", error.kind().code()))?;
                }
                Err(error) => (self.refused)(&place, &error.to_string())?,
            }
        }
        Ok(())
    }
}
